//! All plans of a graph, and the choice among them.

use protocols::ot::{OtExtend, OtExtension};
use protocols::plan::Plan;
use protocols::{Cost, Operator, Phases};

use super::choice::{Choice, Group, needed, pairs, unbeaten};
use super::price::{Measure, priced};
use super::{PlannerOptions, seconds};
use crate::knapsack::{Item, choose};
use crate::{Error, Graph, Options, fuse};

/// Halvings of the range of budgets in which the leanest plan is sought.
const HALVINGS: usize = 6;

/// All ways to run all steps of a graph.
pub(super) struct Candidates<'a> {
    graph: &'a Graph,
    weights: &'a str,
    streamed: bool,
    groups: Vec<Group>,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        graph: &'a Graph,
        weights: &'a str,
        purpose: &PlannerOptions,
        streamed: bool,
    ) -> Result<Self, Error> {
        let plan =
            fuse(graph, &Options { weights: weights.to_owned(), streamed, ..Options::default() })?;
        let carried = plan.with_carries();
        let (prices, carried) = (plan.prices(), carried.prices());
        // Of each step its own ways; of a layer, those that leave a carry apart.
        let mut steps: Vec<Option<(Vec<Choice>, Vec<Choice>)>> = Vec::new();
        for step in &plan.steps {
            let ways = priced(&prices, &step.op, purpose).into_iter().map(Choice::of);
            let (carrying, exact): (Vec<Choice>, Vec<Choice>) = ways.partition(Choice::carries);
            steps.push(Some((unbeaten(exact), unbeaten(carrying))));
        }
        let mut groups = Vec::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let Some((exact, carrying)) = steps[at].take() else { continue };
            let reader = |wire: usize| {
                let mut readers = plan.steps.iter().enumerate();
                readers.find(|(_, step)| step.op.inputs().contains(&wire)).map(|(reader, _)| reader)
            };
            let reader = step.op.output().filter(|_| !carrying.is_empty()).and_then(reader);
            let Some(reader) = reader else {
                groups.push(Group { names: vec![step.name.clone()], choices: exact });
                continue;
            };
            let after = steps[reader].take().map_or_else(Vec::new, |(exact, _)| exact);
            let doubled = priced(&carried, &plan.steps[reader].op, purpose).into_iter();
            let doubled = unbeaten(doubled.map(Choice::of).collect());
            let mut choices = pairs(&exact, &after);
            choices.extend(pairs(&carrying, &doubled));
            let names = vec![step.name.clone(), plan.steps[reader].name.clone()];
            groups.push(Group { names, choices: unbeaten(choices) });
        }
        Ok(Self { graph, weights, streamed, groups })
    }

    /// The same without hints, whose keys cost as much for one layer as for all; `None` where there
    /// are none.
    pub(super) fn without_hints(&self) -> Option<Self> {
        let any = self.groups.iter().any(|group| group.choices.iter().any(Choice::has_hint));
        any.then(|| Self {
            groups: self.groups.iter().map(Group::without_hints).collect(),
            ..*self
        })
    }

    /// The plan that takes one choice of every group.
    pub(super) fn plan(&self, extension: OtExtension, chosen: &[usize]) -> Result<Plan, Error> {
        let mut options =
            Options { extension, weights: self.weights.to_owned(), ..Options::default() };
        options.streamed = self.streamed;
        for (group, &at) in self.groups.iter().zip(chosen) {
            for (name, op) in group.names.iter().zip(&group.choices[at].ops) {
                options.like(name, op);
            }
        }
        fuse(self.graph, &options)
    }

    /// The choices that move the fewest bits.
    pub(super) fn least(&self, extension: OtExtension, measure: Measure) -> Vec<usize> {
        self.groups
            .iter()
            .map(|group| {
                let bits = group.choices.iter().map(|choice| choice.price.bits(extension, measure));
                let bits = bits.enumerate();
                bits.min_by_key(|(_, bits)| *bits).map_or(0, |(at, _)| at)
            })
            .collect()
    }

    /// Bits of one inference of the plan that takes these choices, exactly but for shares of hints.
    pub(super) fn bits(&self, extension: OtExtension, chosen: &[usize], measure: Measure) -> u64 {
        let choices = || self.groups.iter().zip(chosen).map(|(group, &at)| &group.choices[at]);
        let steps = || choices().flat_map(|choice| &choice.singles);
        let all: Phases = steps().copied().sum();
        let hints: f64 = choices().map(|choice| choice.price.hints).sum();
        let hints = if measure == Measure::WithHints { hints as u64 } else { 0 };
        let keys = needed(choices()).map_or(0, |secrets| secrets.cost(1).bits());
        // OTs are made for the whole plan at once, or step by step where it is streamed: the
        // sum is what the plan itself will be charged.
        let supply = |cost: Cost| {
            let (server, client) = (cost.server_cots as usize, cost.client_cots as usize);
            OtExtend { extension, server, client }.cost().bits()
        };
        let supplies = if self.streamed {
            steps().map(|step| supply(step.offline) + supply(step.online)).sum()
        } else {
            supply(all.offline + all.online)
        };
        all.offline.bits() + all.online.bits() + keys + hints + supplies
    }

    /// The plan of the fewest bits, about, of those that take at most `seconds`, of which one is
    /// given.
    pub(super) fn leanest(
        &self,
        extension: OtExtension,
        purpose: &PlannerOptions,
        seconds: f64,
        plan: Plan,
    ) -> Result<Plan, Error> {
        let measure = Measure::of(purpose);
        let mut low = self.bits(extension, &self.least(extension, measure), measure);
        let (mut high, mut best) = (measure.bits(&plan, purpose), plan);
        // Invariant: `best` takes at most `seconds` and moves `high` bits; nothing as fast is known
        // within `low`.
        for _ in 0..HALVINGS {
            let budget = low.midpoint(high);
            let within = PlannerOptions { budget_bits: Some(budget), ..*purpose };
            match self.fastest(extension, &within, measure)? {
                Some((found, plan)) if found <= seconds => {
                    (high, best) = (measure.bits(&plan, purpose), plan)
                }
                _ => low = budget,
            }
        }
        Ok(best)
    }

    /// The fastest plan with an extension of OTs, and its seconds, within a budget of what is
    /// measured.
    pub(super) fn fastest(
        &self,
        extension: OtExtension,
        purpose: &PlannerOptions,
        measure: Measure,
    ) -> Result<Option<(f64, Plan)>, Error> {
        let groups: Vec<Vec<Item>> = self
            .groups
            .iter()
            .map(|group| {
                group
                    .choices
                    .iter()
                    .map(|choice| Item {
                        cost: choice.price.bits(extension, measure),
                        loss: choice.price.in_seconds(extension, &purpose.profile),
                    })
                    .collect()
            })
            .collect();
        let limit = purpose.budget_bits.unwrap_or(u64::MAX / 2);
        let within = |chosen: &Vec<usize>| self.bits(extension, chosen, measure) <= limit;
        // What a supply costs is not a sum over steps: take what it adds off the budget until all
        // is within.
        let mut budget = limit;
        let mut found = None;
        // Items count OTs at their mean price; `bits` is exact. Taking the excess off each
        // time leaves a budget that only falls, and the cheapest plan stands in where eight steps
        // are not enough.
        for _ in 0..8 {
            let Some(chosen) = choose(&groups, budget) else { break };
            if within(&chosen) {
                found = Some(chosen);
                break;
            }
            budget = budget.saturating_sub(self.bits(extension, &chosen, measure) - limit);
        }
        let Some(chosen) = found.or_else(|| Some(self.least(extension, measure)).filter(within))
        else {
            return Ok(None);
        };
        let plan = self.plan(extension, &chosen)?;
        Ok(Some((seconds(&plan, purpose), plan)))
    }
}

//! The choice of protocols: digits of trees, AND depth of carry circuits, and the extension of
//! ots, for a network profile and within a budget, by the operators' own prices.

use protocols::ot::{OtExtend, OtExtension, OtExtensions};
use protocols::plan::{Hints, Op, Plan};
use protocols::profile::{Profile, Seconds, ot_seconds};
use protocols::{Cost, Operator, Phases};

use crate::knapsack::{Item, choose};
use crate::{Error, Graph, Options, fuse};

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannerOptions {
    /// The network between the parties.
    pub profile: Profile,
    /// Inferences that one session serves: set-up counts by this share.
    pub inferences: u64,
    /// Images that run together: rounds count by this share.
    pub batch: usize,
    /// Bits that one inference may move, offline and online.
    pub budget_bits: Option<u64>,
    /// The extensions of OTs to choose from.
    pub extensions: OtExtensions,
    /// Whether of plans that are as fast for all that a prediction can tell the one of the fewest
    /// bits is taken.
    pub lean: bool,
}

/// Bits that one inference moves, offline and online.
pub fn inference_bits(plan: &Plan) -> u64 {
    let cost = plan.cost(1);
    cost.offline.bits() + cost.online.bits()
}

/// The plan of a graph that moves the fewest bits.
///
/// # Errors
/// Those of [`fuse`].
pub fn cheapest(graph: &Graph, weights: &str, extensions: OtExtensions) -> Result<Plan, Error> {
    let purpose = PlannerOptions {
        profile: Profile::WAN,
        inferences: 1,
        batch: 1,
        budget_bits: None,
        extensions,
        lean: false,
    };
    let candidates = Candidates::of(graph, weights, &purpose, false)?;
    let plans = extensions.iter().map(|extension| (extension, candidates.least(extension)));
    let best = plans.min_by_key(|(extension, chosen)| candidates.bits(*extension, chosen));
    let (extension, chosen) = best.expect("invariant: there are extensions to choose from");
    candidates.plan(extension, &chosen)
}

/// The fastest plan of a graph within a budget; `None` where there is none.
/// [`PlannerOptions::lean`], of plans that are as fast for all that a prediction can tell (a tenth,
/// latency apart), the one that moves the fewest bits. It is streamed where a party would hold
/// much.
///
/// # Errors
/// Those of [`fuse`].
pub fn fastest(
    graph: &Graph,
    weights: &str,
    purpose: &PlannerOptions,
) -> Result<Option<Plan>, Error> {
    let kept = fastest_by(graph, weights, purpose, false)?;
    let most = if purpose.inferences > 1 { HELD } else { HELD_ONCE };
    if kept.as_ref().is_none_or(|plan| plan.held_bytes(purpose.batch.max(1)) <= most) {
        return Ok(kept);
    }
    Ok(fastest_by(graph, weights, purpose, true)?.or(kept))
}

/// Bytes that a party may hold from step to step.
const HELD: u64 = 4 << 30;
/// The same for sessions of one inference, where making trees and OTs step by step costs
/// nothing but rounds.
const HELD_ONCE: u64 = 256 << 20;

fn fastest_by(
    graph: &Graph,
    weights: &str,
    purpose: &PlannerOptions,
    streamed: bool,
) -> Result<Option<Plan>, Error> {
    let candidates = Candidates::of(graph, weights, purpose, streamed)?;
    let mut fastest = Vec::new();
    for extension in purpose.extensions.iter() {
        fastest.extend(
            candidates
                .fastest(extension, purpose)?
                .map(|(seconds, plan)| (seconds, extension, plan)),
        );
    }
    let Some((least, _, plan)) = fastest.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Ok(None);
    };
    // Slack is a part of what is predicted beside latency: of a plan of 2 seconds, 1.5 of them
    // rounds, a tenth of 0.5.
    let at_once =
        PlannerOptions { profile: Profile { rtt_seconds: 0.0, ..purpose.profile }, ..*purpose };
    let slack = if purpose.lean { SLACK * seconds(plan, &at_once) } else { 0.0 };
    let limit = least + slack;
    let mut best: Option<(u64, Plan)> = None;
    for (_, extension, plan) in fastest.into_iter().filter(|(seconds, ..)| *seconds <= limit) {
        let plan =
            if purpose.lean { candidates.leanest(extension, purpose, limit, plan)? } else { plan };
        let bits = inference_bits(&plan);
        if best.as_ref().is_none_or(|(fewest, _)| bits < *fewest) {
            best = Some((bits, plan));
        }
    }
    Ok(best.map(|(_, plan)| plan))
}

/// What a prediction says beside latency is off by up to a quarter: plans that differ by less than
/// this part of it are as fast as each other.
const SLACK: f64 = 0.1;
/// Halvings of the range of budgets in which the leanest plan is sought.
const HALVINGS: usize = 6;

/// The same plan with the fastest of some extensions of ots.
pub fn with_extensions(plan: &Plan, extensions: OtExtensions, purpose: &PlannerOptions) -> Plan {
    let plans = extensions.iter().map(|extension| Plan { extension, ..plan.clone() });
    let best = plans.min_by(|a, b| seconds(a, purpose).total_cmp(&seconds(b, purpose)));
    best.expect("invariant: there are extensions to choose from")
}

/// Seconds of one image with its share of set-up.
fn seconds(plan: &Plan, purpose: &PlannerOptions) -> f64 {
    let batch = purpose.batch.max(1);
    let steps = plan.step_seconds(&purpose.profile, batch).into_iter();
    let run: f64 = steps.map(|step| step.offline + step.online).sum();
    run / batch as f64
        + plan.setup_seconds(&purpose.profile, Hints::Sent) / purpose.inferences.max(1) as f64
}

/// One way to run one step, and its price.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The step, run that way.
    pub op: Op,
    /// What it moves: set-up once a session, the rest for a batch.
    pub cost: Phases,
    /// For one image: offline and online are what a budget bounds.
    single: Phases,
    /// For one image, without the OTs that it consumes.
    seconds: f64,
    /// OTs for one image, with its share of those of set-up.
    ots: f64,
}

impl Candidate {
    fn new(plan: &Plan, op: Op, purpose: &PlannerOptions) -> Self {
        let (inferences, batch) = (purpose.inferences.max(1) as f64, purpose.batch.max(1));
        let cost = plan.step_cost(&op, batch);
        let Seconds { offline, online } = plan.step_work(&op, batch);
        let layer = op.layer();
        let wire = |cost: &Cost| purpose.profile.seconds(cost);
        let run =
            purpose.profile.streamed_seconds(&cost.offline, offline) + online + wire(&cost.online);
        let kept = layer.as_ref().filter(|layer| !plan.streamed || layer.lasts());
        // Trees that are made step by step are no set-up: a streamed plan has them in `offline`.
        let setup = kept.map_or(0.0, |layer| layer.seconds(1).setup + wire(&cost.setup));
        let ots = |cost: Cost| cost.consumed() as f64;
        Self {
            single: plan.step_cost(&op, 1),
            seconds: run / batch as f64 + setup / inferences,
            ots: ots(cost.offline + cost.online) / batch as f64 + ots(cost.setup) / inferences,
            op,
            cost,
        }
    }

    /// Bits that one image moves, with those of the ots.
    fn bits(&self, extension: OtExtension) -> u64 {
        let single = self.single.offline + self.single.online;
        let ots = (single.server_cots + single.client_cots) as f64 * extension.bits();
        single.bits() + ots.ceil() as u64
    }

    /// Seconds for one image: its share of set-up, the wire, the work, and the ots.
    pub fn seconds(&self, extension: OtExtension, profile: &Profile) -> f64 {
        let wire = self.ots * extension.bits() / 8.0 / profile.bytes_per_second;
        self.seconds + wire + self.ots * ot_seconds(extension)
    }
}

/// All ways to run a step of a plan, with their prices.
pub fn candidates(plan: &Plan, op: &Op, purpose: &PlannerOptions) -> Vec<Candidate> {
    plan.variants(op).into_iter().map(|op| Candidate::new(plan, op, purpose)).collect()
}

/// All ways to run all steps of a graph.
struct Candidates<'a> {
    graph: &'a Graph,
    weights: &'a str,
    streamed: bool,
    steps: Vec<(String, Vec<Candidate>)>,
}

impl<'a> Candidates<'a> {
    fn of(
        graph: &'a Graph,
        weights: &'a str,
        purpose: &PlannerOptions,
        streamed: bool,
    ) -> Result<Self, Error> {
        let plan =
            fuse(graph, &Options { weights: weights.to_owned(), streamed, ..Options::default() })?;
        let steps =
            plan.steps.iter().map(|step| (step.name.clone(), candidates(&plan, &step.op, purpose)));
        Ok(Self { graph, weights, streamed, steps: steps.collect() })
    }

    /// The plan that takes one choice of every step.
    fn plan(&self, extension: OtExtension, chosen: &[usize]) -> Result<Plan, Error> {
        let mut options =
            Options { extension, weights: self.weights.to_owned(), ..Options::default() };
        options.streamed = self.streamed;
        for ((name, choices), &at) in self.steps.iter().zip(chosen) {
            options.like(name, &choices[at].op);
        }
        fuse(self.graph, &options)
    }

    /// The choices that move the fewest bits.
    fn least(&self, extension: OtExtension) -> Vec<usize> {
        let least = |(_, choices): &(String, Vec<Candidate>)| {
            let bits = choices.iter().map(|choice| choice.bits(extension)).enumerate();
            bits.min_by_key(|(_, bits)| *bits).map_or(0, |(at, _)| at)
        };
        self.steps.iter().map(least).collect()
    }

    /// Bits of one inference of the plan that takes these choices, exactly.
    fn bits(&self, extension: OtExtension, chosen: &[usize]) -> u64 {
        let steps = self.steps.iter().zip(chosen);
        let steps: Vec<Phases> = steps.map(|((_, choices), &at)| choices[at].single).collect();
        let all: Phases = steps.iter().copied().sum();
        // OTs are made for the whole plan at once, or step by step where it is streamed: the
        // sum is what the plan itself will be charged.
        let supply = |cost: Cost| {
            let (server, client) = (cost.server_cots as usize, cost.client_cots as usize);
            OtExtend { extension, server, client }.cost().bits()
        };
        let supplies = if self.streamed {
            steps.iter().map(|step| supply(step.offline) + supply(step.online)).sum()
        } else {
            supply(all.offline + all.online)
        };
        all.offline.bits() + all.online.bits() + supplies
    }

    /// The plan of the fewest bits, about, of those that take at most `seconds`, of which one is
    /// given.
    fn leanest(
        &self,
        extension: OtExtension,
        purpose: &PlannerOptions,
        seconds: f64,
        plan: Plan,
    ) -> Result<Plan, Error> {
        let mut low = self.bits(extension, &self.least(extension));
        let (mut high, mut best) = (inference_bits(&plan), plan);
        // Invariant: `best` takes at most `seconds` and moves `high` bits; nothing as fast is known
        // within `low`.
        for _ in 0..HALVINGS {
            let budget = low.midpoint(high);
            let within = PlannerOptions { budget_bits: Some(budget), ..*purpose };
            match self.fastest(extension, &within)? {
                Some((found, plan)) if found <= seconds => {
                    (high, best) = (inference_bits(&plan), plan)
                }
                _ => low = budget,
            }
        }
        Ok(best)
    }

    /// The fastest plan with a extension of ots, and its seconds.
    fn fastest(
        &self,
        extension: OtExtension,
        purpose: &PlannerOptions,
    ) -> Result<Option<(f64, Plan)>, Error> {
        let item = |choice: &Candidate| Item {
            cost: choice.bits(extension),
            loss: choice.seconds(extension, &purpose.profile),
        };
        let groups: Vec<Vec<Item>> =
            self.steps.iter().map(|(_, choices)| choices.iter().map(item).collect()).collect();
        let limit = purpose.budget_bits.unwrap_or(u64::MAX / 2);
        let within = |chosen: &Vec<usize>| self.bits(extension, chosen) <= limit;
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
            budget = budget.saturating_sub(self.bits(extension, &chosen) - limit);
        }
        let Some(chosen) = found.or_else(|| Some(self.least(extension)).filter(within)) else {
            return Ok(None);
        };
        let plan = self.plan(extension, &chosen)?;
        Ok(Some((seconds(&plan, purpose), plan)))
    }
}

#[cfg(test)]
mod tests {
    use protocols::linear::Geometry;
    use protocols::plan::{Preprocess, Protocol};

    use super::*;
    use crate::{Kernel, LayerWeights, Linear};

    /// A dense layer of 128 inputs and 1024 outputs.
    fn dense() -> Graph {
        let mut builder = Graph::builder("dense", Preprocess::Unit);
        let geometry = Geometry::dense(128, 1024);
        let input = builder.input("input", [128, 1, 1], 4, false, 1.0).unwrap();
        let (weights, bias) = (vec![7; geometry.weights()], vec![0; 1024]);
        let (kernel, shifts, range) = (Kernel::Spatial, Vec::new(), builder.wire(input).range);
        let linear = Linear { input, geometry, kernel, weight_bits: 4, shifts, range, scale: 1.0 };
        let linear = linear.bounded("dense", &LayerWeights { weights, bias }, range).unwrap();
        let logits = builder.linear("dense", linear).unwrap();
        builder.output("output", logits).unwrap();
        builder.finish().unwrap()
    }

    fn protocol(inferences: u64) -> Protocol {
        let extensions = OtExtensions::Any;
        let purpose = PlannerOptions {
            profile: Profile::LAN,
            inferences,
            batch: 1,
            budget_bits: None,
            extensions,
            lean: true,
        };
        let plan = fastest(&dense(), &"0".repeat(64), &purpose).unwrap().unwrap();
        let step = plan.steps.iter().find(|step| step.name == "dense").unwrap();
        let ways = candidates(&plan, &step.op, &purpose);
        let seconds = |way: &Candidate| way.seconds(plan.extension, &purpose.profile);
        let chosen = ways.iter().find(|way| way.op == step.op).unwrap();
        for way in ways.iter().filter(|way| seconds(way) < seconds(chosen)) {
            assert!(
                way.bits(plan.extension) > chosen.bits(plan.extension),
                "whatever is faster moves more"
            );
        }
        step.op.layer().unwrap().protocol
    }

    #[test]
    fn a_short_session_punctures_the_mask_and_a_long_one_the_weights() {
        assert!(matches!(protocol(1), Protocol::VoleOfActivations { .. }), "{:?}", protocol(1));
        assert!(matches!(protocol(10_000), Protocol::Vole { .. }), "{:?}", protocol(10_000));
    }
}

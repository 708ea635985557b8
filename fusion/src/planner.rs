//! The choice of protocols: digits of trees, digits of carry chains, and the depth of the extension, for a network
//! profile and within a budget, by the operators' own prices.

use protocols::ot::{Extend, TreeDepth};
use protocols::plan::{Op, Plan, Protocol};
use protocols::profile::{Profile, transfer_seconds};
use protocols::{Cost, Operator, Phases};

use crate::knapsack::{Item, choose};
use crate::{Error, Graph, Options, fuse};

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purpose {
    /// The network between the parties.
    pub profile: Profile,
    /// Inferences that one session serves: set-up counts by this share.
    pub inferences: u64,
    /// Bits that one inference may move, offline and online.
    pub budget_bits: Option<u64>,
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
pub fn cheapest(graph: &Graph, weights: &str) -> Result<Plan, Error> {
    let purpose = Purpose { profile: Profile::WAN, inferences: 1, budget_bits: None };
    let candidates = Candidates::of(graph, weights, &purpose)?;
    let least = |(_, choices): &(String, Vec<Choice>)| {
        let bits = choices.iter().map(|choice| choice.bits(TreeDepth::MAX)).enumerate();
        bits.min_by_key(|(_, bits)| *bits).map_or(0, |(at, _)| at)
    };
    let chosen: Vec<usize> = candidates.steps.iter().map(least).collect();
    candidates.plan(TreeDepth::MAX, &chosen)
}

/// The fastest plan of a graph within a budget; `None` where there is none.
///
/// # Errors
/// Those of [`fuse`].
pub fn fastest(graph: &Graph, weights: &str, purpose: &Purpose) -> Result<Option<Plan>, Error> {
    let candidates = Candidates::of(graph, weights, purpose)?;
    let mut best: Option<(f64, Plan)> = None;
    for depth in TreeDepth::all() {
        let Some((seconds, plan)) = candidates.fastest(depth, purpose)? else { continue };
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, plan));
        }
    }
    Ok(best.map(|(_, plan)| plan))
}

/// One way to run one step.
struct Choice {
    protocol: Option<Protocol>,
    digit: Option<u8>,
    /// Offline and online together.
    cost: Cost,
    /// Without the transfers that it consumes.
    seconds: f64,
}

impl Choice {
    /// Bits moved, with those of the transfers.
    fn bits(&self, depth: TreeDepth) -> u64 {
        self.cost.bits() + (self.cost.server_cots + self.cost.client_cots) * transfer_bits(depth)
    }

    /// Seconds, with those of the transfers.
    fn seconds(&self, depth: TreeDepth, profile: &Profile) -> f64 {
        let cots = (self.cost.server_cots + self.cost.client_cots) as f64;
        let wire = cots * transfer_bits(depth) as f64 / 8.0 / profile.bytes_per_second;
        self.seconds + wire + cots * transfer_seconds(depth)
    }
}

/// Bits of one transfer.
const fn transfer_bits(depth: TreeDepth) -> u64 {
    depth.trees() as u64 - 1
}

/// All ways to run all steps of a graph.
struct Candidates<'a> {
    graph: &'a Graph,
    weights: &'a str,
    steps: Vec<(String, Vec<Choice>)>,
}

impl<'a> Candidates<'a> {
    fn of(graph: &'a Graph, weights: &'a str, purpose: &Purpose) -> Result<Self, Error> {
        let plan = fuse(graph, &Options { weights: weights.to_owned(), ..Options::default() })?;
        let choices = |op: &Op| -> Vec<Choice> {
            variants(op).into_iter().map(|op| choice(&plan, &op, purpose)).collect()
        };
        let steps = plan.steps.iter().map(|step| (step.name.clone(), choices(&step.op)));
        Ok(Self { graph, weights, steps: steps.collect() })
    }

    /// The plan that takes one choice of every step.
    fn plan(&self, depth: TreeDepth, chosen: &[usize]) -> Result<Plan, Error> {
        let mut options =
            Options { softspoken: depth, weights: self.weights.to_owned(), ..Options::default() };
        for ((name, choices), &at) in self.steps.iter().zip(chosen) {
            let choice = &choices[at];
            options.protocols.extend(choice.protocol.map(|protocol| (name.clone(), protocol)));
            options.digits.extend(choice.digit.map(|digit| (name.clone(), digit)));
        }
        fuse(self.graph, &options)
    }

    /// The fastest plan at a depth of the extension, and its seconds.
    fn fastest(&self, depth: TreeDepth, purpose: &Purpose) -> Result<Option<(f64, Plan)>, Error> {
        let item = |choice: &Choice| Item {
            cost: choice.bits(depth),
            loss: choice.seconds(depth, &purpose.profile),
        };
        let groups: Vec<Vec<Item>> =
            self.steps.iter().map(|(_, choices)| choices.iter().map(item).collect()).collect();
        let mut budget = purpose.budget_bits.unwrap_or(u64::MAX / 2);
        // The extension's framing is not a sum over steps: take what it adds off the budget until all is within.
        for _ in 0..8 {
            let Some(chosen) = choose(&groups, budget) else { return Ok(None) };
            let plan = self.plan(depth, &chosen)?;
            let over = inference_bits(&plan).saturating_sub(purpose.budget_bits.unwrap_or(u64::MAX));
            if over == 0 {
                let seconds: f64 = groups.iter().zip(&chosen).map(|(group, &i)| group[i].loss).sum();
                let setup =
                    Extend { depth, server: 0, client: plan.setup_cost().client_cots as usize }.cost();
                let share = purpose.profile.seconds(&setup) / purpose.inferences.max(1) as f64;
                return Ok(Some((seconds + share, plan)));
            }
            budget = budget.saturating_sub(over);
        }
        Ok(None)
    }
}

/// An operation with every protocol that it can take.
fn variants(op: &Op) -> Vec<Op> {
    let mut all = Vec::new();
    match op {
        Op::Linear { .. } => {
            let protocols = std::iter::once(Protocol::Cot).chain((2..=8).map(|k| Protocol::Vole { k }));
            for wanted in protocols {
                let mut op = op.clone();
                if let Op::Linear { protocol, .. } = &mut op {
                    *protocol = wanted;
                }
                all.push(op);
            }
        }
        Op::Requant { .. } | Op::MaxPool { .. } => {
            for wanted in 1..=4 {
                let mut op = op.clone();
                if let Op::Requant { digit, .. } | Op::MaxPool { digit, .. } = &mut op {
                    *digit = wanted;
                }
                all.push(op);
            }
        }
        Op::Input { .. } | Op::SumPool { .. } | Op::View { .. } | Op::Output { .. } => all.push(op.clone()),
    }
    all
}

fn choice(plan: &Plan, op: &Op, purpose: &Purpose) -> Choice {
    let Phases { offline, online, .. } = plan.step_cost(op, 1);
    let cost = offline + online;
    let work = plan.step_work(op, 1);
    let setup =
        op.layer().map_or(0.0, |layer| layer.setup_seconds() + purpose.profile.seconds(&layer.setup_cost()));
    let wire = purpose.profile.seconds(&offline) + purpose.profile.seconds(&online);
    let seconds = work.offline + work.online + wire + setup / purpose.inferences.max(1) as f64;
    let (protocol, digit) = match op {
        Op::Linear { protocol, .. } => (Some(*protocol), None),
        Op::Requant { digit, .. } | Op::MaxPool { digit, .. } => (None, Some(*digit)),
        Op::Input { .. } | Op::SumPool { .. } | Op::View { .. } | Op::Output { .. } => (None, None),
    };
    Choice { protocol, digit, cost, seconds }
}

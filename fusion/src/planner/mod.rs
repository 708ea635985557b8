//! The choice of protocols: digits of trees, AND depth of carry circuits, and the extension of
//! ots, for a network profile and within a budget, by the operators' own prices.

mod beside;
mod candidates;
mod choice;
mod price;

use protocols::ot::{OtExtension, OtExtensions};
use protocols::plan::{Hints, Plan, Protocols};
use protocols::profile::Profile;

use crate::{Error, Graph};
use candidates::Candidates;
use price::Measure;

pub use price::{Candidate, candidates};

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
    /// The protocols to choose from for linear layers.
    pub protocols: Protocols,
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
/// Those of [`crate::fuse`].
pub fn cheapest(
    graph: &Graph,
    weights: &str,
    extensions: OtExtensions,
    protocols: Protocols,
) -> Result<Plan, Error> {
    let purpose = PlannerOptions {
        profile: Profile::WAN,
        inferences: 1,
        batch: 1,
        budget_bits: None,
        extensions,
        protocols,
        lean: false,
    };
    let candidates = Candidates::of(graph, weights, &purpose, false)?;
    let mut best: Option<(u64, OtExtension, &Candidates<'_>, Vec<usize>)> = None;
    let without = candidates.without_hints();
    for candidates in std::iter::once(&candidates).chain(&without) {
        for extension in extensions.iter() {
            let chosen = candidates.least(extension, Measure::Inference);
            let bits = candidates.bits(extension, &chosen, Measure::Inference);
            if best.as_ref().is_none_or(|(least, ..)| bits < *least) {
                best = Some((bits, extension, candidates, chosen));
            }
        }
    }
    let best = best.expect("invariant: there are extensions to choose from");
    let (_, extension, candidates, chosen) = best;
    let plan = candidates.plan(extension, &chosen)?;
    Ok(beside::together(plan, |new, old| inference_bits(new) < inference_bits(old)))
}

/// The fastest plan of a graph within a budget; `None` where there is none.
/// [`PlannerOptions::lean`], of plans that are as fast for all that a prediction can tell (a fifth,
/// latency apart), the one that moves the fewest bits. It is streamed where a party would hold
/// much.
///
/// # Errors
/// Those of [`crate::fuse`].
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
    let without = candidates.without_hints();
    let mut fastest = Vec::new();
    for candidates in std::iter::once(&candidates).chain(&without) {
        for extension in purpose.extensions.iter() {
            let found = candidates.fastest(extension, purpose, Measure::Inference)?;
            fastest.extend(found.map(|(seconds, plan)| (seconds, (extension, candidates), plan)));
        }
    }
    let Some((least, _, plan)) = fastest.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Ok(None);
    };
    // Slack is a part of what is predicted beside latency: of a plan of 2 seconds, 1.5 of them
    // rounds, a fifth of 0.5.
    let at_once =
        PlannerOptions { profile: Profile { rtt_seconds: 0.0, ..purpose.profile }, ..*purpose };
    let slack = if purpose.lean { SLACK * seconds(plan, &at_once) } else { 0.0 };
    let limit = least + slack;
    let mut best: Option<(u64, Plan)> = None;
    let measure = Measure::of(purpose);
    for (_, (extension, candidates), plan) in
        fastest.into_iter().filter(|(seconds, ..)| *seconds <= limit)
    {
        let plan =
            if purpose.lean { candidates.leanest(extension, purpose, limit, plan)? } else { plan };
        let bits = measure.bits(&plan, purpose);
        if best.as_ref().is_none_or(|(fewest, _)| bits < *fewest) {
            best = Some((bits, plan));
        }
    }
    // By what it was chosen by: few bits within a time, or little time within a budget.
    Ok(best.map(|(_, plan)| {
        beside::together(plan, |new, old| {
            let [fast, was] = [new, old].map(|plan| seconds(plan, purpose));
            let [fewer, more] = [new, old].map(|plan| measure.bits(plan, purpose));
            if purpose.lean {
                return fewer < more && fast <= limit.max(was);
            }
            fast < was && (fewer <= more || purpose.budget_bits.is_none_or(|most| fewer <= most))
        })
    }))
}

/// What a prediction says beside latency is off by up to a quarter: plans that differ by less than
/// this part of it are as fast as each other.
const SLACK: f64 = 0.2;

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

#[cfg(test)]
mod tests {
    use protocols::linear::Geometry;
    use protocols::plan::{Preprocess, Protocol};

    use super::*;
    use crate::testing::random_network;
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
            protocols: Protocols::Ot,
            lean: true,
        };
        let plan = fastest(&dense(), &"0".repeat(64), &purpose).unwrap().unwrap();
        let step = plan.steps.iter().find(|step| step.name == "dense").unwrap();
        let ways = candidates(&plan, &step.op, &purpose);
        let seconds = |way: &Candidate| way.seconds(plan.extension, &purpose.profile);
        let chosen = ways.iter().find(|way| way.op == step.op).unwrap();
        for way in ways.iter().filter(|way| seconds(way) < seconds(chosen)) {
            assert!(
                way.price.bits(plan.extension, Measure::Inference)
                    > chosen.price.bits(plan.extension, Measure::Inference),
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

    #[test]
    fn lattices_make_plans_smaller_and_are_left_out_where_that_is_asked() {
        let mut networks: Vec<Graph> = (0..12).map(|seed| random_network(seed).0).collect();
        networks.push(dense());
        let mut smaller = 0;
        for (seed, graph) in networks.iter().enumerate() {
            let plan =
                |protocols| cheapest(graph, &"0".repeat(64), OtExtensions::Any, protocols).unwrap();
            let (all, ot) = (plan(Protocols::All), plan(Protocols::Ot));
            let hints = |plan: &Plan| plan.layers().filter(|(_, _, layer)| layer.lasts()).count();
            assert_eq!(hints(&ot), 0, "seed {seed}");
            let (some, none) = (inference_bits(&all), inference_bits(&ot));
            assert!(some <= none, "seed {seed}: {some} {none}");
            smaller += usize::from(some < none);
        }
        assert!(smaller > 0, "a large layer is smaller by a hint");
    }
}

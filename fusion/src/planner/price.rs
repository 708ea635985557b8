//! What steps and their alternatives are compared by.

use protocols::ot::OtExtension;
use protocols::plan::{Op, Plan};
use protocols::profile::{Prices, Profile, Seconds, ot_seconds};
use protocols::steps::Linear;
use protocols::{Cost, Phases};

use super::{PlannerOptions, inference_bits};

/// Which bits of a plan are few or within a budget.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Measure {
    /// Those of one inference.
    Inference,
    /// With its share of the hints, which are made and sent once.
    WithHints,
}

impl Measure {
    /// A budget is of an inference. Without one, what is lean is so with hints.
    pub(super) const fn of(purpose: &PlannerOptions) -> Self {
        if purpose.budget_bits.is_some() { Self::Inference } else { Self::WithHints }
    }

    pub(super) fn bits(self, plan: &Plan, purpose: &PlannerOptions) -> u64 {
        let layers = plan.layers().filter(|(_, _, layer)| layer.lasts());
        let hints: u64 = layers.map(|(_, _, layer)| layer.setup_cost().bits()).sum();
        let share = if self == Self::WithHints { hints / purpose.inferences.max(1) } else { 0 };
        inference_bits(plan) + share
    }
}

/// One way to run one step, and its price.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The step, run that way.
    pub op: Op,
    /// What it moves: set-up once a session, the rest for a batch.
    pub cost: Phases,
    pub(super) price: Price,
}

/// What ways are compared by: sums over steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    /// For one image: offline and online are what a budget bounds.
    pub(super) single: Phases,
    /// For one image, without the OTs that it consumes.
    seconds: f64,
    /// OTs for one image, with its share of those of set-up.
    ots: f64,
    /// Its share of the bits of hints.
    pub(super) hints: f64,
}

impl Candidate {
    fn new(prices: &Prices<'_>, op: Op, purpose: &PlannerOptions) -> Self {
        let (inferences, batch) = (purpose.inferences.max(1) as f64, purpose.batch.max(1));
        let cost = prices.step_cost(&op, batch);
        let Seconds { offline, online } = prices.step_work(&op, batch);
        let layer = op.layer();
        let wire = |cost: &Cost| purpose.profile.seconds(cost);
        let run =
            purpose.profile.streamed_seconds(&cost.offline, offline) + online + wire(&cost.online);
        let kept = layer.as_ref().filter(|layer| prices.keeps(layer));
        // Trees that are made step by step are no set-up: a streamed plan has them in `offline`.
        let setup = kept.map_or(0.0, |layer| layer.seconds(1).setup + wire(&cost.setup));
        let ots = |cost: Cost| cost.consumed() as f64;
        let price = Price {
            single: prices.step_cost(&op, 1),
            seconds: run / batch as f64 + setup / inferences,
            ots: ots(cost.offline + cost.online) / batch as f64 + ots(cost.setup) / inferences,
            hints: match layer.is_some_and(|layer| layer.lasts()) {
                true => cost.setup.bits() as f64 / inferences,
                false => 0.0,
            },
        };
        Self { op, cost, price }
    }

    /// Seconds for one image: its share of set-up, the wire, the work, and the ots.
    pub fn seconds(&self, extension: OtExtension, profile: &Profile) -> f64 {
        self.price.in_seconds(extension, profile)
    }
}

impl Price {
    /// Bits that one image moves, with those of the ots.
    pub(super) fn bits(&self, extension: OtExtension, measure: Measure) -> u64 {
        let single = self.single.offline + self.single.online;
        let ots = (single.server_cots + single.client_cots) as f64 * extension.bits();
        let hints = if measure == Measure::WithHints { self.hints } else { 0.0 };
        single.bits() + (ots + hints).ceil() as u64
    }

    pub(super) fn in_seconds(&self, extension: OtExtension, profile: &Profile) -> f64 {
        let wire = self.ots * extension.bits() / 8.0 / profile.bytes_per_second;
        self.seconds + wire + self.ots * ot_seconds(extension)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            single: [self.single, other.single].into_iter().sum(),
            seconds: self.seconds + other.seconds,
            ots: self.ots + other.ots,
            hints: self.hints + other.hints,
        }
    }

    /// Whether it is no dearer in anything, whatever OTs cost.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let run = |price: &Self| price.single.offline + price.single.online;
        let (a, b) = (run(self), run(other));
        a.bits() <= b.bits()
            && a.server_cots <= b.server_cots
            && a.client_cots <= b.client_cots
            && self.seconds <= other.seconds
            && self.ots <= other.ots
            && self.hints <= other.hints
    }
}

/// All ways to run a step of a plan, with their prices.
pub fn candidates(plan: &Plan, op: &Op, purpose: &PlannerOptions) -> Vec<Candidate> {
    priced(&plan.prices(), op, purpose)
}

pub(super) fn priced(prices: &Prices<'_>, op: &Op, purpose: &PlannerOptions) -> Vec<Candidate> {
    let ways = prices.variants(op).into_iter();
    let ways = ways.filter(|op| {
        op.get::<Linear>().is_none_or(|linear| purpose.protocols.contain(linear.protocol))
    });
    ways.map(|op| Candidate::new(prices, op, purpose)).collect()
}

//! Seconds: what a plan takes on a given network, from bytes, rounds and the work of the kernels.

use super::Profile;
use crate::hints::Outline;
use crate::ot::{OtExtension, Parameters};
use crate::plan::{Hints, Plan};
use crate::steps::Op;
use crate::{Phases, rates};

pub use crate::rates::Seconds;

impl Plan {
    /// Predicted seconds of every step, in the order of [`Plan::step_costs`].
    pub fn step_seconds(&self, profile: &Profile, images: usize) -> Vec<Seconds> {
        // OTs and keys come before the plan's own steps.
        let before = 1 + usize::from(self.secrets().is_some());
        let (prices, steps) = (self.prices(), self.steps.iter());
        let steps = steps.filter(|step| step.op.kind().is_some());
        let work = std::iter::repeat_n(Seconds::default(), before)
            .chain(steps.map(|step| prices.step_work(&step.op, images)));
        let costs = self.step_costs(images);
        let mut seconds: Vec<Seconds> = costs
            .iter()
            .zip(work)
            .map(|(step, work)| Seconds {
                offline: profile.streamed_seconds(&step.cost.offline, work.offline),
                online: work.online + profile.seconds(&step.cost.online),
            })
            .collect();
        if let (Some(supplies), Some(step)) = (seconds.first_mut(), costs.first()) {
            let needed: Phases = costs.iter().map(|step| step.cost).sum();
            let each = ot_seconds(self.extension);
            let online = if self.streamed { each * needed.online.consumed() as f64 } else { 0.0 };
            supplies.online += online;
            let offline = each * (needed.offline + needed.online).consumed() as f64 - online;
            let waiting = step.cost.offline.rounds as f64 * profile.rtt_seconds / 2.0;
            supplies.offline = profile.streamed_seconds(&step.cost.offline, offline) + waiting;
        }
        seconds
    }

    /// Predicted seconds of set-up. Hints that the plan names are made before.
    pub fn setup_seconds(&self, profile: &Profile, hints: Hints) -> f64 {
        let outline = Outline::named(self);
        let made = self.kept_layers().filter(|(step, ..)| outline.part(*step).is_none());
        let made: f64 = made.map(|(_, _, layer)| layer.seconds(1).setup).sum();
        let ots = ot_seconds(self.extension) * self.kept_states(hints).client_cots as f64;
        profile.seconds(&self.setup_cost(hints)) + made + ots
    }

    /// Seconds of work of a step, without the wire.
    pub fn step_work(&self, op: &Op, images: usize) -> Seconds {
        self.prices().step_work(op, images)
    }
}

/// Seconds of work for one correlated OT, and for the pads that are made of it.
pub fn ot_seconds(source: OtExtension) -> f64 {
    let ot = match source {
        OtExtension::Softspoken(depth) => {
            let blocks = (depth.trees() << depth.get()) as f64 / 128.0;
            rates::TRANSFER + blocks * rates::STREAM_BLOCK
        }
        OtExtension::Ferret(parameters) => {
            rates::FERRET[parameters.depth() - Parameters::SMALLEST.depth()]
        }
    };
    ot + rates::PAD
}

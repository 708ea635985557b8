//! Seconds: what a plan takes on a given network, from bytes, rounds and the work of the kernels.

use super::Profile;
use crate::linear::Layer;
use crate::ot::{Parameters, Source};
use crate::plan::{Op, Plan};
use crate::{Cost, Operator, Phases};

/// Predicted seconds of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Before the input is known.
    pub offline: f64,
    /// From the input on.
    pub online: f64,
}

/// Seconds that a core takes, fitted to the steps of whole inferences by two processes on a current
/// server with two cores; they shape choices, never results. They count what the benches of kernels
/// do not see: fresh pages, and copies to and from sockets.
mod unit {
    /// Expanding a leaf into one block of columns and adding it up.
    pub(super) const LEAF_BLOCK: f64 = 0.58e-9;
    /// Making a leaf out of its tree.
    pub(super) const LEAF: f64 = 4e-9;
    /// Packing, sending and applying one correction.
    pub(super) const CORRECTION: f64 = 1.5e-9;
    /// An element of a transform of Winograd's, from its share to a buffer and on.
    pub(super) const TRANSFORMED: f64 = 22e-9;
    /// The same as [`CORRECTION`] where the digits of a mask are the puncture points: each finds
    /// its weight and its output on its own.
    pub(super) const MASK_CORRECTION: f64 = 18e-9;
    /// One correlated transfer of SoftSpoken, whatever the depth.
    pub(super) const TRANSFER: f64 = 10e-9;
    /// One correlated transfer of Ferret, by parameter set: the larger the secret, the further away
    /// its cache.
    pub(super) const FERRET: [f64; 5] = [22e-9, 22e-9, 22e-9, 26e-9, 41e-9];
    /// One block of the extension's streams.
    pub(super) const STREAM_BLOCK: f64 = 0.55e-9;
    /// Using one transfer in an operator on shares: hashing it, and its part of all messages.
    pub(super) const USE: f64 = 13e-9;
    /// An entry of a table that is looked up: rotating, masking and packing it.
    pub(super) const ENTRY: f64 = 4e-9;
    /// One multiplication by a weight in the clear.
    pub(super) const MAC: f64 = 0.2e-9;
}

impl Layer {
    /// Seconds of work for the products with a batch, by the party that works more.
    pub fn products_seconds(&self, images: usize) -> f64 {
        let work = self.work(images);
        // Trees that are not kept are made anew, with their punctures.
        let (made, correction) =
            if self.keeps_trees() { (1.0, unit::CORRECTION) } else { (3.0, unit::MASK_CORRECTION) };
        made * work.leaves * unit::LEAF
            + work.blocks * unit::LEAF_BLOCK
            + work.corrections * correction
            + self.transformed(images) as f64 * unit::TRANSFORMED
    }

    /// Blocks that the leaves of all trees are expanded to, for a batch.
    pub fn blocks(&self, images: usize) -> u64 {
        self.work(images).blocks as u64
    }

    /// Seconds of work for planting the trees, once per session.
    pub fn setup_seconds(&self) -> f64 {
        if self.keeps_trees() { self.work(1).leaves * 2.0 * unit::LEAF } else { 0.0 }
    }
}

impl Plan {
    /// Predicted seconds of every step, in the order of [`Plan::step_costs`].
    pub fn step_seconds(&self, profile: &Profile, images: usize) -> Vec<Seconds> {
        let work = std::iter::once(Seconds::default()).chain(
            self.steps
                .iter()
                .filter(|step| step.op.kind().is_some())
                .map(|step| self.step_work(&step.op, images)),
        );
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
            let work = |cost: Cost| {
                transfer_seconds(self.transfers) * (cost.server_cots + cost.client_cots) as f64
            };
            let online = if self.streamed { work(needed.online) } else { 0.0 };
            supplies.online += online;
            let offline = work(needed.offline + needed.online) - online;
            let waiting = step.cost.offline.rounds as f64 * profile.rtt_seconds / 2.0;
            supplies.offline = profile.streamed_seconds(&step.cost.offline, offline) + waiting;
        }
        seconds
    }

    /// Predicted seconds of set-up.
    pub fn setup_seconds(&self, profile: &Profile) -> f64 {
        let layers = self.layers().filter(|_| !self.streamed);
        let trees: f64 = layers.map(|(_, _, layer)| layer.setup_seconds()).sum();
        let transfers = transfer_seconds(self.transfers) * self.kept_trees().client_cots as f64;
        profile.seconds(&self.setup_cost()) + trees + transfers
    }

    /// Seconds of work of a step, without the wire.
    pub fn step_work(&self, op: &Op, images: usize) -> Seconds {
        let used = |cost: Option<Cost>| Seconds {
            online: cost
                .map_or(0.0, |cost| (cost.server_cots + cost.client_cots) as f64 * unit::USE),
            ..Seconds::default()
        };
        match op {
            Op::Linear { .. } => op.layer().map_or_else(Seconds::default, |layer| Seconds {
                offline: layer.products_seconds(images)
                    + if self.streamed { layer.setup_seconds() } else { 0.0 },
                online: layer.macs() as f64 * images as f64 * unit::MAC,
            }),
            Op::Requant { .. } => used(self.requant(op, images).map(|operator| operator.cost())),
            Op::MaxPool { .. } => used(self.max_pool(op, images).map(|operator| operator.cost())),
            Op::Lookup { table, .. } => {
                let operator = self.lookup(op, images);
                let entries = operator.as_ref().map_or(0, |operator| operator.len * table.len());
                let transfers = used(operator.map(|operator| operator.cost()));
                Seconds { online: transfers.online + entries as f64 * unit::ENTRY, ..transfers }
            }
            Op::Argmax { .. } => used(self.argmax(op, images).map(|operator| operator.cost())),
            Op::Input { .. } | Op::SumPool { .. } | Op::View { .. } | Op::Output { .. } => {
                Seconds::default()
            }
        }
    }
}

/// Seconds of work for one correlated transfer.
pub fn transfer_seconds(source: Source) -> f64 {
    match source {
        Source::Softspoken(depth) => {
            let blocks = (depth.trees() << depth.get()) as f64 / 128.0;
            unit::TRANSFER + blocks * unit::STREAM_BLOCK
        }
        Source::Ferret(parameters) => {
            unit::FERRET[parameters.depth() - Parameters::SMALLEST.depth()]
        }
    }
}

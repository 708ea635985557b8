//! `pq cost --why`: every way to run a step, with its price.

use std::fmt::Write;

use fusion::planner::{self, Candidate};
use protocols::ot::OtExtensions;
use protocols::plan::{Op, Plan};
use protocols::printable::Printable;
use serde::Serialize;

use super::Args;
use crate::exit::{Failure, Outcome};
use crate::ledger::Amount;
use crate::table::Table;
use crate::units;

/// All ways to run a step.
#[derive(Serialize)]
pub(super) struct Why {
    step: String,
    images: u32,
    inferences: u64,
    /// Bits that an OT of the plan's source takes.
    transfer_bits: f64,
    candidates: Vec<Way>,
}

/// One way to run a step, and its price for a batch.
#[derive(Serialize)]
struct Way {
    protocol: String,
    /// Weights, or digits of activations, of one tree.
    group: Option<usize>,
    /// Once a session.
    setup: Amount,
    offline: Amount,
    online: Amount,
    /// OTs consumed: once a session, and by a batch.
    setup_transfers: u64,
    transfers: u64,
    /// Blocks of AES that trees are expanded to.
    aes_blocks: u64,
    /// For one image, with its share of set-up and with its OTs.
    seconds: f64,
    /// Whether the plan runs the step this way.
    planned: bool,
    /// Whether nothing is faster here.
    fastest: bool,
}

impl Why {
    pub(super) fn new(plan: &Plan, name: &str, args: &Args) -> Outcome<Self> {
        let purpose = args.purpose(OtExtensions::Any);
        let candidates = |op: &Op| planner::candidates(plan, op, &purpose);
        let chosen = plan.steps.iter().find(|step| step.name == name);
        let Some((step, found)) =
            chosen.map(|step| (step, candidates(&step.op))).filter(|(_, found)| found.len() > 1)
        else {
            let others = plan.steps.iter().filter(|step| candidates(&step.op).len() > 1);
            let names: Vec<&str> = others.map(|step| step.name.as_str()).collect();
            let message = format!(
                "no step '{name}' with a choice of protocols; there are: {}",
                names.join(", ")
            );
            return Err(Failure::usage(message));
        };
        let seconds = |candidate: &Candidate| candidate.seconds(plan.extension, &args.link);
        let least = found.iter().map(seconds).fold(f64::INFINITY, f64::min);
        let way = |candidate: &Candidate| {
            Way::new(candidate, args.batch as usize, seconds(candidate), least, &step.op)
        };
        Ok(Self {
            step: name.to_owned(),
            images: args.batch,
            inferences: purpose.inferences,
            transfer_bits: plan.extension.bits(),
            candidates: found.iter().map(way).collect(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new(
            1,
            &[
                "protocol",
                "group",
                "set-up",
                "offline",
                "online",
                "rounds",
                "OTs",
                "AES blocks",
                "per image",
                "",
            ],
        );
        for way in &self.candidates {
            let bytes = |transfers: u64| (transfers as f64 * self.transfer_bits / 8.0) as u64;
            let with =
                |amount: &Amount, transfers: u64| units::bytes(amount.bytes() + bytes(transfers));
            let mark = match (way.planned, way.fastest) {
                (true, true) => "planned, fastest",
                (true, false) => "planned",
                (false, true) => "fastest",
                (false, false) => "",
            };
            table.row(vec![
                way.protocol.clone(),
                way.group.map_or_else(String::new, |group| group.to_string()),
                with(&way.setup, way.setup_transfers),
                units::bytes(way.offline.bytes()),
                units::bytes(way.online.bytes()),
                (way.offline.rounds + way.online.rounds).to_string(),
                units::bytes(bytes(way.transfers)),
                units::count(way.aes_blocks),
                units::seconds(way.seconds),
                mark.to_owned(),
            ]);
        }
        let mut text = String::new();
        let images =
            if self.images == 1 { "1 image".into() } else { format!("{} images", self.images) };
        let _ = writeln!(
            text,
            "{}, {images}, {} inferences a session\n",
            Printable(&self.step),
            self.inferences
        );
        let _ = write!(text, "{table}");
        text
    }
}

impl Way {
    fn new(candidate: &Candidate, images: usize, seconds: f64, least: f64, planned: &Op) -> Self {
        let cost = &candidate.cost;
        let detail = candidate.op.layer().map(|layer| layer.detail(images));
        let transfers = |cost: protocols::Cost| cost.consumed();
        Self {
            protocol: candidate.op.protocol(),
            group: detail.map(|detail| detail.group),
            setup: Amount::new(&cost.setup, 0.0),
            offline: Amount::new(&cost.offline, 0.0),
            online: Amount::new(&cost.online, 0.0),
            setup_transfers: transfers(cost.setup),
            transfers: transfers(cost.offline + cost.online),
            aes_blocks: detail.map_or(0, |detail| detail.aes_blocks),
            seconds,
            planned: candidate.op == *planned,
            fastest: seconds <= least,
        }
    }
}

//! The ledger as a table.

use std::fmt::Write;

use protocols::plan::Kind;
use protocols::printable::Printable;

use super::{Amount, Ledger, Step, Totals};
use crate::table::Table;
use crate::units;

const WORDS: [&str; 3] = ["step", "kind", "protocol"];
const NUMBERS: [&str; 6] =
    ["offline S→C", "offline C→S", "online S→C", "online C→S", "rounds", "time"];

impl Ledger {
    /// A prediction as text.
    pub(crate) fn text(&self, name: &str) -> String {
        let images = match self.cost.images {
            1 => "1 image".to_owned(),
            images => format!("{images} images"),
        };
        let name = Printable(name);
        format!(
            "{name}, predicted for {images}\n\n{}{}",
            self.table("widths", widths),
            self.summary()
        )
    }

    /// A measured run as text.
    pub(crate) fn measured_text(&self) -> String {
        let verdict = |step: &Step| if step.balances() { "✓" } else { "✗ differs" }.to_owned();
        self.table("as predicted", verdict) + &self.summary()
    }

    /// A line a step, with one more column.
    fn table(&self, heading: &str, column: impl Fn(&Step) -> String) -> String {
        let headings: Vec<&str> = [&WORDS[..], &NUMBERS, &[heading]].concat();
        let mut table = Table::new(WORDS.len(), &headings);
        for step in &self.steps {
            let words = [step.name.clone(), kind(step.kind).into(), step.protocol.clone()];
            let numbers = numbers(&step.amount.offline, &step.amount.online);
            table.row(words.into_iter().chain(numbers).chain([column(step)]).collect());
        }
        let words = ["total".into(), String::new(), String::new()];
        table
            .row(words.into_iter().chain(numbers(&self.cost.offline, &self.cost.online)).collect());
        table.to_string()
    }

    fn summary(&self) -> String {
        let mut text = String::from("\n");
        let phases = [
            ("set-up, once", &self.cost.setup),
            ("offline", &self.cost.offline),
            ("online", &self.cost.online),
        ];
        for (name, amount) in phases {
            let _ = writeln!(
                text,
                "{name:<13} {:>10} from the server, {:>10} from the client, {:>4} rounds, {:>9}",
                units::bytes(amount.server_bytes),
                units::bytes(amount.client_bytes),
                amount.rounds,
                units::seconds(amount.seconds)
            );
        }
        if self.cost.inferences > 1 && self.cost.batch > 1 {
            let Totals { images, batch, inferences, .. } = &self.cost;
            let last = images - batch * (inferences - 1);
            let last = if last < *batch { format!(", {last} in the last") } else { String::new() };
            let _ = writeln!(text, "{images} images in {inferences} inferences of {batch}{last}");
        }
        if self.cost.prepared > 1 {
            let share = |amount: &Amount, of: usize| {
                let (bytes, seconds) =
                    (amount.bytes() / of.max(1) as u64, amount.seconds / of.max(1) as f64);
                format!("{} and {}", units::bytes(bytes), units::seconds(seconds))
            };
            let Totals { prepared, inferences, offline, online, .. } = &self.cost;
            let _ = writeln!(
                text,
                "{prepared} inferences prepared, {} each; {inferences} run, {} each",
                share(offline, *prepared),
                share(online, *inferences)
            );
        }
        let bits = self.cost.bits();
        let _ = writeln!(
            text,
            "communication of the run, offline and online: {} ({} bits)",
            units::bytes(bits / 8),
            units::count(bits)
        );
        text
    }
}

fn numbers(offline: &Amount, online: &Amount) -> [String; 6] {
    let total = offline.plus(*online);
    [
        blank_if_none(offline.server_bytes),
        blank_if_none(offline.client_bytes),
        blank_if_none(online.server_bytes),
        blank_if_none(online.client_bytes),
        if total.rounds == 0 { String::new() } else { total.rounds.to_string() },
        units::seconds(total.seconds),
    ]
}

fn blank_if_none(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { units::bytes(bytes) }
}

/// `w4 8>6 in 19`: weights, values read and written, ring.
fn widths(step: &Step) -> String {
    let part = |name: &str, bits: Option<u8>| bits.map(|bits| format!("{name}{bits}"));
    let weights = part("w", step.weight_bits);
    let values = match (step.kind, step.input_bits, step.output_bits) {
        // A linear step writes its accumulators: their width is the ring's.
        (Kind::Linear, Some(input), _) => Some(format!("a{input}")),
        (_, Some(input), Some(output)) => Some(format!("{input}>{output}")),
        (_, one, other) => one.or(other).map(|bits| bits.to_string()),
    };
    let ring = part("ring ", step.ring_bits);
    [weights, values, ring].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Linear => "linear",
        Kind::Nonlinear => "nonlinear",
        Kind::Pool => "pool",
        Kind::Ot => "ot",
        Kind::Io => "io",
    }
}

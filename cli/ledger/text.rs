//! The ledger as a table.

use std::fmt::Write;

use protocols::plan::Kind;

use super::{Amount, Ledger, Step};
use crate::table::Table;
use crate::units;

const HEADING: [&str; 11] = [
    "step",
    "kind",
    "protocol",
    "widths",
    "offline srv",
    "offline cli",
    "online srv",
    "online cli",
    "rounds",
    "time",
    "predicted",
];

impl Ledger {
    /// A prediction as text.
    pub(crate) fn text(&self, name: &str) -> String {
        let mut text = format!("{name}, predicted for {} image(s)\n\n", self.cost.images);
        text += &self.table(|_| String::new());
        text += &self.summary();
        text
    }

    /// A measured run as text.
    pub(crate) fn measured_text(&self) -> String {
        let tick = |step: &Step| if step.balances() { "= measured" } else { "DIFFERS" }.to_owned();
        self.table(tick) + &self.summary()
    }

    fn table(&self, verdict: impl Fn(&Step) -> String) -> String {
        let mut table = Table::new(4, &HEADING);
        for step in &self.steps {
            let words = [step.name.clone(), kind(step.kind).into(), step.protocol.clone(), widths(step)];
            let (offline, online) = (&step.amount.offline, &step.amount.online);
            table.row(row(words, offline, online, &step.amount.total, verdict(step)));
        }
        let (offline, online) = (&self.cost.offline, &self.cost.online);
        let words = ["total".into(), String::new(), String::new(), String::new()];
        table.row(row(words, offline, online, &offline.plus(*online), String::new()));
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

fn row(
    words: [String; 4],
    offline: &Amount,
    online: &Amount,
    total: &Amount,
    verdict: String,
) -> Vec<String> {
    let numbers = [
        blank_if_none(offline.server_bytes),
        blank_if_none(offline.client_bytes),
        blank_if_none(online.server_bytes),
        blank_if_none(online.client_bytes),
        if total.rounds == 0 { String::new() } else { total.rounds.to_string() },
        units::seconds(total.seconds),
        verdict,
    ];
    words.into_iter().chain(numbers).collect()
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

//! Counts, as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocols::Cost;

/// The word for a session that ended in a panic.
pub(super) const PANICKED: &str = "panic";

/// What is counted since the service began.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// By network and outcome.
    sessions: BTreeMap<(String, &'static str), u64>,
    images: BTreeMap<String, u64>,
    /// By network and phase: what was moved, seconds, and how often.
    phases: BTreeMap<(String, &'static str), Moved>,
    refused: BTreeMap<&'static str, u64>,
    files: u64,
    mismatches: u64,
    panics: u64,
}

#[derive(Clone, Copy, Default)]
struct Moved {
    server: u64,
    client: u64,
    seconds: f64,
    count: u64,
}

/// What is so now.
pub(super) struct Gauges {
    pub(super) sessions: usize,
    pub(super) queue: usize,
    /// Bytes that are spoken for, and all.
    pub(super) memory: (u64, u64),
    pub(super) ready: bool,
}

impl Metrics {
    pub(super) fn refused(&self, reason: &'static str) {
        *self.counts().refused.entry(reason).or_default() += 1;
    }

    pub(super) fn ended(&self, model: &str, outcome: &'static str) {
        let mut counts = self.counts();
        *counts.sessions.entry((model.into(), outcome)).or_default() += 1;
        // The law of the ledger ends a session: it is a mismatch, too.
        counts.mismatches += u64::from(outcome == "ledger");
        counts.panics += u64::from(outcome == PANICKED);
    }

    pub(super) fn images(&self, model: &str, images: usize) {
        *self.counts().images.entry(model.into()).or_default() += images as u64;
    }

    pub(super) fn moved(&self, model: &str, phase: &'static str, seconds: f64, cost: &Cost) {
        let mut counts = self.counts();
        let moved = counts.phases.entry((model.into(), phase)).or_default();
        moved.server += cost.server_bytes;
        moved.client += cost.client_bytes;
        moved.seconds += seconds;
        moved.count += 1;
    }

    pub(super) fn sent_file(&self, bytes: u64) {
        self.counts().files += bytes;
    }

    pub(super) fn mismatch(&self) {
        self.counts().mismatches += 1;
    }

    /// A panic of a connection that had no session.
    pub(super) fn panicked(&self) {
        self.counts().panics += 1;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, in Prometheus' text format. Names of networks are plain words, and need no
    /// escapes.
    pub(super) fn text(&self, gauges: &Gauges) -> String {
        // Families are there before anything is counted, so that an alert finds its zero.
        let (counts, mut page) = (self.counts(), Page(String::new()));
        page.family("pq_ready", "gauge", "1 where new sessions are let in.");
        page.line("pq_ready", "", u64::from(gauges.ready));
        page.family("pq_sessions", "gauge", "Sessions that run.");
        page.line("pq_sessions", "", gauges.sessions);
        page.family("pq_queue", "gauge", "Sessions that wait for memory.");
        page.line("pq_queue", "", gauges.queue);
        page.family(
            "pq_memory_bytes",
            "gauge",
            "Memory that is predicted and kept, and its limit.",
        );
        page.line("pq_memory_bytes", "{kind=\"charged\"}", gauges.memory.0);
        page.line("pq_memory_bytes", "{kind=\"limit\"}", gauges.memory.1);
        page.family("pq_sessions_total", "counter", "Sessions that have ended.");
        for ((model, outcome), count) in &counts.sessions {
            let labels = format!("{{model=\"{model}\",outcome=\"{outcome}\"}}");
            page.line("pq_sessions_total", &labels, count);
        }
        page.family("pq_images_total", "counter", "Images that were inferred.");
        for (model, count) in &counts.images {
            page.line("pq_images_total", &format!("{{model=\"{model}\"}}"), count);
        }
        page.phases(&counts.phases);
        page.family("pq_refused_total", "counter", "Connections that came to no session.");
        for (reason, count) in &counts.refused {
            page.line("pq_refused_total", &format!("{{reason=\"{reason}\"}}"), count);
        }
        page.family("pq_files_bytes_total", "counter", "Bytes of plans and hints that were sent.");
        page.line("pq_files_bytes_total", "", counts.files);
        page.family(
            "pq_ledger_mismatch_total",
            "counter",
            "Requests that moved something else than was predicted: must stay 0.",
        );
        page.line("pq_ledger_mismatch_total", "", counts.mismatches);
        let help = "Connections that ended in a panic of the server: must stay 0.";
        page.family("pq_panics_total", "counter", help);
        page.line("pq_panics_total", "", counts.panics);
        page.0
    }
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn phases(&mut self, phases: &BTreeMap<(String, &'static str), Moved>) {
        let help = "Bytes of the ledger, by who sent them.";
        self.family("pq_bytes_total", "counter", help);
        for ((model, phase), moved) in phases {
            for (by, bytes) in [("server", moved.server), ("client", moved.client)] {
                let labels = format!("{{model=\"{model}\",phase=\"{phase}\",sent_by=\"{by}\"}}");
                self.line("pq_bytes_total", &labels, bytes);
            }
        }
        self.family("pq_phase_seconds", "summary", "Wall-clock seconds of set-ups and requests.");
        for ((model, phase), moved) in phases.iter().filter(|((_, phase), _)| *phase != "session") {
            let labels = format!("{{model=\"{model}\",phase=\"{phase}\"}}");
            self.line("pq_phase_seconds_sum", &labels, moved.seconds);
            self.line("pq_phase_seconds_count", &labels, moved.count);
        }
    }
}

//! The memory of a run: what it may take, what it is predicted to take, and the images at a time
//! that fit.

use protocols::Role;
use protocols::allowance::{self, Excess, mebibytes};
use protocols::plan::{Load, Plan};
use protocols::price::PROCESS;
use serde::{Deserialize, Serialize};

use super::args::ImageOptions;
use crate::exit::{Failure, Outcome};
use crate::units;

/// The most that a process takes unless told otherwise, where the machine has twice as much.
const DEFAULT: u64 = 2 << 30;

/// Bytes that this process may be predicted to need.
#[derive(Clone, Copy)]
pub(crate) struct Budget(pub(crate) u64);

impl Budget {
    /// What was asked for, or else what the machine bears.
    pub(crate) fn of(bytes: Option<u64>) -> Self {
        Self(bytes.unwrap_or_else(|| DEFAULT.min(machine().unwrap_or(u64::MAX) / 2)))
    }
}

/// What a run was to take, and took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Bytes that were predicted, of the whole process.
    pub(crate) predicted_bytes: u64,
    /// Bytes that were held at the most, where the system tells.
    pub(crate) peak_bytes: Option<u64>,
    /// Bytes that could be predicted at the most.
    pub(crate) budget_bytes: u64,
}

/// The parties of this process, and what they may take together.
pub(super) struct Fit<'a> {
    plan: &'a Plan,
    parties: Parties,
    budget: Budget,
    /// Bytes that the process holds already, beyond those that every prediction counts.
    held: u64,
}

#[derive(Clone, Copy)]
pub(super) enum Parties {
    Server,
    /// The client chooses the images at a time for the server too, so the server's memory may be no
    /// larger either.
    Client,
    Both,
}

impl<'a> Fit<'a> {
    /// For a process that has read its files.
    pub(super) fn new(plan: &'a Plan, parties: Parties, budget: Budget) -> Self {
        let held = status("VmRSS:").unwrap_or(0).saturating_sub(PROCESS);
        Self { plan, parties, budget, held }
    }

    /// Bytes that this process is predicted to need.
    pub(super) fn predicted(&self, load: Load) -> u64 {
        self.held
            + match self.parties {
                Parties::Server => self.plan.memory(Role::Server, load),
                Parties::Client => self.plan.memory(Role::Client, load),
                // Each party's prediction counts the process itself, which is there once.
                Parties::Both => {
                    let [server, client] =
                        [Role::Server, Role::Client].map(|role| self.plan.memory(role, load));
                    server + client - PROCESS
                }
            }
    }

    /// What decides how many images are run at a time.
    fn largest(&self, load: Load) -> u64 {
        let own = self.predicted(load);
        match self.parties {
            Parties::Client => own.max(self.plan.memory(Role::Server, load)),
            Parties::Server | Parties::Both => own,
        }
    }

    /// The load of so many images: as many at a time as were asked for, or else as fit.
    pub(super) fn load(&self, options: &ImageOptions<'_>) -> Outcome<Load> {
        let total = options.indices.0.len();
        let prepared = options.offline.unwrap_or(1);
        let at_a_time = options.batch.or(options.offline.map(|_| 1));
        let images = at_a_time.unwrap_or_else(|| {
            allowance::most(total, |most| self.largest(Load::split(total, most)) <= self.budget.0)
        });
        let load = Load::split(total, images.clamp(1, total.max(1))).preparing(prepared);
        self.check(load)
    }

    /// A load that fits.
    pub(super) fn check(&self, load: Load) -> Outcome<Load> {
        load.check()?;
        match allowance::allowed(|load| self.predicted(load), self.budget.0, load) {
            Ok(()) => Ok(load),
            Err(excess) => Err(self.refused(&excess)),
        }
    }

    fn refused(&self, excess: &Excess) -> Failure {
        let who = match self.parties {
            Parties::Server => "the server",
            Parties::Client => "the client",
            Parties::Both => "both parties together",
        };
        Failure::input(format_args!(
            "memory of {who}: expected at most {}, found {}; {} (--batch); or raise --max-memory, \
            or \
             search a plan of short sessions with --inferences 1",
            mebibytes(self.budget.0),
            excess.asked(),
            excess.advice()
        ))
    }

    /// What a run is predicted to take.
    pub(super) fn memory(&self, load: Load) -> Memory {
        Memory {
            predicted_bytes: self.predicted(load),
            peak_bytes: None,
            budget_bytes: self.budget.0,
        }
    }
}

impl Memory {
    /// The same, after the run: with what it came to.
    pub(super) fn measured(self) -> Self {
        Self { peak_bytes: status("VmHWM:"), ..self }
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        let peak = self.peak_bytes.map(|peak| format!(", {} at the most", units::bytes(peak)));
        format!(
            "memory: {} predicted{}\n",
            units::bytes(self.predicted_bytes),
            peak.unwrap_or_default()
        )
    }
}

/// Bytes of this machine, or of the part of it that this process may use; where the system tells.
fn machine() -> Option<u64> {
    let all =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemTotal:"));
    // A container's limit, of cgroups of the second version; `max` is no number, and no limit.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    all.into_iter().chain(limit).min()
}

/// Bytes of a line of this process's status.
fn status(name: &str) -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

/// Bytes of a line such as `VmRSS:  1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read_in_bytes() {
        let text = "VmPeak:\t  9 kB\nVmHWM:\t    1234 kB\nThreads: 3\n";
        assert_eq!(field(text, "VmHWM:"), Some(1234 << 10));
        assert_eq!((field(text, "Threads:"), field(text, "VmRSS:")), (None, None));
    }
}

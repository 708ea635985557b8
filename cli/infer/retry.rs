//! Trying again: a server that is busy, ends or is lost may have a place soon, or another one
//! behind its balancer.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::context::App;
use crate::exit::{Code, Failure, Outcome};

/// The first pause, which doubles with every attempt, and the longest.
const FIRST: f64 = 0.25;
const LONGEST: f64 = 8.0;
/// Doublings that matter.
const DOUBLINGS: i32 = 5;

/// How long something is tried again.
pub(super) struct Retry {
    patience: Option<Duration>,
    /// The last time that something was achieved.
    since: Instant,
    /// Attempts that failed since then.
    failed: i32,
}

impl Retry {
    /// For so long, or not at all.
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self { patience, since: Instant::now(), failed: 0 }
    }

    /// Something was achieved: the time begins anew.
    pub(super) fn renew(&mut self) {
        (self.since, self.failed) = (Instant::now(), 0);
    }

    /// How long one attempt may take to reach the server, of what it may take otherwise.
    pub(super) fn within(&self, otherwise: Duration) -> Duration {
        self.left().map_or(otherwise, |left| otherwise.min(left.max(Duration::from_millis(100))))
    }

    /// Waits until it is worth another try.
    ///
    /// # Errors
    /// The failure, where another try would not help or the time is up.
    pub(super) fn again(&mut self, app: &App, failure: Failure) -> Outcome<()> {
        let Some(left) = self.left().filter(|_| failure.code() == Code::PeerLost) else {
            return Err(failure);
        };
        if left.is_zero() {
            let seconds = self.patience.unwrap_or_default().as_secs_f64();
            let message = format!("{}; tried for {seconds} s (--retry-for)", failure.message());
            return Err(Failure::new(Code::PeerLost, message));
        }
        // The last attempt is made when the time is up, however long the pause would be.
        let pause = pause(self.failed, failure.again_in(), rand::random()).min(left);
        self.failed = self.failed.saturating_add(1);
        let seconds = pause.as_secs_f64();
        app.console.note(format_args!("{}; trying again in {seconds:.1} s", failure.message()));
        sleep(pause);
        Ok(())
    }

    fn left(&self) -> Option<Duration> {
        self.patience.map(|patience| patience.saturating_sub(self.since.elapsed()))
    }
}

/// The pause after so many failures before; `chance` is from 0 to 1. Clients that were refused
/// together come again apart, and none before it was told to.
fn pause(failed: i32, told: Option<u32>, chance: f64) -> Duration {
    let own = (FIRST * 2f64.powi(failed.min(DOUBLINGS))).min(LONGEST) * (0.5 + 0.5 * chance);
    let told = told.map_or(0.0, |seconds| f64::from(seconds) * (1.0 + 0.25 * chance));
    Duration::from_secs_f64(own.max(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::Cleanup;
    use crate::console::{Console, Verbosity};

    #[test]
    fn pauses_grow_to_a_bound_and_are_no_shorter_than_was_told() {
        for chance in [0.0, 0.3, 1.0] {
            let pauses: Vec<Duration> = (0..40).map(|at| pause(at, None, chance)).collect();
            assert!(pauses.is_sorted() && pauses[39] <= Duration::from_secs_f64(LONGEST));
            assert!(pauses[0] >= Duration::from_millis(125));
            assert!(pause(0, Some(3), chance) >= Duration::from_secs(3));
        }
        assert!(pause(3, None, 0.0) < pause(3, None, 1.0), "chance tells clients apart");
    }

    #[test]
    fn what_another_try_does_not_help_is_not_tried_again() {
        let console = Console::new(false, Verbosity::Quiet);
        let app = App { console, cleanup: Cleanup::default() };
        let mut retry = Retry::new(Some(Duration::from_secs(60)));
        let refused = retry.again(&app, Failure::new(Code::Disagreement, "no"));
        assert_eq!(refused.unwrap_err().code(), Code::Disagreement);
        let lost = || Failure::new(Code::PeerLost, "lost");
        assert!(Retry::new(None).again(&app, lost()).is_err());
        retry.again(&app, lost()).unwrap();
        let mut late = Retry::new(Some(Duration::ZERO));
        let message = late.again(&app, lost()).unwrap_err().to_string();
        assert!(message.contains("--retry-for"), "{message}");
    }
}

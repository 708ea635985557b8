//! How long a party waits: for a byte, for a frame, in a step, and in a whole session.

use std::time::Duration;

use crate::Cost;
use crate::host::{Instant, timeout};

/// How long to wait for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time without a byte after which the peer counts as lost. It is the grace of every deadline
    /// too.
    pub silence: Duration,
    /// Bytes per second that the connection has to carry at the least.
    pub floor: u64,
    /// Time that a peer that is there may take to want something: a client between two requests, a
    /// server that lets it wait for its turn.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl Limits {
    /// The default of [`Limits::floor`]: 16 KiB a second.
    pub const FLOOR: u64 = 1 << 14;

    /// The default of [`Limits::idle`]: ten minutes.
    pub const IDLE: Duration = Duration::from_secs(600);

    /// Limits with the given time without a byte, and the defaults of all else.
    pub const fn new(silence: Duration) -> Self {
        Self { silence, floor: Self::FLOOR, idle: Self::IDLE }
    }

    /// The pause after which a party that has nothing to say sends a keep-alive frame.
    pub(super) fn keep_alive(self) -> Duration {
        (self.silence / 4).min(Duration::from_secs(2))
    }

    /// The time in which a frame with a payload of `len` bytes has to be complete, from its first
    /// byte on.
    pub(super) fn frame(self, len: usize) -> Duration {
        self.silence.saturating_add(seconds(len as f64 / self.floor as f64))
    }

    /// The time that the conversation is given for a part of it, without the grace: what it moves
    /// at the floor, a second a message (an eighth of the silence where that is less), and
    /// [`SLACK`] times the predicted seconds of work.
    pub(crate) fn budget(self, cost: Cost, work: f64) -> Duration {
        let message = self.silence.as_secs_f64() / 8.0;
        let wire = cost.bytes() as f64 / self.floor as f64 + cost.rounds as f64 * message.min(1.0);
        seconds(wire + SLACK * work)
    }
}

/// Predictions are for a quiet machine and an optimized build; a hundred times slower is no reason
/// to give up.
const SLACK: f64 = 100.0;
/// Times the silence that a session may wait beyond the budgets of its steps.
const SESSION_GRACE: u32 = 10;
/// Times the silence that a conversation without steps may wait for one frame.
const UNBUDGETED: u32 = 40;

/// A duration that no number of seconds makes panic: thirty years at the most.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
}

/// What is left of the time that this party is willing to wait. Only waiting is counted, and all of
/// it is, whatever arrives: what this party computes itself is not the peer's delay, and a peer
/// that trickles gains nothing.
pub(super) struct Patience {
    silence: Duration,
    /// Whether a step has been entered that has a budget: the session's time runs.
    budgeted: bool,
    /// Whether a request is waited for: the session's time stands still.
    idle: bool,
    step: Left,
    session: Left,
    /// The budget of the step.
    own: Duration,
    /// Budgets of the steps in which nothing was heard of the peer yet, this one included: it may
    /// still be in the first of them.
    unheard: Duration,
}

/// A time that is used up by waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    all: Duration,
    left: Duration,
}

/// Whose time was over: `the step's` or `the session's`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Overdue {
    pub(super) whose: &'static str,
    pub(super) all: Duration,
}

impl Patience {
    pub(super) fn new(limits: Limits) -> Self {
        let silence = limits.silence;
        Self {
            silence,
            budgeted: false,
            idle: false,
            step: Left::new(silence.saturating_mul(UNBUDGETED)),
            session: Left::new(silence.saturating_mul(SESSION_GRACE)),
            own: Duration::ZERO,
            unheard: Duration::ZERO,
        }
    }

    /// Begins a step with a budget of its own.
    pub(super) fn enter(&mut self, budget: Duration) {
        (self.budgeted, self.idle) = (true, false);
        self.own = budget;
        // The peer may still be in an earlier step of which it has said nothing: it has the time of
        // all of these.
        self.unheard = self.unheard.saturating_add(budget);
        self.step = Left::new(self.silence.saturating_add(self.unheard));
        self.session.add(budget);
    }

    /// Begins to wait for a request, for so long. The peer has been heard of by then, or is no
    /// further behind than that.
    pub(super) const fn idle(&mut self, time: Duration) {
        self.idle = true;
        self.step = Left::new(time);
    }

    /// Gives the step more time, for more work.
    pub(super) fn extend(&mut self, budget: Duration) {
        self.own = self.own.saturating_add(budget);
        self.unheard = self.unheard.saturating_add(budget);
        self.step.add(budget);
        self.session.add(budget);
    }

    /// A frame of the step has arrived: the peer is in it.
    pub(super) const fn heard(&mut self) {
        self.unheard = self.own;
        if !self.budgeted {
            self.step.left = self.step.all;
        }
    }

    /// Waits, as long as there is time. What is there already is never late.
    pub(super) async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Overdue> {
        let counted = self.budgeted && !self.idle;
        let session = counted && self.session.left < self.step.left;
        let tightest = if session { self.session } else { self.step };
        let started = Instant::now();
        // `timeout` asks the future first, so with no time left what is there already is still
        // found.
        let found = timeout(tightest.left, future).await;
        let waited = started.elapsed();
        self.step.left = self.step.left.saturating_sub(waited);
        if counted {
            self.session.left = self.session.left.saturating_sub(waited);
        }
        let whose = if session { "the session's" } else { "the step's" };
        found.map_err(|_| Overdue { whose, all: tightest.all })
    }
}

impl Left {
    const fn new(all: Duration) -> Self {
        Self { all, left: all }
    }

    const fn add(&mut self, time: Duration) {
        self.all = self.all.saturating_add(time);
        self.left = self.left.saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::{Limits, Overdue, Patience, SESSION_GRACE};
    use crate::{Cost, Role};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn waiting_uses_a_step_up_and_what_is_there_is_never_late() {
        let short = Duration::from_millis(50);
        let mut patience = Patience::new(Limits::new(short));
        patience.enter(short);
        let overdue = Overdue { whose: "the step's", all: 2 * short };
        assert_eq!(patience.wait(pending::<()>()).await, Err(overdue));
        assert_eq!(patience.wait(ready(7)).await, Ok(7), "no time is left, and none is needed");
        assert_eq!(
            patience.wait(pending::<()>()).await,
            Err(Overdue { whose: "the step's", all: 2 * short })
        );
    }

    #[test]
    fn a_peer_may_be_as_far_behind_as_it_was_not_heard_of() {
        let mut patience = Patience::new(Limits::new(SECOND));
        patience.enter(2 * SECOND);
        patience.enter(3 * SECOND);
        assert_eq!(patience.step.left, 6 * SECOND);
        patience.heard();
        patience.enter(5 * SECOND);
        assert_eq!(patience.step.left, 9 * SECOND, "the last step and this one");
        assert_eq!(patience.session.left, SESSION_GRACE * SECOND + 10 * SECOND);
    }

    #[tokio::test]
    async fn waiting_for_a_request_is_no_time_of_the_session() {
        let short = Duration::from_millis(20);
        let mut patience = Patience::new(Limits::new(short));
        patience.enter(short);
        let session = patience.session.left;
        patience.idle(3 * short);
        let overdue = Overdue { whose: "the step's", all: 3 * short };
        assert_eq!(patience.wait(pending::<()>()).await, Err(overdue));
        assert_eq!(patience.session.left, session);
        patience.enter(short);
        assert!(patience.wait(pending::<()>()).await.is_err());
        assert!(patience.session.left < session + short);
    }

    #[test]
    fn budgets_are_bytes_messages_and_work() {
        let limits = Limits { floor: 1000, ..Limits::new(4 * SECOND) };
        let cost = Cost { rounds: 4, ..Cost::message(Role::Server, 1988) };
        assert_eq!(limits.budget(cost, 0.05), 2 * SECOND + 2 * SECOND + 5 * SECOND);
        assert!(limits.budget(cost, f64::INFINITY) > Duration::from_secs(1 << 24));
        assert!(Limits { floor: 0, ..limits }.frame(1) > Duration::from_secs(1 << 24));
    }
}

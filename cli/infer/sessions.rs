//! The sessions of a client: one, and another one for what is left where one was lost.

use pq::{Client, Report};
use protocols::plan::Load;
use serde::{Deserialize, Serialize};

use super::input::Input;
use crate::exit::Outcome;
use crate::progress::{Progress, show};

/// What a client has been told so far.
#[derive(Default)]
pub(super) struct Sessions {
    /// The answers, one inference after the other.
    pub(super) found: Vec<i64>,
    /// Inferences that were answered.
    pub(super) answered: usize,
    /// Those that have ended.
    done: Vec<Done>,
    /// That of the session that goes on, up to its last answer.
    current: Option<(String, Report)>,
}

/// A session that has ended, in whatever way.
struct Done {
    name: String,
    report: Report,
    complete: bool,
}

/// A session that has answered something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The start of its number, by which the server's log names it.
    pub(crate) session: String,
    /// Images that it has answered.
    pub(crate) images: usize,
    /// Whether it has ended in good order. Of one that was lost, the bytes are those up to its last
    /// answer.
    pub(crate) complete: bool,
    /// Bytes that the server sent, set-up and requests included.
    pub(crate) server_bytes: u64,
    /// Bytes that the client sent, likewise.
    pub(crate) client_bytes: u64,
}

impl Sessions {
    /// Runs what is left, in one session.
    ///
    /// # Errors
    /// The server is lost or refuses: what was answered before stays.
    pub(super) async fn run(&mut self, mut client: Client, input: &Input) -> Outcome<()> {
        let progress = Progress::new();
        let name = client.name().to_owned();
        while self.answered < input.load.inferences {
            let part = input.part(self.answered);
            let found = client.infer_integers(part, &mut show(&progress)).await?;
            self.found.extend(found);
            self.answered += 1;
            // Its cost is not counted before it is answered: a lost session balances, too.
            self.current = client.report().map(|report| (name.clone(), report));
        }
        let report = client.close().await?;
        self.current = None;
        self.done.push(Done { name, report, complete: true });
        Ok(())
    }

    /// The session is lost: what it has answered is kept.
    pub(super) fn lose(&mut self) {
        let lost = self.current.take();
        self.done.extend(lost.map(|(name, report)| Done { name, report, complete: false }));
    }

    /// What is left of a load.
    pub(super) fn left(&self, load: Load) -> Load {
        if self.answered == 0 {
            return load;
        }
        // Less than was asked for is prepared where less is left.
        let inferences = load.inferences - self.answered;
        Load { inferences, prepared: load.prepared.min(inferences), ..load }
    }

    /// All ledgers.
    pub(super) fn reports(&self) -> Vec<&Report> {
        self.done.iter().map(|done| &done.report).collect()
    }

    /// Every session, in order.
    pub(super) fn list(&self) -> Vec<Session> {
        self.done.iter().map(Session::of).collect()
    }
}

impl Session {
    fn of(done: &Done) -> Self {
        let Done { name, report, complete } = done;
        let cost = report.setup.cost + report.offline().cost + report.online().cost;
        Self {
            session: name.clone(),
            images: report.load.total(),
            complete: *complete,
            server_bytes: cost.server_bytes,
            client_bytes: cost.client_bytes,
        }
    }
}

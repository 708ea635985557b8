//! A session: a thread of its own, and one request of its client after the other.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use protocols::execute::{PartySession, Report, Request, request_cost};
use protocols::plan::Load;
use protocols::{Cost, Reason};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Span, debug};

use super::admission::Ticket;
use super::door::reason;
use super::event::{ServiceEvent, SessionEnd, TARGET, step};
use super::metrics::PANICKED;
use super::models::Model;
use super::quota::now;
use super::state::{Phase, Presence, Row, Shared, Shown};
use crate::Error;
use crate::party::Met;
use crate::tls::KnownClient;

/// How long a service that is about to end waits for a session's next request.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// What is told of a panic: its own words may quote what is secret.
const PANIC: &str = "a broken invariant, at the place that the log of panics names; report it";

/// What a session was granted.
pub(super) struct Seat {
    pub(super) model: Arc<Model>,
    pub(super) place: usize,
    pub(super) ticket: Ticket,
    /// Bytes that a party's process may be predicted to need for it.
    pub(super) granted: u64,
    /// Bytes that are kept for it.
    pub(super) memory: u64,
    pub(super) load: Load,
}

/// How a session ends that does not fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// The service ends first.
    Left,
    /// The client may have no more images.
    Quota,
}

/// A session that runs.
struct Running {
    shared: Arc<Shared>,
    name: String,
    client: KnownClient,
    seat: Seat,
    shown: Shown,
    images: u64,
    /// What the ledger has so far.
    moved: Cost,
    /// What its events of `tracing` are within.
    span: Span,
    /// Connections count until they are over.
    _presence: Presence,
}

/// Gives a session a thread.
pub(super) fn start(
    shared: &Arc<Shared>,
    met: Met,
    seat: Seat,
    (client, peer): (KnownClient, SocketAddr),
    presence: Presence,
) {
    let name = met.name();
    let (model, load) = (&seat.model.name, met.load());
    shared.tell(&ServiceEvent::Opened {
        session: &name,
        client: &client.name,
        peer,
        model,
        images: load.images,
        prepared: load.prepared,
        memory_bytes: seat.memory,
    });
    // A row is there before the thread is: a session is never at work unseen.
    let shown = shared.show(Row {
        session: name.clone(),
        client: client.name.clone(),
        model: model.clone(),
        peer,
        memory_bytes: seat.memory,
        images: 0,
        since: now(),
    });
    let (own, handle) = (Arc::clone(shared), Handle::current());
    let span = tracing::info_span!(
        target: TARGET, "session", session = name, client = client.name, model, %peer
    );
    let (images, moved, _presence) = (0, Cost::ZERO, presence);
    let running =
        Running { shared: own, name, client, seat, shown, images, moved, span, _presence };
    let begun = Builder::new().name("session".into()).spawn(move || running.run(&handle, met));
    if let Err(error) = begun {
        shared.refused(Some(peer), "system", &format!("the system refuses a thread: {error}"));
    }
}

impl Running {
    fn run(mut self, handle: &Handle, met: Met) {
        let (started, span) = (Instant::now(), self.span.clone());
        // The thread is the session's alone, so everything on it is within.
        let _within = span.enter();
        let mut phase = self.shared.phase.subscribe();
        // Operators compute on this thread, between two waits: a cut takes effect at the next one.
        let conversation = async {
            tokio::select! {
                outcome = self.converse(met) => outcome,
                _ = phase.wait_for(|phase| *phase == Phase::Cut) => Ok(End::Left),
            }
        };
        // Nothing of a session is used after a panic but its names and counts.
        let outcome = catch_unwind(AssertUnwindSafe(|| handle.block_on(conversation)));
        self.end(outcome.as_ref().ok(), started);
    }

    /// Counts and tells how it has ended: in a panic, where there is no outcome.
    fn end(&self, outcome: Option<&Result<End, Error>>, started: Instant) {
        let (outcome, why) = match outcome {
            Some(Ok(End::Complete)) => ("complete", None),
            Some(Ok(End::Left)) => ("left", None),
            Some(Ok(End::Quota)) => ("quota", None),
            Some(Err(error)) => (reason(error), Some(error.to_string())),
            None => (PANICKED, Some(PANIC.into())),
        };
        let model = self.seat.model.name.as_str();
        self.shared.metrics.ended(model, outcome);
        let end = SessionEnd {
            session: &self.name,
            client: &self.client.name,
            model,
            outcome,
            images: self.images,
            server_bytes: self.moved.server_bytes,
            client_bytes: self.moved.client_bytes,
            seconds: started.elapsed().as_secs_f64(),
            why: why.as_deref(),
        };
        self.shared.tell(&ServiceEvent::Ended(end));
    }

    async fn converse(&mut self, met: Met) -> Result<End, Error> {
        let started = Instant::now();
        let mut session = Box::pin(met.open(&mut step)).await?;
        let (seconds, setup) = (started.elapsed().as_secs_f64(), session.report().setup.cost);
        self.moved("setup", seconds, setup);
        let mut phase = self.shared.phase.subscribe();
        loop {
            let request = tokio::select! {
                // A request that is there is served, also where the service is about to end.
                biased;
                request = session.requested() => request?,
                () = leaving(&mut phase) => {
                    session.dismiss(Reason::Leaving).await;
                    return Ok(End::Left);
                }
            };
            match request {
                Request::Prepare(count) => self.prepare(&mut session, count).await?,
                Request::Infer if self.take(session.next_images())? => {
                    self.infer(&mut session).await?;
                }
                Request::Infer => {
                    session.dismiss(Reason::Quota).await;
                    return Ok(End::Quota);
                }
                Request::Bye => {
                    self.close(session).await?;
                    return Ok(End::Complete);
                }
            }
        }
    }

    /// Takes images of the client's day. They are taken before anything is revealed.
    fn take(&self, images: usize) -> Result<bool, Error> {
        match self.client.rights.images_per_day {
            Some(a_day) => {
                self.shared.quota.take(&self.client.credential, (a_day, images as u64), now())
            }
            None => Ok(true),
        }
    }

    async fn prepare(&mut self, session: &mut PartySession, count: usize) -> Result<(), Error> {
        let before = Sums::of(session.report());
        let started = Instant::now();
        Box::pin(session.prepare(count, &mut step)).await?;
        let images = count * self.seat.load.images;
        self.served(session.report(), before, ("prepare", "offline", images), started);
        Ok(())
    }

    async fn infer(&mut self, session: &mut PartySession) -> Result<(), Error> {
        let (before, images) = (Sums::of(session.report()), session.next_images());
        let started = Instant::now();
        Box::pin(session.infer(&[], &mut step)).await?;
        self.images += images as u64;
        self.shown.add_images(images);
        self.shared.metrics.images(&self.seat.model.name, images);
        self.served(session.report(), before, ("infer", "online", images), started);
        Ok(())
    }

    /// What was requested and what the end has moved is counted then, without set-up.
    async fn close(&mut self, session: PartySession) -> Result<(), Error> {
        let setup = session.report().setup.cost;
        let report = session.close().await?;
        let requests = request_cost() * report.requests;
        let plan = &self.seat.model.at(self.seat.place).plan;
        if report.setup.cost != plan.setup_cost(report.load.hints) + requests {
            self.shared.metrics.mismatch();
        }
        let end = difference(report.setup.cost, setup) + requests;
        self.moved("session", 0.0, end);
        Ok(())
    }

    /// Counts what was moved.
    fn moved(&mut self, phase: &'static str, seconds: f64, cost: Cost) {
        self.moved += cost;
        let Cost { server_bytes, client_bytes, rounds, .. } = cost;
        debug!(target: TARGET, phase, seconds, server_bytes, client_bytes, rounds, "moved");
        self.shared.metrics.moved(&self.seat.model.name, phase, seconds, &cost);
    }

    /// Counts and tells a request, with what was predicted of it beside.
    fn served(
        &mut self,
        report: &Report,
        before: Sums,
        (request, phase, images): (&'static str, &'static str, usize),
        started: Instant,
    ) {
        let (after, seconds) = (Sums::of(report), started.elapsed().as_secs_f64());
        let measured = difference(after.measured, before.measured);
        let predicted = difference(after.predicted, before.predicted);
        self.moved(phase, seconds, measured);
        // Every step was held to its own prediction: this is the sum of the whole request.
        if measured != predicted {
            self.shared.metrics.mismatch();
        }
        self.shared.tell(&ServiceEvent::Served {
            session: &self.name,
            request,
            images,
            seconds,
            server_bytes: measured.server_bytes,
            client_bytes: measured.client_bytes,
            predicted_bytes: predicted.bytes(),
        });
    }
}

/// What a session has moved so far, and what of it was predicted; set-up apart.
#[derive(Clone, Copy)]
struct Sums {
    measured: Cost,
    predicted: Cost,
}

impl Sums {
    fn of(report: &Report) -> Self {
        let predicted = report.predicted();
        Self {
            measured: report.offline().cost + report.online().cost,
            predicted: predicted.offline + predicted.online,
        }
    }
}

const fn difference(after: Cost, before: Cost) -> Cost {
    Cost {
        server_bytes: after.server_bytes - before.server_bytes,
        client_bytes: after.client_bytes - before.client_bytes,
        rounds: after.rounds - before.rounds,
        server_cots: after.server_cots - before.server_cots,
        client_cots: after.client_cots - before.client_cots,
    }
}

/// Ends when a session has to, whose client requests nothing meanwhile.
async fn leaving(phase: &mut watch::Receiver<Phase>) {
    // The sender is part of what the session holds.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
    let _ = timeout(LAST_REQUEST, phase.wait_for(|phase| *phase == Phase::Cut)).await;
}

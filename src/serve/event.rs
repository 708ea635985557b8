//! What happens, for logs: each event is one of `tracing` too, of the same fields, whose message is
//! its name. Nothing here can hold an input, a result or a key that is secret.

use std::net::SocketAddr;

use protocols::execute::Event;
use serde::Serialize;
use tracing::{field, info, trace, warn};

/// What the events are told apart by from those of other libraries.
pub(super) const TARGET: &str = "pq::serve";

/// Hears of what happens, beside those who listen to `tracing`.
pub type Log = dyn Fn(&ServiceEvent<'_>) + Send + Sync;

/// What happens in a service.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServiceEvent<'a> {
    /// A connection came to nothing.
    Refused {
        /// Where it came from; none where the system accepts no connection.
        peer: Option<SocketAddr>,
        /// A word for it, as in the metrics.
        reason: &'static str,
        /// The error, which may quote the peer.
        why: &'a str,
    },
    /// A session has begun.
    Opened {
        /// The start of the session's number.
        session: &'a str,
        /// The client's name in the file of clients.
        client: &'a str,
        /// Where it came from.
        peer: SocketAddr,
        /// The network.
        model: &'a str,
        /// Images of an inference, and inferences that are prepared together.
        images: usize,
        /// See `images`.
        prepared: usize,
        /// Bytes of memory that are kept for it.
        memory_bytes: u64,
    },
    /// A request was served.
    Served {
        /// The start of the session's number.
        session: &'a str,
        /// `prepare` or `infer`.
        request: &'static str,
        /// Images that it was for.
        images: usize,
        /// Wall-clock seconds.
        seconds: f64,
        /// Bytes that the server sent.
        server_bytes: u64,
        /// Bytes that the client sent.
        client_bytes: u64,
        /// Bytes in both directions that were predicted.
        predicted_bytes: u64,
    },
    /// A session has ended.
    Ended(SessionEnd<'a>),
    /// All files were read again.
    Reloaded {
        /// Networks that there are.
        models: usize,
        /// Clients that there are.
        clients: usize,
    },
    /// A file could not be used: everything is as it was.
    NotReloaded {
        /// The error.
        why: &'a str,
    },
    /// Nobody is let in any more.
    Draining {
        /// Connections that go on.
        sessions: usize,
    },
    /// The service ends.
    Drained {
        /// Connections that did not end in time.
        cut: usize,
    },
}

/// How a session has ended.
#[derive(Clone, Debug, Serialize)]
pub struct SessionEnd<'a> {
    /// The start of the session's number.
    pub session: &'a str,
    /// The client's name in the file of clients.
    pub client: &'a str,
    /// The network.
    pub model: &'a str,
    /// A word for it, as in the metrics: `complete` where the client has said goodbye.
    pub outcome: &'static str,
    /// Images that were inferred.
    pub images: u64,
    /// Bytes of the ledger that the server sent, as in the metrics; of a session that is complete
    /// they are those of its client's ledger.
    pub server_bytes: u64,
    /// Bytes of the ledger that the client sent, likewise.
    pub client_bytes: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The error, which may quote the client; none where it is complete.
    pub why: Option<&'a str>,
}

impl ServiceEvent<'_> {
    /// Tells those who listen to `tracing`.
    pub(super) fn trace(&self) {
        match self {
            Self::Refused { peer, reason, why } => {
                warn!(target: TARGET, peer = peer.map(field::display), reason, why, "refused");
            }
            Self::Opened { .. } | Self::Served { .. } => self.trace_session(),
            Self::Ended(end) => end.trace(),
            Self::Reloaded { models, clients } => {
                info!(target: TARGET, models, clients, "reloaded");
            }
            Self::NotReloaded { why } => warn!(target: TARGET, why, "not_reloaded"),
            Self::Draining { sessions } => info!(target: TARGET, sessions, "draining"),
            Self::Drained { cut } => info!(target: TARGET, cut, "drained"),
        }
    }

    fn trace_session(&self) {
        if let Self::Opened { session, client, peer, model, images, prepared, memory_bytes } = self
        {
            info!(
                target: TARGET,
                session, client, %peer, model, images, prepared, memory_bytes, "opened"
            );
        }
        if let Self::Served {
            session,
            request,
            images,
            seconds,
            server_bytes,
            client_bytes,
            predicted_bytes,
        } = self
        {
            info!(
                target: TARGET,
                session, request, images, seconds, server_bytes, client_bytes, predicted_bytes,
                "served"
            );
        }
    }
}

impl SessionEnd<'_> {
    fn trace(&self) {
        let Self { session, client, model, outcome, images, .. } = self;
        let Self { server_bytes, client_bytes, seconds, why, .. } = self;
        info!(
            target: TARGET,
            session, client, model, outcome, images, server_bytes, client_bytes, seconds, why,
            "ended"
        );
    }
}

/// Tells that a step begins: names and places are the plan's, which is public.
pub(super) fn step(event: Event<'_>) {
    let Event { phase, step, index, count } = event;
    trace!(target: TARGET, phase, step, index, count, "step");
}

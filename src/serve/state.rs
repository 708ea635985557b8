//! What all connections of a service share.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use protocols::price::PROCESS;
use serde::Serialize;
use tokio::sync::watch;

use super::ServiceOptions;
use super::admission::Admission;
use super::event::{Log, ServiceEvent};
use super::metrics::Metrics;
use super::models::Models;
use super::quota::Quota;
use crate::web::Web;
use crate::{Authority, Clients, Credential, Error, Security, ServerTls};

/// Connections of one client that have no session.
const VISITS: usize = 64;

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Nobody is let in; sessions go on.
    Draining,
    /// Sessions end, whatever they are at.
    Cut,
}

/// What its files say.
pub(super) struct Current {
    pub(super) security: Security<ServerTls>,
    /// How many clients there are.
    pub(super) clients: usize,
    pub(super) models: Models,
    /// What browsers meet, where they may come.
    pub(super) web: Option<Web>,
}

/// A session, for its operator.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) session: String,
    pub(super) client: String,
    pub(super) model: String,
    pub(super) peer: SocketAddr,
    pub(super) memory_bytes: u64,
    pub(super) images: u64,
    pub(super) since: u64,
}

pub(super) struct Shared {
    pub(super) options: ServiceOptions,
    current: RwLock<Arc<Current>>,
    pub(super) admission: Admission,
    pub(super) quota: Quota,
    pub(super) metrics: Metrics,
    log: Box<Log>,
    pub(super) phase: watch::Sender<Phase>,
    /// Connections whose client is known.
    pub(super) active: watch::Sender<usize>,
    /// Of them those that have no session, by client.
    guests: Mutex<HashMap<Credential, usize>>,
    sessions: Mutex<BTreeMap<u64, Row>>,
}

/// A connection that counts as long as this is there.
pub(super) struct Presence(Arc<Shared>);

/// A connection without a session that counts as long as this is there.
pub(super) struct Visit {
    shared: Arc<Shared>,
    client: Credential,
}

/// A session that is shown as long as this is there.
pub(super) struct Shown {
    shared: Arc<Shared>,
    number: u64,
}

impl Shared {
    pub(super) fn open(options: ServiceOptions, log: Box<Log>) -> Result<Self, Error> {
        let quota = Quota::open(&options.quota)?;
        // Networks and sessions share what the bare process leaves.
        let room = options.memory.saturating_sub(PROCESS);
        let admission = Admission::new(room, options.queue, options.queue_time);
        let current = RwLock::new(Arc::new(Current::open(&options, &admission)?));
        Ok(Self {
            options,
            current,
            admission,
            quota,
            metrics: Metrics::default(),
            log,
            phase: watch::Sender::new(Phase::Serving),
            active: watch::Sender::new(0),
            guests: Mutex::default(),
            sessions: Mutex::default(),
        })
    }

    /// What the files say now.
    pub(super) fn current(&self) -> Arc<Current> {
        // It is replaced as a whole: a panic elsewhere cannot leave half of one.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn reload(&self) -> Result<(), Error> {
        let read = Current::open(&self.options, &self.admission);
        match read {
            Ok(current) => {
                // Old networks go when the last session that uses them has ended.
                let (models, clients) = (current.models.len(), current.clients);
                let mut place = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *place = Arc::new(current);
                drop(place);
                self.tell(&ServiceEvent::Reloaded { models, clients });
                Ok(())
            }
            Err(error) => {
                self.tell(&ServiceEvent::NotReloaded { why: &error.to_string() });
                Err(error)
            }
        }
    }

    pub(super) fn tell(&self, event: &ServiceEvent<'_>) {
        event.trace();
        (self.log)(event);
    }

    /// Counts and tells that a connection came to nothing.
    pub(super) fn refused(&self, peer: Option<SocketAddr>, reason: &'static str, why: &str) {
        self.metrics.refused(reason);
        self.tell(&ServiceEvent::Refused { peer, reason, why });
    }

    pub(super) fn enter(self: &Arc<Self>) -> Presence {
        self.active.send_modify(|count| *count += 1);
        Presence(Arc::clone(self))
    }

    /// A connection of a client that has no session yet, of which it may have so many.
    pub(super) fn visit(self: &Arc<Self>, client: &Credential) -> Option<Visit> {
        let mut guests = lock(&self.guests);
        let count = guests.entry(client.clone()).or_default();
        if *count >= VISITS {
            return None;
        }
        *count += 1;
        Some(Visit { shared: Arc::clone(self), client: client.clone() })
    }

    pub(super) fn show(self: &Arc<Self>, row: Row) -> Shown {
        let mut sessions = self.rows();
        let number = sessions.last_key_value().map_or(0, |(last, _)| last + 1);
        sessions.insert(number, row);
        Shown { shared: Arc::clone(self), number }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, Row>> {
        lock(&self.sessions)
    }

    /// All sessions, the oldest first.
    pub(super) fn sessions(&self) -> Vec<Row> {
        self.rows().values().cloned().collect()
    }
}

impl Current {
    fn open(options: &ServiceOptions, admission: &Admission) -> Result<Self, Error> {
        let (identity, authority) = (options.identity()?, options.client_authority.as_deref());
        let clients = Clients::open_with_rights(&options.clients)?;
        let models = Models::open(&options.models, &clients, admission, options.limits)?;
        let web = options.web.as_ref().map(|web| Web::open(web, clients.clone())).transpose()?;
        let count = clients.all().len();
        let authority = authority.map(Authority::open).transpose()?;
        let tls = ServerTls::new(identity, clients, authority)?;
        Ok(Self { security: Security::Tls(Arc::new(tls)), clients: count, models, web })
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut guests = lock(&self.shared.guests);
        if let Some(count) = guests.get_mut(&self.client) {
            *count -= 1;
            // Clients that are gone leave nothing behind.
            if *count == 0 {
                guests.remove(&self.client);
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.active.send_modify(|count| *count -= 1);
    }
}

impl Shown {
    pub(super) fn add_images(&self, images: usize) {
        if let Some(row) = self.shared.rows().get_mut(&self.number) {
            row.images += images as u64;
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.shared.rows().remove(&self.number);
    }
}

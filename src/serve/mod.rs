//! Many clients, several networks, one process.
//!
//! A connection goes through three rooms. In the first it proves its key or its certificate, or a
//! browser shows its token ([`web`](crate::web)), beside all others that do: who takes too long
//! makes room for those who come later. At the door ([`door`]) it asks for files or for a session.
//! A session has a thread of its own ([`session`]), on which it computes; two threads move the
//! bytes of all of them. What sessions share is there once, behind `Arc`s.

mod admin;
mod admission;
mod door;
mod event;
mod metrics;
mod models;
mod quota;
mod session;
mod state;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocols::{Limits, Role};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::handshakes::{Arrival, Handshakes};
use crate::web::{self, WebOptions};
use crate::{Certificate, Error, Identity, ServerIdentity, transport};
use door::Guest;
use state::{Phase, Shared};

pub use event::{Log, ServiceEvent, SessionEnd};

/// Handshakes under way at the most.
const PENDING: usize = 64;
/// How long sessions that are cut have to end.
const CUT: Duration = Duration::from_secs(2);

/// What a service is, and what it grants.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Where it listens, such as `0.0.0.0:7000`.
    pub listen: String,
    /// Where its operator asks how it is, on this machine; nowhere without.
    pub admin: Option<String>,
    /// Where browsers connect; nowhere without.
    pub web: Option<WebOptions>,
    /// The file of its own key. It has a key or a certificate, or both: then each client is shown
    /// what it knows the server by.
    pub key: Option<PathBuf>,
    /// The files of its own certificates and of their private key: see
    /// [`Certificate::open`](crate::Certificate::open).
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The file of the authorities that issue certificates of clients, where any of them has one.
    pub client_authority: Option<PathBuf>,
    /// The file of its clients: see [`Rights`](crate::Rights).
    pub clients: PathBuf,
    /// Where the images are counted that clients had today.
    pub quota: PathBuf,
    /// Names and folders of its networks.
    pub models: Vec<(String, PathBuf)>,
    /// Bytes of memory that all sessions together may be predicted to need, networks included.
    pub memory: u64,
    /// Sessions that may wait for room, and how long.
    pub queue: usize,
    /// How long a session may wait for room.
    pub queue_time: Duration,
    /// How long a connection may take to prove its key.
    pub authentication: Duration,
    /// How long it waits for a client's part of a step, and between requests.
    pub limits: Limits,
    /// How long sessions may go on when the service is about to end.
    pub grace: Duration,
}

impl ServiceOptions {
    /// What a service grants that nobody has said more of: 2 GiB, 64 waiting sessions for 10 s
    /// each, 10 s for a key, and 30 s of grace.
    pub fn new(key: Option<PathBuf>, clients: PathBuf, models: Vec<(String, PathBuf)>) -> Self {
        let mut quota = clients.clone().into_os_string();
        quota.push(".used");
        let (listen, ten) = ("127.0.0.1:0".into(), Duration::from_secs(10));
        Self {
            listen,
            admin: None,
            web: None,
            key,
            certificate: None,
            client_authority: None,
            clients,
            quota: quota.into(),
            models,
            memory: 2 << 30,
            queue: 64,
            queue_time: ten,
            authentication: ten,
            limits: Limits::default(),
            grace: Duration::from_secs(30),
        }
    }

    /// What its files say that it is.
    fn identity(&self) -> Result<ServerIdentity, Error> {
        let key = self.key.as_deref().map(Identity::open).transpose()?;
        let certificate = match &self.certificate {
            Some((chain, key)) => Some(Certificate::open(chain, key, Role::Server)?),
            None => None,
        };
        ServerIdentity::of(key, certificate).ok_or_else(|| {
            let expected = "a file of its key or of its certificate";
            protocols::Error::invalid("service", expected, "none").into()
        })
    }
}

/// A server of several networks, for many clients at once.
pub struct Service {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<TcpListener>,
    web: Option<(TcpListener, SocketAddr)>,
}

/// Where a connection has come in.
#[derive(Clone, Copy)]
enum Entrance {
    /// Where clients have keys and certificates.
    Keys,
    /// Where browsers have tokens.
    Web,
}

/// What may be asked of a service while it runs.
#[derive(Clone)]
pub struct ServiceControl(Arc<Shared>);

impl Service {
    /// Opens all files, and listens. `log` hears of everything that happens from here on.
    ///
    /// # Errors
    /// [`Error::Listen`] where an address cannot be listened on, [`Error::NoCertificate`] where
    /// browsers of elsewhere would come in the clear, [`Error::Memory`] where the networks leave no
    /// room for a session; those of the files.
    pub async fn bind(options: ServiceOptions, log: Box<Log>) -> Result<Self, Error> {
        let listener = transport::listen(&options.listen).await?;
        let address = local(&listener, &options.listen)?;
        let admin = match &options.admin {
            Some(place) => Some(admin::listen(place).await?),
            None => None,
        };
        let web = match &options.web {
            Some(options) => Some(web::listen(options).await?),
            None => None,
        };
        let shared = Arc::new(Shared::open(options, log)?);
        Ok(Self { shared, listener, address, admin, web })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its operator asks, if anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where browsers connect, if anywhere.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.web.as_ref().map(|(_, address)| *address)
    }

    /// What may be asked of it while it runs.
    pub fn control(&self) -> ServiceControl {
        ServiceControl(Arc::clone(&self.shared))
    }

    /// Serves until it is asked to end, and lets sessions end first, as long as the grace lasts.
    /// Returned is how many did not.
    pub async fn run(self) -> usize {
        let Self { shared, listener, admin, web, .. } = self;
        let admin = admin
            .map(|listener| tokio::spawn(admin::serve(listener, Arc::clone(&shared))))
            .map(|task| task.abort_handle());
        accept(&shared, &listener, web.as_ref().map(|(listener, _)| listener)).await;
        // Whoever comes now is refused by the system, and tries elsewhere.
        drop((listener, web));
        let mut active = shared.active.subscribe();
        shared.tell(&ServiceEvent::Draining { sessions: *active.borrow() });
        let grace = shared.options.grace;
        let ended = timeout(grace, active.wait_for(|count| *count == 0)).await.is_ok();
        let cut = *active.borrow();
        if !ended {
            shared.phase.send_replace(Phase::Cut);
            let _ = timeout(CUT, active.wait_for(|count| *count == 0)).await;
        }
        shared.tell(&ServiceEvent::Drained { cut });
        if let Some(admin) = admin {
            admin.abort();
        }
        cut
    }
}

impl ServiceControl {
    /// Lets nobody in any more; sessions go on until their clients are done, or the grace is over.
    pub fn drain(&self) {
        self.0.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining;
            }
            serving
        });
    }

    /// Reads the key, the certificates, the clients and all networks again. Sessions go on with
    /// what they have. Where a file cannot be used, everything stays as it was.
    ///
    /// # Errors
    /// Those of [`Service::bind`].
    pub fn reload(&self) -> Result<(), Error> {
        self.0.reload()
    }
}

/// The actual address of a listener.
fn local(listener: &TcpListener, asked: &str) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { address: asked.into(), source })
}

/// Lets connections in until the service is to end.
async fn accept(shared: &Arc<Shared>, listener: &TcpListener, web: Option<&TcpListener>) {
    let mut phase: watch::Receiver<Phase> = shared.phase.subscribe();
    let mut keys = Handshakes::new(PENDING);
    let mut guests = JoinSet::new();
    loop {
        let arrived = keys.arrival(
            || arrival(listener, web),
            |(entrance, stream), peer| {
                tracing::debug!(target: event::TARGET, %peer, "connected");
                meet(Arc::clone(shared), entrance, (stream, peer))
            },
        );
        tokio::select! {
            arrived = arrived => match arrived {
                Arrival::Ended(_, Ok(Some(guest))) => {
                    let shared = Arc::clone(shared);
                    guests.spawn(async move { door::receive(shared, guest).await });
                }
                // A browser that came for a page alone.
                Arrival::Ended(_, Ok(None)) => {}
                Arrival::Ended(peer, Err(error)) => {
                    shared.refused(Some(peer), door::reason(&error), &error.to_string());
                }
                Arrival::Slow(peer) => {
                    shared.refused(Some(peer), "slow", "others are waiting");
                }
                Arrival::System(error) => shared.refused(None, "system", &error.to_string()),
                Arrival::Panicked => shared.metrics.panicked(),
            },
            Some(left) = guests.join_next() => {
                if left.is_err_and(|error| error.is_panic()) {
                    shared.metrics.panicked();
                }
            }
            () = no_longer(&mut phase) => break,
        }
    }
    // Those with a place may still come to their session.
    guests.detach_all();
}

/// Waits for the next connection. May be dropped while it waits.
async fn arrival(
    listener: &TcpListener,
    web: Option<&TcpListener>,
) -> io::Result<((Entrance, TcpStream), SocketAddr)> {
    let browser = async {
        match web {
            Some(web) => web.accept().await,
            None => std::future::pending().await,
        }
    };
    let (entrance, accepted) = tokio::select! {
        accepted = listener.accept() => (Entrance::Keys, accepted),
        accepted = browser => (Entrance::Web, accepted),
    };
    accepted.map(|(stream, peer)| ((entrance, stream), peer))
}

/// Waits until nobody is let in any more.
async fn no_longer(phase: &mut watch::Receiver<Phase>) {
    // What it returns is a lock, which may not be held while anything else is waited for.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// What a connection proves itself by, as where it came in has it: a key or a certificate, or a
/// token. None where a browser came for a page alone.
async fn meet(
    shared: Arc<Shared>,
    entrance: Entrance,
    (stream, peer): (TcpStream, SocketAddr),
) -> Result<Option<Guest>, Error> {
    match entrance {
        Entrance::Keys => Guest::meet(&shared, stream, peer).await.map(Some),
        Entrance::Web => Guest::meet_browser(&shared, stream, peer).await,
    }
}

//! A gateway: REST by the Open Inference Protocol, version 2, in the client's own domain.
//!
//! Programs that speak that protocol send images to this machine, and the gateway is the client of
//! a server that sees none of them. One thread holds the session ([`keeper`]); the requests of all
//! programs wait in one queue for it ([`http`], [`infer`]).

mod http;
mod infer;
mod keeper;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use protocols::plan::{Load, Plan};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::{Cache, Client, ClientOptions, Error, transport};
use keeper::{Job, Keeper};

/// Requests that may wait for the session.
const QUEUE: usize = 64;
/// The most inferences that a session may be asked for.
const INFERENCES: usize = 1 << 20;

/// What the events of `tracing` are told apart by.
const TARGET: &str = "pq::gateway";

/// Hears of what happens, beside those who listen to `tracing`.
pub type GatewayLog = dyn Fn(&GatewayEvent<'_>) + Send + Sync;

/// What happens in a gateway, for logs: each event is one of `tracing` too. Nothing here can hold
/// an input or a result.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum GatewayEvent<'a> {
    /// There is a session, and inferences are prepared.
    Connected {
        /// The server's address.
        server: SocketAddr,
    },
    /// There is no session any more, or none yet; another one is tried.
    Disconnected {
        /// The error, which may quote the peer.
        why: &'a str,
    },
    /// A request was answered.
    Served {
        /// Its images.
        images: usize,
        /// Wall-clock seconds, of which some may have been waited for the session.
        seconds: f64,
    },
    /// A request was refused.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// What was wrong with it.
        why: &'a str,
    },
}

/// What a gateway is.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Where it listens, such as `127.0.0.1:8080`.
    pub listen: String,
    /// Whether others than this machine may reach it: what it is sent is not encrypted.
    pub exposed: bool,
    /// The server's address.
    pub server: String,
    /// The network's name at the server.
    pub model: String,
    /// Where plans and hints are kept.
    pub cache: Option<Cache>,
    /// Inferences that are prepared together, whenever none is left.
    pub stock: usize,
    /// The most images of a request.
    pub images: usize,
    /// How it connects; the load is the gateway's own.
    pub client: ClientOptions,
}

/// REST on one side, a private session on the other.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    keeper: Keeper,
}

/// What the requests share with the session.
struct Shared {
    /// The network's name.
    model: String,
    /// The most images of a request.
    images: usize,
    /// Whether requests must come from this machine's own pages and programs.
    guarded: bool,
    /// What the last session runs.
    plan: watch::Sender<Arc<Plan>>,
    ready: AtomicBool,
    served: AtomicU64,
    jobs: mpsc::Sender<Job>,
    log: Box<GatewayLog>,
}

impl Gateway {
    /// Listens, and connects to the server, so that what cannot work is known at the start.
    ///
    /// # Errors
    /// [`Error::Listen`] where it cannot listen, [`Error::Exposed`] where others could reach it and
    /// are not meant to; those of [`Client::connect_to`].
    pub async fn bind(options: GatewayOptions, log: Box<GatewayLog>) -> Result<Self, Error> {
        let listener = transport::listen(&options.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address: options.listen.clone(), source })?;
        let loopback = address.ip().to_canonical().is_loopback();
        if !loopback && !options.exposed {
            return Err(Error::Exposed { address });
        }
        let load = Load::new(1, options.stock, INFERENCES);
        load.check()?;
        let client = ClientOptions { load, ..options.client.clone() };
        let options = GatewayOptions { client, ..options };
        let client = options.connect().await?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (plan, _) = watch::channel(Arc::clone(client.plan()));
        let shared = Arc::new(Shared {
            model: options.model.clone(),
            images: options.images,
            guarded: loopback,
            plan,
            ready: AtomicBool::new(false),
            served: AtomicU64::new(0),
            jobs,
            log,
        });
        let keeper = Keeper::new(options, client, waiting);
        Ok(Self { listener, address, shared, keeper })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end` comes; requests under way are answered first, as long as `grace` lasts.
    /// Returned is how many images were answered.
    ///
    /// # Errors
    /// [`Error::System`] where the system refuses a thread.
    pub async fn run(self, end: impl Future<Output = ()>, grace: Duration) -> Result<u64, Error> {
        let Self { listener, shared, keeper, .. } = self;
        let kept = keeper.start(Arc::clone(&shared))?;
        tokio::select! {
            () = end => {}
            () = http::serve(&listener, &shared) => {}
        }
        // Whoever comes now is refused by the system.
        drop(listener);
        let served = Arc::clone(&shared);
        // Requests under way hold the queue too: it is closed when the last of them has ended.
        let asked = shared.jobs.send(Job::End);
        let _ = tokio::time::timeout(grace, async {
            if asked.await.is_ok() {
                let _ = kept.await;
            }
        })
        .await;
        Ok(served.served.load(Ordering::Relaxed))
    }
}

impl GatewayOptions {
    /// A session, or why there is none.
    async fn connect(&self) -> Result<Client, Error> {
        Client::connect_to(&self.server, &self.model, self.cache.as_ref(), &self.client).await
    }
}

impl Shared {
    fn tell(&self, event: &GatewayEvent<'_>) {
        event.trace();
        (self.log)(event);
    }
}

impl GatewayEvent<'_> {
    /// Tells those who listen to `tracing`.
    fn trace(&self) {
        match self {
            Self::Connected { server } => info!(target: TARGET, %server, "connected"),
            Self::Disconnected { why } => warn!(target: TARGET, why, "disconnected"),
            Self::Served { images, seconds } => info!(target: TARGET, images, seconds, "served"),
            Self::Refused { status, why } => warn!(target: TARGET, status, why, "refused"),
        }
    }
}

//! The options of `pq infer`, and which of them belong together.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pq::{Cache, ClientTls, Network, Security, ServerTls};
use protocols::Limits;
use protocols::plan::{self, Plan};
use protocols::profile::Profile;

use super::memory::Budget;
use super::shard::Shard;
use crate::credentials::{self, Own, Trust};
use crate::exit::{Failure, Outcome};
use crate::images::Indices;
use crate::purpose;
use crate::units::ByteCount;
use crate::values::{address, seconds};

/// What both parties in one process have no use for.
const CREDENTIALS: [&str; 6] =
    ["key", "tls_cert", "tls_key", "server_key", "server_ca", "server_name"];

/// What `pq infer` is given.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("side").required(true).args(["role", "local", "model"]))]
pub(crate) struct Args {
    /// Which party this process is.
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Be both parties, over a loopback connection, with the network in this folder.
    #[arg(long, value_name = "NET_FOLDER", conflicts_with_all = CREDENTIALS)]
    local: Option<PathBuf>,
    /// Be the client of a pq serve, and run the network that it has by this name: its plan and
    /// hints come from there.
    #[arg(long, value_name = "NAME", requires = "connect", conflicts_with = "plan")]
    model: Option<String>,
    /// Where plans and hints of --model are kept for the next time [default: pq in XDG_CACHE_HOME
    /// or ~/.cache].
    #[arg(long, value_name = "FOLDER", requires = "model")]
    cache: Option<PathBuf>,
    /// The plan; both parties need the same.
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    plan: Option<PathBuf>,
    /// Server: the weights. Client: only to test --verify with, the server alone needs them.
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    weights: Option<PathBuf>,
    /// Server: the seed of the plan's hints [default: hints.secret beside the weights]. Client: the
    /// hints themselves [default: hints.bin beside the plan; without it, the server sends them].
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    hints: Option<PathBuf>,
    /// Server: the address to wait at; port 0 lets the system choose one, which is printed.
    #[arg(long, value_name = "HOST:PORT", value_parser = address, conflicts_with = "local")]
    listen: Option<String>,
    /// Server: the most images that a client may ask for at a time [default: as many as fit
    /// --max-memory].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=purpose::MAX_BATCH),
        conflicts_with = "local",
    )]
    max_batch: Option<u32>,
    /// Client: the server's address.
    #[arg(long, value_name = "HOST:PORT", value_parser = address, conflicts_with = "local")]
    connect: Option<String>,
    /// Client: how long to wait for a server that is not up yet, in seconds [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "local")]
    connect_timeout: Option<Duration>,
    /// Client: try again for so many seconds where the server is busy, ends, cannot be reached or
    /// is lost, counted from the last answer [default: not at all]. Images that were answered are
    /// not run again.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "local")]
    retry_for: Option<Duration>,
    #[command(flatten)]
    own: Own,
    /// Server: the clients that it serves, NAME ed25519:... or NAME x509:... a line.
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    clients: Option<PathBuf>,
    /// Server: the authorities that issue certificates of clients, in PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    client_ca: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    /// Let traffic leave this machine in the clear, for a tunnel that protects it.
    #[arg(long, conflicts_with_all = ["local", "key", "tls_cert"])]
    insecure: bool,
    /// The images: CIFAR records, IDX, .npy, .npz, PNG or JPEG, also gzipped.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Their labels, to show beside the predictions.
    #[arg(long, value_name = "FILE", requires = "input")]
    labels: Option<PathBuf>,
    /// Which images: one, or a..b without b [default: 0].
    #[arg(long, value_name = "A..B", requires = "input")]
    index: Option<Indices>,
    /// Of the images of --index, part I of N alone, from 0: such as 0/4; or env, for the place of a
    /// task in a Slurm array, or of a pod in an indexed Job of Kubernetes.
    #[arg(long, value_name = "I/N", requires = "index")]
    shard: Option<Shard>,
    /// Write a JSON line an image into a file, for pq merge. Where it is there whole, of the same
    /// images and the same plan, nothing is run.
    #[arg(long, value_name = "FILE", requires = "input")]
    out: Option<PathBuf>,
    /// Client: prepare N inferences of one image each (of --batch images) before the first input is
    /// used, run them one after the other, and prepare the next N where there are more images.
    #[arg(
        long,
        visible_alias = "prepare",
        value_name = "N",
        requires = "input",
        value_parser = clap::value_parser!(u32).range(1..=purpose::MAX_BATCH),
    )]
    offline: Option<u32>,
    /// Client: the most images at a time; those of --index are run so many after so many [default:
    /// as many as fit --max-memory; 1 with --offline].
    #[arg(
        long,
        value_name = "N",
        requires = "input",
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    batch: Option<u32>,
    /// The most bytes of memory that this process may be predicted to need, suffixes k, M and G; a
    /// server refuses a client that asks for more [default: 2 GiB, or half of the machine's memory
    /// where that is less].
    #[arg(long, value_name = "BYTES")]
    max_memory: Option<ByteCount>,
    /// A text file with a class name a line, to show instead of numbers.
    #[arg(long, value_name = "FILE", requires = "input")]
    class_names: Option<PathBuf>,
    /// Compare the result with the plaintext network, integer for integer (this needs the weights).
    #[arg(long, requires = "input")]
    verify: bool,
    /// What the client learns: the logits, or the label alone. Both parties say the same [default:
    /// what the plan says, logits of what search writes].
    #[arg(long, value_enum)]
    reveal: Option<Reveal>,
    /// How long the peer may be silent, in seconds; also the grace of every step's deadline.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    timeout: Duration,
    /// The slowest connection that is waited for, in bytes a second.
    #[arg(long, value_name = "BYTES_PER_S", value_parser = clap::value_parser!(u64).range(1..),
        default_value_t = Limits::FLOOR)]
    min_rate: u64,
    /// Speed of the connection, for the predicted times: lan, wan or BYTES_PER_S,RTT_MS.
    #[arg(long, alias = "net", default_value = "lan")]
    link: Profile,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Holds the weights, learns nothing.
    Server,
    /// Holds the images, learns the predictions.
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Reveal {
    /// The index of the largest logit.
    Label,
    /// All logits.
    Logits,
}

/// The options of the party that was asked for.
pub(super) enum Mode<'a> {
    Server(ServerOptions<'a>),
    Client(ClientOptions<'a>),
    Local(LocalOptions<'a>),
}

/// What every party needs.
#[derive(Clone, Copy)]
pub(super) struct Common {
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) profile: Profile,
    /// What the client is to learn, where it is not up to the plan.
    reveal: Option<plan::Reveal>,
}

impl Common {
    /// The network, of which the client is to learn what was asked for.
    pub(super) fn revealing(&self, network: Network) -> Outcome<Network> {
        match self.reveal {
            Some(reveal) => Ok(network.revealing(reveal)?),
            None => Ok(network),
        }
    }

    /// The plan, with what the client is to learn.
    pub(super) fn revealing_plan(&self, plan: Plan) -> Outcome<Plan> {
        match self.reveal {
            Some(reveal) => Ok(plan.revealing(reveal)?),
            None => Ok(plan),
        }
    }
}

pub(super) struct ServerOptions<'a> {
    pub(super) plan: &'a Path,
    pub(super) weights: &'a Path,
    pub(super) hints: Option<&'a Path>,
    pub(super) listen: &'a str,
    pub(super) max_batch: usize,
    pub(super) security: Security<ServerTls>,
    pub(super) common: Common,
}

/// Where a client has its plan and its hints from.
pub(super) enum Source<'a> {
    Files { plan: &'a Path, hints: Option<&'a Path> },
    Server { name: &'a str, cache: Option<Cache> },
}

pub(super) struct ClientOptions<'a> {
    pub(super) source: Source<'a>,
    pub(super) verify: Option<&'a Path>,
    pub(super) connect: &'a str,
    pub(super) connect_timeout: Duration,
    pub(super) retry_for: Option<Duration>,
    pub(super) security: Security<ClientTls>,
    pub(super) images: ImageOptions<'a>,
    pub(super) common: Common,
}

pub(super) struct LocalOptions<'a> {
    pub(super) folder: &'a Path,
    pub(super) verify: bool,
    pub(super) images: ImageOptions<'a>,
    pub(super) common: Common,
}

impl<'a> LocalOptions<'a> {
    /// The first image of a file.
    pub(super) fn first(folder: &'a Path, input: &'a Path) -> Self {
        let images = ImageOptions {
            input,
            labels: None,
            all: 0..1,
            indices: Indices(0..1),
            out: None,
            offline: None,
            batch: None,
            class_names: None,
        };
        let common = Common {
            limits: Limits::default(),
            budget: Budget::of(None),
            profile: Profile::LAN,
            reveal: None,
        };
        Self { folder, verify: false, images, common }
    }
}

pub(super) struct ImageOptions<'a> {
    pub(super) input: &'a Path,
    pub(super) labels: Option<&'a PathBuf>,
    /// Images of all shards.
    pub(super) all: Range<usize>,
    pub(super) indices: Indices,
    /// Where a line of each is written.
    pub(super) out: Option<&'a Path>,
    /// Inferences that are prepared together.
    pub(super) offline: Option<usize>,
    /// The most images of one inference.
    pub(super) batch: Option<usize>,
    pub(super) class_names: Option<&'a PathBuf>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Args {
    pub(super) fn mode(&self) -> Outcome<Mode<'_>> {
        let reveal = self.reveal.map(|reveal| match reveal {
            Reveal::Label => plan::Reveal::Label,
            Reveal::Logits => plan::Reveal::Logits,
        });
        let budget = Budget::of(self.max_memory.map(|bytes| bytes.0));
        let limits = Limits { floor: self.min_rate, ..Limits::new(self.timeout) };
        let common = Common { limits, budget, profile: self.link, reveal };
        match (self.role, &self.local) {
            (_, Some(folder)) => Ok(Mode::Local(LocalOptions {
                folder,
                verify: self.verify,
                images: self.images("--local")?,
                common,
            })),
            (Some(Role::Server), None) => self.server(common).map(Mode::Server),
            (_, None) => self.client(common).map(Mode::Client),
        }
    }

    fn server(&self, common: Common) -> Outcome<ServerOptions<'_>> {
        let role = "--role server";
        forbid(role, "--input", self.input.is_some())?;
        forbid(role, "--out", self.out.is_some())?;
        forbid(role, "--connect", self.connect.is_some())?;
        forbid(role, "--connect-timeout", self.connect_timeout.is_some())?;
        forbid(role, "--retry-for", self.retry_for.is_some())?;
        self.trust.given().map_or(Ok(()), |option| forbid(role, option, true))?;
        let clients = (self.clients.as_deref(), self.client_ca.as_deref());
        let security = credentials::of_server(&self.own, clients, self.insecure)?;
        Ok(ServerOptions {
            plan: need(role, "--plan", self.plan.as_ref())?,
            weights: need(role, "--weights", self.weights.as_ref())?,
            hints: self.hints.as_deref(),
            listen: need(role, "--listen", self.listen.as_ref())?,
            max_batch: self.max_batch.unwrap_or(u32::MAX) as usize,
            security,
            common,
        })
    }

    fn client(&self, common: Common) -> Outcome<ClientOptions<'_>> {
        let role = if self.model.is_some() { "--model" } else { "--role client" };
        forbid(role, "--listen", self.listen.is_some())?;
        forbid(role, "--max-batch", self.max_batch.is_some())?;
        forbid(role, "--clients", self.clients.is_some())?;
        forbid(role, "--client-ca", self.client_ca.is_some())?;
        let connect = need(role, "--connect", self.connect.as_ref())?;
        let security = credentials::of_client(&self.own, &self.trust, connect, self.insecure)?;
        if !self.verify {
            forbid("--role client without --verify", "--weights", self.weights.is_some())?;
        }
        let weights = self.weights.as_deref();
        let verify = if self.verify {
            Some(need("--verify of a client", "--weights", weights.as_ref()).copied()?)
        } else {
            None
        };
        let source = match &self.model {
            Some(name) => {
                forbid(role, "--hints", self.hints.is_some())?;
                Source::Server { name, cache: self.cache() }
            }
            None => Source::Files {
                plan: need(role, "--plan", self.plan.as_ref())?,
                hints: self.hints.as_deref(),
            },
        };
        Ok(ClientOptions {
            source,
            verify,
            connect,
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            retry_for: self.retry_for,
            security,
            images: self.images(role)?,
            common,
        })
    }

    /// Where what a server has sent is kept.
    fn cache(&self) -> Option<Cache> {
        self.cache.clone().map(Cache::new).or_else(Cache::of_user)
    }

    fn images(&self, role: &str) -> Outcome<ImageOptions<'_>> {
        let Indices(all) = self.index.clone().unwrap_or(Indices(0..1));
        let part = self.shard.map_or_else(|| all.clone(), |shard| shard.part(&all));
        if part.is_empty() {
            return Err(Failure::usage(format_args!(
                "--shard has none of the {} images of --index; take fewer shards",
                all.len()
            )));
        }
        Ok(ImageOptions {
            input: need(role, "--input", self.input.as_ref())?,
            labels: self.labels.as_ref(),
            all,
            indices: Indices(part),
            out: self.out.as_deref(),
            offline: self.offline.map(|count| count as usize),
            batch: self.batch.map(|images| images as usize),
            class_names: self.class_names.as_ref(),
        })
    }
}

fn need<'a, T>(who: &str, option: &str, value: Option<&'a T>) -> Outcome<&'a T> {
    value.ok_or_else(|| Failure::usage(format_args!("{who} needs {option}; see pq infer --help")))
}

fn forbid(who: &str, option: &str, given: bool) -> Outcome<()> {
    if given {
        return Err(Failure::usage(format_args!("{who} takes no {option}; see pq infer --help")));
    }
    Ok(())
}

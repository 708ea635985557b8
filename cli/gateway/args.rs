//! The options of `pq gateway`.

use std::path::PathBuf;
use std::time::Duration;

use pq::{Cache, ClientOptions, GatewayOptions, Limits};

use crate::credentials::{self, Own, Trust};
use crate::exit::Outcome;
use crate::log::Format;
use crate::purpose::MAX_BATCH;
use crate::values::{address, seconds};

/// What `pq gateway` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The address of a pq serve.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    connect: String,
    /// The network, by the name that the server has for it.
    #[arg(long, value_name = "NAME")]
    model: String,
    #[command(flatten)]
    own: Own,
    #[command(flatten)]
    trust: Trust,
    /// Let traffic to the server leave this machine in the clear, for a tunnel that protects it.
    #[arg(long, conflicts_with_all = ["key", "tls_cert"])]
    insecure: bool,
    /// Where programs ask; port 0 lets the system choose one, which is logged.
    #[arg(long, value_name = "HOST:PORT", value_parser = address,
        default_value = "127.0.0.1:8080")]
    listen: String,
    /// Listen where other machines can ask, too: their images and answers are not encrypted, and
    /// whoever can connect may ask.
    #[arg(long)]
    expose: bool,
    /// Inferences that are prepared together, before anybody asks.
    #[arg(long, value_name = "N", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH))]
    prepare: u32,
    /// The most images of one request.
    #[arg(long, value_name = "N", default_value = "64",
        value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH))]
    max_images: u32,
    /// Where plans and hints are kept for the next time [default: pq in XDG_CACHE_HOME or
    /// ~/.cache].
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// How long to wait for a server that is not up, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    connect_timeout: Duration,
    /// How long the server may be silent, in seconds; also the grace of every step's deadline.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    timeout: Duration,
    /// The slowest connection that is waited for, in bytes a second.
    #[arg(long, value_name = "BYTES_PER_S", value_parser = clap::value_parser!(u64).range(1..),
        default_value_t = Limits::FLOOR)]
    min_rate: u64,
    /// How long requests may go on after SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(super) grace: Duration,
    /// How the log is written, on stderr; the variable PQ_LOG says what is in it, such as pq=debug.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "json")]
    pub(super) log_format: Format,
}

impl Args {
    pub(super) fn options(&self) -> Outcome<GatewayOptions> {
        Ok(GatewayOptions {
            listen: self.listen.clone(),
            exposed: self.expose,
            server: self.connect.clone(),
            model: self.model.clone(),
            cache: self.cache.clone().map(Cache::new).or_else(Cache::of_user),
            stock: self.prepare as usize,
            images: self.max_images as usize,
            client: ClientOptions {
                limits: Limits { floor: self.min_rate, ..Limits::new(self.timeout) },
                patience: self.connect_timeout,
                security: credentials::of_client(
                    &self.own,
                    &self.trust,
                    &self.connect,
                    self.insecure,
                )?,
                ..ClientOptions::default()
            },
        })
    }
}

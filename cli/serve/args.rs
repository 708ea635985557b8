//! The options of `pq serve`.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pq::{Limits, ServiceOptions, WebOptions};
use serde::Deserialize;

use super::config;
use crate::exit::{Failure, Outcome};
use crate::infer::Budget;
use crate::log::Format;
use crate::units::ByteCount;
use crate::values::{address, seconds};

/// What `pq serve` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file of TOML in which the options below stand by their names, without the dashes, and the
    /// networks as nets = ["NAME=NET"]. Paths in it start at its own folder. What the command line
    /// says goes before.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Settings,
}

/// What the command line and the file of `--config` may both say.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// Folders that pq search or pq import has written, weights included. Clients ask for them by
    /// NAME [default: the folder's].
    #[arg(value_name = "[NAME=]NET")]
    pub(super) nets: Vec<String>,
    /// The address to listen on; port 0 lets the system choose one, which is logged.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    #[serde(deserialize_with = "config::address")]
    listen: Option<String>,
    /// The server's private key, as pq keygen has written it.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// The server's certificates in PEM, its own first, instead of --key or beside it, for clients
    /// with --server-ca.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// The clients, one a line: NAME ed25519:... (or x509:..., of a certificate) [models=A,B]
    /// [sessions=N] [images_per_day=N] [reveal=label].
    #[arg(long, value_name = "FILE")]
    pub(super) clients: Option<PathBuf>,
    /// The authorities that issue certificates of clients, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// An address of this machine for /healthz, /readyz, /metrics, /models and /sessions.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    #[serde(deserialize_with = "config::address")]
    admin: Option<String>,
    /// The address at which browsers connect, by WebSocket and with tokens. Off this machine it
    /// takes --web-cert and --web-key, a proxy that speaks TLS in front, or --insecure.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    #[serde(deserialize_with = "config::address")]
    listen_web: Option<String>,
    /// The certificates that browsers check, in PEM, the server's own first.
    #[arg(long, value_name = "FILE", requires = "web_key")]
    pub(super) web_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "web_cert")]
    pub(super) web_key: Option<PathBuf>,
    /// The origin of pages that may connect, such as https://example.org; may be given several
    /// times. Pages of this machine may where browsers reach it at a loopback address.
    #[arg(long = "web-origin", value_name = "ORIGIN")]
    #[serde(rename = "web-origins")]
    web_origins: Vec<String>,
    /// Let browsers of other machines in without a certificate: in the clear, for tunnels that
    /// protect traffic themselves.
    #[arg(long)]
    insecure: bool,
    /// Where the images are counted that clients had today [default: .used behind the name of
    /// --clients].
    #[arg(long, value_name = "FILE")]
    pub(super) quota: Option<PathBuf>,
    /// Bytes of memory that this process may be predicted to need, suffixes k, M and G: sessions
    /// beyond it wait [default: 2 GiB, or half of the machine's memory where that is less].
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "config::bytes")]
    max_memory: Option<ByteCount>,
    /// Sessions that may wait for memory; others are told that the server is busy [default: 64].
    #[arg(long, value_name = "N")]
    queue: Option<usize>,
    /// How long a session may wait for memory, in seconds [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[serde(deserialize_with = "config::seconds")]
    queue_time: Option<Duration>,
    /// How long a connection may take to prove who it is, in seconds [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[serde(deserialize_with = "config::seconds")]
    auth_time: Option<Duration>,
    /// How long a client may leave its session without a request, in seconds [default: 600].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[serde(deserialize_with = "config::seconds")]
    idle: Option<Duration>,
    /// How long a client may be silent, in seconds; also the grace of every step's deadline
    /// [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[serde(deserialize_with = "config::seconds")]
    timeout: Option<Duration>,
    /// The slowest connection that is waited for, in bytes a second [default: 16384].
    #[arg(long, value_name = "BYTES_PER_S")]
    min_rate: Option<NonZeroU64>,
    /// How long sessions may go on after SIGTERM, in seconds [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[serde(deserialize_with = "config::seconds")]
    grace: Option<Duration>,
    /// How the log is written, on stderr; the variable PQ_LOG says what is in it, such as pq=debug
    /// [default: json].
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<Format>,
}

impl Args {
    pub(super) fn settings(&self) -> Outcome<Settings> {
        Ok(match &self.config {
            Some(path) => self.given.clone().or(config::open(path)?),
            None => self.given.clone(),
        })
    }
}

impl Settings {
    /// What is said here, or else there. Networks are those of one place alone.
    fn or(self, other: Self) -> Self {
        Self {
            nets: if self.nets.is_empty() { other.nets } else { self.nets },
            listen: self.listen.or(other.listen),
            key: self.key.or(other.key),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            clients: self.clients.or(other.clients),
            client_ca: self.client_ca.or(other.client_ca),
            admin: self.admin.or(other.admin),
            listen_web: self.listen_web.or(other.listen_web),
            web_cert: self.web_cert.or(other.web_cert),
            web_key: self.web_key.or(other.web_key),
            web_origins: if self.web_origins.is_empty() {
                other.web_origins
            } else {
                self.web_origins
            },
            insecure: self.insecure || other.insecure,
            quota: self.quota.or(other.quota),
            max_memory: self.max_memory.or(other.max_memory),
            queue: self.queue.or(other.queue),
            queue_time: self.queue_time.or(other.queue_time),
            auth_time: self.auth_time.or(other.auth_time),
            idle: self.idle.or(other.idle),
            timeout: self.timeout.or(other.timeout),
            min_rate: self.min_rate.or(other.min_rate),
            grace: self.grace.or(other.grace),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// How the log is written.
    pub(super) fn log_format(&self) -> Format {
        self.log_format.unwrap_or_default()
    }

    pub(super) fn options(self) -> Outcome<ServiceOptions> {
        if self.nets.is_empty() {
            return Err(missing("[NAME=]NET", "nets"));
        }
        // On the command line clap sees to it; a file may have one of the two.
        if self.web_cert.is_some() != self.web_key.is_some() {
            return Err(missing("--web-cert and --web-key together", "web-cert and web-key"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(missing("--tls-cert and --tls-key together", "tls-cert and tls-key"));
        }
        let certificate = self.tls_cert.zip(self.tls_key);
        if self.key.is_none() && certificate.is_none() {
            return Err(missing("--key or --tls-cert", "key or tls-cert"));
        }
        let models: Vec<_> = self.nets.iter().map(|net| named(net)).collect::<Outcome<_>>()?;
        let listen = self.listen.ok_or_else(|| missing("--listen", "listen"))?;
        let clients = self.clients.ok_or_else(|| missing("--clients", "clients"))?;
        let limits = self.timeout.map_or_else(Limits::default, Limits::new);
        let known = ServiceOptions::new(self.key, clients, models);
        // The pages themselves are elsewhere: a service has nothing but the WebSocket.
        let web = self.listen_web.map(|listen| WebOptions {
            listen,
            certificate: self.web_cert.zip(self.web_key),
            exposed: self.insecure,
            origins: self.web_origins,
            files: Vec::new(),
        });
        Ok(ServiceOptions {
            listen,
            admin: self.admin,
            web,
            certificate,
            client_authority: self.client_ca,
            quota: self.quota.unwrap_or_else(|| known.quota.clone()),
            memory: Budget::of(self.max_memory.map(|bytes| bytes.0)).0,
            queue: self.queue.unwrap_or(known.queue),
            queue_time: self.queue_time.unwrap_or(known.queue_time),
            authentication: self.auth_time.unwrap_or(known.authentication),
            limits: Limits {
                floor: self.min_rate.map_or(limits.floor, NonZeroU64::get),
                idle: self.idle.unwrap_or(limits.idle),
                ..limits
            },
            grace: self.grace.unwrap_or(known.grace),
            ..known
        })
    }
}

fn missing(option: &str, field: &str) -> Failure {
    Failure::usage(format_args!(
        "pq serve needs {option}, or {field} in the file of --config; see pq serve --help"
    ))
}

/// A network's name and folder.
fn named(net: &str) -> Outcome<(String, PathBuf)> {
    // A folder may have an equals sign in its name, behind a slash.
    if let Some((name, folder)) = net.split_once('=').filter(|(name, _)| !name.contains('/')) {
        return Ok((name.into(), folder.into()));
    }
    let folder = Path::new(net);
    let whole = folder.canonicalize().ok();
    let name = whole.as_deref().unwrap_or(folder).file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| {
        Failure::usage(format_args!("{net:?} has no name; say NAME={net}, see pq serve --help"))
    })?;
    Ok((name.into(), folder.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_name_that_it_is_given_or_its_folders() {
        for (net, name, folder) in [
            ("lenet=nets/a", "lenet", "nets/a"),
            ("nets/lenet", "lenet", "nets/lenet"),
            ("nets/lenet/", "lenet", "nets/lenet/"),
            ("nets/a=b", "a=b", "nets/a=b"),
        ] {
            assert_eq!(named(net).unwrap(), (name.into(), folder.into()), "{net}");
        }
        assert!(named("..x/..").is_err());
    }
}

//! The options of `pq serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pq::{Limits, ServiceOptions};

use crate::exit::{Failure, Outcome};
use crate::infer::{Budget, address, seconds};
use crate::units::ByteCount;

/// What `pq serve` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folders that pq search or pq import has written, weights included. Clients ask for them by
    /// NAME [default: the folder's].
    #[arg(value_name = "[NAME=]NET", required = true)]
    nets: Vec<String>,
    /// The address to listen on; port 0 lets the system choose one, which is logged.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    listen: String,
    /// The server's private key, as pq keygen has written it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The clients, one a line: NAME ed25519:... [models=A,B] [sessions=N] [images_per_day=N]
    /// [reveal=label].
    #[arg(long, value_name = "FILE")]
    clients: PathBuf,
    /// An address of this machine for /healthz, /readyz, /metrics, /models and /sessions.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    admin: Option<String>,
    /// Where the images are counted that clients had today [default: .used behind the name of
    /// --clients].
    #[arg(long, value_name = "FILE")]
    quota: Option<PathBuf>,
    /// Bytes of memory that this process may be predicted to need, suffixes k, M and G: sessions
    /// beyond it wait [default: 2 GiB, or half of the machine's memory where that is less].
    #[arg(long, value_name = "BYTES")]
    max_memory: Option<ByteCount>,
    /// Sessions that may wait for memory; others are told that the server is busy.
    #[arg(long, value_name = "N", default_value = "64")]
    queue: usize,
    /// How long a session may wait for memory, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    queue_time: Duration,
    /// How long a connection may take to prove its key, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    auth_time: Duration,
    /// How long a client may leave its session without a request, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    idle: Duration,
    /// How long a client may be silent, in seconds; also the grace of every step's deadline.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    timeout: Duration,
    /// The slowest connection that is waited for, in bytes a second.
    #[arg(long, value_name = "BYTES_PER_S", value_parser = clap::value_parser!(u64).range(1..),
        default_value_t = Limits::FLOOR)]
    min_rate: u64,
    /// How long sessions may go on after SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    grace: Duration,
}

impl Args {
    pub(super) fn options(&self) -> Outcome<ServiceOptions> {
        let models: Vec<_> = self.nets.iter().map(|net| named(net)).collect::<Outcome<_>>()?;
        let limits = Limits { floor: self.min_rate, idle: self.idle, ..Limits::new(self.timeout) };
        let known = ServiceOptions::new(self.key.clone(), self.clients.clone(), models);
        Ok(ServiceOptions {
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            quota: self.quota.clone().unwrap_or_else(|| known.quota.clone()),
            memory: Budget::of(self.max_memory.map(|bytes| bytes.0)).0,
            queue: self.queue,
            queue_time: self.queue_time,
            authentication: self.auth_time,
            limits,
            grace: self.grace,
            ..known
        })
    }
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

//! `pq known`: the keys of servers, so that they need not be named at every call.

use std::fmt::Write;

use pq::{KnownServers, PublicKey};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::values::address;

/// What `pq known` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Remember a server's key, as its operator has said it.
    Add {
        /// The server, as --connect names it.
        #[arg(value_name = "HOST:PORT", value_parser = address)]
        address: String,
        /// Its public key, as pq keygen has printed it.
        #[arg(value_name = "ed25519:...")]
        key: PublicKey,
    },
    /// Forget a server's key.
    Remove {
        /// The server.
        #[arg(value_name = "HOST:PORT", value_parser = address)]
        address: String,
    },
}

/// All servers that are known.
#[derive(Serialize)]
struct Known {
    file: String,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    address: String,
    key: String,
}

/// Runs `pq known`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let mut known = open()?;
    match &args.what {
        Some(What::Add { address, key }) => known.add(address, *key)?,
        Some(What::Remove { address }) if !known.remove(address)? => {
            let why = format_args!("expected a line of {address}, found none");
            return Err(Failure::input(why).of_file(known.path()));
        }
        Some(What::Remove { .. }) | None => {}
    }
    let servers = known
        .all()
        .map(|(address, key)| Server { address: address.to_owned(), key: key.to_string() });
    let all = Known { file: known.path().display().to_string(), servers: servers.collect() };
    app.console.result(&all, Known::text)
}

/// The key that a client expects: the one that was named, or the one that is known.
///
/// # Errors
/// The address has no key.
pub(crate) fn expected(named: Option<PublicKey>, address: &str) -> Outcome<PublicKey> {
    if let Some(key) = named {
        return Ok(key);
    }
    let known = open()?;
    known.key(address).ok_or_else(|| {
        Failure::usage(format_args!(
            "a client needs the server's key: --server-key, or a line of {address} in {} (pq known \
             add {address} ed25519:...); or --server-ca, where the server has a certificate",
            known.path().display()
        ))
    })
}

fn open() -> Outcome<KnownServers> {
    let path = KnownServers::of_user().ok_or_else(|| {
        Failure::usage("keys of servers are kept in XDG_CONFIG_HOME or HOME, and neither is set")
    })?;
    Ok(KnownServers::open(&path)?)
}

impl Known {
    fn text(&self) -> String {
        let mut text = String::new();
        for Server { address, key } in &self.servers {
            let _ = writeln!(text, "{address} {key}");
        }
        text
    }
}

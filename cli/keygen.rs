//! `pq keygen`: a key of one's own, for encrypted connections.

use std::path::PathBuf;

use pq::Identity;
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};

/// What `pq keygen` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write the private key into; one that is there already is kept.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Made {
    public_key: String,
}

/// Runs `pq keygen`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    if args.out.exists() {
        let why = "there is a file already, and a key that is overwritten is lost; name another";
        return Err(Failure::input(why).of_file(&args.out));
    }
    let identity = Identity::generate()?;
    identity.save(&args.out)?;
    app.console.result(&Made { public_key: identity.public().to_string() }, Made::text)
}

impl Made {
    fn text(&self) -> String {
        format!("{}\n", self.public_key)
    }
}

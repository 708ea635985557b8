//! `pq keygen`: a key of one's own, for encrypted connections, or a token for a browser.

use std::path::PathBuf;

use pq::{Identity, Token};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};

/// What `pq keygen` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write the private key into; one that is there already is kept.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Make a token instead, for a client in a browser: it goes into the file, and its digest, for
    /// the clients' file of pq serve, is printed.
    #[arg(long)]
    token: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    /// Of a key.
    PublicKey(String),
    /// Of a token.
    TokenDigest(String),
}

/// Runs `pq keygen`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    if args.out.exists() {
        let why = "there is a file already, and a key that is overwritten is lost; name another";
        return Err(Failure::input(why).of_file(&args.out));
    }
    let made = if args.token {
        let token = Token::generate()?;
        token.save(&args.out)?;
        Made::TokenDigest(token.digest().to_string())
    } else {
        let identity = Identity::generate()?;
        identity.save(&args.out)?;
        Made::PublicKey(identity.public().to_string())
    };
    app.console.result(&made, Made::text)
}

impl Made {
    fn text(&self) -> String {
        let (Self::PublicKey(made) | Self::TokenDigest(made)) = self;
        format!("{made}\n")
    }
}

//! What a client needs of a network, from the server that has it: its plan, and its hints.
//!
//! Both are public, and named by their hashes. What was fetched once is kept in a folder, and held
//! against its hash when it is read again.

use std::path::PathBuf;
use std::sync::Arc;

use protocols::ask::{Ask, Doorstep, Named, Offer, Want};
use protocols::hints::PublicHints;
use protocols::plan::Plan;
use protocols::{Channel, hex};
use tokio::net::TcpStream;

use crate::party::{explain, granted};
use crate::tls::{self, Connection};
use crate::whole::{Access, write};
use crate::{Client, ClientOptions, ClientTls, Error, Security, secret, user};

/// The public half of a network, as a server has it.
#[derive(Clone, Debug)]
pub struct PublicNetwork {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The hints that it names, if it names any.
    pub hints: Option<Arc<PublicHints>>,
}

/// A folder of plans and hints that were fetched.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// A folder, which is made when something is kept.
    pub const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// `pq` in the user's folder for such files: `XDG_CACHE_HOME`, or `.cache` in `HOME`. None
    /// where neither is set.
    pub fn of_user() -> Option<Self> {
        user::folder("XDG_CACHE_HOME", ".cache").map(Self)
    }

    /// A file that was kept, where there is one.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        secret::read(&self.0.join(name)).ok().map(|mut bytes| std::mem::take(&mut *bytes))
    }

    /// Keeps a file.
    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        std::fs::create_dir_all(&self.0)
            .map_err(|source| Error::Write { path: self.0.clone(), source })?;
        write(&self.0.join(name), bytes, Access::All)
    }
}

impl PublicNetwork {
    /// Asks the server at the other end of a connection for a network by its name, and fetches what
    /// the cache does not have of it. The connection serves for nothing else.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`] where the server has none of this name for this client, and where
    /// what it sends is not what it says.
    pub async fn fetch(
        stream: TcpStream,
        name: &str,
        cache: Option<&Cache>,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let ClientOptions { limits, security, .. } = options;
        let Connection { stream, binding, .. } =
            tls::secure(security, stream, limits.silence).await?;
        let doorstep = Doorstep::new(Channel::new(stream, *limits), binding);
        let mut source = Source { doorstep, name, cache, security };
        let offer = source.ask(Want::Description).await?;
        let plan = Arc::new(source.plan(&offer).await?);
        let hints = match &plan.hints {
            Some(digest) => Some(Arc::new(source.hints(&plan, digest).await?)),
            None => None,
        };
        // The session is another connection: it may begin much later.
        source.doorstep.part().await;
        Ok(Self { plan, hints })
    }
}

impl Client {
    /// Connects to a server for the network that it has by this name: its plan and its hints come
    /// from the cache, or else from the server.
    ///
    /// # Errors
    /// Those of [`PublicNetwork::fetch`] and of [`Client::connect`].
    pub async fn connect_to(
        address: &str,
        model: &str,
        cache: Option<&Cache>,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let stream = Self::dial(address, options.patience, &mut || ()).await?;
        let PublicNetwork { plan, hints } =
            PublicNetwork::fetch(stream, model, cache, options).await?;
        Self::connect(address, plan, &ClientOptions { hints, ..options.clone() }).await
    }
}

/// A server that is asked for a network's files.
struct Source<'a> {
    doorstep: Doorstep,
    name: &'a str,
    cache: Option<&'a Cache>,
    security: &'a Security<ClientTls>,
}

impl Source<'_> {
    async fn ask(&mut self, want: Want) -> Result<Offer, Error> {
        let answer = self.doorstep.ask(&Ask::of(want, self.name.to_owned())).await;
        let answer = answer.map_err(|error| explain(self.security, error))?;
        granted(answer, &Named::Name(self.name.to_owned()))
    }

    async fn plan(&mut self, offer: &Offer) -> Result<Plan, Error> {
        let name = format!("{}.plan.json", hex(&offer.plan));
        // Whatever is wrong with a file that was kept, it can be fetched again.
        let kept = self.cache.and_then(|cache| cache.read(&name));
        let kept = kept.and_then(|bytes| Plan::from_json(&bytes).ok());
        if let Some(plan) = kept.filter(|plan| plan.hash() == offer.plan) {
            return Ok(plan);
        }
        // The server may have read its files again since: the hash tells.
        let sent = self.ask(Want::Plan).await?;
        let bytes = self.doorstep.receive_file(sent.plan_len).await?;
        let plan = Plan::from_json(&bytes)?;
        if sent.plan != offer.plan || plan.hash() != offer.plan {
            let (expected, found) = (hex(&offer.plan), hex(&plan.hash()));
            let what = "hash of the plan that the server has sent";
            return Err(protocols::Error::invalid(what, expected, found).into());
        }
        self.keep(&name, &bytes)?;
        Ok(plan)
    }

    async fn hints(&mut self, plan: &Plan, digest: &str) -> Result<PublicHints, Error> {
        // A checked plan's digest is of hexadecimal digits alone.
        let name = format!("{digest}.hints.bin");
        let kept = self.cache.and_then(|cache| cache.read(&name));
        if let Some(hints) = kept.and_then(|bytes| PublicHints::from_bytes(bytes, plan).ok()) {
            return Ok(hints);
        }
        // Its length is known from the plan: no server makes a client wait for, or keep, more.
        let sent = self.ask(Want::Hints).await?;
        let expected = plan.hints_len().unwrap_or(0) as u64;
        if sent.hints_len != expected {
            let what = "bytes of the hints that the server offers";
            return Err(protocols::Error::invalid(what, expected, sent.hints_len).into());
        }
        let bytes = self.doorstep.receive_file(expected).await?;
        let hints = PublicHints::from_bytes(bytes, plan)?;
        self.keep(&name, hints.bytes())?;
        Ok(hints)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.cache.map_or(Ok(()), |cache| cache.keep(name, bytes))
    }
}

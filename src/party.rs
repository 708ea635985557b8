//! One party of one session: what it says of itself, the handshake, and what follows from it.

use std::sync::Arc;

use protocols::allowance;
use protocols::execute::{Holdings, Observe, PartySession};
use protocols::handshake::{Agreement, Hello, shake_hands};
use protocols::hints::PublicHints;
use protocols::plan::{Hints, Load, Plan};
use protocols::{Channel, Limits, Role, Session};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpStream;

use crate::{Error, transport};

/// How a party meets its peers: what it says of itself, as often as it is asked.
#[derive(Clone)]
pub(crate) struct Introduction {
    plan: Arc<Plan>,
    holdings: Holdings,
    hash: [u8; 32],
    load: Load,
    memory: u64,
    limits: Limits,
}

/// A connection to a peer that agrees.
pub(crate) struct Met {
    plan: Arc<Plan>,
    holdings: Holdings,
    channel: Channel,
    agreement: Agreement,
}

impl Introduction {
    /// A server's: the most images that it serves at a time, and the bytes that a session of its
    /// may be predicted to need.
    pub(crate) fn of_server(
        plan: Arc<Plan>,
        holdings: Holdings,
        most: Load,
        memory: u64,
        limits: Limits,
    ) -> Self {
        let hash = plan.hash();
        Self { plan, holdings, hash, load: most, memory, limits }
    }

    /// A client's, with what it asks for. Whether it knows the hints is what it holds.
    pub(crate) fn of_client(
        plan: Arc<Plan>,
        hints: Option<Arc<PublicHints>>,
        load: Load,
        limits: Limits,
    ) -> Self {
        let (hash, load) = (plan.hash(), load.with(Hints::of(hints.is_some())));
        let holdings = Holdings::of_client(hints);
        Self { plan, holdings, hash, load, memory: 0, limits }
    }

    /// Shakes hands, with a nonce of its own for every connection. A load that takes more than the
    /// server's memory is no session either.
    pub(crate) async fn meet(self, stream: TcpStream) -> Result<Met, Error> {
        let Self { plan, holdings, hash, load, memory, limits } = self;
        let role = holdings.role();
        let reveals = plan.reveals();
        let hello = Hello { role, reveals, plan: hash, load, nonce: fresh()?, memory };
        let mut channel = Channel::new(transport::ready(stream)?, limits);
        let agreement = shake_hands(&mut channel, &hello).await?;
        match allowance::allowed(
            |load| plan.memory(Role::Server, load),
            agreement.memory,
            agreement.load,
        ) {
            Ok(()) => Ok(Met { plan, holdings, channel, agreement }),
            Err(excess) => {
                // The peer comes to the same end by itself, once it has this party's confirmation.
                channel.part().await;
                Err(excess.disagreement(role).into())
            }
        }
    }
}

impl Met {
    /// What both have agreed on.
    pub(crate) const fn load(&self) -> Load {
        self.agreement.load
    }

    /// Sets the session up.
    pub(crate) async fn open(self, observe: &mut Observe<'_>) -> Result<PartySession, Error> {
        let Self { plan, holdings, channel, agreement } = self;
        let session = Session::new(holdings.role(), channel, agreement.id, fresh()?);
        Ok(PartySession::open(plan, session, holdings, agreement.load, observe).await?)
    }
}

/// Random bytes of the operating system.
fn fresh() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| Error::System {
        what: "random bytes",
        source: std::io::Error::other(error),
    })?;
    Ok(bytes)
}

//! One party of one session: what it says of itself, the handshake, and what follows from it.

use std::io::ErrorKind;
use std::sync::Arc;

use protocols::allowance;
use protocols::ask::{Answer, Ask, Doorstep, Named, Offer, Want};
use protocols::execute::{Holdings, Observe, PartySession};
use protocols::handshake::{Agreement, Hello, shake_hands};
use protocols::hints::PublicHints;
use protocols::plan::{Hints, Load, Plan};
use protocols::{Channel, Error as ProtocolError, Limits, Role, Session, hex};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpStream;

use crate::Error;
use crate::granted::ServerOptions;
use crate::tls::{self, ClientTls, Connection, Security, ServerTls};

/// How a party meets its peers: what it says of itself, as often as it is asked.
#[derive(Clone)]
pub(crate) struct Introduction {
    plan: Arc<Plan>,
    holdings: Holdings,
    hash: [u8; 32],
    load: Load,
    memory: u64,
    limits: Limits,
    security: Secured,
}

/// What a party's connections are protected by.
#[derive(Clone)]
enum Secured {
    Server(Security<ServerTls>),
    Client(Security<ClientTls>),
}

/// A connection to a peer that agrees.
pub(crate) struct Met {
    plan: Arc<Plan>,
    holdings: Holdings,
    channel: Channel,
    agreement: Agreement,
}

impl Introduction {
    /// A server's, with what it grants.
    pub(crate) fn of_server(plan: Arc<Plan>, holdings: Holdings, options: &ServerOptions) -> Self {
        let hash = plan.hash();
        let ServerOptions { images, memory, limits, security } = options;
        let (load, security) = (Load::one(*images), Secured::Server(security.clone()));
        Self { plan, holdings, hash, load, memory: *memory, limits: *limits, security }
    }

    /// A client's, with what it asks for. Whether it knows the hints is what it holds.
    pub(crate) fn of_client(
        plan: Arc<Plan>,
        hints: Option<Arc<PublicHints>>,
        load: Load,
        limits: Limits,
        security: Security<ClientTls>,
    ) -> Self {
        let (hash, load) = (plan.hash(), load.with(Hints::of(hints.is_some())));
        let (holdings, security) = (Holdings::of_client(hints), Secured::Client(security));
        Self { plan, holdings, hash, load, memory: 0, limits, security }
    }

    /// The same, of a session that was asked for at the door: no larger one is agreed on.
    pub(crate) fn granting(self, memory: u64, load: Load) -> Self {
        Self { memory, load, ..self }
    }

    /// Asks for a session or grants one, and shakes hands.
    pub(crate) async fn meet(self, stream: TcpStream) -> Result<Met, Error> {
        let security = self.security.clone();
        let Connection { stream, binding, .. } = security.secure(stream, self.limits).await?;
        let mut doorstep = Doorstep::new(Channel::new(stream, self.limits), binding);
        match self.holdings.role() {
            Role::Server => self.grant(&mut doorstep).await?,
            Role::Client => {
                let Load { images, prepared, .. } = self.load;
                let [images, prepared] = [images, prepared].map(|count| count as u32);
                let ask = Ask::session(self.hash, images, prepared);
                let answer = doorstep.ask(&ask).await.map_err(|error| security.explain(error))?;
                granted(answer, &ask.network)?;
            }
        }
        self.agree(doorstep).await
    }

    /// Grants a session to whoever asks for one: the handshake tells the differences. There is
    /// nothing else to be had.
    async fn grant(&self, doorstep: &mut Doorstep) -> Result<(), Error> {
        loop {
            let ask = doorstep.hear().await?;
            let session = ask.want == Want::Session;
            let offer = Offer { plan: self.hash, ..Offer::default() };
            doorstep.answer(&if session { Answer::Ok(offer) } else { Answer::Unknown })?;
            if session {
                return Ok(());
            }
        }
    }

    /// Shakes hands, with a nonce of its own for every connection. A load that takes more than the
    /// server's memory is no session either.
    pub(crate) async fn agree(self, doorstep: Doorstep) -> Result<Met, Error> {
        let Self { plan, holdings, hash, load, memory, security, .. } = self;
        let (role, reveals) = (holdings.role(), plan.reveals());
        let (mut channel, binding) = doorstep.into_parts();
        let hello = Hello { role, reveals, plan: hash, load, nonce: fresh()?, memory, binding };
        let agreement = shake_hands(&mut channel, &hello).await;
        let agreement = agreement.map_err(|error| security.explain(error))?;
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

/// What an answer to an ask for a network comes to.
pub(crate) fn granted(answer: Answer, network: &Named) -> Result<Offer, Error> {
    match answer {
        Answer::Ok(offer) => Ok(offer),
        Answer::Busy(seconds) => Err(Error::Busy { seconds }),
        Answer::Unknown => Err(Error::UnknownNetwork { network: network.to_string() }),
        Answer::Quota(seconds) => Err(Error::Quota { seconds }),
    }
}

impl Secured {
    async fn secure(&self, stream: TcpStream, limits: Limits) -> Result<Connection, Error> {
        match self {
            Self::Server(security) => tls::secure(security, stream, limits.silence).await,
            Self::Client(security) => tls::secure(security, stream, limits.silence).await,
        }
    }

    fn explain(&self, error: ProtocolError) -> Error {
        match self {
            Self::Server(_) => error.into(),
            Self::Client(security) => explain(security, error),
        }
    }
}

/// An error of a client's first words, in which it hears first that it is not known.
pub(crate) fn explain(security: &Security<ClientTls>, error: ProtocolError) -> Error {
    match (security, error) {
        // See `tls::stream`: no other stream has this kind of error.
        (Security::Tls(tls), ProtocolError::PeerLost { source, .. })
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            tls::not_admitted(tls, &source)
        }
        (_, error) => error.into(),
    }
}

impl Met {
    /// What both have agreed on.
    pub(crate) const fn load(&self) -> Load {
        self.agreement.load
    }

    /// The start of the session's number: what people call it.
    pub(crate) fn name(&self) -> String {
        hex(&self.agreement.id[..4])
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

//! The client: one connection, and as many inferences as it was made for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocols::execute::{Observe, PartySession, Report};
use protocols::hints::PublicHints;
use protocols::plan::{Answer, Load, Plan};
use protocols::{Error as ProtocolError, Limits};
use tokio::net::TcpStream;

use crate::party::{Introduction, Met};
use crate::{ClientTls, Error, Images, Security, transport};

/// What a client asks of a server.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The images of an inference, and how many inferences are prepared and run.
    pub load: Load,
    /// The hints that the plan names, where it names any and the client has them: see
    /// [`Network::open_hints`](crate::Network::open_hints). Otherwise the server sends them.
    pub hints: Option<Arc<PublicHints>>,
    /// How long it waits for the server's part of a step.
    pub limits: Limits,
    /// How long it tries to connect.
    pub patience: Duration,
    /// How traffic is protected, and which server is trusted.
    pub security: Security<ClientTls>,
}

impl Default for ClientOptions {
    /// One inference of one image, ten seconds to connect, and a server on this machine only.
    fn default() -> Self {
        let (load, limits, patience) = (Load::one(1), Limits::default(), Duration::from_secs(10));
        Self { load, hints: None, limits, patience, security: Security::Loopback }
    }
}

/// A connection to a server that runs the same plan.
///
/// How many inferences it will run, of how many images, is agreed on when it connects
/// ([`ClientOptions::load`]). What does not depend on the images is prepared by
/// [`Client::prepare`], or else when it is first needed.
pub struct Client {
    plan: Arc<Plan>,
    peer: SocketAddr,
    name: String,
    state: State,
    load: Load,
    /// Inferences that were run.
    run: usize,
}

enum State {
    Met(Box<Met>),
    Open(Box<PartySession>),
    /// An error has ended it.
    Ended,
}

impl Client {
    /// Connects, and agrees with the server on the plan and the load.
    ///
    /// # Errors
    /// [`Error::NoServer`] where none answers in time; where the server has another plan, or not
    /// enough memory for the load.
    pub async fn connect(
        address: &str,
        plan: impl Into<Arc<Plan>>,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let stream = Self::dial(address, options.patience, &mut || ()).await?;
        Self::over(stream, plan.into(), options).await
    }

    /// Connects, and no more: `waiting` is told where the server is not up yet.
    ///
    /// # Errors
    /// [`Error::NoServer`] where none answers in time.
    pub async fn dial(
        address: &str,
        patience: Duration,
        waiting: &mut (dyn FnMut() + Send),
    ) -> Result<TcpStream, Error> {
        transport::connect(address, patience, waiting).await
    }

    /// Agrees with the server at the other end of a connection on the plan and the load.
    ///
    /// # Errors
    /// Where the server has another plan, or not enough memory for the load; where the hints are
    /// not the plan's.
    pub async fn over(
        stream: TcpStream,
        plan: Arc<Plan>,
        options: &ClientOptions,
    ) -> Result<Self, Error> {
        let peer = transport::peer(&stream)?;
        let ClientOptions { load, hints, limits, security, .. } = options.clone();
        if let Some(hints) = &hints {
            hints.check(&plan)?;
        }
        let introduction =
            Introduction::of_client(Arc::clone(&plan), hints, load, limits, security);
        let met = introduction.meet(stream).await?;
        let (load, name) = (met.load(), met.name());
        Ok(Self { plan, peer, name, load, run: 0, state: State::Met(Box::new(met)) })
    }

    /// The start of the session's number, by which the server's log names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ledger so far: none where nothing was set up, or an error has ended it.
    pub fn report(&self) -> Option<Report> {
        match &self.state {
            State::Open(session) => Some(session.so_far()),
            State::Met(_) | State::Ended => None,
        }
    }

    /// What both parties run.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The server's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Does all that needs no image, for as many inferences as the load prepares at a time; nothing
    /// where some are prepared.
    ///
    /// # Errors
    /// Where the server is lost or violates the protocol.
    pub async fn prepare(&mut self, observe: &mut Observe<'_>) -> Result<(), Error> {
        let session = Box::pin(self.session(observe)).await?;
        Ok(Box::pin(session.request_prepared(observe)).await?)
    }

    /// Runs the next inference, on as many images as the load says: usually one.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where all inferences of the load are run; where the images do not fit;
    /// where the server is lost or violates the protocol.
    pub async fn infer(&mut self, images: &Images) -> Result<Vec<Answer>, Error> {
        let input = self.plan.encode(&images.tensor()?.data)?;
        let found = self.infer_integers(&input, &mut |_| ()).await?;
        Ok(self.plan.decode(&found, images.len()))
    }

    /// The same on integers, as [`Plan::encode`] makes them and [`Plan::decode`] reads them.
    ///
    /// # Errors
    /// Those of [`Client::infer`].
    pub async fn infer_integers(
        &mut self,
        input: &[i64],
        observe: &mut Observe<'_>,
    ) -> Result<Vec<i64>, Error> {
        if self.run == self.load.inferences {
            return Err(Error::Exhausted { agreed: self.run });
        }
        let session = Box::pin(self.session(observe)).await?;
        // Apart from the caller's future, which may be on a small stack.
        let found = Box::pin(session.request_inference(input, observe)).await?;
        self.run += 1;
        found.ok_or(Error::Internal("invariant: the client learns the result, and did not"))
    }

    /// Runs all inferences of the load, on the inputs of all of them one after the other, and ends
    /// the session.
    ///
    /// # Errors
    /// Those of [`Client::infer`].
    pub async fn run(
        mut self,
        input: &[i64],
        observe: &mut Observe<'_>,
    ) -> Result<(Vec<i64>, Report), Error> {
        let (load, elements) = (self.load, self.plan.input_wire().elements());
        if input.len() != elements * load.total() {
            let expected = format!("{} elements", elements * load.total());
            return Err(ProtocolError::invalid("input", expected, input.len()).into());
        }
        let mut all = Vec::new();
        for inference in 0..load.inferences {
            let start = elements * load.images * inference;
            let input = &input[start..start + elements * load.images_of(inference)];
            all.extend(self.infer_integers(input, observe).await?);
        }
        Ok((all, self.close().await?))
    }

    /// Ends the session in good order; its ledger.
    ///
    /// # Errors
    /// [`Error::Ended`] where no session was set up, and where an error has ended it.
    pub async fn close(mut self) -> Result<Report, Error> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(session) => Ok(session.request_end().await?),
            State::Met(_) | State::Ended => Err(Error::Ended),
        }
    }

    /// The session, set up.
    async fn session(&mut self, observe: &mut Observe<'_>) -> Result<&mut PartySession, Error> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Met(met) => State::Open(Box::new(met.open(observe).await?)),
            state @ (State::Open(_) | State::Ended) => state,
        };
        match &mut self.state {
            State::Open(session) => Ok(session),
            State::Met(_) | State::Ended => Err(Error::Ended),
        }
    }
}

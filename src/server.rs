//! The server: its door, and one session at a time.
//!
//! Whoever connects may shake hands, and the first client that agrees is let in. A connection that
//! is not a client's, or of a client that disagrees, changes nothing. Handshakes run beside each
//! other, so that nobody waits for a silent connection.

use std::net::SocketAddr;
use std::sync::Arc;

use protocols::execute::{Observe, Report};
use tokio::net::{TcpListener, TcpStream};

use crate::granted::ServerOptions;
use crate::handshakes::{Arrival, Handshakes};
use crate::party::{Introduction, Met};
use crate::{Error, Network, transport};

/// Handshakes under way at the most.
const PENDING: usize = 16;

/// A network that waits for clients.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    introduction: Introduction,
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Its handshake failed, or it disagrees.
    #[error(transparent)]
    Failed(Error),
    /// It has not finished its handshake, and others are waiting.
    #[error("it has not finished its handshake, and others are waiting")]
    Slow,
    /// The system accepts no connection for now; there is no peer.
    #[error("no connection can be accepted for now: {0}")]
    System(std::io::Error),
}

/// A client that agrees, and that waits for its session.
pub struct ServerSession(Met);

impl Server {
    /// Listens on an address, such as `0.0.0.0:7000`; port 0 is any that is free.
    ///
    /// # Errors
    /// [`Error::Listen`] with the system's reason; where the plan names hints, those of
    /// [`Network::hints`].
    pub async fn bind(
        address: &str,
        network: &Network,
        options: &ServerOptions,
    ) -> Result<Self, Error> {
        let introduction = introduction(network, options)?;
        let listener = transport::listen(address).await?;
        let actual = listener
            .local_addr()
            .map_err(|source| Error::Listen { address: address.into(), source })?;
        Ok(Self { listener, address: actual, introduction })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a client that agrees. `refused` hears of all others, with their addresses.
    pub async fn accept(
        &self,
        refused: &mut (dyn FnMut(Option<SocketAddr>, &Refused) + Send),
    ) -> ServerSession {
        let mut door = Handshakes::new(PENDING);
        loop {
            let arrived = door.arrival(
                || self.listener.accept(),
                |stream, _| self.introduction.clone().meet(stream),
            );
            match arrived.await {
                Arrival::Ended(_, Ok(met)) => return ServerSession(met),
                Arrival::Ended(peer, Err(error)) => refused(Some(peer), &Refused::Failed(error)),
                Arrival::Slow(peer) => refused(Some(peer), &Refused::Slow),
                Arrival::System(error) => refused(None, &Refused::System(error)),
                // The hook of panics has told.
                Arrival::Panicked => {}
            }
        }
    }

    /// Serves one client after the other, for as long as it is polled. A session that fails ends no
    /// other: `ended` hears of each.
    pub async fn serve(&self, ended: &mut (dyn FnMut(Result<Report, Error>) + Send)) -> ! {
        loop {
            let session = self.accept(&mut |_, _| ()).await;
            ended(session.run(&mut |_| ()).await);
        }
    }
}

impl ServerSession {
    /// Agrees with the client at the other end of a connection on the plan and the load.
    ///
    /// # Errors
    /// Where the client has another plan, or asks for more than the options grant; where the plan
    /// names hints, those of [`Network::hints`].
    pub async fn over(
        stream: TcpStream,
        network: &Network,
        options: &ServerOptions,
    ) -> Result<Self, Error> {
        Ok(Self(introduction(network, options)?.meet(stream).await?))
    }

    /// Serves the client to its end; the ledger.
    ///
    /// # Errors
    /// Where the client is lost or violates the protocol.
    pub async fn run(self, observe: &mut Observe<'_>) -> Result<Report, Error> {
        serve(self.0, observe).await
    }
}

/// What a server says of itself.
fn introduction(network: &Network, options: &ServerOptions) -> Result<Introduction, Error> {
    Ok(Introduction::of_server(Arc::clone(network.plan()), network.holdings()?, options))
}

/// Runs the server's part of a session, to its end.
pub(crate) async fn serve(met: Met, observe: &mut Observe<'_>) -> Result<Report, Error> {
    // Apart from the caller's future, which may be on a small stack.
    let session = Box::pin(met.open(observe)).await?;
    Ok(Box::pin(session.serve(observe)).await?)
}

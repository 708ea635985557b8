//! Between the parties: TCP, and loopback within a process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout_at};

use crate::Error;

/// The pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// A runtime for a party that computes on the thread that blocks on it: two workers move its bytes
/// meanwhile.
///
/// # Errors
/// [`Error::System`] where the system refuses threads.
pub fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "the network threads", source })
}

/// Listens on an address, such as `127.0.0.1:7000`; port 0 is any that is free.
pub(crate) async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address: address.into(), source })
}

/// Connects to a server, and tries again while it is not up yet: `waiting` is told at the first
/// failure.
pub(crate) async fn connect(
    address: &str,
    patience: Duration,
    waiting: &mut (dyn FnMut() + Send),
) -> Result<TcpStream, Error> {
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        let attempt = timeout_at(deadline.into(), TcpStream::connect(address)).await;
        let source = match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        if Instant::now() + RETRY >= deadline {
            let seconds = patience.as_secs_f64();
            return Err(Error::NoServer { address: address.into(), seconds, source });
        }
        if !std::mem::replace(&mut told, true) {
            waiting();
        }
        sleep(RETRY).await;
    }
}

/// Two ends of a connection within this process.
pub(crate) async fn loopback() -> Result<(TcpStream, TcpStream), Error> {
    let listener = listen("127.0.0.1:0").await?;
    let address = listener.local_addr().map_err(Error::Connection)?;
    let client = TcpStream::connect(address).await.map_err(Error::Connection)?;
    // Whoever else may have connected first is not let in.
    loop {
        let (server, peer) = listener.accept().await.map_err(Error::Connection)?;
        if client.local_addr().is_ok_and(|own| own == peer) {
            return Ok((server, client));
        }
    }
}

/// The peer's address.
pub(crate) fn peer(stream: &TcpStream) -> Result<SocketAddr, Error> {
    stream.peer_addr().map_err(Error::Connection)
}

/// A connection whose messages leave when they are sent.
pub(crate) fn ready(stream: TcpStream) -> Result<TcpStream, Error> {
    stream.set_nodelay(true).map_err(Error::Connection)?;
    Ok(stream)
}

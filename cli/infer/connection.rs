//! Between the parties: listening, and connecting to a server that may not be up yet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout_at};

use crate::console::Console;
use crate::exit::{Code, Failure, Outcome};
use crate::progress::Progress;

/// What the line starts with that says where a server waits.
pub(crate) const LISTENING: &str = "listening on ";

/// The pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// Workers that move bytes while a party's own thread computes.
pub(super) fn runtime() -> Outcome<Runtime> {
    let failed =
        |error| Failure::internal(format_args!("cannot start the network threads: {error}"));
    Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)
}

/// Listens, and says where.
pub(super) async fn listen(address: &str) -> Outcome<(TcpListener, SocketAddr)> {
    let failed = |error| Failure::internal(format_args!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

/// Connects, waiting visibly for a server that is not up yet.
pub(super) async fn connect(
    console: &Console,
    address: &str,
    patience: Duration,
) -> Outcome<TcpStream> {
    let deadline = Instant::now() + patience;
    let mut progress = None;
    loop {
        let attempt = timeout_at(deadline.into(), TcpStream::connect(address)).await;
        let error = match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => std::io::ErrorKind::TimedOut.into(),
        };
        if Instant::now() + RETRY >= deadline {
            return Err(Failure::new(
                Code::PeerLost,
                format_args!(
                    "no server at {address} within {} s: {error}; start it, or raise --connect-timeout",
                    patience.as_secs_f64()
                ),
            ));
        }
        progress.get_or_insert_with(|| {
            console.note(format_args!(
                "waiting for a server at {address}, {} s at most",
                patience.as_secs_f64()
            ));
            let progress = Progress::new();
            progress.waiting(format!("waiting for {address}"));
            progress
        });
        sleep(RETRY).await;
    }
}

/// Warns where traffic would leave this machine.
pub(super) fn warn_off_loopback(console: &Console, address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        console.warn(format_args!(
            "{address} is not a loopback address, and traffic is not encrypted yet: whoever can change it can \
             break the protocol's guarantees; use a tunnel such as SSH or WireGuard"
        ));
    }
}

/// Small messages of many rounds must not wait for each other.
pub(super) fn ready(stream: TcpStream) -> Outcome<TcpStream> {
    match stream.set_nodelay(true) {
        Ok(()) => Ok(stream),
        Err(error) => {
            Err(Failure::new(Code::PeerLost, format_args!("the connection failed: {error}")))
        }
    }
}

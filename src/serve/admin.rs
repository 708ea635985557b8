//! How the service is, for its operator: HTTP on this machine, to read alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::local;
use super::metrics::Gauges;
use super::state::{Phase, Shared};
use crate::handshakes::PAUSE;
use crate::{Error, transport};

/// The longest request that is read.
const LONGEST: usize = 8 << 10;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests at a time.
const AT_A_TIME: usize = 16;

/// What there is.
const INDEX: &str = "/healthz\n/readyz\n/metrics\n/models\n/sessions\n";

/// Listens on an address of this machine.
///
/// # Errors
/// [`Error::Listen`] where it cannot, [`Error::Unencrypted`] where others could reach it.
pub(super) async fn listen(address: &str) -> Result<TcpListener, Error> {
    let listener = transport::listen(address).await?;
    let peer: SocketAddr = local(&listener, address)?;
    if peer.ip().is_loopback() { Ok(listener) } else { Err(Error::Unencrypted { peer }) }
}

/// Answers for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Whoever asked and went is not told.
            let _ = timeout(PATIENCE, answer(stream, &shared)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (mut request, mut len) = (vec![0; LONGEST], 0);
    // The whole head is read: closing on unread bytes would take the answer back.
    while !request[..len].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[len..]).await? {
            0 => break,
            read => len += read,
        }
    }
    // Whatever the rest of the head says, there is one answer to a path.
    let head = String::from_utf8_lossy(&request[..len]);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let page = match method {
        "GET" | "HEAD" => Page::of(path, shared),
        _ => Page::text("405 Method Not Allowed", "GET alone\n"),
    };
    let Page { status, kind, body } = page;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

struct Page {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Page {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    fn json(rows: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(rows) {
            Ok(body) => Self { status: "200 OK", kind: "application/json", body: body + "\n" },
            Err(error) => Self::text("500 Internal Server Error", format!("{error}\n")),
        }
    }

    fn of(path: &str, shared: &Shared) -> Self {
        let ready = *shared.phase.borrow() == Phase::Serving;
        match path {
            "/" => Self::text("200 OK", INDEX),
            "/healthz" => Self::text("200 OK", "ok\n"),
            "/readyz" if ready => Self::text("200 OK", "ready\n"),
            "/readyz" => Self::text("503 Service Unavailable", "draining\n"),
            "/metrics" => {
                let gauges = Gauges {
                    sessions: shared.sessions().len(),
                    queue: shared.admission.waiting(),
                    memory: shared.admission.charged(),
                    ready,
                };
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                Self { kind, ..Self::text("200 OK", shared.metrics.text(&gauges)) }
            }
            "/models" => Self::json(&shared.current().models.rows()),
            "/sessions" => Self::json(&shared.sessions()),
            _ => Self::text("404 Not Found", INDEX),
        }
    }
}

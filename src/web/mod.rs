//! Browsers as clients: HTTP, and a WebSocket that carries what the native clients' connections
//! carry.
//!
//! A browser can neither show a key in the handshake of TLS nor compare the server's: the server
//! has a certificate of a name, and the client a token ([`Token`](crate::Token)). Everything behind
//! that, from the first ask to the last byte, is the same protocol at the same price. The
//! WebSocket's own headers are outside the ledger, as those of TLS are.

mod certificate;
mod gate;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{Clients, Error, transport};
use certificate::Certificate;
use gate::Gate;

pub(crate) use gate::Visitor;

/// Where the WebSocket is.
const PATH: &str = "/pq";
/// The protocol that is spoken inside.
const PROTOCOL: &str = "pq";
/// Before a token, among the protocols that a browser offers: the one place of the first request
/// that a page may fill, and no address, which others would log.
const TOKEN: &str = "pq-token.";

/// How a service meets browsers.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    /// Where it listens, such as `0.0.0.0:7443`.
    pub listen: String,
    /// The files of its certificates, its own first, and of its private key, both in PEM; without,
    /// traffic is in the clear.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether others than this machine may reach it without a certificate.
    pub exposed: bool,
    /// The origins of pages that may connect, such as `https://example.org`. Those of this machine
    /// may where the address is one of this machine's.
    pub origins: Vec<String>,
    /// Pages that it serves itself.
    pub files: Vec<WebFile>,
}

/// A file of a page.
#[derive(Clone, Debug)]
pub struct WebFile {
    /// Where it is, such as `/`.
    pub path: String,
    /// Its type, such as `text/html; charset=utf-8`.
    pub kind: &'static str,
    /// Its content.
    pub bytes: Bytes,
}

/// What browsers meet: a certificate, and behind it the gate.
pub(crate) struct Web {
    certificate: Certificate,
    gate: Arc<Gate>,
}

impl Web {
    /// Of a service's clients.
    ///
    /// # Errors
    /// Those of the certificate's files.
    pub(crate) fn open(options: &WebOptions, clients: Clients) -> Result<Self, Error> {
        let files = options.certificate.as_ref();
        let certificate = Certificate::open(files.map(|(chain, key)| (&**chain, &**key)))?;
        Ok(Self { certificate, gate: Arc::new(Gate::new(clients, options)) })
    }

    /// Lets a browser in that shows a client's token; none where it came for pages alone.
    ///
    /// # Errors
    /// [`Error::Web`] where it is refused; those of a connection that is lost, or too slow.
    pub(crate) async fn meet(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> Result<Option<Visitor>, Error> {
        // By the address that was reached, not by where the listener is: it may be at all of them.
        let local = stream.local_addr().is_ok_and(|own| own.ip().to_canonical().is_loopback());
        let stream = self.certificate.secure(stream, patience).await?;
        let met = timeout(patience, Arc::clone(&self.gate).meet((stream, local), patience)).await;
        met.unwrap_or_else(|_| Err(Error::Connection(std::io::ErrorKind::TimedOut.into())))
    }
}

/// Listens for browsers.
///
/// # Errors
/// [`Error::Listen`] where it cannot, [`Error::NoCertificate`] where others could reach it in the
/// clear and are not meant to.
pub(crate) async fn listen(options: &WebOptions) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = transport::listen(&options.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|source| Error::Listen { address: options.listen.clone(), source })?;
    let loopback = address.ip().to_canonical().is_loopback();
    if loopback || options.exposed || options.certificate.is_some() {
        return Ok((listener, address));
    }
    Err(Error::NoCertificate { address })
}

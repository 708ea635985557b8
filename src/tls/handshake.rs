//! From a TCP connection to one that the protocol may run on.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::ConnectionCommon;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Security;
use super::clients::KnownClient;
use super::stream::Stream;
use crate::{Error, transport};

/// The protocol that is spoken inside.
pub(super) const ALPN: &[u8] = b"pq";
/// What is exported for the session's number.
const LABEL: &[u8] = b"EXPORTER-pq-session";

/// A connection that the protocol may run on.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    /// What both ends know of this connection and nobody else has: zeros where it is in the clear.
    pub(crate) binding: [u8; 32],
    /// Who the other side has proved to be; none at a client, and none in the clear.
    pub(crate) client: Option<KnownClient>,
}

/// A party's side of the TLS handshake.
pub(crate) trait Side: Sized {
    /// Shakes hands.
    fn secure(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Connection, Error>> + Send;
}

/// Makes sure that a connection may be used, and encrypts it where that is asked for.
///
/// # Errors
/// [`Error::Unencrypted`] where it leaves this machine in the clear; errors of the handshake.
pub(crate) async fn secure<T: Side>(
    security: &Security<T>,
    stream: TcpStream,
    patience: Duration,
) -> Result<Connection, Error> {
    let peer = transport::peer(&stream)?;
    let stream = transport::ready(stream)?;
    match security {
        Security::Loopback if !peer.ip().to_canonical().is_loopback() => {
            Err(Error::Unencrypted { peer })
        }
        Security::Loopback | Security::Insecure => {
            Ok(Connection { stream: Box::new(stream), binding: [0; 32], client: None })
        }
        Security::Tls(tls) => match timeout(patience, tls.secure(stream, peer)).await {
            Ok(connection) => connection,
            Err(_) => Err(Error::Connection(std::io::ErrorKind::TimedOut.into())),
        },
    }
}

/// Both ends derive it from the handshake's transcript: whoever ends one connection and begins
/// another has two of them.
pub(super) fn binding<T>(connection: &ConnectionCommon<T>) -> Result<[u8; 32], Error> {
    Ok(connection.export_keying_material([0; 32], LABEL, None)?)
}

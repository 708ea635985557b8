//! From a TCP connection to one that the protocol may run on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::pki_types::ServerName;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConnectionCommon, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stream::{Private, Stream};
use super::verify::Verifier;
use super::{ClientTls, Security, ServerTls};
use crate::key::PublicKey;
use crate::{Error, transport};

/// The protocol that is spoken inside.
const ALPN: &[u8] = b"pq";
/// What is exported for the session's number.
const LABEL: &[u8] = b"EXPORTER-pq-session";
/// A name has to be sent, and means nothing: keys say who a server is.
const NO_NAME: &str = "pq.invalid";

/// A connection that the protocol may run on.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    /// What both ends know of this connection and nobody else has: zeros where it is in the clear.
    pub(crate) binding: [u8; 32],
    /// The key that the other side has proved to have; none where it is in the clear.
    pub(crate) peer: Option<PublicKey>,
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
            Ok(Connection { stream: Box::new(stream), binding: [0; 32], peer: None })
        }
        Security::Tls(tls) => match timeout(patience, tls.secure(stream, peer)).await {
            Ok(connection) => connection,
            Err(_) => Err(Error::Connection(std::io::ErrorKind::TimedOut.into())),
        },
    }
}

impl Side for ServerTls {
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Connection, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = self.clients.clone();
        let verifier = Verifier::new(&provider, move |key| clients.name(key).is_some());
        let own = AlwaysResolvesServerRawPublicKeys::new(self.identity.certified()?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::<Verifier>::clone(&verifier))
            .with_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Without tickets nobody comes back by an earlier session's secrets, so that every
        // connection is authenticated by keys.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let met = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        match (met, verifier.found()) {
            (Ok(stream), peer) => {
                let binding = binding(stream.get_ref().1)?;
                Ok(Connection { stream: Box::new(Private(stream)), binding, peer })
            }
            // The key was shown and the signature may not have been checked: nothing rests on it.
            (Err(_), Some(key)) if self.clients.name(key).is_none() => {
                Err(Error::UnknownClient { key })
            }
            (Err(source), _) => Err(Error::tls(peer, source)),
        }
    }
}

impl Side for ClientTls {
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Connection, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let expected = self.server;
        let verifier = Verifier::new(&provider, move |key| key == expected);
        let own = AlwaysResolvesClientRawPublicKeys::new(self.identity.certified()?);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier))
            .with_client_cert_resolver(Arc::new(own));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        // Names say nothing here, and would tell an eavesdropper which service is asked.
        config.enable_sni = false;
        let name = ServerName::try_from(NO_NAME)
            .map_err(|_| Error::Internal("invariant: a constant is a name"))?;
        let met = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        match (met, verifier.found()) {
            (Ok(stream), peer) => {
                let binding = binding(stream.get_ref().1)?;
                Ok(Connection { stream: Box::new(Private(stream)), binding, peer })
            }
            (Err(_), Some(found)) if found != expected => {
                Err(Error::UnexpectedKey { peer, expected, found })
            }
            (Err(source), _) => Err(Error::tls(peer, source)),
        }
    }
}

/// Both ends derive it from the handshake's transcript: whoever ends one connection and begins
/// another has two of them.
fn binding<T>(connection: &ConnectionCommon<T>) -> Result<[u8; 32], Error> {
    Ok(connection.export_keying_material([0; 32], LABEL, None)?)
}

//! The certificate that browsers check.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocols::Role;
use rustls::ServerConfig;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::tls::{self, Stream};
use crate::{Error, transport};

/// What WebSockets run over: a browser may offer more.
const ALPN: &[u8] = b"http/1.1";

/// A server's certificate with its key, or none: then connections are in the clear.
#[derive(Clone)]
pub(crate) struct Certificate(Option<TlsAcceptor>);

impl Certificate {
    /// Of files in PEM.
    ///
    /// # Errors
    /// Those of [`tls::Certificate::open`].
    pub(crate) fn open(files: Option<(&Path, &Path)>) -> Result<Self, Error> {
        let Some((chain_file, key_file)) = files else { return Ok(Self(None)) };
        let own = tls::Certificate::open(chain_file, key_file, Role::Server)?;
        // As for native clients, the newest version of TLS alone: every browser with wasm has it.
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(own.resolver());
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Some(TlsAcceptor::from(Arc::new(config)))))
    }

    /// Encrypts a connection, where there is a certificate.
    ///
    /// # Errors
    /// [`Error::Tls`] and [`Error::Connection`], as of the native clients' handshake.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> Result<Box<dyn Stream>, Error> {
        let peer = transport::peer(&stream)?;
        // A frame is answered by a frame: none may wait for more to send.
        let stream = transport::ready(stream)?;
        let Some(acceptor) = &self.0 else { return Ok(Box::new(stream)) };
        match timeout(patience, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(source)) => Err(Error::tls(peer, source)),
            Err(_) => Err(Error::Connection(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

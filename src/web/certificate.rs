//! The certificate that browsers check.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::tls::Stream;
use crate::{Error, secret, transport};

/// What WebSockets run over: a browser may offer more.
const ALPN: &[u8] = b"http/1.1";

/// A server's certificate with its key, or none: then connections are in the clear.
#[derive(Clone)]
pub(crate) struct Certificate(Option<TlsAcceptor>);

impl Certificate {
    /// Of files in PEM.
    ///
    /// # Errors
    /// [`Error::Read`] where one cannot be read, [`Error::Key`] where it holds something else, or
    /// where they do not belong together.
    pub(crate) fn open(files: Option<(&Path, &Path)>) -> Result<Self, Error> {
        let Some((chain_file, key_file)) = files else { return Ok(Self(None)) };
        let text = secret::read(chain_file)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| wrong(chain_file, "certificates in PEM", &"none"))?;
        let key = PrivateKeyDer::from_pem_slice(&secret::read(key_file)?)
            .map_err(|_| wrong(key_file, "a private key in PEM", &"none"))?;
        // As for native clients, the newest version of TLS alone: every browser with wasm has it.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| {
                let expected = format!("the key of the certificate in {}", chain_file.display());
                wrong(key_file, expected, &error)
            })?;
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

fn wrong(path: &Path, expected: impl Into<String>, found: &dyn Display) -> Error {
    let (expected, found) = (expected.into(), found.to_string());
    Error::Key { path: path.into(), line: None, expected, found }
}

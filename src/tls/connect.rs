//! A client's side of the handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, PeerIncompatible};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::chain::ServerChain;
use super::handshake::{ALPN, Connection, Side, binding};
use super::means::Means;
use super::sides::{ClientIdentity, ClientTls, ServerTrust};
use super::stream::{Private, alert, inner};
use super::verify::Verifier;
use super::{NO_NAME, provider};
use crate::Error;
use crate::key::PublicKey;

/// What looks at a server.
enum Looks {
    AtKey(Arc<Verifier>, PublicKey),
    AtChain(Arc<ServerChain>),
}

impl Side for ClientTls {
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Connection, Error> {
        let (looks, name) = self.server.looks()?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(looks.verifier())
            .with_client_cert_resolver(self.identity.resolver()?);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        // Where a key says who the server is, a name would only tell an eavesdropper. Balancers
        // may go by the name of a certificate.
        config.enable_sni = matches!(looks, Looks::AtChain(_));
        let met = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        match met {
            Ok(stream) => {
                let binding = binding(stream.get_ref().1)?;
                Ok(Connection { stream: Box::new(Private(stream)), binding, client: None })
            }
            Err(source) => Err(looks
                .error(peer, &source)
                .or_else(|| self.disagreement(peer, &source))
                .unwrap_or_else(|| Error::tls(peer, source))),
        }
    }
}

impl ClientTls {
    /// The error where the server has no key, or no certificate, or takes none.
    fn disagreement(&self, peer: SocketAddr, source: &std::io::Error) -> Option<Error> {
        let kinds = PeerIncompatible::IncorrectCertificateTypeExtension;
        let differ = alert(source) == Some(AlertDescription::HandshakeFailure)
            || inner(source) == Some(&rustls::Error::PeerIncompatible(kinds));
        let server = match self.server {
            ServerTrust::Key(_) => Means::Key,
            ServerTrust::Certificate(_) => Means::Certificate,
        };
        let own = match self.identity {
            ClientIdentity::Key(_) => Means::Key,
            ClientIdentity::Certificate(_) => Means::Certificate,
        };
        differ.then(|| Error::Means {
            peer,
            expected: format!("a server that shows {server}, and knows this client by {own}"),
            found: "one that does not".into(),
        })
    }
}

impl ServerTrust {
    fn looks(&self) -> Result<(Looks, ServerName<'static>), Error> {
        match self {
            Self::Key(key) => {
                let expected = *key;
                let verifier = Verifier::new(&provider(), move |key| key == expected);
                let name = ServerName::try_from(NO_NAME)
                    .map_err(|_| Error::Internal("invariant: a constant is a name"))?;
                Ok((Looks::AtKey(verifier, expected), name))
            }
            Self::Certificate(server) => {
                let chain = ServerChain::new(server.authority.clone());
                Ok((Looks::AtChain(chain), server.name.clone()))
            }
        }
    }
}

impl ClientIdentity {
    fn resolver(&self) -> Result<Arc<dyn ResolvesClientCert>, Error> {
        match self {
            Self::Key(key) => {
                Ok(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified()?)))
            }
            Self::Certificate(certificate) => Ok(certificate.resolver()),
        }
    }
}

impl Looks {
    fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        match self {
            Self::AtKey(verifier, _) => Arc::<Verifier>::clone(verifier),
            Self::AtChain(chain) => Arc::<ServerChain>::clone(chain),
        }
    }

    /// Why the server is not trusted, where it is for what it has shown.
    fn error(&self, peer: SocketAddr, source: &std::io::Error) -> Option<Error> {
        match self {
            Self::AtKey(verifier, expected) => {
                let (expected, found) = (*expected, verifier.found()?);
                (found != expected).then_some(Error::UnexpectedKey { peer, expected, found })
            }
            Self::AtChain(chain) => {
                let fault = chain.fault(inner(source)?)?;
                let (expected, found, advice) = (fault.expected, fault.found, fault.advice);
                Some(Error::ServerCertificate { peer, expected, found, advice })
            }
        }
    }
}

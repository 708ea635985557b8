//! A server's side of the handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    Acceptor, AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, ResolvesServerCert,
};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::chain::ClientChain;
use super::clients::{Clients, KnownClient};
use super::handshake::{ALPN, Connection, Side, binding};
use super::means::{Means, Offer};
use super::sides::{ServerIdentity, ServerTls};
use super::stream::{Private, inner};
use super::verify::Verifier;
use crate::Error;
use crate::tls::provider;

/// What looks at a client.
enum Looks {
    AtKey(Arc<Verifier>),
    AtChain(Arc<ClientChain>),
}

impl Side for ServerTls {
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Connection, Error> {
        // What is shown, and what is looked at, depends on what the client's first message takes.
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        let start = start.map_err(|source| Error::tls(peer, source))?;
        let offer = Offer::of(&start.client_hello());
        let (shown, looks, disagreement) = self.choose(offer, peer);
        let looks = self.looks(looks)?;
        let own = self.identity.resolver(shown)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(looks.verifier())
            .with_cert_resolver(own);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Without tickets nobody comes back by an earlier session's secrets, so that every
        // connection is authenticated anew.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let met = start.into_stream(Arc::new(config)).await;
        if let Some(disagreement) = disagreement {
            // The client has heard of it by an alert, whatever else came of it.
            return Err(disagreement);
        }
        match met {
            Ok(stream) => {
                let client = looks.client(&self.clients);
                let client =
                    client.ok_or(Error::Internal("invariant: TLS knows whom it let in"))?;
                let binding = binding(stream.get_ref().1)?;
                Ok(Connection { stream: Box::new(Private(stream)), binding, client: Some(client) })
            }
            Err(source) => {
                Err(looks.error(&self.clients, &source).unwrap_or_else(|| Error::tls(peer, source)))
            }
        }
    }
}

impl ServerTls {
    /// By what the server is known to a client, and the client to it; and the error where one of
    /// them has not what the other takes: then rustls ends the handshake.
    fn choose(&self, offer: Offer, peer: SocketAddr) -> (Means, Means, Option<Error>) {
        let key = self.identity.key().is_some();
        let own = if key { Means::Key } else { Means::Certificate };
        let shown = offer.server.choose(key, self.identity.certificate().is_some());
        let looks = offer.client.choose(true, self.authority.is_some());
        let disagreement = match (shown, looks) {
            (Some(_), Some(_)) => None,
            (None, _) => Some((
                format!("a client that knows this server by {own}"),
                format!("one that knows it by {}", offer.server),
            )),
            (_, None) => Some((
                "a client that has a key; no authority of clients' certificates is trusted".into(),
                format!("one that has {}", offer.client),
            )),
        };
        let disagreement =
            disagreement.map(|(expected, found)| Error::Means { peer, expected, found });
        (shown.unwrap_or(own), looks.unwrap_or(Means::Key), disagreement)
    }

    fn looks(&self, means: Means) -> Result<Looks, Error> {
        let clients = self.clients.clone();
        match means {
            Means::Key => {
                let trusted = move |key| clients.name(key).is_some();
                Ok(Looks::AtKey(Verifier::new(&provider(), trusted)))
            }
            Means::Certificate => {
                let authority = self.authority.clone();
                let authority = authority
                    .ok_or(Error::Internal("invariant: certificates are of an authority"))?;
                Ok(Looks::AtChain(ClientChain::new(authority, clients)))
            }
        }
    }
}

impl ServerIdentity {
    fn resolver(&self, means: Means) -> Result<Arc<dyn ResolvesServerCert>, Error> {
        match (means, self.key(), self.certificate()) {
            (Means::Key, Some(key), _) => {
                Ok(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified()?)))
            }
            (Means::Certificate, _, Some(certificate)) => Ok(certificate.resolver()),
            (Means::Key, None, _) | (Means::Certificate, _, None) => {
                Err(Error::Internal("invariant: what is shown is there"))
            }
        }
    }
}

impl Looks {
    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match self {
            Self::AtKey(verifier) => Arc::<Verifier>::clone(verifier),
            Self::AtChain(chain) => Arc::<ClientChain>::clone(chain),
        }
    }

    /// The client that has come in.
    fn client(&self, clients: &Clients) -> Option<KnownClient> {
        match self {
            Self::AtKey(verifier) => clients.of(verifier.found()?).cloned(),
            Self::AtChain(chain) => chain.client(),
        }
    }

    /// Why a client has not come in, where that is for what it has shown.
    fn error(&self, clients: &Clients, source: &std::io::Error) -> Option<Error> {
        match self {
            Self::AtKey(verifier) => {
                // The key was shown and the signature may not have been checked: nothing rests on
                // it.
                let key = verifier.found()?;
                clients.name(key).is_none().then_some(Error::UnknownClient { key })
            }
            Self::AtChain(chain) => {
                let fault = chain.fault(inner(source)?)?;
                let (expected, found, advice) = (fault.expected, fault.found, fault.advice);
                Some(Error::ClientCertificate { expected, found, advice })
            }
        }
    }
}

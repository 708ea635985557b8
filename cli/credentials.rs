//! By what a client and a server know each other, as options: keys and certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pq::{
    Authority, Certificate, ClientIdentity, ClientTls, Clients, Identity, NamedServer, PublicKey,
    Role, Security, ServerIdentity, ServerTls, ServerTrust,
};

use crate::exit::{Failure, Outcome};
use crate::known;

/// What this party shows.
#[derive(clap::Args)]
pub(crate) struct Own {
    /// This party's private key, as pq keygen has written it: traffic is encrypted.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// This party's certificates in PEM, its own first, for --key or (of a server) beside it.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Which server a client trusts.
#[derive(clap::Args)]
pub(crate) struct Trust {
    /// Client: the server's public key, as pq keygen has printed it [default: what pq known has].
    #[arg(long, value_name = "ed25519:...", conflicts_with = "server_ca")]
    server_key: Option<PublicKey>,
    /// Client: trust a server by its certificate, and these authorities (PEM) to issue it; system
    /// is for those of this machine.
    #[arg(long, value_name = "FILE|system")]
    server_ca: Option<PathBuf>,
    /// Client: the name that the server's certificate is for [default: the host of --connect].
    #[arg(long, value_name = "NAME", requires = "server_ca")]
    server_name: Option<String>,
}

impl Own {
    pub(crate) const fn is_given(&self) -> bool {
        self.key.is_some() || self.tls_cert.is_some()
    }

    /// The files of the certificate.
    fn certificate(&self, role: Role) -> Outcome<Option<Certificate>> {
        let Some((chain, key)) = self.tls_cert.as_ref().zip(self.tls_key.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(Certificate::open(chain, key, role)?))
    }

    fn key(&self) -> Outcome<Option<Identity>> {
        Ok(self.key.as_deref().map(Identity::open).transpose()?)
    }
}

impl Trust {
    /// The first option that is given.
    pub(crate) const fn given(&self) -> Option<&'static str> {
        if self.server_key.is_some() {
            return Some("--server-key");
        }
        if self.server_ca.is_some() { Some("--server-ca") } else { None }
    }

    fn server(&self, address: &str) -> Outcome<ServerTrust> {
        let Some(file) = &self.server_ca else {
            return Ok(known::expected(self.server_key, address)?.into());
        };
        Ok(NamedServer::at(address, file, self.server_name.as_deref())?.into())
    }
}

/// How a client's traffic is protected.
///
/// # Errors
/// Options that do not belong together, and files that cannot be used.
pub(crate) fn of_client(
    own: &Own,
    trust: &Trust,
    address: &str,
    insecure: bool,
) -> Outcome<Security<ClientTls>> {
    if !own.is_given() {
        if let Some(option) = trust.given() {
            return Err(Failure::usage(format_args!(
                "{option} is for a client with --key or --tls-cert, by which the server knows it"
            )));
        }
        return Ok(in_the_clear(insecure));
    }
    let identity: ClientIdentity = match (own.key()?, own.certificate(Role::Client)?) {
        (Some(key), None) => key.into(),
        (None, Some(certificate)) => certificate.into(),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::usage(
                "a client shows --key or --tls-cert, and not both: leave one of them out",
            ));
        }
    };
    let server = trust.server(address)?;
    Ok(Security::Tls(Arc::new(ClientTls { identity, server })))
}

/// How a server's traffic is protected, and whom it serves.
///
/// # Errors
/// Options that do not belong together, and files that cannot be used.
pub(crate) fn of_server(
    own: &Own,
    (clients, client_ca): (Option<&Path>, Option<&Path>),
    insecure: bool,
) -> Outcome<Security<ServerTls>> {
    if !own.is_given() {
        return match (clients, client_ca) {
            (None, None) => Ok(in_the_clear(insecure)),
            _ => Err(Failure::usage(
                "--clients and --client-ca are for a server with --key or --tls-cert",
            )),
        };
    }
    let Some(clients) = clients else {
        return Err(Failure::usage(
            "a server with --key or --tls-cert needs --clients; see pq infer --help",
        ));
    };
    let identity = ServerIdentity::of(own.key()?, own.certificate(Role::Server)?);
    let identity =
        identity.ok_or_else(|| Failure::internal("invariant: a key or a certificate is there"))?;
    let authority = client_ca.map(Authority::open).transpose()?;
    let tls = ServerTls::new(identity, Clients::open(clients)?, authority)?;
    Ok(Security::Tls(Arc::new(tls)))
}

const fn in_the_clear<T>(insecure: bool) -> Security<T> {
    if insecure { Security::Insecure } else { Security::Loopback }
}

//! By what a client and its server know each other.

use std::path::PathBuf;
use std::sync::Arc;

use pq::{
    Certificate, ClientIdentity, ClientTls, Identity, NamedServer, Role, Security, ServerTrust,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::exception;

/// What the client shows.
pub(crate) struct Own {
    pub(crate) key: Option<PathBuf>,
    /// The files of its certificates and of their private key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// Which server it trusts.
pub(crate) struct Trust {
    pub(crate) key: Option<String>,
    /// The file of authorities, or `system`.
    pub(crate) authority: Option<PathBuf>,
    pub(crate) name: Option<String>,
}

/// Two arguments that belong together.
pub(crate) fn both<T>(
    name: &str,
    value: Option<T>,
    other_name: &str,
    other: Option<T>,
) -> PyResult<Option<(T, T)>> {
    match (value, other) {
        (Some(value), Some(other)) => Ok(Some((value, other))),
        (None, None) => Ok(None),
        _ => Err(PyValueError::new_err(format!("{name} and {other_name} belong together"))),
    }
}

/// How traffic is protected.
pub(crate) fn security(
    own: Own,
    trust: Trust,
    address: &str,
    insecure: bool,
) -> PyResult<Security<ClientTls>> {
    if trust.name.is_some() && trust.authority.is_none() {
        return Err(PyValueError::new_err("server_name is for server_ca"));
    }
    let identity: Option<ClientIdentity> = match (own.key, own.certificate) {
        (Some(key), None) => Some(Identity::open(&key).map_err(exception)?.into()),
        (None, Some((chain, key))) => {
            Some(Certificate::open(&chain, &key, Role::Client).map_err(exception)?.into())
        }
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(PyValueError::new_err("key or tls_cert: expected one, found both"));
        }
    };
    let server: Option<ServerTrust> = match (trust.key, trust.authority) {
        (Some(key), None) => {
            let key: pq::PublicKey = key.parse().map_err(PyValueError::new_err)?;
            Some(key.into())
        }
        (None, Some(file)) => {
            let server = NamedServer::at(address, &file, trust.name.as_deref());
            Some(server.map_err(exception)?.into())
        }
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(PyValueError::new_err("server_key or server_ca: expected one, found both"));
        }
    };
    match (identity, server, insecure) {
        (Some(identity), Some(server), false) => {
            Ok(Security::Tls(Arc::new(ClientTls { identity, server })))
        }
        (None, None, true) => Ok(Security::Insecure),
        (None, None, false) => Ok(Security::Loopback),
        (..) => Err(PyValueError::new_err(
            "key or tls_cert is for the client, server_key or server_ca for the server, and \
             insecure=True is for neither: expected one of each, or none on this machine",
        )),
    }
}

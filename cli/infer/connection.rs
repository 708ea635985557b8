//! What people are told of a connection.

use std::net::SocketAddr;

use pq::Security;

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// What the line starts with that says where a server waits.
pub(crate) const LISTENING: &str = "listening on ";

/// Refuses traffic that would leave this machine in the clear, and warns where it was asked for.
pub(super) fn check<T>(
    console: &Console,
    address: SocketAddr,
    security: &Security<T>,
) -> Outcome<()> {
    match security {
        Security::Tls(_) => return Ok(()),
        Security::Loopback | Security::Insecure if address.ip().to_canonical().is_loopback() => {}
        Security::Loopback => return Err(Failure::from(pq::Error::Unencrypted { peer: address })),
        Security::Insecure => console.warn(format_args!(
            "{address} is not a loopback address, and traffic is not encrypted: whoever can change \
             it can break the protocol's guarantees"
        )),
    }
    Ok(())
}

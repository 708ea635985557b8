//! What people are told of a connection.

use std::net::SocketAddr;

use crate::console::Console;

/// What the line starts with that says where a server waits.
pub(crate) const LISTENING: &str = "listening on ";

/// Warns where traffic would leave this machine.
pub(super) fn warn_off_loopback(console: &Console, address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        console.warn(format_args!(
            "{address} is not a loopback address, and traffic is not encrypted yet: whoever can \
             change it can break the protocol's guarantees; use a tunnel such as SSH or WireGuard"
        ));
    }
}

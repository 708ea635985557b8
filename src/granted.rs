//! What a server grants.

use protocols::Limits;

use crate::tls::{Security, ServerTls};

/// What a server grants its clients.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The most images of one session that are in work at a time.
    pub images: usize,
    /// The most bytes of memory that a session may be predicted to need.
    pub memory: u64,
    /// How long it waits for the client's part of a step.
    pub limits: Limits,
    /// How traffic is protected, and whom it serves.
    pub security: Security<ServerTls>,
}

impl Default for ServerOptions {
    /// 2 GiB for a session, and clients on this machine only.
    fn default() -> Self {
        Self {
            images: u32::MAX as usize,
            memory: 2 << 30,
            limits: Limits::default(),
            security: Security::Loopback,
        }
    }
}

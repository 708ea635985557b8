//! The two parties, by what they hold.

use serde::{Deserialize, Serialize};

/// Which party this is. The server holds the weights, the client holds the input and learns the
/// output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the weights.
    Server,
    /// Holds the input, alone learns the output.
    Client,
}

impl Role {
    /// The other party.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

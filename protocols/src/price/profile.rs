//! The network between the parties, and what it makes of bytes and messages.

use std::str::FromStr;

use crate::{Cost, Error};

/// A network between the parties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Bytes per second in each direction.
    pub bytes_per_second: f64,
    /// Seconds there and back.
    pub rtt_seconds: f64,
}

impl Profile {
    /// A local network: 330 MB/s, 0.4 ms.
    pub const LAN: Self = Self { bytes_per_second: 330e6, rtt_seconds: 0.0004 };
    /// A wide-area network: 40 MB/s, 80 ms.
    pub const WAN: Self = Self { bytes_per_second: 40e6, rtt_seconds: 0.080 };

    /// Seconds on the wire: the busier direction, and half a round trip for every message on the
    /// critical path.
    pub fn seconds(&self, cost: &Cost) -> f64 {
        let bytes = cost.server_bytes.max(cost.client_bytes) as f64;
        bytes / self.bytes_per_second + cost.rounds as f64 * self.rtt_seconds / 2.0
    }

    /// Seconds on the wire of a step's offline part. A single message is the client's, as those of
    /// the steps before and after are: one goes behind the other, and nobody waits.
    pub fn offline_seconds(&self, cost: &Cost) -> f64 {
        let rounds = if cost.rounds > 1 { cost.rounds } else { 0 };
        self.seconds(&Cost { rounds, ..*cost })
    }

    /// Seconds of a stream of messages and the work that makes them: what is next is computed while
    /// the last is under way, and half of the shorter of both hides behind the longer.
    pub fn streamed_seconds(&self, cost: &Cost, work: f64) -> f64 {
        let wire = self.offline_seconds(cost);
        wire.max(work) + wire.min(work) / 2.0
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "lan" => Ok(Self::LAN),
            "wan" => Ok(Self::WAN),
            _ => Self::from_numbers(text).ok_or_else(|| {
                Error::invalid("network profile", "lan, wan or BYTES_PER_S,RTT_MS", text)
            }),
        }
    }
}

impl Profile {
    /// Of `BYTES_PER_S,RTT_MS`.
    fn from_numbers(text: &str) -> Option<Self> {
        let (bytes, rtt) = text.split_once(',')?;
        let bytes_per_second = finite(bytes).filter(|&n| n > 0.0)?;
        let rtt_ms = finite(rtt).filter(|&n| n >= 0.0)?;
        Some(Self { bytes_per_second, rtt_seconds: rtt_ms / 1e3 })
    }
}

/// A finite number.
fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_named_or_given_by_numbers() {
        assert_eq!("lan".parse::<Profile>().unwrap(), Profile::LAN);
        assert_eq!("40e6,80".parse::<Profile>().unwrap(), Profile::WAN);
        for wrong in ["", "fast", "0,1", "1,-1", "1e400,1", "1", "nan,1"] {
            assert!(wrong.parse::<Profile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_bytes_of_the_busier_direction_and_half_round_trips() {
        let cost =
            Cost { server_bytes: 40_000_000, client_bytes: 80_000_000, rounds: 2, ..Cost::ZERO };
        assert_eq!(Profile::WAN.seconds(&cost), 2.08);
    }
}

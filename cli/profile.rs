//! Stand-in until `protocols::profile` is here.

use protocols::Cost;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Profile {
    pub(crate) bytes_per_second: f64,
    pub(crate) rtt_seconds: f64,
}

impl Profile {
    pub(crate) const LAN: Self = Self { bytes_per_second: 330e6, rtt_seconds: 0.0004 };
    pub(crate) const WAN: Self = Self { bytes_per_second: 40e6, rtt_seconds: 0.080 };

    pub(crate) fn seconds(&self, cost: &Cost) -> f64 {
        cost.bytes() as f64 / self.bytes_per_second + cost.rounds as f64 * self.rtt_seconds / 2.0
    }
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lan" => Ok(Self::LAN),
            "wan" => Ok(Self::WAN),
            _ => {
                let parts = text.split_once(',').and_then(|(a, b)| a.parse().ok().zip(b.parse::<f64>().ok()));
                let (bytes_per_second, ms) = parts.ok_or("expected lan, wan or BYTES_PER_S,RTT_MS")?;
                Ok(Self { bytes_per_second, rtt_seconds: ms / 1e3 })
            }
        }
    }
}

//! Which layers become requantized Winograd.

/// Which layers are requantized, and to what width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Winograd {
    /// Which layers.
    pub which: Which,
    /// Bits of `U` beyond those of the layer's weights; 8 bits are the most.
    pub wider: u8,
}

/// Which layers are requantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// None: the integers of the network are those of its convolutions, whichever way they are
    /// computed.
    #[default]
    Exact,
    /// Those where the measured loss is no worse.
    Auto,
    /// All that there is something to win for.
    Always,
}

impl std::str::FromStr for Winograd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (which, wider) = text.split_once('+').unwrap_or((text, "0"));
        let which = match which {
            "exact" if wider == "0" => Some(Which::Exact),
            "auto" => Some(Which::Auto),
            "always" => Some(Which::Always),
            _ => None,
        };
        let wider = wider.parse().ok().filter(|wider| *wider <= 6);
        which.zip(wider).map(|(which, wider)| Self { which, wider }).ok_or_else(|| {
            format!("exact, auto or always, the latter two also with +1 to +6; found {text:?}")
        })
    }
}

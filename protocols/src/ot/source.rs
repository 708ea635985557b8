//! Where correlated transfers come from: one interface, two sources.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Extend, FerretExtend, Parameters, Setup, TreeDepth};
use crate::{Cost, Error, Operator, Session};

/// The source of a session's correlated transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// SoftSpoken with trees of this depth: 15 to 127 bits a transfer, little work.
    Softspoken(TreeDepth),
    /// Ferret with this parameter set: a bit a transfer or less, more work, under the assumption of
    /// regular LPN.
    Ferret(Parameters),
}

impl Source {
    /// Every source.
    pub fn all() -> impl Iterator<Item = Self> {
        TreeDepth::all().map(Self::Softspoken).chain(Parameters::all().map(Self::Ferret))
    }

    /// Bits of one more transfer, whatever a batch costs beside.
    pub fn bits(self) -> f64 {
        match self {
            Self::Softspoken(depth) => (depth.trees() - 1) as f64,
            Self::Ferret(parameters) => parameters.bits(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Softspoken(depth) => write!(f, "softspoken:{depth}"),
            Self::Ferret(parameters) => write!(f, "ferret:{parameters}"),
        }
    }
}

/// The sources that a planner may choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sources {
    /// All.
    #[default]
    Any,
    /// SoftSpoken, of any depth or of one.
    Softspoken(Option<TreeDepth>),
    /// Ferret, with any parameter set or with one.
    Ferret(Option<Parameters>),
}

impl Sources {
    /// The sources in question.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::all().filter(move |source| match (self, source) {
            (Self::Any, _) => true,
            (Self::Softspoken(wanted), Source::Softspoken(depth)) => {
                wanted.is_none_or(|it| it == *depth)
            }
            (Self::Ferret(wanted), Source::Ferret(set)) => wanted.is_none_or(|it| it == *set),
            (Self::Softspoken(_), Source::Ferret(_)) | (Self::Ferret(_), Source::Softspoken(_)) => {
                false
            }
        })
    }
}

impl FromStr for Sources {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let expected = "softspoken, softspoken:K with K within 1..=8, ferret, \
                            or ferret:D with D within 9..=13";
            Error::invalid("source of transfers", expected, text)
        };
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        match (name, number) {
            ("softspoken", None) => Some(Self::Softspoken(None)),
            ("softspoken", Some(depth)) => {
                TreeDepth::new(depth).map(|it| Self::Softspoken(Some(it)))
            }
            ("ferret", None) => Some(Self::Ferret(None)),
            ("ferret", Some(depth)) => Parameters::new(depth).map(|it| Self::Ferret(Some(it))),
            _ => None,
        }
        .ok_or_else(wrong)
    }
}

/// Sets a source up in both directions and draws each party's `Δ`. Once per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The source.
    pub source: Source,
}

impl Operator for Start {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "start of transfers";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        match self.source {
            Source::Softspoken(depth) => Setup { depth }.cost(),
            Source::Ferret(parameters) => Bootstrap { parameters }.cost(),
        }
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        match self.source {
            Source::Softspoken(depth) => session.run(&Setup { depth }, ()).await,
            Source::Ferret(parameters) => session.run(&Bootstrap { parameters }, ()).await,
        }
    }
}

/// Adds transfers to both pools, in one round. Runs after [`Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// The source.
    pub source: Source,
    /// Transfers to add of which the server is the sender.
    pub server: usize,
    /// Transfers to add of which the client is the sender.
    pub client: usize,
}

impl Operator for Supply {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "supply of transfers";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        let Self { source, server, client } = *self;
        match source {
            Source::Softspoken(depth) => Extend { depth, server, client }.cost(),
            Source::Ferret(parameters) => FerretExtend { parameters, server, client }.cost(),
        }
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        let Self { source, server, client } = *self;
        match source {
            Source::Softspoken(depth) => session.run(&Extend { depth, server, client }, ()).await,
            Source::Ferret(parameters) => {
                session.run(&FerretExtend { parameters, server, client }, ()).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_reads_as_it_is_written() {
        for source in Source::all() {
            let sources: Sources = source.to_string().parse().unwrap();
            assert_eq!(sources.iter().collect::<Vec<_>>(), [source]);
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        }
        for (text, count) in [("softspoken", 8), ("ferret", 5)] {
            assert_eq!(text.parse::<Sources>().unwrap().iter().count(), count);
        }
        assert_eq!(Sources::Any.iter().count(), 13);
        for wrong in [
            "",
            "iknp",
            "softspoken:0",
            "softspoken:9",
            "ferret:8",
            "ferret:14",
            "ferret:",
            "ferret:x",
        ] {
            assert!(wrong.parse::<Sources>().is_err(), "{wrong}");
        }
        for wrong in ["{\"ferret\":8}", "{\"softspoken\":0}", "\"ferret\""] {
            assert!(serde_json::from_str::<Source>(wrong).is_err(), "{wrong}");
        }
    }
}

//! Where correlated OTs come from: one interface, two extensions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Extend, FerretExtend, Parameters, Setup, TreeDepth};
use crate::{Cost, Error, Operator, Session};

/// The extension of a session's correlated OTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtExtension {
    /// SoftSpoken with trees of this depth: 15 to 127 bits an OT, little work.
    Softspoken(TreeDepth),
    /// Ferret with this parameter set: a bit an OT or less, more work, under the assumption of
    /// regular LPN.
    Ferret(Parameters),
}

impl OtExtension {
    /// Every extension.
    pub fn all() -> impl Iterator<Item = Self> {
        TreeDepth::all().map(Self::Softspoken).chain(Parameters::all().map(Self::Ferret))
    }

    /// Bits of one more OT, whatever a batch costs beside.
    pub fn bits(self) -> f64 {
        match self {
            Self::Softspoken(depth) => (depth.trees() - 1) as f64,
            Self::Ferret(parameters) => parameters.bits(),
        }
    }
}

impl fmt::Display for OtExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Softspoken(depth) => write!(f, "softspoken:{depth}"),
            Self::Ferret(parameters) => write!(f, "ferret:{parameters}"),
        }
    }
}

/// The extensions that a planner may choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtExtensions {
    /// All.
    #[default]
    Any,
    /// SoftSpoken, of any depth or of one.
    Softspoken(Option<TreeDepth>),
    /// Ferret, with any parameter set or with one.
    Ferret(Option<Parameters>),
}

impl OtExtensions {
    /// The extensions in question.
    pub fn iter(self) -> impl Iterator<Item = OtExtension> {
        OtExtension::all().filter(move |extension| match (self, extension) {
            (Self::Any, _) => true,
            (Self::Softspoken(wanted), OtExtension::Softspoken(depth)) => {
                wanted.is_none_or(|it| it == *depth)
            }
            (Self::Ferret(wanted), OtExtension::Ferret(set)) => wanted.is_none_or(|it| it == *set),
            (Self::Softspoken(_), OtExtension::Ferret(_))
            | (Self::Ferret(_), OtExtension::Softspoken(_)) => false,
        })
    }
}

impl FromStr for OtExtensions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let expected = "softspoken, softspoken:K with K within 1..=8, ferret, \
                            or ferret:D with D within 9..=13";
            Error::invalid("extension of transfers", expected, text)
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

/// Sets a extension up in both directions and draws each party's `Δ`. Once per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtSetup {
    /// The extension.
    pub extension: OtExtension,
}

impl Operator for OtSetup {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "start of transfers";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        match self.extension {
            OtExtension::Softspoken(depth) => Setup { depth }.cost(),
            OtExtension::Ferret(parameters) => Bootstrap { parameters }.cost(),
        }
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        match self.extension {
            OtExtension::Softspoken(depth) => session.run(&Setup { depth }, ()).await,
            OtExtension::Ferret(parameters) => session.run(&Bootstrap { parameters }, ()).await,
        }
    }
}

/// Adds OTs to both pools, in one round. Runs after [`OtSetup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtExtend {
    /// The extension.
    pub extension: OtExtension,
    /// OTs to add of which the server is the sender.
    pub server: usize,
    /// OTs to add of which the client is the sender.
    pub client: usize,
}

impl OtExtend {
    /// What it makes, as the cost of whoever consumes it.
    pub(crate) const fn cots(&self) -> Cost {
        let (server_cots, client_cots) = (self.server as u64, self.client as u64);
        Cost { server_cots, client_cots, ..Cost::ZERO }
    }
}

impl Operator for OtExtend {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "supply of transfers";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        let Self { extension, server, client } = *self;
        match extension {
            OtExtension::Softspoken(depth) => Extend { depth, server, client }.cost(),
            OtExtension::Ferret(parameters) => FerretExtend { parameters, server, client }.cost(),
        }
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        let Self { extension, server, client } = *self;
        match extension {
            OtExtension::Softspoken(depth) => {
                session.run(&Extend { depth, server, client }, ()).await
            }
            OtExtension::Ferret(parameters) => {
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
        for extension in OtExtension::all() {
            let extensions: OtExtensions = extension.to_string().parse().unwrap();
            assert_eq!(extensions.iter().collect::<Vec<_>>(), [extension]);
            let json = serde_json::to_string(&extension).unwrap();
            assert_eq!(serde_json::from_str::<OtExtension>(&json).unwrap(), extension);
        }
        for (text, count) in [("softspoken", 8), ("ferret", 5)] {
            assert_eq!(text.parse::<OtExtensions>().unwrap().iter().count(), count);
        }
        assert_eq!(OtExtensions::Any.iter().count(), 13);
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
            assert!(wrong.parse::<OtExtensions>().is_err(), "{wrong}");
        }
        for wrong in ["{\"ferret\":8}", "{\"softspoken\":0}", "\"ferret\""] {
            assert!(serde_json::from_str::<OtExtension>(wrong).is_err(), "{wrong}");
        }
    }
}

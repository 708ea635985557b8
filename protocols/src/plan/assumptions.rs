//! What the security of a plan rests on: derived from what the plan uses, so that no user has to
//! read papers to know.

use serde::{Deserialize, Serialize};

use super::{Op, Plan};
use crate::ot::Source;

/// A problem that is taken to be hard, or a primitive that is taken to be ideal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// Of the base transfers, which every session starts with.
    DiffieHellman,
    /// Of the same.
    RandomOracle,
    /// Of the extension by SoftSpoken, from which Ferret starts, too.
    Prg,
    /// Of the transfers that operators consume, and of the trees of the extension.
    CorrelationRobustness,
    /// Of correlated half-trees: those of linear layers, and Ferret's.
    CircularCorrelationRobustness,
    /// Of Ferret.
    RegularLpn,
}

impl Assumption {
    /// What is assumed, of what, and what for.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::DiffieHellman => {
                "computational Diffie-Hellman is hard in ristretto255 (base transfers)"
            }
            Self::RandomOracle => "BLAKE3 is a random oracle (keys of the base transfers)",
            Self::Prg => "AES-128 in counter mode is pseudorandom (extension of transfers)",
            Self::CorrelationRobustness => {
                "the hash from AES-128 is correlation robust, in the ideal cipher model (transfers)"
            }
            Self::CircularCorrelationRobustness => {
                "the hash from AES-128 is circular correlation robust, in the ideal cipher model \
                 (half-trees)"
            }
            Self::RegularLpn => {
                "learning parity with regular noise under a public sparse code is hard (transfers \
                 by Ferret)"
            }
        }
    }
}

impl Plan {
    /// What the security of a run of this plan rests on, for both parties together, and nothing
    /// that it does without.
    pub fn assumptions(&self) -> Vec<Assumption> {
        let ferret = matches!(self.transfers, Source::Ferret(_));
        let linear = self.steps.iter().any(|step| matches!(step.op, Op::Linear { .. }));
        let all = [
            (Assumption::DiffieHellman, true),
            (Assumption::RandomOracle, true),
            (Assumption::Prg, true),
            (Assumption::CorrelationRobustness, true),
            (Assumption::CircularCorrelationRobustness, linear || ferret),
            (Assumption::RegularLpn, ferret),
        ];
        all.into_iter().filter(|(_, used)| *used).map(|(assumption, _)| assumption).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bits;
    use crate::linear::Geometry;
    use crate::plan::{Algorithm, FORMAT, InputSpec, OutputSpec, Preprocess, Protocol, Step, Wire};

    /// A plan of an input, perhaps a layer, and an output.
    fn plan(transfers: Source, protocol: Option<Protocol>) -> Plan {
        let ring = Bits::of(20);
        let layer = protocol.map(|protocol| Op::Linear {
            input: 0,
            output: 1,
            geometry: Geometry::dense(2, 2),
            weight_bits: 4,
            shifts: Vec::new(),
            ring,
            algorithm: Algorithm::Direct,
            protocol,
        });
        let last = usize::from(layer.is_some());
        let ops = [Some(Op::Input { output: 0 }), layer, Some(Op::Output { input: last })];
        let step = |(at, op): (usize, Op)| Step { name: format!("step {at}"), op };
        let plan = Plan {
            format: FORMAT,
            name: "network".into(),
            input: InputSpec { preprocess: Preprocess::Raw, scale: 1.0 },
            output: OutputSpec { scale: 1.0 },
            transfers,
            streamed: false,
            wires: vec![Wire { shape: [2, 1, 1], bits: 16, signed: true, ring }; last + 1],
            steps: ops.into_iter().flatten().enumerate().map(step).collect(),
            weights: "0".repeat(64),
        };
        plan.check().unwrap();
        plan
    }

    #[test]
    fn a_plan_rests_on_what_it_uses_and_on_nothing_else() {
        use Assumption::{CircularCorrelationRobustness, RegularLpn};
        for source in Source::all() {
            let ferret = matches!(source, Source::Ferret(_));
            for protocol in [None].into_iter().chain(Protocol::all().map(Some)) {
                let found = plan(source, protocol).assumptions();
                assert_eq!(found.contains(&RegularLpn), ferret, "{source}, {protocol:?}");
                let half_trees = ferret || protocol.is_some();
                assert_eq!(
                    found.contains(&CircularCorrelationRobustness),
                    half_trees,
                    "{source}, {protocol:?}"
                );
                for always in [Assumption::DiffieHellman, Assumption::RandomOracle, Assumption::Prg]
                {
                    assert!(found.contains(&always), "{source}, {protocol:?}");
                }
            }
        }
    }
}

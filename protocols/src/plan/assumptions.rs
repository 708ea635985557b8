//! What the security of a plan rests on: derived from what the plan uses, so that no user has to
//! read papers to know.

use std::collections::BTreeSet;

use super::Plan;
use crate::assumption::Assumption;
use crate::ot::OtExtension;

impl Plan {
    /// What the security of a run of this plan rests on, for both parties together, and nothing
    /// that it does without.
    pub fn assumptions(&self) -> Vec<Assumption> {
        let ferret = matches!(self.extension, OtExtension::Ferret(_));
        let source: &[Assumption] = if ferret { FERRET } else { SOFTSPOKEN };
        let layers = self.layers().flat_map(|(_, _, layer)| layer.protocol.assumptions());
        let all: BTreeSet<Assumption> = source.iter().chain(layers).copied().collect();
        all.into_iter().collect()
    }
}

/// Of sessions whose OTs come from SoftSpoken.
const SOFTSPOKEN: &[Assumption] = &[
    Assumption::DiffieHellman,
    Assumption::RandomOracle,
    Assumption::Prg,
    Assumption::CorrelationRobustness,
];
/// Of sessions whose OTs come from Ferret, which starts from SoftSpoken's.
const FERRET: &[Assumption] = &[
    Assumption::DiffieHellman,
    Assumption::RandomOracle,
    Assumption::Prg,
    Assumption::CorrelationRobustness,
    Assumption::CircularCorrelationRobustness,
    Assumption::RegularLpn,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bits;
    use crate::linear::{Algorithm, Geometry, Protocol};
    use crate::plan::{FORMAT, InputSpec, Op, OutputSpec, Preprocess, Step, Wire};
    use crate::steps::{Input, Linear, Output};

    /// A plan of an input, perhaps a layer, and an output.
    fn plan(extension: OtExtension, protocol: Option<Protocol>) -> Plan {
        let ring = Bits::of(20);
        let layer = protocol.map(|protocol| {
            Op::Linear(Linear {
                input: 0,
                output: 1,
                geometry: Geometry::dense(2, 2),
                weight_bits: 4,
                shifts: Vec::new(),
                ring,
                algorithm: Algorithm::Direct,
                protocol,
            })
        });
        let last = usize::from(layer.is_some());
        let ops =
            [Some(Op::Input(Input { output: 0 })), layer, Some(Op::Output(Output { input: last }))];
        let step = |(at, op): (usize, Op)| Step { name: format!("step {at}"), op };
        let plan = Plan {
            format: FORMAT,
            name: "network".into(),
            input: InputSpec { preprocess: Preprocess::Raw, scale: 1.0 },
            output: OutputSpec { scale: 1.0 },
            extension,
            streamed: false,
            wires: vec![
                Wire { shape: [2, 1, 1], bits: 16, low: -1 << 15, ring, carry: None };
                last + 1
            ],
            steps: ops.into_iter().flatten().enumerate().map(step).collect(),
            weights: "0".repeat(64),
            hints: None,
        };
        plan.check().unwrap();
        plan
    }

    #[test]
    fn a_plan_rests_on_what_it_uses_and_on_nothing_else() {
        use Assumption::{CircularCorrelationRobustness, RegularLpn};
        for source in OtExtension::all() {
            let ferret = matches!(source, OtExtension::Ferret(_));
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

//! Layers that read the encryptions of another one: what a plan must keep to, and how one is made
//! of a plan where each layer has its own.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use super::check::require;
use crate::linear::{Algorithm, Beside, Hint, Protocol};
use crate::steps::{Linear, Step, Wire, WireId};
use crate::{Bits, Error};

impl Plan {
    /// Of each layer that others are beside: their steps, by the wire that it writes.
    pub(crate) fn readers(&self) -> BTreeMap<WireId, Vec<usize>> {
        let mut readers: BTreeMap<WireId, Vec<usize>> = BTreeMap::new();
        for (step, _, layer) in self.layers() {
            if let Some(host) = layer.host() {
                readers.entry(host).or_default().push(step);
            }
        }
        readers
    }

    /// A layer that is beside another one finds there what it says: an earlier step on the same
    /// wire, with the same convolution and noise, that encrypts in a ring as large as its own.
    pub(super) fn check_beside(&self) -> Result<(), Error> {
        let mut before: BTreeMap<WireId, (&Linear, &Hint)> = BTreeMap::new();
        for Step { name, op } in &self.steps {
            let Some(step) = op.get::<Linear>() else { continue };
            let Some(hint) = step.protocol.hint() else { continue };
            match &hint.beside {
                Some(beside) => {
                    let host = before.get(&beside.host).copied();
                    check_host(name, (step, hint, beside), host)?;
                }
                None => {
                    before.insert(step.output, (step, hint));
                }
            }
        }
        Ok(())
    }

    /// The same network where some layers read the encryptions of another one, all of them hints
    /// of one wire, with so many outputs a polynomial: steps by their index. The host runs before
    /// them; its ring is the largest of all, its noise what any of them needs. `None` where a plan
    /// cannot be had that way.
    #[must_use]
    pub fn beside(&self, host: usize, others: &[usize], outputs: u16) -> Option<Self> {
        let together: BTreeSet<usize> = others.iter().copied().chain([host]).collect();
        let layers = together.iter().map(|&at| Some((at, self.steps.get(at)?.op.get()?)));
        let layers = layers.collect::<Option<Vec<(usize, &Linear)>>>()?;
        // Noise is that of what weights can be in each layer's own ring, which the host's is not
        // any more where it is raised.
        let hints = self.hints_together(&layers, outputs)?;
        let ring = layers.iter().map(|(_, layer)| layer.ring).max()?;
        let first: &Linear = self.steps[host].op.get()?;
        let beside = Beside { host: first.output, geometry: first.geometry };
        let mut plan = Self { hints: None, ..self.clone() };
        for (at, hint) in hints {
            let beside = (at != host).then_some(beside);
            let hint = Protocol::Hint(Hint { beside, ..hint });
            plan.steps[at].op.get_mut::<Linear>()?.protocol = hint;
        }
        plan.raise(host, ring)?;
        // Whatever stands between depends on nothing that the host writes, nor writes its input.
        let earliest = *together.first()?;
        plan.steps[earliest..=host].rotate_right(usize::from(earliest < host));
        plan.draw_first(first.input);
        let distinct = together.len() == others.len() + 1;
        plan.check().ok().filter(|()| distinct).map(|()| plan)
    }

    /// The hints of layers that share encryptions, by step; none of them shares any yet.
    fn hints_together(
        &self,
        layers: &[(usize, &Linear)],
        outputs: u16,
    ) -> Option<Vec<(usize, Hint)>> {
        let masks = self.masks();
        let context = self.context(&masks);
        let noise = layers.iter().map(|(_, layer)| Some(layer.hint_of(&context, outputs)?.noise));
        let noise = noise.collect::<Option<Vec<u8>>>()?.into_iter().max()?;
        let hints = layers.iter().map(|(at, layer)| {
            let Hint { carry, .. } = *layer.protocol.hint().filter(|own| own.beside.is_none())?;
            let hint = layer.hint_with_noise(&context, (outputs, noise))?;
            Some((*at, hint.carrying(carry)))
        });
        hints.collect()
    }

    /// Gives a layer and the wire that it writes a larger ring.
    fn raise(&mut self, step: usize, ring: Bits) -> Option<()> {
        let layer = self.steps[step].op.get_mut::<Linear>()?;
        layer.ring = ring;
        let wire = &mut self.wires[layer.output];
        // Accumulators that fill their ring stand for values modulo that.
        if wire.is_modular() {
            wire.bits = ring.get() as u8;
            wire.low = Wire::least(wire.bits, true);
        }
        wire.ring = Bits::new(ring.get() + u32::from(wire.carry.is_some()))?;
        Some(())
    }

    /// Leaves the mask of a wire to the layer that reads it first, where it may draw one.
    fn draw_first(&mut self, wire: WireId) {
        let first = self.masks().first_layer[wire];
        let layers = self.steps.iter_mut().filter_map(|step| step.op.get_mut::<Linear>());
        for layer in layers.filter(|layer| layer.input == wire) {
            let may = first == Some(layer.output) && layer.algorithm == Algorithm::Direct;
            if let Protocol::Hint(hint) = &mut layer.protocol {
                hint.draws = may && hint.beside.is_none();
            }
        }
    }
}

/// Holds a layer against the one that it is beside.
fn check_host(
    name: &str,
    (step, hint, beside): (&Linear, &Hint, &Beside),
    host: Option<(&Linear, &Hint)>,
) -> Result<(), Error> {
    let Some((layer, encrypted)) = host.filter(|(layer, _)| layer.input == step.input) else {
        let what = format!("plan: step {name}: protocol.hint.beside.host");
        let expected = "the wire of an earlier layer that encrypts its input";
        return require(false, what, expected, beside.host);
    };
    let Hint { outputs, noise, .. } = *encrypted;
    let [geometry, algorithm] = [format!("{:?}", layer.geometry), format!("{:?}", layer.algorithm)];
    for (field, expected, found) in [
        ("algorithm", algorithm, format!("{:?}", step.algorithm)),
        ("protocol.hint.beside.geometry", geometry, format!("{:?}", beside.geometry)),
        ("protocol.hint.outputs", outputs.to_string(), hint.outputs.to_string()),
        ("protocol.hint.noise", noise.to_string(), hint.noise.to_string()),
    ] {
        let what = format!("plan: step {name}: {field}");
        require(expected == found, what, format!("{expected}, as its host has"), found)?;
    }
    // The ciphertexts of a ring encrypt the mask modulo every smaller one.
    let most = format!("at most its host's {}", layer.ring);
    require(step.ring <= layer.ring, format!("plan: step {name}: ring"), most, step.ring)
}

//! Layers that read the encryptions of another one: what a plan must keep to, and how one is made
//! of a plan where each layer has its own.

use std::collections::BTreeMap;

use super::Plan;
use super::check::require;
use crate::linear::{Algorithm, Beside, Hint, Protocol};
use crate::steps::{Linear, Step, WireId};
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
        let together: Vec<usize> = std::iter::once(host).chain(others.iter().copied()).collect();
        let masks = self.masks();
        let context = self.context(&masks);
        let steps: Vec<&Linear> =
            together.iter().map(|&at| self.steps.get(at)?.op.get()).collect::<Option<_>>()?;
        let first = steps.first()?;
        let noise = steps.iter().map(|step| Some(step.hint_of(&context, outputs)?.noise));
        let noise = noise.collect::<Option<Vec<u8>>>()?.into_iter().max()?;
        let ring = steps.iter().map(|step| step.ring).max()?;
        let beside = Beside { host: first.output, geometry: first.geometry };
        let mut plan = Self { hints: None, ..self.clone() };
        for (&at, step) in together.iter().zip(&steps) {
            let old = step.protocol.hint().filter(|hint| hint.beside.is_none())?;
            let beside = (at != host).then_some(beside);
            let made = step.hint_with_noise(&context, (outputs, noise))?;
            let hint = Hint { beside, carry: old.carry, ..made };
            plan.steps[at].op.get_mut::<Linear>()?.protocol = Protocol::Hint(hint);
        }
        plan.raise(host, ring)?;
        let earliest = together.iter().copied().min()?;
        plan.steps[earliest..=host.max(earliest)].rotate_right(usize::from(host > earliest));
        plan.draw_first(first.input);
        plan.check().ok().map(|()| plan)
    }

    /// Gives a layer and the wire that it writes a larger ring.
    fn raise(&mut self, step: usize, ring: Bits) -> Option<()> {
        let layer = self.steps[step].op.get_mut::<Linear>()?;
        layer.ring = ring;
        let wire = &mut self.wires[layer.output];
        // Accumulators that fill their ring stand for values modulo that.
        if wire.signed && u32::from(wire.bits) == wire.value_ring() {
            wire.bits = ring.get() as u8;
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
    let field = |field: &str| format!("plan: step {name}: protocol.hint.{field}");
    let what = "the wire of an earlier layer that encrypts its input";
    let Some((layer, encrypted)) = host.filter(|(layer, _)| layer.input == step.input) else {
        return require(false, field("beside.host"), what, beside.host);
    };
    let (expected, found) = (layer.geometry, beside.geometry);
    let [of_host, own] = [format!("{expected:?}, its host's"), format!("{found:?}")];
    require(expected == found, field("beside.geometry"), of_host, own)?;
    let of_host = |value: &dyn std::fmt::Display| format!("{value}, its host's");
    let Hint { outputs, noise, .. } = *encrypted;
    require(outputs == hint.outputs, field("outputs"), of_host(&outputs), hint.outputs)?;
    require(noise == hint.noise, field("noise"), of_host(&noise), hint.noise)?;
    let most = format!("at most {}, its host's", layer.ring);
    require(step.ring <= layer.ring, format!("plan: step {name}: ring"), most, step.ring)?;
    let direct = layer.algorithm == step.algorithm;
    let expected = format!("a host that is computed as {:?}", step.algorithm);
    require(direct, field("beside.host"), expected, format!("{:?}", layer.algorithm))
}

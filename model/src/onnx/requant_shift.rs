//! RequantShift, by which NEMO, DORY and Deeploy lower networks to integers:
//! `clip(floor((x mul + add) / div))`, with `mul` and `add` for each channel.

use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::proto::NodeProto;

const NOTE: &str = "RequantShift is read as what it rounds: a search rounds anew";

impl Importer {
    /// What the integers stand for: the same without the floor, which takes half a step off on
    /// average. A search rounds anew, to widths of its own.
    pub(super) fn requant_shift(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let div = positive(node, &["div"])?;
        let levels = positive(node, &["n_levels_out", "n_levels"])?;
        let signed = number(node, &["signed"])? != 0.0;
        let value = inputs.value(0)?;
        let (value, mul) = self.spread(node, &value, inputs.constant(1)?)?;
        let (value, add) = self.spread(node, &value, inputs.constant(2)?)?;
        if mul.len() != add.len() {
            return Err(Problem::malformed("mul and add tell different elements apart"));
        }
        // What comes before is a convolution mostly, which `simplify` folds this into.
        let scale = mul.iter().map(|mul| mul / div).collect();
        let shift = add.iter().map(|add| add / div - 0.5).collect();
        let affine = self.affine(node, &value, scale, shift)?;
        let low = if signed { -levels / 2.0 } else { 0.0 };
        if !self.notes.iter().any(|note| note == NOTE) {
            self.notes.push(NOTE.to_owned());
        }
        self.clipped(node, &affine, Some(low), Some(low + levels - 1.0))
    }
}

/// An attribute that is an integer, a float or a tensor of one of them, under the first of its
/// names that is there.
fn number(node: &NodeProto, names: &[&str]) -> Result<f32, Problem> {
    // NEMO writes numbers, Deeploy tensors of one number each; older files name the levels of the
    // output as if there were no others.
    for name in names {
        if let Some(tensor) = node.tensor_of(name)? {
            return tensor.scalar();
        }
        if let Some(float) = node.float_of(name).ok().flatten() {
            return Ok(float);
        }
        if node.ints_of(name).is_some() {
            return Ok(node.int_or(name, 0)? as f32);
        }
    }
    Err(Problem::malformed(format!("it has no attribute {}", names[0])))
}

/// The same, above 0.
fn positive(node: &NodeProto, names: &[&str]) -> Result<f32, Problem> {
    let found = number(node, names)?;
    if found.is_finite() && found > 0.0 {
        return Ok(found);
    }
    Err(Problem::malformed(format!("attribute {} is {found}, expected above 0", names[0])))
}

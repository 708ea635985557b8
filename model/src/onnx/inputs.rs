//! The operands of a node.

use std::rc::Rc;

use super::constant::Constant;
use super::error::Problem;
use super::importer::{Entry, Value};
use super::qdq::import::Pending;

/// The operands of a node; `None` for those that are left out.
pub(super) struct Inputs(pub(super) Vec<Option<Entry>>);

impl Inputs {
    fn get(&self, i: usize) -> Option<&Entry> {
        self.0.get(i)?.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_value(&self, i: usize) -> bool {
        matches!(self.get(i), Some(Entry::Value(_)))
    }

    pub(super) fn value(&self, i: usize) -> Result<Value, Problem> {
        match self.get(i) {
            Some(Entry::Value(value)) => Ok(value.clone()),
            Some(Entry::Constant(_)) => Err(Problem::new(
                format!("input {i} is a constant"),
                "exchange the operands, or compute it when exporting",
            )),
            Some(Entry::Quantized(_)) => Err(Problem::new(
                format!("input {i} is quantized"),
                "put the operator between DequantizeLinear and QuantizeLinear (the format QDQ)",
            )),
            Some(Entry::Unknown) | None => Err(Problem::malformed(format!("input {i} is missing"))),
        }
    }

    /// A constant operand, `None` if it is left out.
    pub(super) fn optional(&self, i: usize) -> Result<Option<&Rc<Constant>>, Problem> {
        match self.get(i) {
            Some(Entry::Constant(constant)) => Ok(Some(constant)),
            Some(Entry::Value(_) | Entry::Quantized(_)) => Err(Problem::new(
                format!("input {i} depends on the network's input"),
                "only constants are supported there",
            )),
            Some(Entry::Unknown) | None => Ok(None),
        }
    }

    pub(super) fn constant(&self, i: usize) -> Result<&Rc<Constant>, Problem> {
        self.optional(i)?.ok_or_else(|| Problem::malformed(format!("input {i} is missing")))
    }

    /// The first operand, where it is between QuantizeLinear and DequantizeLinear.
    pub(super) fn quantized(&self) -> Option<Pending> {
        if let Some(Entry::Quantized(pending)) = self.get(0) { Some(pending.clone()) } else { None }
    }

    pub(super) fn all_constant(&self) -> bool {
        self.0.iter().flatten().next().is_some()
            && self.0.iter().flatten().all(|entry| matches!(entry, Entry::Constant(_)))
    }

    pub(super) fn any_unknown(&self) -> bool {
        self.0.iter().flatten().any(|entry| matches!(entry, Entry::Unknown))
    }

    pub(super) fn constants(&self) -> Result<Vec<Option<&Constant>>, Problem> {
        (0..self.0.len()).map(|i| Ok(self.optional(i)?.map(|constant| &**constant))).collect()
    }
}

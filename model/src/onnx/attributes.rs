//! Typed access to a node's attributes.

use super::constant::Constant;
use super::error::Problem;
use super::proto::{AttributeProto, NodeProto};
use crate::model::MAX_AXIS;

impl NodeProto {
    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64, Problem> {
        self.attribute(name)
            .map_or(Ok(default), |found| found.i.ok_or_else(|| wrong_type(name, "an integer")))
    }

    pub(super) fn float_or(&self, name: &str, default: f32) -> Result<f32, Problem> {
        self.attribute(name)
            .map_or(Ok(default), |found| found.f.ok_or_else(|| wrong_type(name, "a float")))
    }

    /// A float that is there, or `None`.
    pub(super) fn float_of(&self, name: &str) -> Result<Option<f32>, Problem> {
        self.attribute(name).map(|_| self.float_or(name, 0.0)).transpose()
    }

    pub(super) fn ints_of(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|found| &found.ints[..])
    }

    pub(super) fn string_or<'a>(
        &'a self,
        name: &str,
        default: &'a str,
    ) -> Result<&'a str, Problem> {
        let Some(found) = self.attribute(name) else {
            return Ok(default);
        };
        let bytes = found.s.as_deref().ok_or_else(|| wrong_type(name, "a string"))?;
        std::str::from_utf8(bytes).map_err(|_| wrong_type(name, "a string"))
    }

    /// Exactly `N` sizes, within bounds.
    pub(super) fn sizes<const N: usize>(
        &self,
        name: &str,
        default: [usize; N],
    ) -> Result<[usize; N], Problem> {
        let Some(ints) = self.ints_of(name) else {
            return Ok(default);
        };
        let sizes: Vec<usize> = ints.iter().map(|&i| size(name, i)).collect::<Result<_, _>>()?;
        sizes.try_into().map_err(|_| {
            Problem::new(
                format!("{name} has {} numbers instead of {N}", ints.len()),
                "only layers of one or two dimensions are supported",
            )
        })
    }

    /// A size along rows and one along columns; of a line, that along columns is given alone.
    pub(super) fn extents(
        &self,
        name: &str,
        default: [usize; 2],
        line: bool,
    ) -> Result<[usize; 2], Problem> {
        if !line {
            return self.sizes(name, default);
        }
        let [length] = self.sizes(name, [default[1]])?;
        Ok([1, length])
    }

    /// The tensor that a Constant node holds, in any of its forms.
    pub(super) fn constant(&self) -> Result<Constant, Problem> {
        if let Some(tensor) = self.attribute("value").and_then(|found| found.t.as_ref()) {
            return Constant::read(tensor);
        }
        if let Some(f) = self.float_of("value_float")? {
            return Ok(Constant::floats(vec![], vec![f]));
        }
        if let Some(found) = self.attribute("value_floats") {
            return Ok(Constant::floats(vec![found.floats.len()], found.floats.clone()));
        }
        if let Some(i) = self.attribute("value_int").and_then(|found| found.i) {
            return Ok(Constant::ints(vec![], vec![i]));
        }
        if let Some(ints) = self.ints_of("value_ints") {
            return Ok(Constant::ints(vec![ints.len()], ints.to_vec()));
        }
        Err(Problem::new("no value of a supported type", "make it a float or integer tensor"))
    }

    /// The tensor of an attribute, or `None`.
    pub(super) fn tensor_of(&self, name: &str) -> Result<Option<Constant>, Problem> {
        self.attribute(name).and_then(|found| found.t.as_ref()).map(Constant::read).transpose()
    }
}

/// A length, stride or the like, within bounds.
pub(super) fn size(name: &str, i: i64) -> Result<usize, Problem> {
    usize::try_from(i).ok().filter(|&size| size <= MAX_AXIS).ok_or_else(|| {
        Problem::new(format!("{name} is {i}"), format!("it has to be in 0..={MAX_AXIS}"))
    })
}

fn wrong_type(name: &str, expected: &str) -> Problem {
    Problem::malformed(format!("attribute {name} is not {expected}"))
}

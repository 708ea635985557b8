//! Constant tensors: weights, and the integers of shape arithmetic.

use std::fmt;

use super::elements;
pub(super) use super::elements::kind;
use super::error::Problem;
use super::proto::TensorProto;

/// A constant tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// All float types.
    Floats(Vec<f32>),
    /// Integer types of 16 to 64 bits, and booleans as 0 and 1.
    Ints(Vec<Int>),
    /// Integer types of 4 and 8 bits.
    Bytes(Grid),
    /// Bytes times their scales, and the bytes.
    Scaled(Vec<f32>, Grid),
}

/// Integers of a few bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) values: Vec<i16>,
    /// The least that their type and a Clip allow.
    pub(super) low: i16,
    /// The largest.
    pub(super) high: i16,
    /// What each is multiplied by; empty before that is known.
    pub(super) scales: Vec<f32>,
}

/// An integer of shape arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Int {
    Known(i64),
    /// The number of images, which is not known.
    Batch,
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(i) => write!(f, "{i}"),
            Self::Batch => f.write_str("N"),
        }
    }
}

impl Constant {
    pub(super) fn floats(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self { shape, data: Data::Floats(data) }
    }

    pub(super) fn ints(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self { shape, data: Data::Ints(data.into_iter().map(Int::Known).collect()) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(data) | Data::Scaled(data, _) => data.len(),
            Data::Ints(data) => data.len(),
            Data::Bytes(grid) => grid.values.len(),
        }
    }

    /// Reads a tensor; float types become f32.
    pub(super) fn read(tensor: &TensorProto) -> Result<Self, Problem> {
        let shape = tensor
            .dims
            .iter()
            .map(|&d| usize::try_from(d).ok())
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| {
                Problem::malformed(format!(
                    "the tensor {:?} has shape {:?}",
                    tensor.name, tensor.dims
                ))
            })?;
        let expected = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let data = elements::read(tensor, expected.unwrap_or(0))?;
        let constant = Self { shape, data };
        if expected == Some(constant.len()) {
            return Ok(constant);
        }
        let found = constant.len();
        let problem = format!(
            "the tensor {:?} of shape {:?} has {found} elements",
            tensor.name, constant.shape
        );
        Err(Problem::malformed(problem))
    }

    /// The elements of a float tensor.
    pub(super) fn as_floats(&self) -> Result<&[f32], Problem> {
        match &self.data {
            Data::Floats(data) | Data::Scaled(data, _) => Ok(data),
            Data::Ints(_) | Data::Bytes(_) => {
                Err(Problem::malformed("an integer tensor where floats belong"))
            }
        }
    }

    /// The elements of an integer tensor.
    pub(super) fn as_ints(&self) -> Result<&[Int], Problem> {
        match &self.data {
            Data::Ints(data) => Ok(data),
            Data::Floats(_) | Data::Scaled(..) => {
                Err(Problem::malformed("a float tensor where integers belong"))
            }
            Data::Bytes(_) => {
                Err(Problem::malformed("integers of 8 bits where longer ones belong"))
            }
        }
    }

    /// The integers that a float tensor was made of, if it was.
    pub(super) fn grid(&self) -> Option<&Grid> {
        match &self.data {
            Data::Scaled(_, grid) => Some(grid),
            Data::Floats(_) | Data::Ints(_) | Data::Bytes(_) => None,
        }
    }

    /// The elements of a tensor of 8-bit integers.
    pub(super) fn as_bytes(&self) -> Result<&Grid, Problem> {
        match &self.data {
            Data::Bytes(grid) => Ok(grid),
            Data::Floats(_) | Data::Ints(_) | Data::Scaled(..) => Err(Problem::new(
                "a tensor of another type where int8 or uint8 belongs",
                "quantize to 8 bits or less",
            )),
        }
    }

    /// The elements of an integer tensor that does not depend on the number of images.
    pub(super) fn known_ints(&self) -> Result<Vec<i64>, Problem> {
        self.as_ints()?
            .iter()
            .map(|&int| match int {
                Int::Known(i) => Ok(i),
                Int::Batch => Err(Problem::new(
                    "it depends on the number of images",
                    "write the model so that images of a batch do not mix",
                )),
            })
            .collect()
    }

    /// The only element of a float tensor.
    pub(super) fn scalar(&self) -> Result<f32, Problem> {
        match self.as_floats()? {
            [x] => Ok(*x),
            more => Err(Problem::malformed(format!("{} elements instead of one", more.len()))),
        }
    }

    /// A tensor of another shape from elements of this one, by their positions, which exist.
    pub(super) fn pick(&self, shape: Vec<usize>, positions: &[usize]) -> Self {
        let data = match &self.data {
            Data::Floats(data) => Data::Floats(positions.iter().map(|&i| data[i]).collect()),
            Data::Ints(data) => Data::Ints(positions.iter().map(|&i| data[i]).collect()),
            Data::Bytes(grid) => Data::Bytes(grid.pick(positions)),
            Data::Scaled(data, grid) => {
                Data::Scaled(positions.iter().map(|&i| data[i]).collect(), grid.pick(positions))
            }
        };
        Self { shape, data }
    }
}

impl Grid {
    /// Elements by their positions, which exist.
    pub(super) fn pick(&self, positions: &[usize]) -> Self {
        let values = positions.iter().map(|&i| self.values[i]).collect();
        let scales = positions.iter().filter_map(|&i| self.scales.get(i).copied()).collect();
        Self { values, scales, low: self.low, high: self.high }
    }
}

//! The elements of a tensor, of whatever type they are stored as.

use half::{bf16, f16};

use super::constant::{Data, Grid, Int};
use super::error::Problem;
use super::proto::TensorProto;

/// The name of a type of elements, by its number in ONNX's TensorProto.DataType.
pub(super) fn kind(number: i64) -> String {
    const NAMES: [&str; 27] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
        "float8e8m0",
        "uint2",
        "int2",
    ];
    let name = usize::try_from(number).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("number {number}"), |name| (*name).to_owned())
}

/// The elements, `count` of them as the shape says; float types become f32.
pub(super) fn read(tensor: &TensorProto, count: usize) -> Result<Data, Problem> {
    let t = tensor;
    let (raw, narrow) = (&t.raw_data, &t.int32_data);
    Ok(match t.data_type {
        1 => Data::Floats(either(raw, f32::from_le_bytes, &t.float_data, |&x| x)?),
        10 => Data::Floats(either(
            raw,
            |b| f16::from_le_bytes(b).to_f32(),
            narrow,
            |&x| f16::from_bits(x as u16).to_f32(),
        )?),
        16 => Data::Floats(either(
            raw,
            |b| bf16::from_le_bytes(b).to_f32(),
            narrow,
            |&x| bf16::from_bits(x as u16).to_f32(),
        )?),
        11 => Data::Floats(either(
            raw,
            |b| f64::from_le_bytes(b) as f32,
            &t.double_data,
            |&x| x as f32,
        )?),
        2 => bytes(either(raw, |[b]: [u8; 1]| b.into(), narrow, |&x| (x as u8).into())?, 0, 255),
        3 => bytes(
            either(raw, |b| i8::from_le_bytes(b).into(), narrow, |&x| (x as i8).into())?,
            -128,
            127,
        ),
        21 => bytes(nibbles(raw, narrow, count, i16::from), 0, 15),
        22 => bytes(nibbles(raw, narrow, count, |x| i16::from((x << 4) as i8 >> 4)), -8, 7),
        9 => ints(raw, |[b]: [u8; 1]| i64::from(b != 0), narrow, |&x| i64::from(x != 0))?,
        4 => ints(raw, |b| u16::from_le_bytes(b).into(), narrow, |&x| i64::from(x as u16))?,
        5 => ints(raw, |b| i16::from_le_bytes(b).into(), narrow, |&x| i64::from(x as i16))?,
        6 => ints(raw, |b| i32::from_le_bytes(b).into(), narrow, |&x| x.into())?,
        7 => ints(raw, i64::from_le_bytes, &t.int64_data, |&x| x)?,
        12 => ints(raw, |b| u32::from_le_bytes(b).into(), &t.uint64_data, |&x| x as i64)?,
        13 => ints(raw, |b| u64::from_le_bytes(b) as i64, &t.uint64_data, |&x| x as i64)?,
        other => {
            return Err(Problem::new(
                format!("the tensor {:?} has elements of type {}", t.name, kind(other.into())),
                "floats of 16 bits and more, integers of 4 bits and more, and bool are read",
            ));
        }
    })
}

fn bytes(values: Vec<i16>, low: i16, high: i16) -> Data {
    Data::Bytes(Grid { values, low, high, scales: Vec::new() })
}

fn ints<const N: usize, S>(
    raw: &[u8],
    from_raw: impl Fn([u8; N]) -> i64,
    typed: &[S],
    from_typed: impl Fn(&S) -> i64,
) -> Result<Data, Problem> {
    let known = either(raw, |b| Int::Known(from_raw(b)), typed, |x| Int::Known(from_typed(x)))?;
    Ok(Data::Ints(known))
}

/// Elements of four bits, two in a byte, the first in the lower half; an odd number leaves the last
/// half unused.
fn nibbles(raw: &[u8], typed: &[i32], count: usize, read: impl Fn(u8) -> i16) -> Vec<i16> {
    let stored: Vec<u8> =
        if raw.is_empty() { typed.iter().map(|&x| x as u8).collect() } else { raw.to_vec() };
    let mut values: Vec<i16> =
        stored.iter().flat_map(|byte| [read(byte & 15), read(byte >> 4)]).collect();
    if values.len() == count + count % 2 {
        values.truncate(count);
    }
    values
}

/// The raw elements if there are any, or else the typed ones.
fn either<const N: usize, S, T>(
    raw: &[u8],
    from_raw: impl Fn([u8; N]) -> T,
    typed: &[S],
    from_typed: impl Fn(&S) -> T,
) -> Result<Vec<T>, Problem> {
    if raw.is_empty() {
        return collected(typed.iter().map(from_typed));
    }
    let (elements, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Problem::malformed(format!("{} bytes of elements of {N} bytes", raw.len())));
    }
    collected(elements.iter().map(|bytes| from_raw(*bytes)))
}

/// The elements, where there is memory for them.
fn collected<T>(elements: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>, Problem> {
    let mut all = Vec::new();
    if all.try_reserve_exact(elements.len()).is_err() {
        let reason = format!("no memory for {} elements", elements.len());
        return Err(Problem::new(reason, "free memory, or import a smaller network"));
    }
    all.extend(elements);
    Ok(all)
}

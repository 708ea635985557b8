//! NumPy's arrays: .npy, and .npz, which is a ZIP archive of them.

use std::io::{Cursor, Read};

use super::error::Fault;
use super::{Images, Pixels, read};

/// The first bytes of an .npy file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

const NPY: &str = ".npy";
const NPZ: &str = ".npz";

/// An array in row-major order.
struct Array<'a> {
    shape: Vec<usize>,
    kind: Kind,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    I64,
    U64,
    F32,
    F64,
}

/// Images `[N, C, H, W]`, `[N, H, W]`, `[C, H, W]` or `[H, W]`, whichever fits `input`; for flat inputs also `[N, C]`, `[C]`.
pub(super) fn images(bytes: &[u8], input: [usize; 3]) -> Result<Images, Fault> {
    let array = array(bytes)?;
    let shape = image_shape(&array.shape, input)?;
    let pixels = match array.kind {
        Kind::U8 => Pixels::Bytes(array.bytes.to_vec()),
        Kind::F32 => Pixels::Floats(array.elements(f32::from_le_bytes).collect()),
        Kind::F64 => Pixels::Floats(array.elements(|b| f64::from_le_bytes(b) as f32).collect()),
        Kind::I8 | Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::I64 | Kind::U64 => {
            let expected = "bytes 0..255 (uint8), or float32 or float64 on the scale 0..1";
            return Err(Fault::new(NPY, "type of images", expected, format!("{:?}", array.kind)));
        }
    };
    Ok(Images { shape, pixels, labels: None })
}

/// Labels `[N]`, of any integer type.
pub(super) fn labels(bytes: &[u8]) -> Result<Vec<usize>, Fault> {
    let array = array(bytes)?;
    if array.shape.len() != 1 {
        return Err(Fault::new(NPY, "axes of labels", "1", format!("shape {:?}", array.shape)));
    }
    array
        .integers()?
        .into_iter()
        .map(|label| {
            usize::try_from(label)
                .map_err(|_| Fault::new(NPY, "labels", "class numbers, from 0", label.to_string()))
        })
        .collect()
}

/// Images and labels of an .npz file, told by their keys.
pub(super) fn archived_images(bytes: &[u8], input: [usize; 3]) -> Result<Images, Fault> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| Fault::new(NPZ, "archive", "a ZIP archive", error.to_string()))?;
    let Some(array) = member(&mut archive, &["x", "images", "data", "arr_0"])? else {
        let keys: Vec<&str> = archive.file_names().take(8).collect();
        let expected = "one of x, images, data, arr_0";
        return Err(Fault::new(NPZ, "key of images", expected, format!("{keys:?}")));
    };
    let labels = member(&mut archive, &["y", "labels"])?;
    Ok(Images { labels: labels.map(|array| self::labels(&array)).transpose()?, ..images(&array, input)? })
}

/// The first array of the archive with one of these keys.
fn member(archive: &mut zip::ZipArchive<Cursor<&[u8]>>, keys: &[&str]) -> Result<Option<Vec<u8>>, Fault> {
    let Some(index) = keys.iter().find_map(|key| archive.index_for_name(&format!("{key}.npy"))) else {
        return Ok(None);
    };
    let file = archive
        .by_index(index)
        .map_err(|error| Fault::new(NPZ, "member", "stored or deflated", error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(read::LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::new(NPZ, "member", "a readable array", error.to_string()))?;
    if bytes.len() as u64 > read::LIMIT {
        let expected = format!("at most {} bytes", read::LIMIT);
        return Err(Fault::new(NPZ, "member", expected, "more"));
    }
    Ok(Some(bytes))
}

impl Array<'_> {
    fn elements<const N: usize, T>(&self, convert: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        let chunks = self.bytes.as_chunks::<N>().0;
        chunks.iter().map(move |chunk| convert(*chunk))
    }

    fn integers(&self) -> Result<Vec<i64>, Fault> {
        Ok(match self.kind {
            Kind::U8 => self.bytes.iter().map(|&x| x.into()).collect(),
            Kind::I8 => self.elements(i8::from_le_bytes).map(i64::from).collect(),
            Kind::U16 => self.elements(u16::from_le_bytes).map(i64::from).collect(),
            Kind::I16 => self.elements(i16::from_le_bytes).map(i64::from).collect(),
            Kind::U32 => self.elements(u32::from_le_bytes).map(i64::from).collect(),
            Kind::I32 => self.elements(i32::from_le_bytes).map(i64::from).collect(),
            // What does not fit becomes negative, which no caller takes.
            Kind::I64 | Kind::U64 => self.elements(i64::from_le_bytes).collect(),
            Kind::F32 | Kind::F64 => {
                let found = format!("{:?}", self.kind);
                return Err(Fault::new(NPY, "type of labels", "integers", found));
            }
        })
    }
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// The shape of one image, of an array of this shape, for a network with this input.
fn image_shape(array: &[usize], input: [usize; 3]) -> Result<Vec<usize>, Fault> {
    let flat = input[1..] == [1, 1];
    Ok(match *array {
        [_, c, h, w] => vec![c, h, w],
        // [C, H, W] and [N, H, W] look alike: it is one image if it fits as one.
        [c, h, w] if [c, h, w] == input => vec![c, h, w],
        [_, h, w] => vec![1, h, w],
        [_, c] if flat && c == input[0] => vec![c, 1, 1],
        [h, w] => vec![1, h, w],
        [c] if flat => vec![c, 1, 1],
        _ => {
            let expected = "[N, C, H, W], [N, H, W], [C, H, W] or [H, W]";
            return Err(Fault::new(NPY, "shape of images", expected, format!("{array:?}")));
        }
    })
}

fn array(bytes: &[u8]) -> Result<Array<'_>, Fault> {
    let fault = |field, expected: &str, found: String| Fault::new(NPY, field, expected, found);
    let truncated = || fault("header", "a whole header", format!("{} bytes in all", bytes.len()));
    let (version, rest) = bytes.get(6..).and_then(|rest| rest.split_at_checked(2)).ok_or_else(truncated)?;
    // Version 1.0 has two bytes for the header's length, later ones four.
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
        (u16::from_le_bytes(*length) as usize, rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, bytes) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let header = String::from_utf8_lossy(header);
    let kind = kind(field(&header, "descr")?)?;
    if field(&header, "fortran_order")?.starts_with("True") {
        return Err(fault("fortran_order", "False: save numpy.ascontiguousarray(x)", "True".into()));
    }
    let shape = shape(field(&header, "shape")?)?;
    let expected = shape.iter().try_fold(kind.bytes(), |n, &d| n.checked_mul(d));
    if expected != Some(bytes.len()) {
        let found = format!("{} bytes for shape {shape:?} of {kind:?}", bytes.len());
        return Err(fault("elements", "as many bytes as shape and type say", found));
    }
    Ok(Array { shape, kind, bytes })
}

/// What follows `'name':` in the header, which is a Python dictionary.
fn field<'h>(header: &'h str, name: &'static str) -> Result<&'h str, Fault> {
    header
        .split_once(&format!("'{name}':"))
        .map(|(_, rest)| rest.trim_start())
        .ok_or_else(|| Fault::new(NPY, "header", format!("the key {name}"), "none"))
}

fn kind(text: &str) -> Result<Kind, Fault> {
    let name = text.trim_start_matches(['\'', '"']).split(['\'', '"']).next().unwrap_or_default();
    Ok(match name {
        "|u1" | "<u1" => Kind::U8,
        "|i1" | "<i1" => Kind::I8,
        "<u2" => Kind::U16,
        "<i2" => Kind::I16,
        "<u4" => Kind::U32,
        "<i4" => Kind::I32,
        "<i8" => Kind::I64,
        "<u8" => Kind::U64,
        "<f4" => Kind::F32,
        "<f8" => Kind::F64,
        other => {
            let expected = "little-endian integers, float32 or float64";
            let found: String = other.chars().take(20).collect();
            return Err(Fault::new(NPY, "descr", expected, format!("{found:?}")));
        }
    })
}

fn shape(text: &str) -> Result<Vec<usize>, Fault> {
    let inner = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inner, _)| inner);
    inner
        .and_then(|inner| {
            let lengths = inner.split(',').map(str::trim).filter(|length| !length.is_empty());
            lengths.map(|length| length.parse().ok()).collect()
        })
        .ok_or_else(|| {
            let found: String = text.chars().take(40).collect();
            Fault::new(NPY, "shape", "a tuple of lengths", found)
        })
}

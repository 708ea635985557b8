//! The header of an .npy file.

use std::io::Read;

use super::super::error::Fault;
use super::super::read;
use super::NPY;
use super::number::Kind;

/// The first bytes of an .npy file.
pub(in super::super) const MAGIC: &[u8] = b"\x93NUMPY";

/// No header is longer, in bytes: NumPy itself writes some 120.
const MAX_HEADER: u64 = 1 << 16;

/// What the elements are.
pub(super) struct Header {
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
    /// Whether the order is column-major.
    pub(super) fortran: bool,
}

impl Header {
    /// Reads it; the elements come next.
    pub(super) fn read(stream: &mut impl Read) -> Result<Self, Fault> {
        let start = read::up_to(stream, MAGIC.len() as u64 + 2)?;
        let Some([version, _]) = start.strip_prefix(MAGIC) else {
            let found = format!("{:02x?}", &start[..start.len().min(MAGIC.len())]);
            return Err(Fault::new(NPY, "first bytes", "93 and NUMPY, then a version", found));
        };
        // Version 1.0 has two bytes for the header's length, later ones four.
        let bytes = if *version == 1 { 2 } else { 4 };
        let length = read::up_to(stream, bytes)?;
        let len = length.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        if len > MAX_HEADER {
            return Err(Fault::new(
                NPY,
                "header",
                format!("at most {MAX_HEADER} bytes"),
                format!("{len}"),
            ));
        }
        let text = read::up_to(stream, len)?;
        if length.len() as u64 != bytes || text.len() as u64 != len {
            return Err(Fault::new(NPY, "header", "a whole header", "the end of the file"));
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let (kind, big_endian) = kind(field(text, "descr")?)?;
        let order = field(text, "fortran_order")?;
        let fortran = order.starts_with("True");
        if !fortran && !order.starts_with("False") {
            let found: String = order.chars().take(20).collect();
            return Err(Fault::new(NPY, "fortran_order", "True or False", found));
        }
        Ok(Self { shape: shape(field(text, "shape")?)?, kind, big_endian, fortran })
    }
}

/// What follows `'name':` in the header, which is a Python dictionary.
fn field<'h>(header: &'h str, name: &'static str) -> Result<&'h str, Fault> {
    header
        .split_once(&format!("'{name}':"))
        .map(|(_, rest)| rest.trim_start())
        .ok_or_else(|| Fault::new(NPY, "header", format!("the key {name}"), "none"))
}

/// The type, and whether the first byte of an element is its highest.
fn kind(text: &str) -> Result<(Kind, bool), Fault> {
    let name = text.trim_start_matches(['\'', '"']).split(['\'', '"']).next().unwrap_or_default();
    let order = name.chars().next().filter(|order| "<>|".contains(*order));
    let kind = order.and_then(|order| Kind::of(&name[order.len_utf8()..]));
    // One byte has no order, which NumPy writes as |; more have one.
    let ordered = kind.filter(|kind| kind.bytes() == 1 || order != Some('|'));
    ordered.map(|kind| (kind, order == Some('>'))).ok_or_else(|| {
        let expected =
            "bool, integers of 1 to 8 bytes, or float16, float32 or float64, little- or big-endian";
        let found: String = name.chars().take(20).collect();
        Fault::new(NPY, "descr", expected, format!("{found:?}"))
    })
}

fn shape(text: &str) -> Result<Vec<usize>, Fault> {
    let inner =
        text.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inner, _)| inner);
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

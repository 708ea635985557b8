//! CIFAR's binary records: one or two label bytes, then the planes R, G, B of 32 x 32 pixels.

use super::error::Fault;
use super::{Images, Pixels};

/// The shape of an image.
pub(super) const SHAPE: [usize; 3] = [3, 32, 32];

const PIXELS: usize = 3 * 32 * 32;
/// Record and number of label bytes; the last label is the one that counts (CIFAR-100: coarse,
/// fine).
const CIFAR_10: (usize, usize) = (PIXELS + 1, 1);
const CIFAR_100: (usize, usize) = (PIXELS + 2, 2);

/// Whether the length is one of whole records of either kind.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    kind(bytes.len() as u64).is_ok()
}

/// Takes the records apart, in place.
pub(super) fn parse(mut bytes: Vec<u8>) -> Result<Images, Fault> {
    let (record, labels) = kind(bytes.len() as u64)?;
    let records = bytes.len() / record;
    let found = (0..records).map(|at| bytes[at * record + labels - 1].into()).collect();
    for at in 0..records {
        bytes.copy_within(at * record + labels..(at + 1) * record, at * PIXELS);
    }
    bytes.truncate(records * PIXELS);
    Ok(Images { shape: SHAPE.to_vec(), pixels: Pixels::Bytes(bytes), labels: Some(found) })
}

/// The lengths of a record and of its labels, by the length of the file.
pub(super) fn kind(len: u64) -> Result<(usize, usize), Fault> {
    let [cifar_10, cifar_100] =
        [CIFAR_10, CIFAR_100].map(|(record, _)| len > 0 && len.is_multiple_of(record as u64));
    match (cifar_10, cifar_100) {
        (true, false) => Ok(CIFAR_10),
        (false, true) => Ok(CIFAR_100),
        (true, true) => fault(
            "a multiple of 3073 (CIFAR-10) or of 3074 (CIFAR-100), not of both: take away some \
             records",
            format!("{len} bytes"),
        ),
        (false, false) => fault(
            "a multiple of 3073 (CIFAR-10) or of 3074 (CIFAR-100); \
             IDX, .npy, .npz, PNG and JPEG are read too, and gzip of any",
            format!("{len} bytes of no known format"),
        ),
    }
}

fn fault(expected: &str, found: String) -> Result<(usize, usize), Fault> {
    Err(Fault::new("CIFAR records", "length", expected, found))
}

//! CIFAR's binary records: one or two label bytes, then the planes R, G, B of 32 x 32 pixels.

use super::error::Fault;
use super::{Images, Pixels};

const PIXELS: usize = 3 * 32 * 32;
/// Record and number of label bytes; the last label is the one that counts (CIFAR-100: coarse, fine).
const CIFAR_10: (usize, usize) = (PIXELS + 1, 1);
const CIFAR_100: (usize, usize) = (PIXELS + 2, 2);

/// Whether the length is one of whole records of either kind.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    kind(bytes).is_ok()
}

pub(super) fn parse(bytes: &[u8]) -> Result<Images, Fault> {
    let (record, labels) = kind(bytes)?;
    let records = bytes.chunks_exact(record);
    let mut pixels = Vec::with_capacity(bytes.len());
    for record in records.clone() {
        pixels.extend_from_slice(&record[labels..]);
    }
    Ok(Images {
        shape: vec![3, 32, 32],
        pixels: Pixels::Bytes(pixels),
        labels: Some(records.map(|record| usize::from(record[labels - 1])).collect()),
    })
}

fn kind(bytes: &[u8]) -> Result<(usize, usize), Fault> {
    let whole = |(record, _): (usize, usize)| !bytes.is_empty() && bytes.len().is_multiple_of(record);
    let fault = |expected: &str, found: String| Err(Fault::new("CIFAR records", "length", expected, found));
    match (whole(CIFAR_10), whole(CIFAR_100)) {
        (true, false) => Ok(CIFAR_10),
        (false, true) => Ok(CIFAR_100),
        (true, true) => fault(
            "a multiple of 3073 (CIFAR-10) or of 3074 (CIFAR-100), not of both: take away some records",
            format!("{} bytes", bytes.len()),
        ),
        (false, false) => fault(
            "a multiple of 3073 (CIFAR-10) or of 3074 (CIFAR-100); \
             IDX, .npy, .npz, PNG and JPEG are read too, and gzip of any",
            format!("{} bytes of no known format", bytes.len()),
        ),
    }
}

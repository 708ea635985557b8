//! IDX, the format of MNIST: two zero bytes, a type byte, the number of axes, their lengths in big-endian, the elements.

use std::path::{Path, PathBuf};

use super::error::Fault;
use super::{Images, Pixels};

const UNSIGNED_BYTES: u8 = 8;

/// Whether the first bytes are those of an IDX file of bytes.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, UNSIGNED_BYTES, 1..=4, ..])
}

/// Whether it is an IDX file of the right length.
pub(super) fn is_exact(bytes: &[u8]) -> bool {
    is_one(bytes) && array(bytes).is_ok()
}

/// Images `[N, H, W]` or `[N, C, H, W]`.
pub(super) fn images(bytes: &[u8]) -> Result<Images, Fault> {
    let (shape, elements) = array(bytes)?;
    let shape = match shape[..] {
        [_, h, w] => vec![1, h, w],
        [_, c, h, w] => vec![c, h, w],
        _ => {
            return Err(Fault::new(
                "IDX",
                "axes",
                "images: 3 (N, H, W) or 4 (N, C, H, W)",
                format!("{}: if these are labels, name the images instead", shape.len()),
            ));
        }
    };
    Ok(Images { shape, pixels: Pixels::Bytes(elements.to_vec()), labels: None })
}

/// Labels `[N]`.
pub(super) fn labels(bytes: &[u8]) -> Result<Vec<usize>, Fault> {
    let (shape, elements) = array(bytes)?;
    if shape.len() != 1 {
        return Err(Fault::new("IDX", "axes of labels", "1", shape.len().to_string()));
    }
    Ok(elements.iter().map(|&label| usize::from(label)).collect())
}

/// The file of labels that belongs to a file of images by its name, if it exists.
pub(super) fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let name = ["-idx3", "-idx4", ".idx3", ".idx4"].iter().find_map(|&axes| {
        let from = format!("images{axes}");
        name.contains(&from).then(|| name.replace(&from, &format!("labels{}idx1", &axes[..1])))
    })?;
    let other = match name.strip_suffix(".gz") {
        Some(plain) => plain.to_owned(),
        None => format!("{name}.gz"),
    };
    [name, other].iter().map(|name| images.with_file_name(name)).find(|path| path.is_file())
}

/// The lengths of the axes and the elements.
fn array(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), Fault> {
    let fault = |field, expected: String, found: String| Err(Fault::new("IDX", field, expected, found));
    let (axes, rest) = match bytes {
        [0, 0, UNSIGNED_BYTES, axes @ 1..=4, rest @ ..] => (usize::from(*axes), rest),
        _ => {
            let found = format!("{:02x?}", &bytes[..bytes.len().min(4)]);
            return fault("first bytes", "[00, 00, 08, 01..=04]: unsigned bytes".into(), found);
        }
    };
    let Some((header, elements)) = rest.split_at_checked(4 * axes) else {
        return fault("header", format!("{} bytes", 4 + 4 * axes), format!("{} bytes", bytes.len()));
    };
    let shape: Vec<usize> =
        header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    match shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) {
        Some(n) if n == elements.len() => Ok((shape, elements)),
        expected => fault(
            "elements",
            format!("{} for axes {shape:?}", expected.map_or("a possible number".into(), |n| n.to_string())),
            elements.len().to_string(),
        ),
    }
}

//! IDX, the format of MNIST: two zero bytes, a type byte, the number of axes, their lengths in
//! big-endian, the elements.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::Fault;
use super::{Images, Pixels, fitting, read};

const UNSIGNED_BYTES: u8 = 8;

/// Whether the first bytes are those of an IDX file of bytes.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, UNSIGNED_BYTES, 1..=4, ..])
}

/// Whether these first bytes are those of an IDX file of images for such an input. The lengths of
/// four axes are just beyond them: the last is taken to be right.
pub(super) fn is_for(head: &[u8], input: [usize; 3]) -> bool {
    let [first, second] = [1, 2].map(|axis| head.get(4 + 4 * axis..8 + 4 * axis).map(big_endian));
    match head.get(3) {
        _ if !is_one(head) => false,
        Some(3) => [Some(1), first, second] == input.map(Some),
        Some(4) => [first, second] == [Some(input[0]), Some(input[1])],
        _ => false,
    }
}

/// Images `[N, H, W]` or `[N, C, H, W]`.
pub(super) fn images(stream: &mut impl Read, input: [usize; 3]) -> Result<Images, Fault> {
    let axes = header(stream)?;
    let shape = match axes[..] {
        [_, h, w] => vec![1, h, w],
        [_, c, h, w] => vec![c, h, w],
        _ => {
            return Err(Fault::new(
                "IDX",
                "axes",
                "images: 3 (N, H, W) or 4 (N, C, H, W)",
                format!("{}: if these are labels, name the images instead", axes.len()),
            ));
        }
    };
    fitting(&shape, input)?;
    Ok(Images { shape, pixels: Pixels::Bytes(elements(stream, &axes, read::SIZED)?), labels: None })
}

/// Labels `[N]`.
pub(super) fn labels(stream: &mut impl Read) -> Result<Vec<usize>, Fault> {
    let axes = header(stream)?;
    if axes.len() != 1 {
        return Err(Fault::new("IDX", "axes of labels", "1", axes.len().to_string()));
    }
    Ok(elements(stream, &axes, read::LABELS)?.into_iter().map(usize::from).collect())
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

/// The lengths of the axes.
fn header(stream: &mut impl Read) -> Result<Vec<usize>, Fault> {
    let start = read::up_to(stream, 4)?;
    let [0, 0, UNSIGNED_BYTES, axes @ 1..=4] = start[..] else {
        let expected = "[00, 00, 08, 01..=04]: unsigned bytes";
        return Err(Fault::new("IDX", "first bytes", expected, format!("{start:02x?}")));
    };
    let lengths = read::up_to(stream, 4 * u64::from(axes))?;
    if lengths.len() != 4 * usize::from(axes) {
        let expected = format!("{} bytes", 4 + 4 * axes);
        return Err(Fault::new("IDX", "header", expected, format!("{} bytes", 4 + lengths.len())));
    }
    Ok(lengths.chunks_exact(4).map(big_endian).collect())
}

/// As many elements as the axes say, and the end of the stream.
fn elements(stream: &mut impl Read, axes: &[usize], limit: u64) -> Result<Vec<u8>, Fault> {
    let claimed = axes.iter().try_fold(1_u64, |n, &d| n.checked_mul(d as u64));
    let Some(len) = claimed.filter(|&len| len <= limit) else {
        return Err(fault(format!("at most {limit} bytes"), format!("axes {axes:?}")));
    };
    let elements = read::up_to(stream, len)?;
    if elements.len() as u64 != len {
        return Err(fault(format!("{len} for axes {axes:?}"), elements.len().to_string()));
    }
    if !read::is_over(stream)? {
        return Err(fault(format!("{len} for axes {axes:?}"), "more".into()));
    }
    Ok(elements)
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

fn fault(expected: String, found: String) -> Fault {
    Fault::new("IDX", "elements", expected, found)
}

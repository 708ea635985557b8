//! NumPy's arrays: .npy, and .npz, which is a ZIP archive of them.
//!
//! An .npy file is a magic number, a version, a header, which is a Python dictionary in ASCII, and
//! the elements (NumPy Enhancement Proposal 1). Elements are turned into pixels or labels as they
//! are read.

mod header;
mod number;

use std::io::{Cursor, Read};

use header::Header;
pub(super) use header::MAGIC;
use number::{Kind, Number};

use super::error::Fault;
use super::{Images, Pixels, fitting, read};

const NPY: &str = ".npy";
const NPZ: &str = ".npz";

/// Images `[N, C, H, W]`, `[N, H, W]`, `[C, H, W]` or `[H, W]`, whichever fits `input`; for flat
/// inputs also `[N, C]`, `[C]`.
pub(super) fn images(stream: &mut impl Read, input: [usize; 3]) -> Result<Images, Fault> {
    let header = Header::read(stream)?;
    let shape = image_shape(&header.shape, input)?;
    fitting(&shape, input)?;
    let pixels = match header.kind {
        Kind::F16 | Kind::F32 | Kind::F64 | Kind::Bool => {
            let (floats, flaw) = elements(stream, &header, read::SIZED, 0.0, Number::pixel)?;
            sound(flaw, input, "a number that is finite in single precision")?;
            Pixels::Floats(floats)
        }
        Kind::U8
        | Kind::I8
        | Kind::U16
        | Kind::I16
        | Kind::U32
        | Kind::I32
        | Kind::U64
        | Kind::I64 => {
            let (bytes, flaw) = elements(stream, &header, read::SIZED, 0, Number::byte)?;
            sound(flaw, input, "an integer of 0..255, as pixels of an integer type are")?;
            Pixels::Bytes(bytes)
        }
    };
    Ok(Images { shape, pixels, labels: None })
}

/// Labels `[N]`, of any integer type, each less than `classes`.
pub(super) fn labels(stream: &mut impl Read, classes: usize) -> Result<Vec<usize>, Fault> {
    let header = Header::read(stream)?;
    if header.shape.len() != 1 {
        return Err(Fault::new(NPY, "axes of labels", "1", format!("shape {:?}", header.shape)));
    }
    if header.kind.is_float() {
        return Err(Fault::new(NPY, "type of labels", "integers", header.kind.name()));
    }
    let (labels, flaw) = elements(stream, &header, read::LABELS, 0, |number: Number| {
        usize::try_from(number.integer()?).ok().filter(|&label| label < classes)
    })?;
    match flaw {
        None => Ok(labels),
        Some(Flaw { at, found }) => Err(Fault::Label { image: at, found, classes }),
    }
}

/// Images and labels of an .npz file, told by their keys.
pub(super) fn archived_images(
    bytes: &[u8],
    input: [usize; 3],
    classes: usize,
) -> Result<Images, Fault> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| Fault::new(NPZ, "archive", "a ZIP archive", error.to_string()))?;
    let found = member(&mut archive, &["x", "images", "data", "arr_0"], |stream| {
        images(&mut { stream }, input)
    })?;
    let Some(images) = found else {
        let keys: Vec<&str> = archive.file_names().take(8).collect();
        let expected = "one of x, images, data, arr_0";
        return Err(Fault::new(NPZ, "key of images", expected, format!("{keys:?}")));
    };
    let labels = member(&mut archive, &["y", "labels"], |stream| labels(&mut { stream }, classes))?;
    Ok(Images { labels, ..images })
}

/// What `parse` makes of the first array of the archive with one of these keys, as it is unpacked.
fn member<T>(
    archive: &mut zip::ZipArchive<Cursor<&[u8]>>,
    keys: &[&str],
    parse: impl FnOnce(&mut dyn Read) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let Some(index) = keys.iter().find_map(|key| archive.index_for_name(&format!("{key}.npy")))
    else {
        return Ok(None);
    };
    let mut file = archive
        .by_index(index)
        .map_err(|error| Fault::new(NPZ, "member", "stored or deflated", error.to_string()))?;
    parse(&mut file).map(Some).map_err(|fault| match fault {
        Fault::Io(error) => Fault::new(NPZ, "member", "a readable array", error.to_string()),
        other @ (Fault::TooLarge { .. }
        | Fault::Malformed { .. }
        | Fault::Shape { .. }
        | Fault::Pixel { .. }
        | Fault::Label { .. }) => other,
    })
}

/// The first element, in the order of the images, that could not be converted.
struct Flaw {
    at: usize,
    found: String,
}

fn sound(flaw: Option<Flaw>, shape: [usize; 3], expected: &'static str) -> Result<(), Fault> {
    match flaw {
        None => Ok(()),
        Some(Flaw { at, found }) => Err(Fault::Pixel { at, shape, expected, found }),
    }
}

/// The elements in row-major order, converted; `none` stands in for one that cannot be. `limit`
/// bounds the bytes of the file and of the memory.
fn elements<T: Copy>(
    stream: &mut impl Read,
    header: &Header,
    limit: u64,
    none: T,
    convert: impl Fn(Number) -> Option<T>,
) -> Result<(Vec<T>, Option<Flaw>), Fault> {
    let size = header.kind.bytes();
    // Elements in column-major order are read before they are turned.
    let held = size_of::<T>() * if header.fortran { 2 } else { 1 };
    let claimed = header.shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d as u64));
    let Some(count) = claimed
        .filter(|n| n.checked_mul(size.max(held) as u64).is_some_and(|bytes| bytes <= limit))
    else {
        let found = format!("shape {:?} of {}", header.shape, header.kind.name());
        let expected = format!("at most {limit} bytes, in the file and in memory");
        return Err(Fault::new(NPY, "elements", expected, found));
    };
    let place = Place::new(&header.shape, header.fortran);
    let (mut found, mut flaw) = (Vec::new(), None::<Flaw>);
    let read = read::in_chunks(stream, count * size as u64, |chunk, left| {
        read::reserve(&mut found, chunk.len() / size, left / size as u64)?;
        for bytes in chunk.chunks_exact(size) {
            let number = header.kind.number(bytes, header.big_endian);
            let at = place.of(found.len());
            let converted = convert(number);
            // In column-major order the first flaw read need not be the first of the images: the
            // least place is kept.
            if converted.is_none() && flaw.as_ref().is_none_or(|flaw| at < flaw.at) {
                flaw = Some(Flaw { at, found: number.to_string() });
            }
            found.push(converted.unwrap_or(none));
        }
        Ok(())
    })?;
    let unlike = if found.len() as u64 != count {
        Some(format!("{read} bytes"))
    } else if !read::is_over(stream)? {
        Some("more".into())
    } else {
        None
    };
    if let Some(unlike) = unlike {
        let (bytes, kind) = (count * size as u64, header.kind.name());
        let expected = format!("{bytes} bytes for shape {:?} of {kind}", header.shape);
        return Err(Fault::new(NPY, "elements", expected, unlike));
    }
    if header.fortran {
        let mut turned = vec![none; found.len()];
        found.iter().enumerate().for_each(|(at, &element)| turned[place.of(at)] = element);
        found = turned;
    }
    Ok((found, flaw))
}

/// Where the elements of a file belong in row-major order.
struct Place<'a> {
    /// The lengths of the axes, if the file's order is column-major.
    fortran: Option<&'a [usize]>,
}

impl<'a> Place<'a> {
    fn new(shape: &'a [usize], fortran: bool) -> Self {
        Self { fortran: fortran.then_some(shape) }
    }

    fn of(&self, mut at: usize) -> usize {
        let Some(shape) = self.fortran else { return at };
        let mut place = 0;
        // Column-major: the first axis runs fastest. Its index is `at % length`, and weighs the
        // product of all axes behind it. Of shape [2, 3], element 3 of the file is (1, 1), at place
        // 4.
        let mut step: usize = shape.iter().product();
        for &length in shape {
            step /= length;
            place += at % length * step;
            at /= length;
        }
        place
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

#[cfg(test)]
mod tests;

//! A file with the files beside it that hold its weights, as PyTorch's exporter writes them.
//!
//! A location is a path within the model's own folder, links followed: a file from elsewhere must
//! not make this program read others. Lengths are held against the files before anything is read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::error::ImportError;
use super::proto::{GraphProto, TensorProto};

/// No file may be larger: 2 GiB, which is also the most that ONNX can hold in one file.
const MAX_FILE: u64 = 2 << 30;
/// Files of weights together may not be larger.
const MAX_EXTERNAL: u64 = 16 << 30;
/// `data_location` of tensors whose elements are in another file.
const EXTERNAL: i32 = 1;

/// The bytes of an ONNX file.
///
/// # Errors
/// The file cannot be read, or is larger than ONNX allows.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| ImportError::Io { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ImportError::field("file", format!("at most {MAX_FILE} bytes"), "more"));
    }
    Ok(bytes)
}

/// Reads what tensors of the graph have in other files; how many bytes that were.
///
/// # Errors
/// A file is missing, outside of the folder, or shorter than a tensor says.
pub(super) fn gather(graph: &mut GraphProto, folder: Option<&Path>) -> Result<usize, ImportError> {
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let inner = attributes.filter_map(|attribute| attribute.t.as_mut());
    let mut files = Files { folder, open: HashMap::new(), available: 0, taken: 0 };
    for tensor in graph.initializer.iter_mut().chain(inner) {
        if tensor.data_location == EXTERNAL {
            files.fill(tensor)?;
        }
    }
    Ok(usize::try_from(files.taken).unwrap_or(usize::MAX))
}

/// The files of weights that have been met, by location.
struct Files<'a> {
    folder: Option<&'a Path>,
    open: HashMap<String, (File, PathBuf, u64)>,
    /// Bytes of all of them.
    available: u64,
    /// Bytes of all tensors so far.
    taken: u64,
}

/// Where a tensor's elements are.
struct Place {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl Files<'_> {
    fn fill(&mut self, tensor: &mut TensorProto) -> Result<(), ImportError> {
        let place = Place::of(tensor)?;
        let Some(folder) = self.folder else {
            let expected = "a model whose weights are in the file itself";
            return Err(ImportError::field(field(tensor, "location"), expected, place.location));
        };
        if !self.open.contains_key(&place.location) {
            let (file, path) = open(folder, &place.location, &tensor.name)?;
            let length = file.metadata().map_or(0, |data| data.len());
            self.available = self.available.saturating_add(length);
            self.open.insert(place.location.clone(), (file, path, length));
        }
        let (file, path, available) = &mut self.open.get_mut(&place.location).expect(FOUND);
        // Without a length it is all that follows; the shape is held against it where it is read.
        let room = available.checked_sub(place.offset);
        let length = place.length.or(room).unwrap_or(0);
        if room.is_none_or(|room| length > room) {
            let expected = format!("within the {available} bytes of {}", path.display());
            let found = format!("{length} bytes from {}", place.offset);
            return Err(ImportError::field(field(tensor, "offset and length"), expected, found));
        }
        self.taken = self.taken.saturating_add(length);
        // Tensors may share bytes, but not so that small files fill the memory.
        if self.taken > self.available.saturating_mul(2).min(MAX_EXTERNAL) {
            let most = self.available.saturating_mul(2).min(MAX_EXTERNAL);
            let expected = format!("tensors of at most {most} bytes in all");
            return Err(ImportError::field(field(tensor, "length"), expected, "more"));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(place.offset))
            .and_then(|_| Ok(bytes.try_reserve_exact(length as usize)?))
            .and_then(|()| {
                bytes.resize(length as usize, 0);
                file.read_exact(&mut bytes)
            })
            .map_err(|source| ImportError::Io { path: path.clone(), source })?;
        tensor.raw_data = bytes;
        tensor.data_location = 0;
        Ok(())
    }
}

/// Why a file that was opened is there.
const FOUND: &str = "invariant: a file is opened before it is read";

/// Opens a file of weights within the model's folder.
fn open(folder: &Path, location: &str, tensor: &str) -> Result<(File, PathBuf), ImportError> {
    let path = folder.join(location);
    let mut parts = Path::new(location).components();
    let below = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !below {
        return Err(outside(location, tensor));
    }
    let found = path.canonicalize().and_then(|real| Ok((real, folder.canonicalize()?)));
    // Links are followed before the folders are compared: one may lead out of it. What is no file,
    // such as a pipe, might never end.
    let opened = found.and_then(|(real, root)| {
        let inside = real.starts_with(root) && real.is_file();
        inside.then(|| File::open(&real)).transpose()
    });
    match opened {
        Ok(Some(file)) => Ok((file, path)),
        Ok(None) => Err(outside(location, tensor)),
        Err(source) => {
            Err(ImportError::External { path, tensor: super::name::shown(tensor), source })
        }
    }
}

fn outside(location: &str, tensor: &str) -> ImportError {
    let field = format!("tensor {tensor:?}: location");
    let expected = "a file in the model's own folder, or below it";
    ImportError::field(field, expected, format!("{location:?}"))
}

/// A part of what a tensor says of its elements.
fn field(tensor: &TensorProto, what: &str) -> String {
    format!("tensor {:?}: {what}", tensor.name)
}

impl Place {
    fn of(tensor: &TensorProto) -> Result<Self, ImportError> {
        let location = text(tensor, "location").unwrap_or_default().to_owned();
        let offset = number(tensor, "offset")?.unwrap_or(0);
        Ok(Self { location, offset, length: number(tensor, "length")? })
    }
}

/// What the tensor says of its place in the other file.
fn text<'t>(tensor: &'t TensorProto, key: &str) -> Option<&'t str> {
    let entry = tensor.external_data.iter().find(|entry| entry.key == key)?;
    Some(&entry.value)
}

fn number(tensor: &TensorProto, key: &str) -> Result<Option<u64>, ImportError> {
    let parsed = text(tensor, key).map(|value| value.parse().map_err(|_| value)).transpose();
    parsed.map_err(|value| {
        ImportError::field(field(tensor, key), "a number of bytes", format!("{value:?}"))
    })
}

//! Files to streams, gzip undone, and streams to memory within bounds.
//!
//! A few kilobytes of gzip or ZIP unpack to gigabytes. So nothing is unpacked on trust: a format
//! whose header says how much there is is read to just there, other formats to a limit, and
//! whatever goes on after that is an error.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use super::DataError;
use super::error::Fault;

/// The most that a format whose header says its size may hold, in bytes, unpacked and in memory: 1
/// GiB.
pub(super) const SIZED: u64 = 1 << 30;
/// The most of formats that do not say their size before they are read whole (CIFAR records,
/// archives within gzip), in bytes: 256 MiB, more than any CIFAR file.
pub(super) const UNSIZED: u64 = 256 << 20;
/// The most of a PNG or JPEG file, in bytes: 64 MiB.
pub(super) const PICTURE: u64 = 64 << 20;
/// The most of a file of labels or names, in bytes, unpacked and in memory: 32 MiB.
pub(super) const LABELS: u64 = 32 << 20;

/// What formats are told by.
const HEAD: u64 = 16;
/// Bytes read at a time.
const CHUNK: usize = 1 << 16;

/// A file's content, decompressed if it is gzip, not yet read.
pub(super) struct Content<'a> {
    head: Vec<u8>,
    stream: Chain<Cursor<Vec<u8>>, Box<dyn Read + 'a>>,
    gzip: bool,
}

impl<'a> Content<'a> {
    /// That of a file.
    pub(super) fn open(path: &Path) -> Result<Content<'static>, DataError> {
        let opened = File::open(path).map_err(Fault::Io);
        opened.and_then(|file| Content::of(BufReader::new(file))).map_err(|fault| fault.at(path))
    }

    /// What a reader gives.
    pub(super) fn of(mut packed: impl Read + 'a) -> Result<Self, Fault> {
        // What was looked at is put in front again: no byte is lost, and nothing need be rewound.
        let start = beginning(&mut packed, 2)?;
        let gzip = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(packed);
        let mut stream: Box<dyn Read + 'a> =
            if gzip { Box::new(flate2::read::MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        let head = beginning(&mut stream, HEAD)?;
        Ok(Self { stream: Cursor::new(head.clone()).chain(stream), head, gzip })
    }

    /// The first bytes, up to 16, which reading starts with all the same.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether it came compressed.
    pub(super) const fn is_gzip(&self) -> bool {
        self.gzip
    }

    /// All that is left, if that is no more than `limit` bytes.
    pub(super) fn all(&mut self, limit: u64) -> Result<Vec<u8>, Fault> {
        let bytes = up_to(self, limit)?;
        if bytes.len() as u64 == limit && !is_over(self)? {
            return Err(Fault::TooLarge { limit });
        }
        Ok(bytes)
    }

    /// How many bytes are left, without keeping them, if that is no more than `limit`.
    pub(super) fn count(&mut self, limit: u64) -> Result<u64, Fault> {
        let count = io::copy(&mut self.by_ref().take(limit + 1), &mut io::sink())?;
        if count > limit { Err(Fault::TooLarge { limit }) } else { Ok(count) }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

/// The first bytes, or fewer if there are no more.
fn beginning(stream: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Up to so many bytes; memory grows with what is there, not with what is claimed.
pub(super) fn up_to(stream: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    in_chunks(stream, len, |chunk, left| {
        reserve(&mut bytes, chunk.len(), left)?;
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(bytes)
}

/// Gives up to so many bytes to `take`, in chunks of a multiple of 16 bytes but for the last, each
/// with how many bytes may follow it; returns how many there were.
pub(super) fn in_chunks(
    stream: &mut impl Read,
    len: u64,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut buffer, mut done) = (vec![0; CHUNK], 0);
    while done < len {
        let want = CHUNK.min(usize::try_from(len - done).unwrap_or(CHUNK));
        let found = fill(stream, &mut buffer[..want])?;
        done += found as u64;
        take(&buffer[..found], len - done)?;
        if found < want {
            break;
        }
    }
    Ok(done)
}

/// Room for `more` elements: twice what there is, but never more than `left` beyond them.
///
/// # Errors
/// The system has no memory left.
pub(super) fn reserve<T>(elements: &mut Vec<T>, more: usize, left: u64) -> io::Result<()> {
    if elements.capacity() - elements.len() < more {
        // Doubling, but for what can come at most: memory stays within twice what has been read,
        // whatever a header claims.
        let ahead = elements.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        elements.try_reserve_exact(more + ahead)?;
    }
    Ok(())
}

/// Whether a stream has ended.
pub(super) fn is_over(stream: &mut impl Read) -> io::Result<bool> {
    Ok(fill(stream, &mut [0])? == 0)
}

/// As many bytes as there are, up to a buffer full.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut found = 0;
    while found < buffer.len() {
        match stream.read(&mut buffer[found..]) {
            Ok(0) => break,
            Ok(more) => found += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The file's content as text, decompressed if it is gzip.
pub(super) fn text(path: &Path) -> Result<String, DataError> {
    let bytes = Content::open(path)?.all(LABELS).map_err(|fault| fault.at(path))?;
    String::from_utf8(bytes).map_err(|error| {
        Fault::new("text", "encoding", "UTF-8", error.utf8_error().to_string()).at(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_an_end_is_read_to_the_limit_and_no_further() {
        for limit in [0, 1, 15, 16, 17, CHUNK as u64, 3 * CHUNK as u64 + 5] {
            let mut endless = Content::of(io::repeat(7)).unwrap();
            assert!(matches!(
                endless.all(limit),
                Err(Fault::TooLarge { limit: found }) if found == limit
            ));
            let mut whole = Content::of(io::repeat(7).take(limit)).unwrap();
            assert_eq!(whole.all(limit).unwrap().len() as u64, limit);
            let mut counted = Content::of(io::repeat(7).take(limit)).unwrap();
            assert_eq!(counted.count(limit).unwrap(), limit);
            assert!(matches!(
                Content::of(io::repeat(7)).unwrap().count(limit),
                Err(Fault::TooLarge { .. })
            ));
        }
    }

    #[test]
    fn memory_grows_with_what_is_there_and_not_beyond_what_is_claimed() {
        let little = up_to(&mut io::repeat(1).take(100), u64::MAX).unwrap();
        assert_eq!(little.len(), 100);
        assert!(little.capacity() <= 2 * CHUNK, "{}", little.capacity());
        let len = 5 * CHUNK as u64 + 3;
        let much = up_to(&mut io::repeat(1), len).unwrap();
        assert_eq!((much.len() as u64, much.capacity() as u64), (len, len));
    }
}

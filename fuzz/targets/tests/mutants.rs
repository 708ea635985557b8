//! The corpus with mistakes: what every run of the tests can do of fuzzing. The fuzz targets go
//! further, and run where there is nightly Rust (`.ci/nightly`).

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Mutants of what is read at once, of each target.
const READ: u64 = if cfg!(debug_assertions) { 1000 } else { 50_000 };
/// Mutants of what a session is held with.
const TALKED: u64 = if cfg!(debug_assertions) { 20 } else { 500 };
/// Mistakes in one.
const MISTAKES: usize = 4;

/// Every file of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // The bootstrap of Ferret takes a second, and its messages are in other files, too.
    let mut files: Vec<PathBuf> =
        entries.filter(|path| !path.to_string_lossy().contains("ferret")).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Bytes at which programs err.
const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];

/// Makes one mistake.
fn err(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut StdRng) {
    if bytes.is_empty() {
        bytes.push(rng.random());
    }
    let at = rng.random_range(0..bytes.len());
    let len = rng.random_range(1..=16).min(bytes.len() - at);
    match rng.random_range(0..7) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = *EDGES.choose(rng).unwrap(),
        2 => bytes[at..at + len].fill(*EDGES.choose(rng).unwrap()),
        3 => drop(bytes.drain(at..at + len)),
        4 => bytes.truncate(at),
        5 => {
            let again = bytes[at..at + len].to_vec();
            bytes.splice(at..at, again);
        }
        // The end of another file.
        _ => {
            let other = corpus.choose(rng).unwrap();
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
        }
    }
}

fn mutants(target: &str, count: u64, body: fn(&[u8])) {
    let corpus = corpus(target);
    // `PQ_FUZZ_SEED` goes on from others.
    let first = std::env::var("PQ_FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + count {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = corpus.choose(&mut rng).unwrap().clone();
        for _ in 0..rng.random_range(1..=MISTAKES) {
            err(&mut bytes, &corpus, &mut rng);
        }
        // What fails prints where to start: PQ_FUZZ_SEED=...
        println!("{target}: seed {seed}, {} bytes", bytes.len());
        body(&bytes);
    }
}

macro_rules! mutated {
    ($($target:ident: $count:expr),*) => {$(
        #[test]
        fn $target() {
            mutants(stringify!($target), $count, pq_fuzz_targets::$target);
        }
    )*};
}

mutated!(
    onnx_import: READ,
    plan: READ,
    weights: READ,
    images: READ,
    wire_server: TALKED,
    wire_client: TALKED
);

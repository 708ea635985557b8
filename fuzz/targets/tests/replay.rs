//! Replays the corpus: seeds made by hand (`examples/seeds.rs`) and what fuzzing found.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target)
}

/// Every file of a target's corpus, in the order of their names.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = corpus(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} has {} files", folder.display(), files.len());
    for file in files {
        // The bootstrap of Ferret takes long where nothing is optimized.
        if cfg!(debug_assertions) && file.to_string_lossy().contains("ferret") {
            continue;
        }
        println!("{}", file.display());
        body(&fs::read(&file).unwrap());
    }
}

macro_rules! replays {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), pq_fuzz_targets::$target);
        }
    )*};
}

replays!(onnx_import, plan, weights, wire_server, wire_client, images);

#[test]
fn the_corpus_is_small() {
    let targets = fs::read_dir(corpus("")).unwrap().map(|entry| entry.unwrap().path());
    let files = targets.flat_map(|folder| fs::read_dir(folder).unwrap());
    let total: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(total < 1 << 20, "{total} bytes");
}

//! What a search depends on, as digests.

use model::{Model, Op, Preprocess};

use super::{Images, SearchOptions};

/// A digest of all that sensitivities and searched networks depend on, but for budgets. It has no
/// salt, so it confirms a guess of the network: it is as secret as that.
pub fn fingerprint(
    model: &Model,
    preprocess: &Preprocess,
    images: &Images<'_>,
    options: &SearchOptions,
) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("pq 1 search fingerprint");
    hasher.update(&options.seed.to_le_bytes());
    for node in &model.nodes {
        if let Op::Conv(conv) = &node.op {
            for value in conv.weight.iter().chain(&conv.bias) {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    for value in &images.batch.data {
        hasher.update(&value.to_le_bytes());
    }
    for label in images.labels.iter().copied().flatten() {
        hasher.update(&(*label as u64).to_le_bytes());
    }
    let unbounded = SearchOptions {
        budget_bits: None,
        budget_online_bits: None,
        budget_seconds: None,
        min_accuracy: None,
        fixed: None,
        ..*options
    };
    hasher.update(format!("{preprocess:?} {unbounded:?}").as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// The digest of what a search has found, which tells whether a file of it is still as it was
/// written. It is no protection against those who write a new one.
#[must_use]
pub fn digest(found: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("pq 1 search results");
    hasher.update(found).finalize().to_hex().to_string()
}

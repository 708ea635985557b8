//! `pq`: two-party private inference for quantised networks.
fn main() {}

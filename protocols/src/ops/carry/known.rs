//! Networks that were found before. Plans are priced by the thousand while widths are searched, of
//! a few hundred shapes of networks, and finding one takes a dynamic program.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Network, Parts, fewest};

/// Shapes kept at a time: some ten megabytes at the most, whatever a plan asks for.
const KEPT: usize = 4096;

type Known = HashMap<(Parts, u32, bool), Arc<Network>>;

static KNOWN: RwLock<Option<Known>> = RwLock::new(None);

/// The network of [`fewest`], found once.
pub(super) fn network(parts: Parts, and_depth: u32, kept_wrap: bool) -> Arc<Network> {
    let shape = (parts, and_depth, kept_wrap);
    // What is in the map is whole whenever the lock is free, even behind a panic.
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(network) = known.as_ref().and_then(|known| known.get(&shape)) {
        return Arc::clone(network);
    }
    drop(known);
    let network = Arc::new(fewest::network(parts, and_depth, kept_wrap));
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(shape, Arc::clone(&network));
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_network_is_the_one_that_would_be_found_anew() {
        for at in (0..240).chain(0..240) {
            let parts = Parts { dropped: at % 7, kept: 1 + at % 5, saturating: at % 3 };
            let (and_depth, kept_wrap) = (at % 8, at % 2 == 0);
            let known = network(parts, and_depth, kept_wrap);
            let found = fewest::network(parts, and_depth, kept_wrap);
            let bits = [&*known, &found].map(|network| network.circuit.bits());
            let depths = [&*known, &found].map(|network| network.circuit.depth());
            assert_eq!((bits[0], depths[0]), (bits[1], depths[1]), "{parts:?}");
        }
    }
}

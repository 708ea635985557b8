//! What both sources of OTs are held to.

use proptest::prelude::*;

use super::{ReceivedCots, SentCots};

/// All OTs of one direction: the sender's and the receiver's.
pub(super) type Transfers = (SentCots, ReceivedCots);

/// There are `count`, all correlated, and their choices look random.
pub(super) fn check(ots: &Transfers, count: usize) -> Result<(), TestCaseError> {
    let (sent, received) = ots;
    prop_assert_eq!((sent.keys.len(), received.keys.len()), (count, count));
    prop_assert_eq!(sent.delta.lsb(), 1);
    for (i, (k, m)) in sent.keys.iter().zip(received.keys.iter()).enumerate() {
        prop_assert_eq!(k.lsb(), 0, "key {} of {}", i, count);
        prop_assert!(*m == *k ^ sent.delta.masked(m.lsb()), "transfer {} of {}", i, count);
    }
    let ones = received.choices().iter().sum::<u64>() as f64;
    // Eight standard deviations.
    prop_assert!(
        (ones - count as f64 / 2.0).abs() <= 4.0 * (count as f64).sqrt(),
        "{} of {}",
        ones,
        count
    );
    Ok(())
}

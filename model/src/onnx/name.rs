//! Names of a file, as the network and its reports have them: short and plain, whatever the file
//! says.
//!
//! Exporters write long names, paths of modules mostly. A plan bounds them ([`MAX_NAME`]), and a
//! pass may join two of them, so that they are shortened here, where they come in. Equal ones are
//! told apart by a number then.

use protocols::plan::MAX_NAME;
use protocols::printable::{Printable, cut};

/// The most bytes of a name: two, joined and with what passes add, are still a plan's name.
const MAX_SHOWN: usize = 100;
const _: () = assert!(2 * MAX_SHOWN + 32 <= MAX_NAME);

/// The most bytes of the reason why a node is not supported.
pub(super) const MAX_REASON: usize = 400;

/// A name without characters that do not show as themselves; of a long one, both ends.
pub(super) fn shown(name: &str) -> String {
    shortened(name, MAX_SHOWN)
}

/// A text as [`shown`], in at most so many bytes.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    // Cut first: what is escaped then is bounded.
    let text = Printable(cut(text, bytes)).to_string();
    // Characters have up to four bytes: fewer of them until all fit.
    let shorter = (0..=bytes).rev().map(|most| cut(&text, most));
    shorter.into_iter().find(|text| text.len() <= bytes).unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::printable::is_plain;

    use super::*;

    #[test]
    fn usual_names_stay_as_they_are_and_long_ones_keep_their_ends() {
        let usual = "/features/features.17/conv/conv.1/conv.1.0/Conv_output_0";
        assert_eq!(shown(usual), usual);
        let long = format!("/{}/Conv_7", "block/".repeat(10_000));
        assert!(shown(&long).starts_with("/block/") && shown(&long).ends_with("/Conv_7"));
        assert_eq!(shown("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\u{a}b");
    }

    proptest! {
        #[test]
        fn shown_names_are_plain_and_short(name in any::<String>(), times in 1usize..40) {
            let shown = shown(&name.repeat(times));
            prop_assert!(shown.len() <= MAX_SHOWN && shown.chars().all(is_plain), "{shown:?}");
        }
    }
}

//! Text from outside, made harmless before a person sees it.
//!
//! Names of plans and files, and what a peer sends, may hold escape codes that rewrite a terminal,
//! line feeds that forge lines, and characters that reorder or hide others (Boucher and Anderson,
//! "Trojan Source", USENIX Security 2023).

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// Shows a value with every character that is not plain as `\u{1b}`, line feeds included.
#[derive(Clone, Copy, Debug)]
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if is_plain(c) { self.0.write_char(c) } else { write!(self.0, "{}", c.escape_unicode()) }
    }
}

/// Whether a character shows as itself and as nothing else: no control character, none that is
/// invisible, and none that reorders its neighbors.
pub fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            // Zero width, and the marks of direction.
            | '\u{200b}'..='\u{200f}'
            // Separators of lines and paragraphs; embeddings and overrides.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates, deprecated formats.
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A text of at most `most` characters: of a longer one, both ends around an ellipsis. Both,
/// because names that share a beginning differ at their end.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    // Characters are bytes or fewer, so that most texts need no count.
    let length = if text.len() <= most { 0 } else { text.chars().count() };
    if length <= most {
        return text.into();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept / 2, kept - kept / 2);
    let ends = text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail));
    ends.take(most).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_reorders_text_is_left() {
        let hostile = "a\u{1b}[2Kb\nc\rd\u{9b}e\u{202e}f\u{2028}g\u{200b}\u{7f}\t\u{0}";
        let shown = Printable(hostile).to_string();
        assert!(shown.chars().all(is_plain), "{shown:?}");
        assert!(shown.starts_with("a\\u{1b}[2Kb\\u{a}c\\u{d}d\\u{9b}e\\u{202e}f"), "{shown}");
        assert_eq!(Printable("Größe 8×8 → 層 ✓").to_string(), "Größe 8×8 → 層 ✓");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_plain_and_what_is_plain_is_shown_as_it_is(text in any::<String>()) {
            let shown = Printable(&text).to_string();
            prop_assert!(shown.chars().all(is_plain));
            prop_assert_eq!(Printable(&shown).to_string(), shown.clone());
            prop_assert_eq!(text.chars().all(is_plain), shown == text);
        }

        #[test]
        fn a_cut_text_is_no_longer_than_allowed_and_keeps_both_ends(
            text in any::<String>(),
            most in 0usize..40,
        ) {
            let shown = cut(&text, most);
            let (length, shown) = (text.chars().count(), shown.chars().collect::<Vec<_>>());
            prop_assert_eq!(shown.len(), length.min(most));
            if length > most && most >= 3 {
                prop_assert_eq!(shown.first().copied(), text.chars().next());
                prop_assert_eq!(shown.last().copied(), text.chars().next_back());
            }
        }
    }
}

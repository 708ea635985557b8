//! What pages of HTML have in common. Each is one file that needs nothing else.

use protocols::printable::Printable;

const STYLE: &str = include_str!("style.css");

/// The beginning of a page, up to its heading. Its title is the heading and what it is about.
pub(crate) fn begin(heading: &str, about: &str) -> String {
    let heading = escape(heading);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{heading}: {about}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{heading}</h1>\n"
    )
}

/// Its end.
pub(crate) const END: &str = "</body></html>\n";

/// Names come from files: none of them is markup, and none hides or reorders what stands beside it.
/// Control characters have no place in XML, not even as references.
pub(crate) fn escape(text: &str) -> String {
    let text = Printable(text).to_string();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A number of a drawing's grid, without what binary fractions add.
pub(crate) fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.to_owned() }
}

//! Numbers for people: bytes, seconds, bits, counts; and the budgets that people write.

use std::str::FromStr;

/// `1234567` as `1.23 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes, "B")
}

/// `1234567` as `1.23 Mbit`.
pub(crate) fn bits(bits: u64) -> String {
    scaled(bits, "bit")
}

/// `0.0123` as `12.3 ms`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0 s".into(),
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `[3, 32, 32]` as `3x32x32`.
pub(crate) fn shape(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn scaled(number: u64, unit: &str) -> String {
    let value = number as f64;
    match number {
        0..1_000 => format!("{number} {unit}"),
        1_000..1_000_000 => format!("{:.2} k{unit}", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M{unit}", value / 1e6),
        1_000_000_000.. => format!("{:.3} G{unit}", value / 1e9),
    }
}

/// A number of bits, as `250M` or `1.5G`: suffixes k, M and G are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitCount(pub(crate) u64);

/// A number of bytes, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) u64);

impl FromStr for BitCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text, "bits", "250M").map(Self)
    }
}

impl FromStr for ByteCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text, "bytes", "1.5G").map(Self)
    }
}

/// A number with an optional suffix.
fn number(text: &str, of: &str, example: &str) -> Result<u64, String> {
    let (number, factor) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1e3),
        Some('M') => (&text[..text.len() - 1], 1e6),
        Some('G') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let value = number.parse::<f64>().ok().map(|value| value * factor);
    match value {
        // Exact up to 2^53, far beyond any budget.
        Some(value) if (0.0..9e15).contains(&value) => Ok(value.round() as u64),
        _ => Err(format!(
            "expected a number of {of} with an optional suffix k, M or G, such as {example}"
        )),
    }
}

/// A loss or an error: four digits behind the point, or two that count, so that little is not taken
/// for nothing.
pub(crate) fn loss(number: f64) -> String {
    if number != 0.0 && number < 0.001 { format!("{number:.1e}") } else { format!("{number:.4}") }
}

/// A number above 0, as an argument.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

/// A part of a whole, in per cent.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

/// How far a parameter moves in a step, as an argument.
pub(crate) fn rate(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|n| *n > 0.0 && *n <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and up to 1, such as 0.0005".into())
}

/// A part of a whole.
pub(crate) fn part(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| "expected a number from 0 to 1, such as 0.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_have_decimal_suffixes() {
        for (text, expected) in
            [("1000", 1000), ("2k", 2000), ("1.5G", 1_500_000_000), ("250M", 250_000_000)]
        {
            assert_eq!(text.parse(), Ok(BitCount(expected)));
            assert_eq!(text.parse(), Ok(ByteCount(expected)));
        }
        for text in ["", "G", "-1", "1T", "nan", "1e99"] {
            assert!(text.parse::<BitCount>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.0, 0.25, 0.000_018].map(loss), ["0.0000", "0.2500", "1.8e-5"]);
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.23 MB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(seconds(0.0123), "12.3 ms");
    }
}

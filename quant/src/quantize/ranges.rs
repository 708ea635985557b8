//! How the ranges of values are chosen.

use std::fmt;
use std::str::FromStr;

/// What decides where an activation quantizer's values are cut off, on the powers of two that its
/// scale may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Ranges {
    /// The least mean squared error.
    #[default]
    Mse,
    /// The narrowest range that holds so many percent of the values, zeros included.
    Percentile(f64),
}

impl Ranges {
    /// The magnitude that a range must reach, if that is what decides; of values that are zero or
    /// listed by `others`.
    pub(super) fn reach(self, values: usize, others: impl FnOnce() -> Vec<f32>) -> Option<f32> {
        let Self::Percentile(percent) = self else { return None };
        let mut others = others();
        let beyond = (values as f64 * (1.0 - percent / 100.0)) as usize;
        if beyond >= others.len() {
            return Some(0.0);
        }
        let last = others.len() - 1 - beyond;
        let (_, reach, _) = others.select_nth_unstable_by(last, |a, b| a.abs().total_cmp(&b.abs()));
        Some(reach.abs())
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mse => f.write_str("mse"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
        }
    }
}

impl FromStr for Ranges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = match text.split_once(':') {
            None if text == "mse" => Some(Self::Mse),
            Some(("percentile", number)) => {
                let percent = number.parse().ok().filter(|p| (50.0..=100.0).contains(p));
                percent.map(Self::Percentile)
            }
            _ => None,
        };
        found.ok_or_else(|| {
            format!("expected mse, or percentile:P with P within 50..=100; found {text:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for text in ["mse", "percentile:99.9", "percentile:100"] {
            assert_eq!(text.parse::<Ranges>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "max",
            "percentile",
            "percentile:",
            "percentile:49",
            "percentile:101",
            "percentile:NaN",
            "mse:9",
        ] {
            assert!(text.parse::<Ranges>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_percentile_holds_so_many_values_and_no_more_than_it_must(
            values in prop::collection::vec(prop_oneof![Just(0.0f32), -8.0f32..8.0], 1..200),
            percent in 50.0f64..=100.0,
        ) {
            let others = || values.iter().copied().filter(|v| *v != 0.0).collect();
            let reach = Ranges::Percentile(percent).reach(values.len(), others).unwrap();
            let outside = |reach: f32| values.iter().filter(|v| v.abs() > reach).count() as f64;
            let allowed = values.len() as f64 * (1.0 - percent / 100.0);
            prop_assert!(outside(reach) <= allowed, "{} outside {reach}", outside(reach));
            let closer = values
                .iter()
                .map(|v| v.abs())
                .filter(|v| *v < reach)
                .fold(None, |a: Option<f32>, v| Some(a.map_or(v, |a| a.max(v))));
            prop_assert!(closer.is_none_or(|closer| outside(closer) > allowed - 1.0));
            prop_assert_eq!(Ranges::Mse.reach(values.len(), || values), None);
        }
    }
}

//! The classes that a batch's images are of.

use train::Mixture;

/// The labels of a batch.
pub(super) struct Labels {
    pub(super) labels: Vec<Option<usize>>,
    pub(super) mixture: Option<Mixture>,
}

impl Labels {
    /// The classes that an image is of, with their parts; without a label it is of none.
    pub(super) fn of(&self, image: usize) -> impl Iterator<Item = (usize, f64)> {
        let part = self.mixture.as_ref().map_or(0.0, |mixture| f64::from(mixture.parts[image]));
        let next = self.labels[(image + 1) % self.labels.len()];
        let parts = [(self.labels[image], 1.0 - part), (next, part)];
        let parts = parts.into_iter().filter(|(_, part)| *part > 0.0);
        parts.filter_map(|(class, part)| Some((class?, part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_is_of_both_classes_and_of_those_that_are_known() {
        let labels = vec![Some(7), None, Some(2)];
        let all = |labels: &Labels| -> Vec<Vec<(usize, f64)>> {
            (0..3).map(|image| labels.of(image).collect()).collect()
        };
        let plain = Labels { labels: labels.clone(), mixture: None };
        assert_eq!(all(&plain), [vec![(7, 1.0)], vec![], vec![(2, 1.0)]]);
        let mixture = Some(Mixture { parts: vec![0.25, 0.5, 0.125] });
        let mixed = Labels { labels, mixture };
        assert_eq!(all(&mixed), [vec![(7, 0.75)], vec![(2, 0.5)], vec![(2, 0.875), (7, 0.125)]]);
    }
}

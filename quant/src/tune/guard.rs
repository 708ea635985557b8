//! A guard against divergence, by the losses of batches.

/// Batches that the mean is of.
const SHOWN: f64 = 50.0;
/// A mean so many times that of the start is a divergence.
const DIVERGENCE: f64 = 3.0;
/// A loss so many times the mean is of an outlier: squares of squares of an odd image. Its
/// gradients would be the largest that there are, and tell nothing of other images.
const OUTLIER: f64 = 10.0;
/// Losses below this one, in nats, are not told apart.
const SMALL: f64 = 0.1;

/// How the loss has been.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Losses {
    /// That of the first batch.
    pub(super) first: f64,
    /// The mean of the last ones.
    pub(super) mean: f64,
    /// How often the rates were halved.
    pub(super) halvings: u32,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Learn,
    /// Nothing is learned from an outlier.
    PassBy,
    GoBack,
}

impl Losses {
    /// Notes the loss of a batch, behind so many others. It may rise where something is taken away
    /// on purpose.
    pub(super) fn note(&mut self, loss: f64, before: u64, may_rise: bool) -> Verdict {
        if before == 0 {
            (self.first, self.mean) = (loss, loss);
        }
        let most = OUTLIER * self.mean.max(SMALL);
        // Beyond all numbers is one too: the batch seen again from somewhat before would be again.
        let is_outlier = !loss.is_finite() || (loss > most && !may_rise);
        // Some outliers after each other raise the mean, and then are a divergence.
        let seen = if is_outlier { most } else { loss };
        // A plain mean at first, then one that forgets.
        self.mean += (seen - self.mean) / SHOWN.min(before as f64 + 1.0);
        if may_rise && !is_outlier {
            // The worst of it is the start of what follows.
            self.first = self.first.max(self.mean).max(loss);
        }
        // Where it starts so, there is no mean.
        if self.mean.is_nan() || self.mean > DIVERGENCE * self.first.max(SMALL) {
            Verdict::GoBack
        } else if is_outlier {
            Verdict::PassBy
        } else {
            Verdict::Learn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts of batches with these losses, behind fifty of 1.
    fn verdicts(losses: &[f64], may_rise: bool) -> Vec<Verdict> {
        let mut noted = Losses::default();
        assert!((0..50).all(|at| noted.note(1.0, at, false) == Verdict::Learn));
        let behind = losses.iter().zip(50..);
        behind.map(|(&loss, at)| noted.note(loss, at, may_rise)).collect()
    }

    #[test]
    fn one_outlier_is_passed_by_and_several_are_a_divergence() {
        use Verdict::{GoBack, Learn, PassBy};

        assert_eq!(verdicts(&[1e9, 1.0, 9.0], false), [PassBy, Learn, Learn]);
        let all = verdicts(&[1e9; 12], false);
        assert_eq!((all[0], all[5], all[11]), (PassBy, PassBy, GoBack));
        // What grows slowly is no outlier, and is noticed all the same.
        let slow: Vec<f64> = (0..100).map(|at| 1.06f64.powi(at)).collect();
        let slow = verdicts(&slow, false);
        assert!(slow.contains(&GoBack) && !slow.contains(&PassBy), "{slow:?}");
        assert_eq!(verdicts(&[1e9, 1e9], true), [Learn, Learn]);
    }

    #[test]
    fn a_batch_beyond_all_numbers_is_passed_by_and_a_network_that_is_so_is_not() {
        use Verdict::{GoBack, Learn, PassBy};

        for beyond in [f64::NAN, f64::INFINITY] {
            assert_eq!(verdicts(&[beyond, 1.0], false), [PassBy, Learn]);
            assert_eq!(verdicts(&[beyond, 1.0], true), [PassBy, Learn]);
            assert!(verdicts(&[beyond; 12], false).contains(&GoBack));
            assert!(verdicts(&[beyond; 60], true).contains(&GoBack));
            assert_eq!(Losses::default().note(beyond, 0, false), GoBack);
        }
    }
}

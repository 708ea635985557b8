//! A part of the images, so that many machines may share them.

use std::ops::Range;
use std::str::FromStr;

/// Part `at` of `of`, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    at: usize,
    of: usize,
}

impl Shard {
    /// Its part of the images; parts differ by one image at the most.
    pub(super) fn part(self, images: &Range<usize>) -> Range<usize> {
        // In 128 bits: no number of images and parts overflows.
        let cut = |at: usize| {
            images.start + (images.len() as u128 * at as u128 / self.of as u128) as usize
        };
        cut(self.at)..cut(self.at + 1)
    }

    /// The place of a task of Slurm's array, as its variables say.
    fn of_slurm(variable: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let at = variable("SLURM_ARRAY_TASK_ID")?;
        // An array may begin anywhere.
        let first = variable("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
        Self::new(at.checked_sub(first)?, variable("SLURM_ARRAY_TASK_COUNT")?)
    }

    /// The place of a pod of Kubernetes' indexed Job. Kubernetes says which it is; of how many, its
    /// manifest has to say.
    fn of_kubernetes(variable: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        Self::new(variable("JOB_COMPLETION_INDEX")?, variable("JOB_COMPLETIONS")?)
    }

    fn of_environment(variable: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        Self::of_slurm(&variable).or_else(|| Self::of_kubernetes(&variable))
    }

    fn new(at: usize, of: usize) -> Option<Self> {
        (at < of).then_some(Self { at, of })
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "env" {
            let found = Self::of_environment(|name| std::env::var(name).ok()?.parse().ok());
            return found.ok_or_else(|| {
                "expected SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT of a Slurm array, or \
                 JOB_COMPLETION_INDEX and JOB_COMPLETIONS (its spec.completions) of a Kubernetes \
                 Job; elsewhere say I/N"
                    .into()
            });
        }
        let numbers = text.split_once('/').map(|(at, of)| (at.parse().ok(), of.parse().ok()));
        match numbers {
            Some((Some(at), Some(of))) => Self::new(at, of),
            Some((Some(_) | None, None) | (None, Some(_))) | None => None,
        }
        .ok_or_else(|| "expected I/N with I from 0 to N-1, such as 0/4, or env".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_images_once_and_as_equal_as_may_be() {
        for (start, len, of) in (0..60).flat_map(|len| (1..20).map(move |of| (len % 7, len, of))) {
            let mut next = start;
            for at in 0..of {
                let part = Shard { at, of }.part(&(start..start + len));
                assert_eq!(part.start, next, "{start} {len} {of}");
                assert!((len / of..=len.div_ceil(of)).contains(&part.len()), "{start} {len} {of}");
                next = part.end;
            }
            assert_eq!(next, start + len, "{start} {len} {of}");
        }
    }

    #[test]
    fn a_shard_is_a_number_of_several_or_a_task_of_an_array() {
        assert_eq!("1/3".parse(), Ok(Shard { at: 1, of: 3 }));
        for wrong in ["3/3", "1", "", "a/2", "1/0", "-1/2", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        let task = |name: &str| match name {
            "SLURM_ARRAY_TASK_ID" => Some(5),
            "SLURM_ARRAY_TASK_MIN" => Some(2),
            "SLURM_ARRAY_TASK_COUNT" => Some(4),
            _ => None,
        };
        assert_eq!(Shard::of_environment(task), Some(Shard { at: 3, of: 4 }));
        let pod = |count| {
            Shard::of_environment(|name| match name {
                "JOB_COMPLETION_INDEX" => Some(7),
                "JOB_COMPLETIONS" => count,
                _ => None,
            })
        };
        assert_eq!(pod(Some(8)), Some(Shard { at: 7, of: 8 }));
        // Neither the number of pods alone, nor one past the last.
        assert_eq!(pod(None), None);
        assert_eq!(pod(Some(7)), None);
        assert_eq!(Shard::of_environment(|_| None), None);
    }
}

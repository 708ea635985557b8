//! What a session is asked for: how many images at a time, how many times, and what the client
//! learns.

use serde::{Deserialize, Serialize};

use crate::Error;

/// The most images of a session, so that no price overflows.
const MAX_IMAGES: usize = 1 << 20;

/// What a session is asked for, after set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Images of one inference.
    pub images: usize,
    /// Inferences that are prepared together, before the first of them is run. Where more are run,
    /// the next are prepared when these are used up.
    pub prepared: usize,
    /// Inferences that are run.
    pub inferences: usize,
    /// Images of the last inference that is run, at most as many as of the others.
    pub last: usize,
    /// How the client comes by the hints of a plan that names any.
    pub hints: Hints,
}

/// How the client comes by the hints of a plan that names any; of no matter for other plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hints {
    /// The server sends them in set-up.
    #[default]
    Sent,
    /// The client has their file.
    Known,
}

impl Hints {
    /// Known where the client has them.
    pub const fn of(known: bool) -> Self {
        if known { Self::Known } else { Self::Sent }
    }
}

/// Inferences that are prepared together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// How many there are.
    pub(crate) inferences: usize,
    /// Whether the last one that is run is among them.
    pub(crate) has_last: bool,
}

impl Load {
    /// Inferences of as many images each.
    pub const fn new(images: usize, prepared: usize, inferences: usize) -> Self {
        Self { images, prepared, inferences, last: images, hints: Hints::Sent }
    }

    /// One inference of so many images.
    pub const fn one(images: usize) -> Self {
        Self::new(images, 1, 1)
    }

    /// `total` images, at least one, in the fewest inferences of at most `most` images each, as
    /// equal as may be; each is prepared right before it is run.
    pub const fn split(total: usize, most: usize) -> Self {
        let most = if most == 0 { 1 } else { most };
        let images = total.div_ceil(total.div_ceil(most));
        let inferences = total.div_ceil(images);
        let last = total - images * (inferences - 1);
        Self { last, ..Self::new(images, 1, inferences) }
    }

    /// The same, of a client that comes by the plan's hints in this way.
    #[must_use]
    pub const fn with(self, hints: Hints) -> Self {
        Self { hints, ..self }
    }

    /// The same, with so many inferences prepared together.
    #[must_use]
    pub const fn preparing(self, prepared: usize) -> Self {
        Self { prepared, ..self }
    }

    /// Images of an inference, numbered from 0.
    pub const fn images_of(&self, inference: usize) -> usize {
        if inference + 1 == self.inferences { self.last } else { self.images }
    }

    /// Images of all inferences that are run.
    pub const fn total(&self) -> usize {
        self.images * self.inferences.saturating_sub(1) + self.last
    }

    /// Inferences that are prepared in all: more than are run only where one preparation is of
    /// more.
    pub const fn prepared_in_all(&self) -> usize {
        if self.prepared > self.inferences { self.prepared } else { self.inferences }
    }

    /// Images that are prepared together: what a party's memory depends on.
    pub const fn at_a_time(&self) -> usize {
        self.images.saturating_mul(self.prepared)
    }

    /// So many inferences, from a number on.
    pub(crate) const fn group_of(&self, first: usize, inferences: usize) -> Group {
        let end = first + inferences;
        Group { inferences, has_last: first < self.inferences && self.inferences <= end }
    }

    /// The load of one preparation, of so many inferences from a number on.
    pub(crate) fn preparation(&self, first: usize, inferences: usize) -> Self {
        let last = if self.group_of(first, inferences).has_last { self.last } else { self.images };
        Self { prepared: inferences, inferences, last, ..*self }
    }

    /// What a session came to in which so many inferences were prepared and run.
    pub(crate) fn up_to(&self, prepared: usize, run: usize) -> Self {
        if run >= self.inferences {
            return *self;
        }
        let last = if run == 0 { 0 } else { self.images };
        Self { prepared: self.prepared.min(prepared), inferences: run, last, ..*self }
    }

    /// The inferences that are prepared together from this one on.
    pub(crate) fn group(&self, first: usize) -> Group {
        self.group_of(first, self.prepared.min(self.prepared_in_all().saturating_sub(first)))
    }

    /// What all preparations are, each with how often.
    pub(crate) fn groups(&self) -> [(Group, u64); 2] {
        let prepared = self.prepared.max(1);
        let last = (self.prepared_in_all().max(1) - 1) / prepared;
        let whole = Group { inferences: prepared, has_last: false };
        [(whole, last as u64), (self.group(last * prepared), 1)]
    }

    /// Checks what a run relies on.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a count is zero, the last inference has more images than the
    /// others, or there are more images than a session can have.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [self.images, self.prepared, self.inferences, self.last];
        let all = self.images.saturating_mul(self.prepared_in_all());
        if counts.contains(&0) || self.last > self.images || all > MAX_IMAGES {
            let expected =
                format!("1 to {MAX_IMAGES} images, the last inference's no more than the others'");
            return Err(Error::invalid("load", expected, format!("{self:?}")));
        }
        Ok(())
    }
}

/// What the client learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reveal {
    /// The logits.
    #[default]
    Logits,
    /// The index of the largest logit, the first of equals.
    Label,
}

impl Reveal {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Label => "label",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_split_has_all_images_once_and_none_too_many(
            total in 1usize..5000,
            most in 1usize..300,
        ) {
            let load = Load::split(total, most);
            prop_assert!(load.check().is_ok());
            prop_assert!(load.images <= most);
            prop_assert_eq!(load.inferences, total.div_ceil(load.images));
            prop_assert_eq!(
                (0..load.inferences).map(|at| load.images_of(at)).sum::<usize>(),
                total
            );
            prop_assert_eq!(load.total(), total);
        }

        #[test]
        fn groups_are_what_is_prepared_one_after_the_other(
            prepared in 1usize..20, inferences in 1usize..60, images in 1usize..4) {
            let load = Load::new(images, prepared, inferences);
            let mut first = 0;
            let mut one_by_one = Vec::new();
            while first < load.prepared_in_all() {
                one_by_one.push(load.group(first));
                first += prepared;
            }
            let [(whole, times), (last, once)] = load.groups();
            let mut closed = vec![whole; times as usize];
            closed.push(last);
            prop_assert_eq!(once, 1);
            prop_assert_eq!(&closed, &one_by_one);
            prop_assert_eq!(
                closed.iter().map(|group| group.inferences).sum::<usize>(),
                prepared.max(inferences)
            );
            prop_assert_eq!(closed.iter().filter(|group| group.has_last).count(), 1);
        }
    }

    #[test]
    fn a_load_of_nothing_or_of_too_much_is_refused() {
        for load in [
            Load::new(0, 1, 1),
            Load::new(1, 0, 1),
            Load::new(1, 1, 0),
            Load { last: 3, ..Load::new(2, 1, 2) },
            Load::new(1 << 11, 1, 1 << 11),
            Load::new(usize::MAX, usize::MAX, 1),
        ] {
            assert!(load.check().is_err(), "{load:?}");
        }
    }
}

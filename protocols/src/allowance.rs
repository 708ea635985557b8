//! Whether a session fits into the memory that the server is willing to spend on it: both parties
//! predict it from the plan.

use crate::load::Load;
use crate::{Error, Role};

/// A load that takes more memory than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What was asked for.
    pub asked: Load,
    /// Bytes that it is predicted to take.
    pub needed: u64,
    /// Bytes that it may take.
    pub budget: u64,
    /// The most images at a time that take no more; 0 where not even one does.
    pub fits: usize,
}

/// Holds what is asked for against a budget of bytes, with the prediction of the memory that a load
/// takes.
///
/// # Errors
/// [`Excess`], which says how many images at a time would fit.
pub fn allowed(memory: impl Fn(Load) -> u64, budget: u64, asked: Load) -> Result<(), Excess> {
    let needed = memory(asked);
    if needed <= budget {
        return Ok(());
    }
    Err(Excess {
        asked,
        needed,
        budget,
        fits: most(asked.at_a_time(), |images| memory(Load::one(images)) <= budget),
    })
}

/// The most images, up to `limit`, that fit, given that fewer fit where more do; 0 where none does.
pub fn most(limit: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, limit.saturating_add(1));
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

impl Excess {
    /// What the parties disagree on, in the error of a handshake.
    pub const FIELD: &str = "the server's memory";

    /// What was asked for, and what it takes.
    pub fn asked(&self) -> String {
        let Load { images, prepared, .. } = self.asked;
        format!(
            "{images} images x {prepared} prepared at a time, which take {}",
            mebibytes(self.needed)
        )
    }

    /// What would fit.
    pub fn advice(&self) -> String {
        match self.fits {
            0 => {
                "not even one image fits: it takes more memory, or a plan of short sessions".into()
            }
            fits => format!("at most {fits} images at a time fit"),
        }
    }

    /// The error of a handshake in which this is what the server does not allow, as one of the
    /// parties sees it.
    pub fn disagreement(&self, role: Role) -> Error {
        let budget = format!("{} for a session; {}", mebibytes(self.budget), self.advice());
        let (ours, theirs) = match role {
            Role::Server => (budget, self.asked()),
            Role::Client => (self.asked(), budget),
        };
        Error::Disagreement { field: Self::FIELD, ours, theirs }
    }
}

/// Bytes for people, rounded up.
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn memory(load: Load) -> u64 {
        (10 + 7 * load.at_a_time() as u64) << 20
    }

    #[test]
    fn what_fits_is_allowed_and_what_does_not_is_told_the_most_that_would() {
        assert_eq!(allowed(memory, 31 << 20, Load::one(3)), Ok(()));
        assert_eq!(allowed(memory, 31 << 20, Load::new(3, 1, 1000)), Ok(()));
        for (asked, budget, fits) in
            [(Load::one(4), 31, 3), (Load::new(2, 2, 2), 37, 3), (Load::one(1), 16, 0)]
        {
            let excess = allowed(memory, budget << 20, asked).unwrap_err();
            assert_eq!((excess.needed, excess.fits), (memory(asked), fits));
        }
    }

    #[test]
    fn both_parties_are_told_the_load_its_bytes_the_budget_and_what_fits() {
        let excess = allowed(memory, 31 << 20, Load::new(8, 2, 2)).unwrap_err();
        for role in [Role::Server, Role::Client] {
            let message = excess.disagreement(role).to_string();
            for part in ["8 images x 2 prepared", "122 MiB", "31 MiB", "at most 3 images"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}

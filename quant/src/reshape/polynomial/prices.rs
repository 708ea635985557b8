//! What ReLUs, squares and poolings take: here, in published systems, or by a table.

use std::fmt;

use fusion::relus::ReluSystem;
use serde::Deserialize;

use super::place::{Place, Replacement};
use crate::reshape::{ReshapeError, Saving};

/// Whose prices say what a polynomial saves.
#[derive(Clone, Debug, PartialEq)]
pub enum PolynomialPrices {
    /// Differences of whole plans: of bits, of those that move the fewest, or of seconds.
    Plans(Saving),
    /// The bits of a published system.
    System(ReluSystem),
    /// A table.
    Table(ActivationPrices),
}

/// A table of prices, in any unit: of a node so much, and so much for each of its elements.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationPrices {
    /// Of a node of ReLUs, and of each.
    pub relu: [f64; 2],
    /// Of a node of squares, and of each.
    pub square: [f64; 2],
    /// Of a maximum pooling, and of each element that its windows read; nothing unless told.
    #[serde(default)]
    pub max_pool: [f64; 2],
    /// Of an average pooling, and of each element that its windows read; nothing unless told.
    #[serde(default)]
    pub avg_pool: [f64; 2],
}

impl ActivationPrices {
    /// Of a node and of its elements, as it is and as it becomes.
    const fn of(&self, becomes: Replacement) -> [[f64; 2]; 2] {
        let Self { relu, square, max_pool, avg_pool } = *self;
        match becomes {
            Replacement::Polynomial => [relu, square],
            Replacement::Average => [max_pool, avg_pool],
            Replacement::Maximum => [avg_pool, max_pool],
        }
    }
}

impl Default for PolynomialPrices {
    fn default() -> Self {
        Self::Plans(Saving::default())
    }
}

impl PolynomialPrices {
    /// Verifies that they say what squares take.
    ///
    /// # Errors
    /// They are of a system whose squares are not modeled, or no finite numbers from zero on.
    pub fn check(&self) -> Result<(), ReshapeError> {
        let found = match self {
            Self::System(system) if system.square_bits().is_none() => {
                format!("{}, whose squares are not modeled", system.name())
            }
            Self::Table(ActivationPrices { relu, square, max_pool, avg_pool }) => {
                let mut all = relu.iter().chain(square).chain(max_pool).chain(avg_pool);
                match all.find(|price| !(price.is_finite() && **price >= 0.0)) {
                    Some(price) => price.to_string(),
                    None => return Ok(()),
                }
            }
            Self::Plans(_) | Self::System(_) => return Ok(()),
        };
        Err(ReshapeError::Prices { found })
    }

    /// What something else in a node's place saves; none where whole plans tell.
    pub(super) fn saved(&self, place: &Place) -> Option<f64> {
        let &Place { becomes, elements, outputs } = place;
        match self {
            Self::Plans(_) => None,
            Self::System(system) => {
                let relu = system.bits() as f64;
                // A maximum of n takes n - 1 comparisons, and an average is taken of shares.
                let maximum = (elements - outputs) as f64 * relu;
                Some(match becomes {
                    Replacement::Polynomial => {
                        elements as f64 * (relu - system.square_bits()? as f64)
                    }
                    Replacement::Average => maximum,
                    Replacement::Maximum => -maximum,
                })
            }
            Self::Table(table) => {
                let [now, then] = table.of(becomes);
                Some(now[0] - then[0] + elements as f64 * (now[1] - then[1]))
            }
        }
    }

    /// A price, as it is told. Units of tables are told as bits are.
    pub fn told(&self, price: f64) -> String {
        match self {
            Self::Plans(saving) => saving.told(price),
            Self::System(_) | Self::Table(_) => Saving::Bits.told(price),
        }
    }

    /// Why something else may save nothing.
    pub(super) const fn reason(&self, becomes: Replacement) -> &'static str {
        match (self, becomes) {
            (Self::Plans(_), Replacement::Polynomial) => {
                "a ReLU is part of a requantization, which stays, and a square is a table behind it"
            }
            (Self::Plans(_), Replacement::Average) => "an average is finer than what it is of",
            (Self::Plans(_) | Self::System(_), Replacement::Maximum) => {
                "a maximum takes comparisons, and an average is a sum"
            }
            (Self::System(_), Replacement::Polynomial) => {
                "a square is a product in the whole ring, and a ReLU one comparison of its bits"
            }
            (Self::System(_), Replacement::Average) => "there is nothing to compare",
            (Self::Table(_), _) => "the table says so",
        }
    }
}

impl fmt::Display for PolynomialPrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plans(Saving::Bits) => f.write_str("pq"),
            Self::Plans(Saving::Seconds) => f.write_str("pq, in seconds"),
            Self::System(system) => f.write_str(system.name()),
            Self::Table(_) => f.write_str("the table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(becomes: Replacement, elements: usize, outputs: usize) -> Place {
        Place { becomes, elements, outputs }
    }

    #[test]
    fn a_table_says_what_a_node_and_its_elements_save() {
        // PolyMPCNet's, of an FPGA. 1,000 elements: 0.4 + 13,600 against 0.2 + 30.
        let pools = ([0.3, 10.2], [0.0, 0.01]);
        let (max_pool, avg_pool) = pools;
        let table = ActivationPrices { relu: [0.4, 13.6], square: [0.2, 0.03], max_pool, avg_pool };
        let prices = PolynomialPrices::Table(table);
        let saved = prices.saved(&place(Replacement::Polynomial, 1000, 1000)).unwrap();
        assert!((saved - 13_570.2).abs() < 1e-6, "{saved}");
        let [average, maximum] = [Replacement::Average, Replacement::Maximum]
            .map(|becomes| prices.saved(&place(becomes, 1000, 250)).unwrap());
        assert!((average - 10_190.3).abs() < 1e-6 && average == -maximum, "{average} {maximum}");
        assert!(prices.check().is_ok());
        for wrong in [-2.0, f64::NAN, f64::INFINITY] {
            let table = ActivationPrices { square: [0.0, wrong], ..table };
            let error = PolynomialPrices::Table(table).check().unwrap_err().to_string();
            assert!(error.contains(&format!("found {wrong}")), "{error}");
        }
    }

    #[test]
    fn a_system_without_squares_has_no_prices() {
        assert!(PolynomialPrices::System(ReluSystem::Cheetah).check().is_ok());
        let error = PolynomialPrices::System(ReluSystem::Delphi).check().unwrap_err();
        assert!(error.to_string().contains("found Delphi 41 bit, whose squares"), "{error}");
    }

    #[test]
    fn no_system_of_shares_has_squares_below_relus() {
        let systems = [ReluSystem::CrypTFlow2, ReluSystem::Sirnn, ReluSystem::Cheetah];
        for system in systems {
            let prices = PolynomialPrices::System(system);
            let saved = prices.saved(&place(Replacement::Polynomial, 10, 10)).unwrap();
            assert!(saved < 0.0, "{system:?}: {saved}");
            // Of 2x2 elements, three comparisons.
            let saved = prices.saved(&place(Replacement::Average, 40, 10)).unwrap();
            assert_eq!(saved, (30 * system.bits()) as f64, "{system:?}");
        }
    }
}

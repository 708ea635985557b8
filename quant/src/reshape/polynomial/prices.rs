//! What ReLUs and squares take: here, in published systems, or by a table.

use std::fmt;

use fusion::relus::ReluSystem;
use serde::Deserialize;

use crate::reshape::ReshapeError;

/// Whose prices say what a polynomial saves.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PolynomialPrices {
    /// Differences of whole plans' bits, of those that move the fewest.
    #[default]
    Plans,
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
            Self::Table(ActivationPrices { relu, square }) => {
                let mut all = relu.iter().chain(square);
                match all.find(|price| !(price.is_finite() && **price >= 0.0)) {
                    Some(price) => price.to_string(),
                    None => return Ok(()),
                }
            }
            Self::Plans | Self::System(_) => return Ok(()),
        };
        Err(ReshapeError::Prices { found })
    }

    /// What polynomials in the place of a node's ReLUs save; none where whole plans tell.
    pub(super) fn saved(&self, elements: usize) -> Option<f64> {
        let elements = elements as f64;
        match self {
            Self::Plans => None,
            Self::System(system) => {
                Some(elements * (system.bits() as f64 - system.square_bits()? as f64))
            }
            Self::Table(ActivationPrices { relu, square }) => {
                Some(relu[0] - square[0] + elements * (relu[1] - square[1]))
            }
        }
    }

    /// Why a polynomial may save nothing.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Plans => {
                "a ReLU is part of a requantization, which stays, and a square is a table behind it"
            }
            Self::System(_) => {
                "a square is a product in the whole ring, and a ReLU one comparison of its bits"
            }
            Self::Table(_) => "the table says so",
        }
    }
}

impl fmt::Display for PolynomialPrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plans => f.write_str("pq"),
            Self::System(system) => f.write_str(system.name()),
            Self::Table(_) => f.write_str("the table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_a_node_and_its_elements_save() {
        // PolyMPCNet's, of an FPGA. 1,000 elements: 0.4 + 13,600 against 0.2 + 30.
        let table = ActivationPrices { relu: [0.4, 13.6], square: [0.2, 0.03] };
        let prices = PolynomialPrices::Table(table);
        let saved = prices.saved(1000).unwrap();
        assert!((saved - 13_570.2).abs() < 1e-6, "{saved}");
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
            let saved = PolynomialPrices::System(system).saved(10).unwrap();
            assert!(saved < 0.0, "{system:?}: {saved}");
        }
    }
}

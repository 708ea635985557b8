//! What every operator is: a meaning, a price and a protocol.

use crate::ot::Demand;
use crate::{Cost, Error, Session, Shared};

/// A two-party operator, written once for both parties. It obeys the law
/// `reveal(run(share(x))) == ideal(x)` and `measured == cost`, at both parties.
#[allow(async_fn_in_trait)] // run by one task per party: no bound on the future is needed
pub trait Operator {
    /// What it takes: this party's shares.
    type Input: Shared;
    /// What it gives: this party's shares.
    type Output: Shared;

    /// The name in the ledger.
    const NAME: &'static str;

    /// What it means, in the clear.
    fn ideal(&self, input: &<Self::Input as Shared>::Clear) -> <Self::Output as Shared>::Clear;

    /// What it moves: the sum of its parts' costs. Depends on public shapes alone.
    fn cost(&self) -> Cost;

    /// What it makes of the correlated OTs of its cost, in the order in which it draws them. So it
    /// can be made before. OTs that no demand is for are taken as they are.
    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    /// How, for both parties. Called through [`Session::run`] only.
    ///
    /// # Errors
    /// Where the peer is lost or violates the protocol, or where the pool is dry.
    async fn run(&self, session: &mut Session, input: Self::Input) -> Result<Self::Output, Error>;
}

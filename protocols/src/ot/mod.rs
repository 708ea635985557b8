//! Oblivious transfer: base OTs, the extension, the pools, and what is made of them.

mod base;
mod correlated;
mod demand;
mod ferret;
pub(crate) mod ggm;
pub(crate) mod hash;
mod line;
mod one_of_n;
mod ot_extension;
mod pool;
mod pprf;
mod prepared;
mod random;
mod softspoken;
#[cfg(test)]
mod testing;
mod vector;

pub use demand::Demand;
pub use ferret::{Bootstrap, FerretExtend, Parameters};
pub use ot_extension::{OtExtend, OtExtension, OtExtensions, OtSetup};
pub use softspoken::{Extend, Setup, TreeDepth};

pub(crate) use correlated::{CorrelatedReceiver, EarlySender, choose_late, correct};
pub(crate) use demand::{Draws, Use};
pub(crate) use ferret::Ferret;
pub(crate) use hash::{Hash, Series};
pub(crate) use line::Set;
pub(crate) use one_of_n::{Chooser, SentTables, Table, offer, offer_sums};
#[cfg(test)]
pub(crate) use pool::ReceivedCots;
pub(crate) use pool::{Pools, SentCots};
pub(crate) use random::Random;
pub(crate) use softspoken::SoftSpoken;
pub(crate) use vector::{VectorReceiver, Vectors};

use crate::{Domain, Role, Session};

/// The keys of one use of OTs, by direction. Both parties draw both, so that their nonces stay in
/// step: those of the OTs that this party sends, and of those that it receives.
fn fresh_keys(session: &mut Session, domain: Domain) -> ([u8; 32], [u8; 32]) {
    let by_server = session.fresh_key(domain);
    let by_client = session.fresh_key(domain);
    match session.role() {
        Role::Server => (by_server, by_client),
        Role::Client => (by_client, by_server),
    }
}

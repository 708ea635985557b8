//! What protocols are chosen for: the options that planning has in common.

use fusion::planner::PlannerOptions;
use protocols::ot::OtExtensions;
use protocols::plan::Protocols;
use protocols::profile::Profile;
use quant::search::SearchOptions;

/// Inferences of a session, unless told otherwise.
pub(crate) const INFERENCES: u64 = 1000;

/// The most inferences of a session.
pub(crate) const MAX_INFERENCES: u64 = 1_000_000_000;
/// The most images of one run: no memory holds more, and predicting them takes its time.
pub(crate) const MAX_BATCH: i64 = 1 << 16;

/// What protocols are chosen for.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct PurposeArgs {
    /// The connection to choose protocols for: lan (330 MB/s, 0.4 ms), wan (40 MB/s, 80 ms) or
    /// BYTES_PER_S,RTT_MS.
    #[arg(long, alias = "net", default_value = "lan")]
    link: Profile,
    /// Inferences of one session, over which set-up is spread in choosing protocols.
    #[arg(
        long,
        value_name = "N",
        default_value_t = INFERENCES,
        value_parser = clap::value_parser!(u64).range(1..=MAX_INFERENCES),
    )]
    inferences: u64,
    /// Where correlated OTs come from: softspoken:K with K of 1 to 8, or ferret [default:
    /// whatever is fastest].
    #[arg(long, value_name = "softspoken:K|ferret")]
    pub(crate) ot: Option<OtExtensions>,
    /// Protocols to choose from for linear layers: all, or ot for those that need no assumption
    /// on lattices.
    #[arg(long, value_name = "all|ot", default_value = "all")]
    pub(crate) protocols: Protocols,
    /// Images that will run together, over which rounds are spread in choosing protocols.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH),
    )]
    batch: u32,
}

impl PurposeArgs {
    /// The purpose, without a budget.
    pub(crate) fn purpose(&self) -> PlannerOptions {
        PlannerOptions {
            profile: self.link,
            inferences: self.inferences,
            batch: self.batch as usize,
            budget_bits: None,
            extensions: self.ot.unwrap_or_default(),
            protocols: self.protocols,
            lean: true,
        }
    }

    /// A search for plans of this purpose, without a goal.
    pub(crate) fn search(&self) -> SearchOptions {
        let purpose = self.purpose();
        SearchOptions {
            profile: purpose.profile,
            inferences: purpose.inferences,
            extensions: purpose.extensions,
            protocols: purpose.protocols,
            batch: purpose.batch,
            ..SearchOptions::default()
        }
    }
}

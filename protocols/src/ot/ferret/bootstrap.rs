//! The first transfers of a session.

use super::batch::{Ferret, Output, Public, Reserve};
use super::extend::message;
use super::pages::Pages;
use super::parameters::Parameters;
use crate::ot::pool::Pools;
use crate::ot::{Extend, Setup, TreeDepth};
use crate::{Cost, Error, Operator, Role, Session};

/// Sets Ferret up in both directions and draws each party's `Δ`. Once per session.
///
/// SoftSpoken makes the transfers of one batch of the smallest set; where another set is wanted, that batch makes the transfers that
/// it starts with.
///
/// **Cost:** that of SoftSpoken's set-up at depth 8, 15 bits a transfer for those of the first batch, and that batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The set to start.
    pub parameters: Parameters,
}

/// Depth of the trees of SoftSpoken: few transfers are made, so bytes count and work does not.
const DEPTH: TreeDepth = TreeDepth::MAX;

impl Bootstrap {
    const SETUP: Setup = Setup { depth: DEPTH };

    /// Whether the set is not the one that SoftSpoken starts.
    fn is_larger(&self) -> bool {
        self.parameters != Parameters::SMALLEST
    }

    /// Transfers of SoftSpoken, in each direction.
    fn first(&self) -> Extend {
        let set = self.parameters;
        let count = if self.is_larger() { set.bootstrap().used() } else { set.reserve() };
        Extend { depth: DEPTH, server: count, client: count }
    }
}

impl Operator for Bootstrap {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "Ferret bootstrap";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        let first = Self::SETUP.cost() + self.first().cost();
        if !self.is_larger() {
            return first;
        }
        let batch = self.parameters.bootstrap();
        first + message(Role::Server, &batch).beside(message(Role::Client, &batch))
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        session.run(&Self::SETUP, ()).await?;
        session.run(&self.first(), ()).await?;
        // SoftSpoken has done its part.
        session.extension = None;
        let (mut sent, mut received) = withdraw(session, self.first().server);
        if self.is_larger() {
            let batch = self.parameters.bootstrap();
            let (ours, theirs) = Public::fresh(session);
            let output = Output { pools: &mut session.pools, add: Pools::add_sent, wanted: batch.wanted };
            let message = sent.send(batch, &ours, output);
            let message = session.channel.exchange(&message).await?;
            let output = Output { pools: &mut session.pools, add: Pools::add_received, wanted: batch.wanted };
            received.receive(batch, &theirs, output, &message);
            (sent, received) = withdraw(session, batch.wanted);
        }
        session.ferret = Some(Ferret { parameters: self.parameters, sent, received });
        Ok(())
    }
}

/// All transfers of the pools, in which there are `count` in each direction.
fn withdraw(session: &mut Session, count: usize) -> (Reserve, Reserve) {
    let [sent, received] =
        session.pools.withdraw(count).expect("invariant: the pools hold what was just added");
    (Reserve(Pages::copy(&sent)), Reserve(Pages::copy(&received)))
}

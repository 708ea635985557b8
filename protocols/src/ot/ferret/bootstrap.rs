//! The first OTs of a session.

use super::batch::{Ferret, Output, Public, Reserve};
use super::extend::message;
use super::pages::Pages;
use super::parameters::Parameters;
use crate::ot::pool::Pools;
use crate::ot::{Extend, Setup, TreeDepth};
use crate::{Cost, Error, Operator, Role, Session};

/// Sets Ferret up in both directions and draws each party's `Δ`. Once per session.
///
/// SoftSpoken makes the OTs that a batch of the smallest set starts with; every further set starts
/// from a batch of a smaller one ([`Parameters`]).
///
/// **Cost:** that of SoftSpoken's set-up at depth 8, 15 bits an OT for those of the first batch,
/// and the batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The set to start.
    pub parameters: Parameters,
}

/// Depth of the trees of SoftSpoken: few OTs are made, so bytes count and work does not.
const DEPTH: TreeDepth = TreeDepth::MAX;

impl Bootstrap {
    const SETUP: Setup = Setup { depth: DEPTH };

    /// SoftSpoken's OTs, in each direction.
    const fn first(count: usize) -> Extend {
        Extend { depth: DEPTH, server: count, client: count }
    }
}

impl Operator for Bootstrap {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "Ferret bootstrap";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        let (count, batches) = self.parameters.bootstrap();
        let messages = batches
            .iter()
            .map(|batch| message(Role::Server, batch).beside(message(Role::Client, batch)))
            .sum::<Cost>();
        Self::SETUP.cost() + Self::first(count).cost() + messages
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        let (count, batches) = self.parameters.bootstrap();
        session.run(&Self::SETUP, ()).await?;
        session.run(&Self::first(count), ()).await?;
        // SoftSpoken has done its part.
        session.softspoken = None;
        let (mut sent, mut received) = withdraw(session, count);
        for batch in batches {
            let (ours, theirs) = Public::fresh(session);
            let pools = &mut session.pools;
            let output = Output { pools, add: Pools::add_sent, wanted: batch.wanted };
            let message = sent.send(batch, &ours, output, &mut Pages::none());
            let message = session.channel.exchange(&message).await?;
            let pools = &mut session.pools;
            let output = Output { pools, add: Pools::add_received, wanted: batch.wanted };
            received.receive(batch, &theirs, (output, &mut Pages::none()), &message);
            // What the batch gave is the reserve that the next one starts from; the old reserve is
            // wiped where it is dropped.
            (sent, received) = withdraw(session, batch.wanted);
        }
        let next = Pages::zeros(self.parameters.reserve());
        session.ferret = Some(Ferret { parameters: self.parameters, sent, received, next });
        Ok(())
    }
}

/// All OTs of the pools, in which there are `count` in each direction.
fn withdraw(session: &mut Session, count: usize) -> (Reserve, Reserve) {
    let [sent, received] =
        session.pools.withdraw(count).expect("invariant: the pools hold what was just added");
    (Reserve(Pages::copy(&sent)), Reserve(Pages::copy(&received)))
}

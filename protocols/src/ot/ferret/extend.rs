//! Extension of both pools.

use super::batch::{Output, Public};
use super::parameters::{Batch, Parameters};
use crate::ot::pool::Pools;
use crate::{Cost, Error, Operator, Role, Session};

/// Adds OTs to both pools. Runs after [`Bootstrap`](super::Bootstrap).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FerretExtend {
    /// The set that was set up.
    pub parameters: Parameters,
    /// OTs to add of which the server is the sender.
    pub server: usize,
    /// OTs to add of which the client is the sender.
    pub client: usize,
}

impl Operator for FerretExtend {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "Ferret";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        self.one_way(Role::Server, self.server).beside(self.one_way(Role::Client, self.client))
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        let found = session.ferret.take_if(|ferret| ferret.parameters == self.parameters);
        let Some(mut ferret) = found else {
            let expected = format!("parameter set {}", self.parameters);
            return Err(Error::invalid("reserve of Ferret", expected, "another, or none"));
        };
        let (sent, received) = match session.role() {
            Role::Server => (self.server, self.client),
            Role::Client => (self.client, self.server),
        };
        let (mut sent, mut received) =
            (self.parameters.batches(sent), self.parameters.batches(received));
        // No batch depends on anything that the peer sends in return: all messages are of one
        // round.
        let turn = session.channel.turn();
        loop {
            let (sent, received) = (sent.next(), received.next());
            if sent.is_none() && received.is_none() {
                break;
            }
            // Both parties draw in every turn, also where one direction has no batch left, so that
            // their keys stay the same.
            let (ours, theirs) = Public::fresh(session);
            if let Some(batch) = sent {
                let output = Output {
                    pools: &mut session.pools,
                    add: Pools::add_sent,
                    wanted: batch.wanted,
                };
                let message = ferret.sent.send(batch, &ours, output, &mut ferret.next);
                session.channel.send_in(turn, &message)?;
                session.channel.drained().await?;
            }
            if let Some(batch) = received {
                let message = session.channel.receive(batch.message_len()).await?;
                let output = Output {
                    pools: &mut session.pools,
                    add: Pools::add_received,
                    wanted: batch.wanted,
                };
                ferret.received.receive(batch, &theirs, (output, &mut ferret.next), &message);
            }
        }
        session.ferret = Some(ferret);
        Ok(())
    }
}

impl FerretExtend {
    /// Whole batches and the rest: all of one round.
    fn one_way(&self, sender: Role, demand: usize) -> Cost {
        let gain = self.parameters.gain(self.parameters.trees());
        let cost = self.messages(sender, gain) * (demand / gain) as u64
            + self.messages(sender, demand % gain);
        Cost { rounds: cost.rounds.min(1), ..cost }
    }

    /// The messages of all batches for a demand.
    fn messages(&self, sender: Role, demand: usize) -> Cost {
        self.parameters.batches(demand).map(|batch| message(sender, &batch)).sum()
    }
}

/// The one message of a batch whose OTs `sender` sends.
pub(super) const fn message(sender: Role, batch: &Batch) -> Cost {
    Cost::message(sender, batch.message_len())
}

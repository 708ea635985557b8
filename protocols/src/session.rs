//! A session: one party's end of a conversation, its generator, its pools, and the law that every
//! operator is held to.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::ot::{Ferret, Pools, SoftSpoken};
use crate::{Channel, Cost, Domain, Error, Operator, Role};

/// One party's end of a conversation.
pub struct Session {
    role: Role,
    pub(crate) channel: Channel,
    pub(crate) pools: Pools,
    pub(crate) softspoken: Option<SoftSpoken>,
    pub(crate) ferret: Option<Ferret>,
    rng: ChaCha20Rng,
    id: [u8; 32],
    nonce: u64,
}

impl Session {
    /// A session over a channel. `id` is public and the same at both parties, fresh for every
    /// session; `seed` is this party's own and secret: everything random comes from it.
    ///
    /// All that crosses the channel from here on is in the transcript that both parties compare.
    pub fn new(role: Role, mut channel: Channel, id: [u8; 32], seed: [u8; 32]) -> Self {
        channel.start_transcript(role, &id);
        let rng = ChaCha20Rng::from_seed(Domain::Session.derive(&seed, &[]));
        Self {
            role,
            channel,
            pools: Pools::default(),
            softspoken: None,
            ferret: None,
            rng,
            id,
            nonce: 0,
        }
    }

    /// Runs an operator, measures it, and holds it to its declared cost, in release builds too.
    ///
    /// # Errors
    /// Those of the operator, and [`Error::Ledger`] where it moved something else than it had
    /// declared.
    pub async fn run<O: Operator>(
        &mut self,
        operator: &O,
        input: O::Input,
    ) -> Result<O::Output, Error> {
        let before = self.begin();
        let output = operator.run(self, input).await?;
        // The price is asked for afterwards: running has checked the parameters.
        self.settle(O::NAME, before, operator.cost())?;
        Ok(output)
    }

    /// Runs a part that is not an operator on shares, such as set-up, under the same law.
    pub(crate) async fn hold<T>(
        &mut self,
        name: &'static str,
        predicted: Cost,
        part: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.begin();
        let output = part(self).await?;
        self.settle(name, before, predicted)?;
        Ok(output)
    }

    fn settle(
        &mut self,
        operator: &'static str,
        before: Cost,
        predicted: Cost,
    ) -> Result<(), Error> {
        let measured = self.measure(before);
        if measured == predicted {
            return Ok(());
        }
        // The rounds are what the depths in the peer's frames make of them: bytes and OTs are
        // counted here alone.
        if (Cost { rounds: predicted.rounds, ..measured }) == predicted {
            let unit = format!("messages one after the other in {operator}");
            let expected = format!("{} {unit}", predicted.rounds);
            let found = format!("{} {unit}", measured.rounds);
            return Err(self.channel.violation(expected, found));
        }
        Err(Error::Ledger { operator, predicted, measured })
    }

    /// Starts a part that is metered on its own.
    pub(crate) fn begin(&mut self) -> Cost {
        self.channel.begin_part();
        self.total()
    }

    /// What was moved since [`Session::begin`].
    pub(crate) fn measure(&mut self, before: Cost) -> Cost {
        self.channel.begin_part();
        let now = self.total();
        Cost {
            server_bytes: now.server_bytes - before.server_bytes,
            client_bytes: now.client_bytes - before.client_bytes,
            rounds: now.rounds - before.rounds,
            server_cots: now.server_cots - before.server_cots,
            client_cots: now.client_cots - before.client_cots,
        }
    }

    /// Which party this is: for what the parties do differently.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// This party's generator.
    pub(crate) const fn rng(&mut self) -> &mut impl Rng {
        &mut self.rng
    }

    /// A public key that both parties derive alike and that no other call of this session gets: a
    /// fresh nonce is bound into it.
    pub(crate) fn fresh_key(&mut self, domain: Domain) -> [u8; 32] {
        self.nonce += 1;
        domain.derive(&self.id, &[self.nonce])
    }

    /// A public key that both parties derive alike, of two numbers or more: [`fresh_key`] has one.
    ///
    /// [`fresh_key`]: Self::fresh_key
    pub(crate) fn derive(&self, domain: Domain, numbers: &[u64]) -> [u8; 32] {
        assert!(numbers.len() > 1, "invariant: single numbers are nonces");
        domain.derive(&self.id, numbers)
    }

    fn total(&self) -> Cost {
        let meter = self.channel.meter();
        let (server_bytes, client_bytes) = Channel::by_party(meter.sent, meter.received, self.role);
        let (server_cots, client_cots) = self.pools.consumed(self.role);
        Cost { server_bytes, client_bytes, rounds: meter.rounds, server_cots, client_cots }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{Cost, Domain, Error, Role, testing};

    #[test]
    fn a_peer_that_lies_about_depths_is_the_one_to_blame() {
        let there_and_back = Cost::message(Role::Client, 1).then(Cost::message(Role::Server, 1));
        let wrong = Cost::message(Role::Client, 2);
        let (lied, miscounted) = testing::runtime().block_on(async {
            let (mut server, mut client) = testing::sessions(1);
            let lie = async {
                let before = server.channel.turn();
                server.channel.receive(1).await.unwrap();
                // The answer, as if nothing had come before it.
                server.channel.send_in(before, &[2]).unwrap();
            };
            let part = client.hold("ping", there_and_back, async |session| {
                session.channel.send(&[1])?;
                session.channel.receive(1).await
            });
            let lied = tokio::join!(part, lie).0;
            (lied, client.hold("ping", wrong, async |session| session.channel.send(&[1])).await)
        });
        match lied {
            Err(Error::Violation { expected, found, .. }) => {
                assert!(
                    expected.starts_with("2 messages") && found.starts_with("1 messages"),
                    "{found}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(
            matches!(miscounted, Err(Error::Ledger { .. })),
            "bytes are counted here: {miscounted:?}"
        );
    }

    #[test]
    fn both_parties_derive_the_same_keys_and_none_twice() {
        let (mut server, mut client) = testing::sessions_with_dealer(1, 0);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            for domain in [Domain::Weights, Domain::MaskDigits, Domain::Tree, Domain::Random] {
                let key = server.fresh_key(domain);
                assert_eq!(key, client.fresh_key(domain));
                assert!(seen.insert(key), "a nonce is used once");
            }
        }
    }
}

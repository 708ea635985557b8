//! The pools of correlated transfers, one in each direction.
//!
//! In one correlated transfer the sender holds `K` and, for the whole session, `Δ` with `lsb(Δ) = 1`; the receiver holds
//! `M = K xor x Δ` with `x = lsb(M)`, so `lsb(K) = 0`: the choice needs no storage of its own. Each is used once.

use zeroize::Zeroize;

use crate::{BitString, Block, Error, Role, Session};

/// Correlated transfers of which this party is the sender.
pub(crate) struct SentCots {
    /// The correlation, of odd value.
    pub delta: Block,
    /// `K`, with `lsb(K) = 0`.
    pub keys: Vec<Block>,
}

/// Correlated transfers of which this party is the receiver.
pub(crate) struct ReceivedCots {
    /// `M = K xor x Δ`, with `x = lsb(M)`.
    pub keys: Vec<Block>,
}

impl ReceivedCots {
    /// The random choices `x`.
    pub(crate) fn choices(&self) -> BitString {
        choices(&self.keys)
    }
}

/// The random choices `x = lsb(M)`.
pub(super) fn choices(keys: &[Block]) -> BitString {
    let gather = |word, (i, key): (usize, &Block)| word | key.lsb() << i;
    let words = keys.chunks(64).map(|keys| keys.iter().enumerate().fold(0, gather));
    BitString::from_words(words.collect(), keys.len())
}

/// Both pools of one party.
#[derive(Default)]
pub(crate) struct Pools {
    delta: Block,
    sent: Stock,
    received: Stock,
}

impl Pools {
    /// The correlation of the transfers that this party sends.
    pub(crate) const fn set_delta(&mut self, delta: Block) {
        self.delta = delta;
    }

    /// Adds transfers of which this party is the sender.
    pub(crate) fn add_sent(&mut self, keys: Vec<Block>) {
        self.sent.put(keys);
    }

    /// Adds transfers of which this party is the receiver.
    pub(crate) fn add_received(&mut self, keys: Vec<Block>) {
        self.received.put(keys);
    }

    /// Transfers consumed so far, by sender, server's first.
    pub(crate) const fn consumed(&self, role: Role) -> (u64, u64) {
        match role {
            Role::Server => (self.sent.consumed, self.received.consumed),
            Role::Client => (self.received.consumed, self.sent.consumed),
        }
    }

    /// Transfers left, sent and received.
    pub(crate) const fn left(&self) -> (usize, usize) {
        (self.sent.left(), self.received.left())
    }
}

#[derive(Default)]
struct Stock {
    blocks: Vec<Block>,
    taken: usize,
    consumed: u64,
}

impl Stock {
    const fn left(&self) -> usize {
        self.blocks.len() - self.taken
    }

    fn put(&mut self, blocks: Vec<Block>) {
        if self.left() == 0 {
            self.blocks = blocks;
        } else {
            self.blocks.drain(..self.taken);
            self.blocks.extend(blocks);
        }
        self.taken = 0;
    }

    /// Lends the next `count` transfers, which the pool then forgets, or says how many are left.
    fn lend<T>(&mut self, count: usize, f: impl FnOnce(&[Block]) -> T) -> Result<T, usize> {
        if count > self.left() {
            return Err(self.left());
        }
        let lent = &mut self.blocks[self.taken..self.taken + count];
        let result = f(lent);
        lent.zeroize();
        self.taken += count;
        self.consumed += count as u64;
        if self.left() == 0 {
            self.blocks = Vec::new();
            self.taken = 0;
        }
        Ok(result)
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        self.blocks.zeroize();
    }
}

impl Session {
    /// Takes `count` transfers of which this party is the sender.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: transfers are used once.
    pub(crate) fn take_sent(&mut self, count: usize) -> Result<SentCots, Error> {
        self.with_sent(count, |delta, keys| SentCots { delta, keys: keys.to_vec() })
    }

    /// Takes `count` transfers of which this party is the receiver.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: transfers are used once.
    pub(crate) fn take_received(&mut self, count: usize) -> Result<ReceivedCots, Error> {
        self.with_received(count, |keys| ReceivedCots { keys: keys.to_vec() })
    }

    /// Uses `count` transfers of which this party is the sender, in place: of the correlation and the keys.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: transfers are used once.
    pub(crate) fn with_sent<T>(
        &mut self,
        count: usize,
        f: impl FnOnce(Block, &[Block]) -> T,
    ) -> Result<T, Error> {
        let delta = self.pools.delta;
        let lent = self.pools.sent.lend(count, |keys| f(delta, keys));
        lent.map_err(|left| self.dry(count, left))
    }

    /// Uses `count` transfers of which this party is the receiver, in place.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: transfers are used once.
    pub(crate) fn with_received<T>(
        &mut self,
        count: usize,
        f: impl FnOnce(&[Block]) -> T,
    ) -> Result<T, Error> {
        let lent = self.pools.received.lend(count, f);
        lent.map_err(|left| self.dry(count, left))
    }

    fn dry(&self, needed: usize, left: usize) -> Error {
        Error::PoolDry { step: self.channel.step().to_owned(), needed, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_transfer_is_used_once_and_a_dry_pool_is_an_error() {
        let (mut server, mut client) = testing::sessions_with_dealer(1, 10);
        let sent = server.take_sent(7).unwrap();
        let received = client.take_received(7).unwrap();
        for (k, m) in sent.keys.iter().zip(&received.keys) {
            assert_eq!(k.lsb(), 0);
            assert_eq!(*m, *k ^ sent.delta.masked(m.lsb()));
        }
        assert!(matches!(server.take_sent(4), Err(Error::PoolDry { needed: 4, left: 3, .. })));
        assert!(server.take_sent(3).unwrap().keys.iter().all(|key| !sent.keys.contains(key)));
    }
}

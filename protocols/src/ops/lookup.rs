//! Any function of a narrow value, by one table.
//!
//! *Functionality.* From shares of x in `Z_l`, l of 1 to 8 bits, to shares in `Z_m` of f(x), for a
//! public table f of 2^l entries: activations such as sigmoid, tanh or GELU of a requantized value,
//! a rescale by what is no power of two, a clip.
//!
//! *Identity.* With x = p + q, the entry at q of the table that is f rotated by p is f(x).
//!
//! *Steps.* A 1-of-2^l OT with the client's share as choice; the server rotates the table by
//! masks, bit by bit of its share, so that no secret is an index.
//!
//! *Narrow entries.* Where all entries lie within `lo` and `lo + 2^(n-1)` for an n below m, the
//! table is of `f(x) - lo` in `Z_n`, whose top bit is zero, and the result is extended to `Z_m`
//! ([`super::known_sign`]), if fewer bits move so.
//!
//! Cost: `l + (2^l - 1) m` bits and l correlated OTs that the server sends; 2 rounds. Of narrow
//! entries `l + (2^l - 1) n + 1 + (m - n)` bits and one OT more; 3 rounds.
//! Security: that of the OT.

use zeroize::Zeroize;

use super::known_sign::KnownSign;
use super::messages::Messages;
use super::{check_parameters, check_share};
use crate::ot::{Chooser, Demand, SentTables, Table, Use, offer_sums};
use crate::{Bits, Clear, Cost, Error, Operator, Role, Session, Share};

/// Elements whose tables are one message: a multiple of 64.
const BLOCK: usize = 1 << 10;

/// `table[x]`, for every element.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Number of elements.
    pub len: usize,
    /// Their ring, of 1 to 8 bits.
    pub ring: Bits,
    /// The ring of the result.
    pub out: Bits,
    /// The result of every element of the ring, from 0 on.
    pub table: Vec<u64>,
}

impl Lookup {
    /// What is wrong with the parameters, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.ring.get() > 8 {
            return Err(format!("a ring of 1 to 8 bits, found {}", self.ring));
        }
        if self.table.len() != 1 << self.ring.get() {
            return Err(format!("{} entries, found {}", 1 << self.ring.get(), self.table.len()));
        }
        Ok(())
    }

    /// The price, with a message that replaces the client's share by a mask or without.
    pub(crate) fn price(&self, reshare: bool) -> Cost {
        let mut messages = self.messages();
        if reshare {
            messages.send(Role::Client, self.out.packed_len(self.len));
        }
        messages.cost()
    }

    fn messages(&self) -> Messages {
        let (mut messages, table) = (Messages::default(), self.transfer());
        messages.draw(Role::Server, Use::OneOfN(table), self.len);
        messages.send(Role::Client, table.choices_len(self.len));
        self.blocks().for_each(|len| messages.send(Role::Server, table.entries_len(len)));
        self.extension().price(&mut messages);
        messages
    }

    fn transfer(&self) -> Table {
        Table::new(self.ring.get(), self.entries().1)
    }

    fn extension(&self) -> KnownSign {
        KnownSign { len: self.len, from: self.entries().1, to: self.out }
    }

    /// What is taken off every entry, and the ring that the table is of: the one of the fewest
    /// bits.
    fn entries(&self) -> (u64, Bits) {
        let entries = || self.table.iter().map(|entry| self.out.decode(*entry));
        let (low, high) = (entries().min().unwrap_or(0), entries().max().unwrap_or(0));
        let spread = high.wrapping_sub(low) as u64;
        // One bit more than they take: the extension wants a top bit of zero.
        let narrow = 1 + u64::BITS - spread.leading_zeros();
        let (all, out) = (self.table.len() as u32 - 1, self.out.get());
        if narrow < out && all * narrow + 1 + (out - narrow) < all * out {
            (low as u64, Bits::of(narrow))
        } else {
            (0, self.out)
        }
    }

    /// The server's half.
    async fn offer(&self, session: &mut Session, values: &[u64]) -> Result<Vec<u64>, Error> {
        let table = self.transfer();
        let tables = SentTables::draw(session, table, self.len)?;
        let choices = session.channel.receive(table.choices_len(self.len)).await?;
        let choices = self.ring.unpack(&choices, self.len);
        let mut result = Vec::with_capacity(self.len);
        let blocks = values.chunks(BLOCK).zip(choices.chunks(BLOCK));
        for (at, (values, choices)) in (0..).step_by(BLOCK).zip(blocks) {
            let (entries, choices) = (self.rotated(values), self.ring.pack(choices));
            let pads = tables.turned(at, values.len(), &choices);
            let (shares, message) = offer_sums(table, pads, &entries);
            session.channel.send(&message)?;
            session.channel.drained().await?;
            result.extend(shares);
        }
        Ok(result)
    }

    /// The client's half.
    async fn choose(&self, session: &mut Session, values: &[u64]) -> Result<Vec<u64>, Error> {
        let table = self.transfer();
        let chooser = Chooser::draw(session, table, self.len)?;
        session.channel.send(&chooser.choose(0, values))?;
        let mut result = Vec::with_capacity(self.len);
        for (at, values) in (0..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
            let message = session.channel.receive(table.entries_len(values.len())).await?;
            result.extend(chooser.finish(at, values, &message));
        }
        Ok(result)
    }

    /// Elements of each block.
    fn blocks(&self) -> impl Iterator<Item = usize> + use<> {
        let len = self.len;
        (0..len).step_by(BLOCK).map(move |at| BLOCK.min(len - at))
    }

    /// The table rotated by each of some secret values, one after the other.
    fn rotated(&self, values: &[u64]) -> Vec<u64> {
        let (n, (low, _)) = (self.table.len(), self.entries());
        let lowered: Vec<u64> = self.table.iter().map(|entry| entry.wrapping_sub(low)).collect();
        let mut all = Vec::with_capacity(values.len() * n);
        let (mut table, mut turned) = (vec![0; n], vec![0; n]);
        for value in values {
            table.copy_from_slice(&lowered);
            // After bit i, entry q is f of q plus the share's bits up to i, modulo the table's
            // length.
            for i in 0..self.ring.get() {
                let taken = ((value >> i) & 1).wrapping_neg();
                turned.copy_from_slice(&table);
                turned.rotate_left(1 << i);
                table
                    .iter_mut()
                    .zip(&turned)
                    .for_each(|(entry, turned)| *entry ^= taken & (*entry ^ turned));
            }
            all.extend_from_slice(&table);
        }
        table.zeroize();
        turned.zeroize();
        all
    }
}

impl Operator for Lookup {
    type Input = Share;
    type Output = Share;

    const NAME: &'static str = "lookup";

    fn ideal(&self, input: &Clear) -> Clear {
        Clear {
            ring: self.out,
            values: input.values.iter().map(|x| self.out.reduce(self.table[*x as usize])).collect(),
        }
    }

    fn cost(&self) -> Cost {
        self.messages().cost()
    }

    fn demands(&self) -> Vec<Demand> {
        self.messages().into_demands()
    }

    async fn run(&self, session: &mut Session, input: Share) -> Result<Share, Error> {
        check_parameters(Self::NAME, self.check(), self)?;
        check_share(Self::NAME, &input, self.ring, self.len)?;
        let values = input.into_values();
        let result = match session.role() {
            Role::Server => self.offer(session, &values).await?,
            Role::Client => self.choose(session, &values).await?,
        };
        let mut result = self.extension().run(session, result).await?;
        // Either party could add what is public.
        if session.role() == Role::Server {
            let (low, _) = self.entries();
            result.iter_mut().for_each(|value| *value = value.wrapping_add(low));
        }
        Ok(Share::new(self.out, result))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::testing;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_lookup_of_a_random_table_obeys_the_law(
            l in 1u32..=8,
            m in 1u32..=64,
            len in 0usize..80,
            seed: u64,
        ) {
            let (ring, mut rng) = (Bits::of(l), ChaCha20Rng::seed_from_u64(seed));
            let spread = rng.random_range(0..=64);
            let (low, mask) = (rng.random::<u64>(), u64::MAX.checked_shr(spread).unwrap_or(0));
            let table = (0..1 << l).map(|_| low.wrapping_add(rng.random::<u64>() & mask)).collect();
            let values = testing::extremes(ring, len, &mut rng);
            testing::law(
                &Lookup { len, ring, out: Bits::of(m), table },
                &Clear { ring, values },
                seed,
            );
        }
    }

    #[test]
    fn a_lookup_is_exact_for_all_values_and_shares_and_over_blocks() {
        let ring = Bits::of(4);
        let values: Vec<u64> = (0..2 * BLOCK as u64 + 256).map(|i| i % 16).collect();
        let table = (0..16).map(|x| x * x + 3).collect();
        let op = Lookup { len: values.len(), ring, out: Bits::of(9), table };
        testing::law(&op, &Clear { ring, values }, 4);
    }

    #[test]
    fn a_lookup_costs_its_table() {
        for l in 1..=8 {
            let (ring, out) = (Bits::of(l), Bits::of(14));
            let table = (0..1 << l).map(|x| (x % 2) << 13).collect();
            let cost = Lookup { len: 64, ring, out, table }.cost();
            assert_eq!(cost.bits() - 2 * 12 * 8, 64 * (u64::from(l) + ((1 << l) - 1) * 14));
            assert_eq!(
                (cost.server_cots, cost.client_cots, cost.rounds),
                (64 * u64::from(l), 0, 2)
            );
        }
    }

    #[test]
    fn narrow_entries_cost_their_own_bits_and_an_extension() {
        for l in 3..=8 {
            // From -3 to 4: three bits above the lowest, and a top bit of zero.
            let (ring, out) = (Bits::of(l), Bits::of(14));
            let table = (0..1 << l).map(|x| (x % 8u64).wrapping_sub(3)).collect();
            let cost = Lookup { len: 64, ring, out, table }.cost();
            let bits = u64::from(l) + ((1 << l) - 1) * 4 + 1 + 10;
            assert_eq!(cost.bits() - 4 * 12 * 8, 64 * bits);
            assert_eq!(cost.server_cots + cost.client_cots, 64 * (u64::from(l) + 1));
            assert_eq!(cost.rounds, 3);
        }
    }

    #[test]
    fn unusable_tables_are_errors() {
        let (ring, wide) = (Bits::of(3), Bits::of(9));
        for (ring, table) in [(ring, vec![0; 7]), (wide, vec![0; 512])] {
            let op = Lookup { len: 1, ring, out: ring, table };
            let run = async |session: &mut Session| {
                Ok(session.run(&op, Share::zeros(ring, 1)).await.is_err())
            };
            assert_eq!(testing::two_parties(0, 0, run, run), (true, true));
        }
    }
}

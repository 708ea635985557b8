//! Step 1 of the carry network: digits, and the OTs of their flags.
//!
//! All flags are functions of the digits' sum, so a table for the server's digit p is the table for
//! 0, of all sums, shifted down by p entries: shifted by masks, bit by bit of p.

use super::super::messages::{Incoming, Messages};
use crate::ot::{Chooser, Demand, SentTables, Table, Use, offer};
use crate::{BitString, Bits, Error, Role, Session};

/// Elements whose tables are one message: a multiple of 64, few enough to stay in a cache, and to
/// be under way while the next are computed.
const BLOCK: usize = 1 << 13;

/// Bits of the OT of some flags of a digit.
pub(super) const fn bits(width: u32, flags: u32) -> u32 {
    width + flags * ((1 << width) - 1)
}

/// What may be told of the sum s of two digits of w bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Flag {
    /// `g`: s >= 2^w, it carries.
    Carry,
    /// `t`: s = 2^w - 1, it propagates a carry on; and with one coming in, its digit is zero.
    Propagate,
    /// `z`: s = 0 mod 2^w, its digit is zero.
    Zero,
    /// s = 0.
    Nothing,
    /// s = 2^w.
    Full,
}

impl Flag {
    const fn of(self, sum: u64, n: u64) -> bool {
        match self {
            Self::Carry => sum >= n,
            Self::Propagate => sum == n - 1,
            Self::Zero => sum.is_multiple_of(n),
            Self::Nothing => sum == 0,
            Self::Full => sum == n,
        }
    }
}

/// One digit of both parties' values, and the flags that are bought.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Digit {
    pub at: u32,
    pub width: u32,
    pub flags: &'static [Flag],
}

impl Digit {
    fn table(self) -> Table {
        Table::new(self.width, Bits::of(self.flags.len() as u32))
    }

    fn values(self, values: &[u64]) -> Vec<u64> {
        values.iter().map(move |value| Bits::of(self.width).reduce(value >> self.at)).collect()
    }

    /// The flags of all sums, from the low bits on.
    fn sums(self) -> u128 {
        let n = 1u64 << self.width;
        // Entry s at bit `s f`, for all `2^(w+1) - 1` sums: at most 31 of 4 bits.
        let mut table = 0;
        for sum in 0..2 * n - 1 {
            for (i, flag) in self.flags.iter().enumerate() {
                table |= u128::from(flag.of(sum, n)) << (sum as usize * self.flags.len() + i);
            }
        }
        table
    }

    /// The tables of these values.
    fn tables(self, values: &[u64]) -> Vec<u64> {
        let (sums, f) = (self.sums(), self.flags.len());
        // Shifted down by p entries, entry q is that of the sum p + q. Entries beyond `2^w` are cut
        // off.
        let mask = Bits::of((f as u32) << self.width).mask();
        if ((2 << self.width) - 1) * f <= 64 {
            let mut tables = vec![sums as u64; values.len()];
            for i in 0..self.width {
                for (table, value) in tables.iter_mut().zip(values) {
                    let taken = ((value >> (self.at + i)) & 1).wrapping_neg();
                    *table ^= taken & (*table ^ *table >> (f << i));
                }
            }
            tables.iter_mut().for_each(|table| *table &= mask);
            return tables;
        }
        values
            .iter()
            .map(|value| {
                let mut table = sums;
                for i in 0..self.width {
                    let taken = u128::from((value >> (self.at + i)) & 1).wrapping_neg();
                    table ^= taken & (table ^ table >> (f << i));
                }
                table as u64 & mask
            })
            .collect()
    }
}

/// The OTs of some digits' flags: their public shape.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Leaves<'a> {
    pub len: usize,
    pub digits: &'a [Digit],
}

/// Choices that are made, which take the client's values alone. What is kept until the server's
/// values are known is pads, by digit.
pub(in crate::ops) enum Chosen {
    /// Where the client's choices want them.
    Server(Vec<SentTables>),
    Client(Vec<Chooser>),
}

impl Leaves<'_> {
    /// The client sends its choices; the server's values are not needed yet.
    pub(in crate::ops) async fn choose(
        self,
        session: &mut Session,
        values: &[u64],
    ) -> Result<Chosen, Error> {
        let tables = self.digits.iter().map(|digit| digit.table());
        if session.role() == Role::Server {
            let tables: Result<Vec<SentTables>, Error> =
                tables.map(|table| SentTables::draw(session, table, self.len)).collect();
            return Ok(Chosen::Server(self.hear(session, tables?).await?));
        }
        let choosers: Result<Vec<Chooser>, Error> =
            tables.map(|table| Chooser::draw(session, table, self.len)).collect();
        let choosers = choosers?;
        for (at, values) in (0..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
            let mut message = Vec::with_capacity(self.choices_len(values.len()));
            // A block's message has the choices of all digits, digit by digit, each from a whole
            // byte on.
            for (digit, chooser) in self.digits.iter().zip(&choosers) {
                message.extend(chooser.choose(at, &digit.values(values)));
            }
            session.channel.send(&message)?;
            session.channel.drained().await?;
        }
        Ok(Chosen::Client(choosers))
    }

    /// The server hears the choices.
    async fn hear(
        self,
        session: &mut Session,
        mut tables: Vec<SentTables>,
    ) -> Result<Vec<SentTables>, Error> {
        for (at, len) in (0..).step_by(BLOCK).zip(self.blocks()) {
            let message = session.channel.receive(self.choices_len(len)).await?;
            let mut incoming = Incoming::of(&message);
            for (digit, tables) in self.digits.iter().zip(&mut tables) {
                tables.turn(at, len, incoming.next(digit.table().choices_len(len)));
            }
        }
        Ok(tables)
    }

    /// The server sends its tables; shares of all flags, digit by digit.
    pub(in crate::ops) async fn respond(
        self,
        session: &mut Session,
        chosen: Chosen,
        values: &[u64],
    ) -> Result<Vec<BitString>, Error> {
        let flags = self.digits.iter().map(|digit| digit.flags.len()).sum();
        let mut planes: Vec<Vec<u64>> = vec![Vec::with_capacity(self.len.div_ceil(64)); flags];
        match chosen {
            Chosen::Server(tables) => self.offer(session, &tables, values, &mut planes).await?,
            Chosen::Client(own) => self.finish(session, &own, values, &mut planes).await?,
        }
        Ok(planes.into_iter().map(|words| BitString::from_words(words, self.len)).collect())
    }

    async fn offer(
        self,
        session: &mut Session,
        tables: &[SentTables],
        values: &[u64],
        planes: &mut [Vec<u64>],
    ) -> Result<(), Error> {
        for (at, values) in (0..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
            let mut planes = planes.iter_mut();
            let mut message = Vec::with_capacity(self.entries_len(values.len()));
            for (digit, tables) in self.digits.iter().zip(tables) {
                // Both parties now have shares of the digit's flags: the server keeps `s`, the
                // client takes `f(p + q) xor s` off its pad.
                let pads = tables.pads(at, values.len());
                let (shares, entries) = offer(digit.table(), pads, &digit.tables(values));
                message.extend(entries);
                extend(&mut planes, *digit, &shares);
            }
            session.channel.send(&message)?;
            session.channel.drained().await?;
        }
        Ok(())
    }

    async fn finish(
        self,
        session: &mut Session,
        choosers: &[Chooser],
        values: &[u64],
        planes: &mut [Vec<u64>],
    ) -> Result<(), Error> {
        for (at, values) in (0..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
            let message = session.channel.receive(self.entries_len(values.len())).await?;
            let (mut incoming, mut planes) = (Incoming::of(&message), planes.iter_mut());
            for (digit, chooser) in self.digits.iter().zip(choosers) {
                let entries = incoming.next(digit.table().entries_len(values.len()));
                extend(&mut planes, *digit, &chooser.finish(at, &digit.values(values), entries));
            }
        }
        Ok(())
    }

    /// The price of the choices.
    pub(in crate::ops) fn price_ask(self, messages: &mut Messages) {
        for demand in self.demands() {
            messages.draw(demand.sender, demand.used, demand.len);
        }
        self.blocks().for_each(|len| messages.send(Role::Client, self.choices_len(len)));
    }

    /// The price of the tables.
    pub(in crate::ops) fn price_answer(self, messages: &mut Messages) {
        self.blocks().for_each(|len| messages.send(Role::Server, self.entries_len(len)));
    }

    /// Bytes of [`Chosen`], at a party.
    pub(in crate::ops) fn chosen_bytes(self, role: Role) -> u64 {
        self.demands().map(|demand| demand.bytes(role)).sum()
    }

    /// What is drawn, digit by digit.
    fn demands(self) -> impl Iterator<Item = Demand> {
        let tables = self.digits.iter().map(|digit| Use::OneOfN(digit.table()));
        tables.map(move |used| Demand { sender: Role::Server, used, len: self.len })
    }

    /// Elements of each block.
    fn blocks(self) -> impl Iterator<Item = usize> {
        (0..self.len).step_by(BLOCK).map(move |at| BLOCK.min(self.len - at))
    }

    fn choices_len(self, len: usize) -> usize {
        self.digits.iter().map(|digit| digit.table().choices_len(len)).sum()
    }

    fn entries_len(self, len: usize) -> usize {
        self.digits.iter().map(|digit| digit.table().entries_len(len)).sum()
    }
}

/// The flags of the next elements of a digit, a multiple of 64 of them except at the end.
fn extend<'a>(planes: &mut impl Iterator<Item = &'a mut Vec<u64>>, digit: Digit, shares: &[u64]) {
    for (flag, words) in (0..digit.flags.len() as u32).zip(planes) {
        words.extend_from_slice(BitString::of_values(shares, flag).words());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    impl Chosen {
        /// Bytes that it holds.
        fn held(&self) -> u64 {
            let bytes: usize = match self {
                Self::Server(tables) => tables.iter().map(SentTables::held).sum(),
                Self::Client(choosers) => choosers.iter().map(Chooser::held).sum(),
            };
            bytes as u64
        }
    }

    #[test]
    fn choices_that_wait_take_a_few_bits_a_digit_and_not_their_transfers() {
        let carries = Digit { at: 0, width: 4, flags: &[Flag::Carry, Flag::Propagate] };
        let zeros = Digit { at: 4, width: 3, flags: &[Flag::Zero] };
        let (digits, len) = ([carries, zeros], 2 * BLOCK + 5);
        let leaves = Leaves { len, digits: &digits };
        let cots: usize = leaves.demands().map(Demand::cots).sum();
        let values: Vec<u64> = (0..len as u64).collect();
        let held = testing::two_parties(
            1,
            cots,
            async |session| Ok(leaves.choose(session, &[]).await?.held()),
            async |session| Ok(leaves.choose(session, &values).await?.held()),
        );
        let predicted = [Role::Server, Role::Client].map(|role| leaves.chosen_bytes(role));
        assert_eq!(held, predicted.into());
        let padded = len.next_multiple_of(64) as u64;
        assert_eq!(predicted, [padded * (32 + 8) / 8, padded * (6 + 4) / 8]);
        assert_eq!(cots, 7 * len, "of 16 bytes each");
    }

    #[test]
    fn tables_are_the_flags_of_sums() {
        const ALL: &[Flag] = &[Flag::Carry, Flag::Propagate, Flag::Zero, Flag::Full];
        for (width, count) in (1..=4).flat_map(|width| (1..=4).map(move |count| (width, count))) {
            let (digit, n) = (Digit { at: 3, width, flags: &ALL[..count] }, 1u64 << width);
            let values: Vec<u64> = (0..n).map(|p| p << 3 | 5).collect();
            for (p, table) in (0..n).zip(digit.tables(&values)) {
                for (q, (i, flag)) in
                    (0..n).flat_map(|q| (0..).zip(digit.flags).map(move |f| (q, f)))
                {
                    let entry = table >> (q as usize * count + i) & 1;
                    assert_eq!(entry, u64::from(flag.of(p + q, n)), "{width} {p} {q} {flag:?}");
                }
            }
        }
    }
}

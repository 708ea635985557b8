//! Step 1 of the carry network: digits, and the transfers of their flags.
//!
//! All flags are functions of the digits' sum, so a table for the server's digit p is the table for 0, of all sums,
//! shifted down by p entries: shifted by masks, bit by bit of p.

use super::super::turn::{Heard, Script};
use crate::ot::{Chooser, Directions, SentCots, Table, offer};
use crate::{BitString, Bits, Domain, Error, Role, Session};

/// Elements whose tables are one message: a multiple of 64, few enough to stay in a cache, and to be under way while
/// the next are computed.
const BLOCK: usize = 1 << 13;

/// Bits of the transfer of some flags of a digit.
pub(super) const fn bits(width: u32, flags: u32) -> u32 {
    width + flags * ((1 << width) - 1)
}

/// What may be asked of the sum s of two digits of w bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Flag {
    /// `g`: s >= 2^w, it carries.
    Carry,
    /// `t`: s = 2^w - 1, it passes a carry on; and with one coming in, its digit is zero.
    Pass,
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
            Self::Pass => sum == n - 1,
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
        let flags = |sum| {
            self.flags.iter().enumerate().fold(0, |bits, (i, flag)| bits | u128::from(flag.of(sum, n)) << i)
        };
        (0..2 * n - 1).fold(0, |table, sum| table | flags(sum) << (sum as usize * self.flags.len()))
    }

    /// The tables of these values.
    fn tables(self, values: &[u64]) -> Vec<u64> {
        let (sums, f) = (self.sums(), self.flags.len());
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
        let shifted = |value: &u64| {
            let mut table = sums;
            for i in 0..self.width {
                let taken = u128::from((value >> (self.at + i)) & 1).wrapping_neg();
                table ^= taken & (table ^ table >> (f << i));
            }
            table as u64 & mask
        };
        values.iter().map(shifted).collect()
    }
}

/// The transfers of some digits' flags: their public shape.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Leaves<'a> {
    pub len: usize,
    pub digits: &'a [Digit],
}

/// Choices that are made, which take the client's values alone.
pub(in crate::ops) struct Asked {
    key: [u8; 32],
    side: Side,
}

enum Side {
    /// The server's transfers, and the client's message, block by block.
    Server(SentCots, Vec<Vec<u8>>),
    /// By block and digit.
    Client(Vec<Chooser>),
}

impl Leaves<'_> {
    /// The client says its choices; the server's values are not needed yet.
    pub(in crate::ops) async fn ask(self, session: &mut Session, values: &[u64]) -> Result<Asked, Error> {
        let (sent, received) = Directions::fresh_keys(session, Domain::OneOfN);
        if session.role() == Role::Server {
            let mut messages = Vec::new();
            let cots = session.take_sent(self.cots())?;
            for len in self.blocks() {
                messages.push(session.channel.receive(self.choices_len(len)).await?);
            }
            return Ok(Asked { key: sent, side: Side::Server(cots, messages) });
        }
        let mut choosers = Vec::new();
        for values in values.chunks(BLOCK) {
            let mut message = Vec::with_capacity(self.choices_len(values.len()));
            for digit in self.digits {
                let (chooser, choices) =
                    Chooser::new(session, digit.table(), &received, &digit.values(values))?;
                message.extend(choices);
                choosers.push(chooser);
            }
            session.channel.send(&message)?;
            session.channel.drained().await?;
        }
        Ok(Asked { key: received, side: Side::Client(choosers) })
    }

    /// The server says its tables; shares of all flags, digit by digit.
    pub(in crate::ops) async fn answer(
        self,
        session: &mut Session,
        asked: Asked,
        values: &[u64],
    ) -> Result<Vec<BitString>, Error> {
        let flags = self.digits.iter().map(|digit| digit.flags.len()).sum();
        let mut planes: Vec<Vec<u64>> = vec![Vec::with_capacity(self.len.div_ceil(64)); flags];
        match asked.side {
            Side::Server(cots, messages) => {
                self.offer(session, &asked.key, cots, &messages, values, &mut planes).await?;
            }
            Side::Client(choosers) => self.finish(session, choosers, values, &mut planes).await?,
        }
        Ok(planes.into_iter().map(|words| BitString::from_words(words, self.len)).collect())
    }

    async fn offer(
        self,
        session: &mut Session,
        key: &[u8; 32],
        cots: SentCots,
        messages: &[Vec<u8>],
        values: &[u64],
        planes: &mut [Vec<u64>],
    ) -> Result<(), Error> {
        let mut keys = cots.keys.as_slice();
        for (values, choices) in values.chunks(BLOCK).zip(messages) {
            let (mut heard, mut planes) = (Heard::of(choices), planes.iter_mut());
            let mut message = Vec::with_capacity(self.entries_len(values.len()));
            for digit in self.digits {
                let table = digit.table();
                let (now, rest) = keys.split_at(table.cots(values.len()));
                keys = rest;
                let choices = heard.next(table.choices_len(values.len()));
                let (shares, entries) = offer(table, key, (*cots.delta, now), digit.tables(values), choices);
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
        choosers: Vec<Chooser>,
        values: &[u64],
        planes: &mut [Vec<u64>],
    ) -> Result<(), Error> {
        let mut choosers = choosers.into_iter();
        for values in values.chunks(BLOCK) {
            let message = session.channel.receive(self.entries_len(values.len())).await?;
            let (mut heard, mut planes) = (Heard::of(&message), planes.iter_mut());
            for (digit, chooser) in self.digits.iter().zip(&mut choosers) {
                let entries = heard.next(digit.table().entries_len(values.len()));
                extend(&mut planes, *digit, &chooser.finish(&digit.values(values), entries));
            }
        }
        Ok(())
    }

    /// The price of the choices.
    pub(in crate::ops) fn price_ask(self, script: &mut Script) {
        script.cots(Role::Server, self.cots());
        self.blocks().for_each(|len| script.say(Role::Client, self.choices_len(len)));
    }

    /// The price of the tables.
    pub(in crate::ops) fn price_answer(self, script: &mut Script) {
        self.blocks().for_each(|len| script.say(Role::Server, self.entries_len(len)));
    }

    fn cots(self) -> usize {
        self.digits.iter().map(|digit| digit.table().cots(self.len)).sum()
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

    #[test]
    fn tables_are_the_flags_of_sums() {
        const ALL: &[Flag] = &[Flag::Carry, Flag::Pass, Flag::Zero, Flag::Full];
        for (width, count) in (1..=4).flat_map(|width| (1..=4).map(move |count| (width, count))) {
            let (digit, n) = (Digit { at: 3, width, flags: &ALL[..count] }, 1u64 << width);
            let values: Vec<u64> = (0..n).map(|p| p << 3 | 5).collect();
            for (p, table) in (0..n).zip(digit.tables(&values)) {
                for (q, (i, flag)) in (0..n).flat_map(|q| (0..).zip(digit.flags).map(move |f| (q, f))) {
                    let entry = table >> (q as usize * count + i) & 1;
                    assert_eq!(entry, u64::from(flag.of(p + q, n)), "{width} {p} {q} {flag:?}");
                }
            }
        }
    }
}

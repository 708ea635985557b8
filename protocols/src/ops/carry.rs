//! The carry chain: carries of `p + q` over the digits of the server's value p and the client's value q.
//!
//! *Functionality.* From private p and q to shares of the carry out of every segment of their digits, and, for segments
//! that ask for it, of whether each digit of the sum is zero.
//!
//! *Identity.* With `g`: the digits' sum carries, `t`: it is all ones, `z`: it is zero mod 2^w,
//! `c' = g xor t c` (g and t exclude each other), and with carry c the digit of the sum is zero where `c ? t : z`, which is
//! `z xor c (t xor z)`. For digits of one bit t and z are local, and `c' = c xor (p xor c)(q xor c)`.
//!
//! *Steps.*
//! 1. for all digits at once, a 1-of-2^w transfer of the flags: the client's digits choose, the server's make the tables;
//!    only the flags that are used are bought: g in the first digit, (g, t) in others, (g, t, z) where zeros are wanted;
//! 2. digit by digit, one AND for c', with one more operand for the zero of a wider digit; meanwhile the zeros known so
//!    far are multiplied together, pair by pair.
//!
//! Cost: `w + (2^w - 1) f` bits a digit with f flags bought (none for later digits of one bit); an AND of 4 bits for each
//! digit but the first, of 6 where it also gives a zero; 4 bits for each zero after the first. 2 rounds, and 1 a digit.
//! Security: that of the transfers and ANDs; all that is seen are their masked messages.

use super::and::Products;
use super::turn::{Heard, Script, Turn};
use crate::ot::{Chooser, Directions, Table, offer};
use crate::{BitString, Bits, Domain, Error, Role, Session};

/// Widest digit: wider ones cost more in every respect.
pub(super) const MAX_DIGIT: u32 = 4;

/// Bits of the two values that are added up together.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// Lowest bit.
    pub at: u32,
    /// Number of bits.
    pub bits: u32,
    /// Whether to tell if the sum's digits are zero.
    pub zero: bool,
}

impl Segment {
    /// The segment's digits, the widest first; a carry comes into all but the `first` of the chain.
    fn digits(self, widest: u32, first: bool) -> impl Iterator<Item = Digit> {
        (0..self.bits.div_ceil(widest)).map(move |i| {
            let width = widest.min(self.bits - i * widest);
            let flags = match width {
                _ if first && i == 0 => 1,
                1 => 0,
                _ if self.zero => 3,
                _ => 2,
            };
            Digit { at: self.at + i * widest, width, flags, zero: self.zero }
        })
    }
}

#[derive(Clone, Copy)]
struct Digit {
    at: u32,
    width: u32,
    /// Flags that a transfer buys.
    flags: u32,
    zero: bool,
}

impl Digit {
    fn table(self) -> Option<Table> {
        (self.flags > 0).then(|| Table::new(self.width, Bits::of(self.flags)))
    }

    fn values(self, values: &[u64]) -> impl Iterator<Item = u64> {
        values.iter().map(move |value| Bits::of(self.width).reduce(value >> self.at))
    }

    /// The tables of all flags, one for each of the server's digits.
    fn flag_tables(self, table: Table) -> Vec<u64> {
        let n = 1 << self.width;
        let flag =
            |sum: u64| u64::from(sum >= n) | u64::from(sum == n - 1) << 1 | u64::from(sum % n == 0) << 2;
        let entry = |p, q| Bits::of(self.flags).reduce(flag(p + q)) << table.place(q as usize).1;
        (0..n).map(|p| (0..n).fold(0, |word, q| word | entry(p, q))).collect()
    }

    /// Step 1 at the server: its shares of the flags, and the message.
    fn offer(
        self,
        session: &mut Session,
        table: Table,
        key: &[u8; 32],
        values: &[u64],
        choices: &[u8],
    ) -> Result<(Vec<u64>, Vec<u8>), Error> {
        let by_digit = self.flag_tables(table);
        let select = |digit: u64| {
            let mut words = [0; 1 << MAX_DIGIT];
            words[..by_digit.len()].copy_from_slice(&by_digit);
            for i in 0..self.width {
                let mask = ((digit >> i) & 1).wrapping_neg();
                for j in 0..1 << (self.width - 1 - i) {
                    words[j] = words[2 * j] ^ mask & (words[2 * j] ^ words[2 * j + 1]);
                }
            }
            words[0]
        };
        let tables: Vec<u64> = self.values(values).map(select).collect();
        offer(session, table, key, &tables, choices)
    }

    fn link(self, values: &[u64], flags: Option<&[u64]>) -> Link {
        let Some(flags) = flags else {
            return Link::Bit { own: BitString::of_values(values, self.at), zero: self.zero };
        };
        let flag = |i| BitString::of_values(flags, i);
        match self.flags {
            1 => Link::First(flag(0)),
            bought => Link::Digit { carries: flag(0), passes: flag(1), zero: (bought == 3).then(|| flag(2)) },
        }
    }
}

/// What is known of a digit before its carry comes in.
pub(super) enum Link {
    /// The chain's first digit: its carry.
    First(BitString),
    /// A digit of one bit: this party's own.
    Bit { own: BitString, zero: bool },
    /// A wider digit: shares of its flags g, t and perhaps z.
    Digit { carries: BitString, passes: BitString, zero: Option<BitString> },
}

/// The chain over some segments: its public shape.
pub(super) struct Chain {
    len: usize,
    segments: Vec<Vec<Digit>>,
}

impl Chain {
    /// Segments follow one another; the first that is not empty starts the chain.
    pub(super) fn new(len: usize, widest: u32, segments: &[Segment]) -> Self {
        let mut first = true;
        let digits = |segment: &Segment| {
            let digits: Vec<_> = segment.digits(widest, first).collect();
            first &= digits.is_empty();
            digits
        };
        Self { len, segments: segments.iter().map(digits).collect() }
    }

    /// Step 1, for this party's values: the links of each segment.
    pub(super) async fn leaves(
        &self,
        session: &mut Session,
        values: &[u64],
    ) -> Result<Vec<Vec<Link>>, Error> {
        let keys = Directions::fresh_keys(session, Domain::OneOfN);
        let mut flags = match session.role() {
            Role::Server => self.offer_all(session, &keys.0, values).await?,
            Role::Client => self.choose_all(session, &keys.1, values).await?,
        }
        .into_iter();
        let link = |digit: &Digit| {
            let flags = digit.table().and_then(|_| flags.next());
            digit.link(values, flags.as_deref())
        };
        let mut link = link;
        Ok(self.segments.iter().map(|digits| digits.iter().map(&mut link).collect()).collect())
    }

    async fn offer_all(
        &self,
        session: &mut Session,
        key: &[u8; 32],
        values: &[u64],
    ) -> Result<Vec<Vec<u64>>, Error> {
        let (asked, _) = self.leaf_lens();
        let mut turn = Turn::default();
        turn.hear(asked);
        let mut heard = turn.exchange(session).await?;
        let (mut turn, mut flags) = (Turn::default(), Vec::new());
        for (digit, table) in self.tables() {
            let choices = heard.next(table.choices_len(self.len));
            let (share, message) = digit.offer(session, table, key, values, choices)?;
            turn.say(&message);
            flags.push(share);
        }
        turn.exchange(session).await?;
        Ok(flags)
    }

    async fn choose_all(
        &self,
        session: &mut Session,
        key: &[u8; 32],
        values: &[u64],
    ) -> Result<Vec<Vec<u64>>, Error> {
        let (mut turn, mut choosers) = (Turn::default(), Vec::new());
        for (digit, table) in self.tables() {
            let (chooser, message) = Chooser::new(session, table, key, digit.values(values).collect())?;
            turn.say(&message);
            choosers.push((table, chooser));
        }
        turn.exchange(session).await?;
        let mut turn = Turn::default();
        turn.hear(self.leaf_lens().1);
        let mut heard = turn.exchange(session).await?;
        let finish =
            |(table, chooser): (Table, Chooser)| chooser.finish(heard.next(table.entries_len(self.len)));
        Ok(choosers.into_iter().map(finish).collect())
    }

    fn tables(&self) -> impl Iterator<Item = (Digit, Table)> {
        self.segments.iter().flatten().filter_map(|digit| digit.table().map(|table| (*digit, table)))
    }

    /// Bytes of all choices and of all tables.
    fn leaf_lens(&self) -> (usize, usize) {
        self.tables().fold((0, 0), |(choices, entries), (_, table)| {
            (choices + table.choices_len(self.len), entries + table.entries_len(self.len))
        })
    }

    /// The price of step 1.
    pub(super) fn price_leaves(&self, script: &mut Script) {
        let (choices, entries) = self.leaf_lens();
        script.cots(Role::Server, self.tables().map(|(_, table)| table.cots(self.len)).sum());
        script.turn(0, choices);
        script.turn(entries, 0);
    }

    /// The price of walking a segment, with what else the parties say in the segment's first turn.
    pub(super) fn price_segment(
        &self,
        script: &mut Script,
        walk: &mut WalkPrice,
        index: usize,
        passenger: (usize, usize),
    ) {
        let mut passenger = passenger;
        for digit in self.segments[index].iter().filter(|digit| digit.flags != 1) {
            let of_bit = digit.zero && digit.width == 1;
            let of_digit = digit.zero && digit.width > 1;
            walk.factors += usize::from(of_bit);
            let bytes =
                Products::price(script, self.len, 1 + usize::from(of_digit)) + walk.fold(script, self.len);
            script.turn(bytes + passenger.0, bytes + passenger.1);
            walk.factors += usize::from(of_digit);
            passenger = (0, 0);
        }
    }
}

/// Step 2 under way.
#[derive(Default)]
pub(super) struct Walk {
    /// The carry out of the digits so far.
    pub carry: BitString,
    /// Zeros of digits, to be multiplied together.
    pub factors: Vec<BitString>,
}

impl Walk {
    /// Walks one link, in a turn that may already have a passenger; it takes what it hears first.
    pub(super) async fn step(
        &mut self,
        session: &mut Session,
        link: Link,
        mut turn: Turn,
        passenger: impl FnOnce(&mut Heard),
    ) -> Result<(), Error> {
        let server = session.role() == Role::Server;
        let (shared, others) = match &link {
            Link::First(carry) => {
                self.carry.clone_from(carry);
                return Ok(());
            }
            Link::Bit { own, zero } => {
                let with_own = own.xor(&self.carry);
                if *zero {
                    self.factors.push(if server { with_own.not() } else { with_own.clone() });
                }
                let carry = self.carry.clone();
                // the operands are p xor c and q xor c: each party adds its own bit to one of them
                if server { (with_own, vec![carry]) } else { (carry, vec![with_own]) }
            }
            Link::Digit { passes, zero, .. } => {
                let mut others = vec![passes.clone()];
                others.extend(zero.as_ref().map(|zero| zero.xor(passes)));
                (self.carry.clone(), others)
            }
        };
        let products = Products::open(session, &mut turn, shared, others)?;
        let folds = self.open_folds(session, &mut turn)?;
        let mut heard = turn.exchange(session).await?;
        passenger(&mut heard);
        let products = products.close(&mut heard);
        self.factors.extend(folds.into_iter().flat_map(|fold| fold.close(&mut heard)));
        self.advance(&link, &products);
        Ok(())
    }

    fn advance(&mut self, link: &Link, products: &[BitString]) {
        match link {
            Link::First(_) => {}
            Link::Bit { .. } => self.carry = self.carry.xor(&products[0]),
            Link::Digit { carries, zero, .. } => {
                self.carry = carries.xor(&products[0]);
                self.factors.extend(zero.as_ref().map(|zero| zero.xor(&products[1])));
            }
        }
    }

    /// The product of all factors.
    pub(super) async fn product(mut self, session: &mut Session) -> Result<BitString, Error> {
        while self.factors.len() > 1 {
            let mut turn = Turn::default();
            let folds = self.open_folds(session, &mut turn)?;
            let mut heard = turn.exchange(session).await?;
            self.factors.extend(folds.into_iter().flat_map(|fold| fold.close(&mut heard)));
        }
        Ok(self.factors.pop().unwrap_or_default())
    }

    /// Takes pairs of factors, and opens their products.
    fn open_folds(&mut self, session: &mut Session, turn: &mut Turn) -> Result<Vec<Products>, Error> {
        let mut folds = Vec::new();
        let odd = self.factors.len() % 2;
        let mut pairs = self.factors.split_off(odd).into_iter();
        while let (Some(left), Some(right)) = (pairs.next(), pairs.next()) {
            folds.push(Products::open(session, turn, left, vec![right])?);
        }
        Ok(folds)
    }
}

/// The price of a [`Walk`], as it goes.
#[derive(Default)]
pub(super) struct WalkPrice {
    /// Number of factors.
    pub factors: usize,
}

impl WalkPrice {
    /// One round of multiplying pairs: the bytes that each party says.
    fn fold(&mut self, script: &mut Script, len: usize) -> usize {
        let pairs = self.factors / 2;
        self.factors -= pairs;
        (0..pairs).map(|_| Products::price(script, len, 1)).sum()
    }

    /// The product of all factors.
    pub(super) fn product(mut self, script: &mut Script, len: usize) {
        while self.factors > 1 {
            let bytes = self.fold(script, len);
            script.turn(bytes, bytes);
        }
    }
}

/// The carry out of the low `bits` bits of both parties' values: one segment.
pub(super) async fn carry(
    session: &mut Session,
    values: &[u64],
    bits: u32,
    digit: u32,
) -> Result<BitString, Error> {
    let chain = Chain::new(values.len(), digit, &[Segment { at: 0, bits, zero: false }]);
    let mut walk = Walk::default();
    for link in chain.leaves(session, values).await?.into_iter().flatten() {
        walk.step(session, link, Turn::default(), |_| ()).await?;
    }
    Ok(walk.carry)
}

/// The price of [`carry`].
pub(super) fn price_carry(script: &mut Script, len: usize, bits: u32, digit: u32) {
    let chain = Chain::new(len, digit, &[Segment { at: 0, bits, zero: false }]);
    chain.price_leaves(script);
    chain.price_segment(script, &mut WalkPrice::default(), 0, (0, 0));
}

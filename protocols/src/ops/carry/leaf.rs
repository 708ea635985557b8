//! Step 1 of the carry chain: digits, and the transfers of their flags.

use super::super::turn::{Script, Turn};
use super::{MAX_DIGIT, Segment};
use crate::ot::{Chooser, Directions, Table, offer};
use crate::{BitString, Bits, Domain, Error, Role, Session};

/// Elements that are worked on together: a multiple of 64, few enough to stay in a cache.
const CHUNK: usize = 1 << 12;

/// What is asked of a digit pair.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first digit of a chain: whether it carries.
    First,
    /// A later digit: its carry, given the one that comes in, and perhaps whether the sum's digit is zero.
    Later { zero: bool },
    /// Whether the two digits are equal.
    Equality,
}

/// One digit of both parties' values.
#[derive(Clone, Copy)]
pub(super) struct Digit {
    pub at: u32,
    pub width: u32,
    pub kind: Kind,
}

impl Digit {
    /// Digits of at most `widest` bits, the widest first.
    fn cut(at: u32, bits: u32, widest: u32, kind: impl Fn(u32) -> Kind) -> Vec<Self> {
        let digit = |i| Self { at: at + i * widest, width: widest.min(bits - i * widest), kind: kind(i) };
        (0..bits.div_ceil(widest)).map(digit).collect()
    }

    /// Flags that a transfer buys.
    const fn flags(self) -> u32 {
        match self.kind {
            Kind::First => 1,
            Kind::Later { .. } | Kind::Equality if self.width == 1 => 0,
            Kind::Later { zero: true } => 3,
            Kind::Later { zero: false } => 2,
            Kind::Equality => 1,
        }
    }

    fn table(self) -> Option<Table> {
        Bits::new(self.flags()).map(|flags| Table::new(self.width, flags))
    }

    fn values(self, values: &[u64]) -> impl Iterator<Item = u64> {
        values.iter().map(move |value| Bits::of(self.width).reduce(value >> self.at))
    }

    /// The tables of all flags, one for each of the server's digits.
    fn flag_tables(self, table: Table) -> Vec<u64> {
        let n = 1 << self.width;
        let flag = |p, q| match self.kind {
            Kind::Equality => u64::from(p == q),
            Kind::First | Kind::Later { .. } => {
                u64::from(p + q >= n) | u64::from(p + q == n - 1) << 1 | u64::from((p + q) % n == 0) << 2
            }
        };
        let entry = |p, q| Bits::of(self.flags()).reduce(flag(p, q)) << table.place(q as usize).1;
        (0..n).map(|p| (0..n).fold(0, |word, q| word | entry(p, q))).collect()
    }

    /// The tables of these values: selected by masks alone.
    fn tables_of(self, table: Table, values: &[u64]) -> Vec<u64> {
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
        self.values(values).map(select).collect()
    }

    /// What is known of this digit, from what a transfer has bought.
    fn link(self, values: &[u64], flags: Option<Vec<BitString>>) -> Link {
        let Some(flags) = flags else {
            let zero = self.kind == Kind::Later { zero: true };
            return Link::Bit { own: BitString::of_values(values, self.at), zero };
        };
        let mut flags = flags.into_iter();
        let mut flag = || flags.next().unwrap_or_default();
        match self.kind {
            Kind::First | Kind::Equality => Link::Flag(flag()),
            Kind::Later { zero } => Link::Digit { carries: flag(), passes: flag(), zero: zero.then(flag) },
        }
    }
}

/// Shares of a digit's flags, flag by flag.
struct Planes(Vec<Vec<u64>>);

impl Planes {
    fn new(digit: Digit) -> Self {
        Self(vec![Vec::new(); digit.flags() as usize])
    }

    /// The flags of the next elements, a multiple of 64 of them except at the end.
    fn extend(&mut self, shares: &[u64]) {
        for (flag, words) in (0..).zip(&mut self.0) {
            words.extend_from_slice(BitString::of_values(shares, flag).words());
        }
    }

    fn finish(self, len: usize) -> Vec<BitString> {
        self.0.into_iter().map(|words| BitString::from_words(words, len)).collect()
    }
}

/// What is known of a digit before its carry comes in.
pub(in crate::ops) enum Link {
    /// Shares of the only flag: the carry of the first digit, or equality.
    Flag(BitString),
    /// A digit of one bit: this party's own.
    Bit { own: BitString, zero: bool },
    /// A wider digit: shares of its flags g, t and perhaps z.
    Digit { carries: BitString, passes: BitString, zero: Option<BitString> },
}

impl Link {
    /// This party's share of whether the digits are equal.
    pub(in crate::ops) fn equal(self, role: Role) -> BitString {
        match self {
            Self::Flag(equal) => equal,
            Self::Bit { own, .. } if role == Role::Server => own.not(),
            Self::Bit { own, .. } => own,
            Self::Digit { .. } => unreachable!("invariant: a test for equality buys one flag"),
        }
    }
}

/// The digits of some segments: their public shape.
pub(in crate::ops) struct Digits {
    pub(super) len: usize,
    pub(super) segments: Vec<Vec<Digit>>,
}

impl Digits {
    /// Of a chain over segments that follow one another; the first that is not empty starts it.
    pub(in crate::ops) fn chain(len: usize, widest: u32, segments: &[Segment]) -> Self {
        let mut first = true;
        let digits = |segment: &Segment| {
            let later = Kind::Later { zero: segment.zero };
            let kind = |i| if first && i == 0 { Kind::First } else { later };
            let digits = Digit::cut(segment.at, segment.bits, widest, kind);
            first &= digits.is_empty();
            digits
        };
        Self { len, segments: segments.iter().map(digits).collect() }
    }

    /// Of a test for equality: every link is [`Link::Flag`] or [`Link::Bit`].
    pub(in crate::ops) fn equality(len: usize, widest: u32, bits: u32) -> Self {
        Self { len, segments: vec![Digit::cut(0, bits, widest, |_| Kind::Equality)] }
    }

    /// Number of digits.
    pub(in crate::ops) fn count(&self) -> usize {
        self.segments.iter().map(Vec::len).sum()
    }

    /// The links of each segment, for this party's values.
    pub(in crate::ops) async fn leaves(
        &self,
        session: &mut Session,
        values: &[u64],
    ) -> Result<Vec<Vec<Link>>, Error> {
        let (sent, received) = Directions::fresh_keys(session, Domain::OneOfN);
        let flags = match session.role() {
            Role::Server => self.offer(session, &sent, values).await?,
            Role::Client => self.choose(session, &received, values).await?,
        };
        let mut flags = flags.into_iter();
        let mut link = |digit: &Digit| {
            let flags = digit.table().and_then(|_| flags.next());
            digit.link(values, flags)
        };
        Ok(self.segments.iter().map(|digits| digits.iter().map(&mut link).collect()).collect())
    }

    /// The server's half: hears all choices, says all tables.
    async fn offer(
        &self,
        session: &mut Session,
        key: &[u8; 32],
        values: &[u64],
    ) -> Result<Vec<Vec<BitString>>, Error> {
        let mut turn = Turn::default();
        turn.hear(self.leaf_lens().0);
        let mut heard = turn.exchange(session).await?;
        let (mut turn, mut flags) = (Turn::default(), Vec::new());
        for (digit, table) in self.tables() {
            let mut planes = Planes::new(digit);
            for values in values.chunks(CHUNK) {
                let choices = heard.next(table.choices_len(values.len()));
                let tables = digit.tables_of(table, values);
                let (share, message) = offer(session, table, key, tables, choices)?;
                turn.say(&message);
                planes.extend(&share);
            }
            flags.push(planes.finish(self.len));
        }
        turn.exchange(session).await?;
        Ok(flags)
    }

    /// The client's half: says all choices, hears all tables.
    async fn choose(
        &self,
        session: &mut Session,
        key: &[u8; 32],
        values: &[u64],
    ) -> Result<Vec<Vec<BitString>>, Error> {
        let (mut turn, mut choosers) = (Turn::default(), Vec::new());
        for (digit, table) in self.tables() {
            for values in values.chunks(CHUNK) {
                let choices: Vec<u64> = digit.values(values).collect();
                let (chooser, message) = Chooser::new(session, table, key, &choices)?;
                turn.say(&message);
                choosers.push(chooser);
            }
        }
        let mut choosers = choosers.into_iter();
        turn.exchange(session).await?;
        let mut turn = Turn::default();
        turn.hear(self.leaf_lens().1);
        let mut heard = turn.exchange(session).await?;
        let mut flags = Vec::new();
        for (digit, table) in self.tables() {
            let mut planes = Planes::new(digit);
            for (values, chooser) in values.chunks(CHUNK).zip(&mut choosers) {
                let choices: Vec<u64> = digit.values(values).collect();
                planes.extend(&chooser.finish(&choices, heard.next(table.entries_len(values.len()))));
            }
            flags.push(planes.finish(self.len));
        }
        Ok(flags)
    }

    /// The price of the leaves.
    pub(in crate::ops) fn price_leaves(&self, script: &mut Script) {
        let (choices, entries) = self.leaf_lens();
        script.cots(Role::Server, self.tables().map(|(_, table)| table.cots(self.len)).sum());
        script.turn(0, choices);
        script.turn(entries, 0);
    }

    /// Bytes of all choices and of all tables.
    fn leaf_lens(&self) -> (usize, usize) {
        self.tables().fold((0, 0), |(choices, entries), (_, table)| {
            (choices + table.choices_len(self.len), entries + table.entries_len(self.len))
        })
    }

    fn tables(&self) -> impl Iterator<Item = (Digit, Table)> {
        self.segments.iter().flatten().filter_map(|digit| digit.table().map(|table| (*digit, table)))
    }
}

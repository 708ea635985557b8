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

mod leaf;

use super::and::Products;
use super::turn::{Heard, Script, Turn};
use crate::{BitString, Error, Role, Session};
use leaf::Kind;
pub(super) use leaf::{Digits, Link};

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
            Link::Flag(carry) => {
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
        let products = Products::open(session, &mut turn, &shared, others)?;
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
            Link::Flag(_) => {}
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
            folds.push(Products::open(session, turn, &left, vec![right])?);
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
    /// A segment, with what else the parties say in its first turn.
    pub(super) fn segment(
        &mut self,
        script: &mut Script,
        digits: &Digits,
        index: usize,
        mut passenger: (usize, usize),
    ) {
        for digit in digits.segments[index].iter().filter(|digit| digit.kind != Kind::First) {
            let zero = digit.kind == Kind::Later { zero: true };
            let (of_bit, of_digit) = (zero && digit.width == 1, zero && digit.width > 1);
            self.factors += usize::from(of_bit);
            let carries = Products::price(script, digits.len, 1 + usize::from(of_digit));
            let bytes = carries + self.fold(script, digits.len);
            script.turn(bytes + passenger.0, bytes + passenger.1);
            self.factors += usize::from(of_digit);
            passenger = (0, 0);
        }
    }

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

/// The carry out of the low `bits` bits of both parties' values: one segment. No bits carry nothing.
pub(super) async fn carry(
    session: &mut Session,
    values: &[u64],
    bits: u32,
    digit: u32,
) -> Result<BitString, Error> {
    let digits = Digits::chain(values.len(), digit, &[Segment { at: 0, bits, zero: false }]);
    let mut walk = Walk { carry: BitString::zeros(values.len()), factors: Vec::new() };
    for link in digits.leaves(session, values).await?.into_iter().flatten() {
        walk.step(session, link, Turn::default(), |_| ()).await?;
    }
    Ok(walk.carry)
}

/// The price of [`carry`].
pub(super) fn price_carry(script: &mut Script, len: usize, bits: u32, digit: u32) {
    let digits = Digits::chain(len, digit, &[Segment { at: 0, bits, zero: false }]);
    digits.price_leaves(script);
    WalkPrice::default().segment(script, &digits, 0, (0, 0));
}

//! The pool of one direction: OTs as they come, what was ordered of them, and what is ready.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::demand::{Demand, Side, Use};
use super::pool::Stock;
use super::prepared::{Making, Pads};
use crate::{Block, Cost, Error, Role, Session};

/// OTs of one direction. What comes first serves what was ordered first; what is beyond all orders
/// goes into the stock.
#[derive(Default)]
pub(super) struct Line {
    pub(super) stock: Stock,
    orders: VecDeque<Order>,
    /// Pads that are made, in the order in which they will be drawn.
    ready: VecDeque<Pads>,
    /// Keys of pads that were given out.
    keys: u64,
    /// OTs whose pads nobody had ordered.
    #[cfg(test)]
    late: usize,
}

/// What OTs that are still to come will be.
enum Order {
    /// As many of the stock.
    Whole(usize),
    Pads(Box<Making>),
}

/// Pads that are set aside for one inference: sent, then received.
#[derive(Default)]
pub(crate) struct Set([VecDeque<Pads>; 2]);

impl Line {
    /// Takes a piece of OTs in, and gives it back where it was used up.
    pub(super) fn put(
        &mut self,
        delta: Block,
        piece: Zeroizing<Vec<Block>>,
    ) -> Option<Zeroizing<Vec<Block>>> {
        // Before each turn the first `at` OTs are used up, by orders that are done.
        let mut at = 0;
        while at < piece.len()
            && let Some(order) = self.orders.front_mut()
        {
            let rest = &piece[at..];
            let (used, done) = match order {
                Order::Whole(left) => {
                    let count = rest.len().min(*left);
                    *left -= count;
                    self.stock.put(Zeroizing::new(rest[..count].to_vec()));
                    (count, *left == 0)
                }
                Order::Pads(making) => (making.feed(delta, rest), making.is_done()),
            };
            at += used;
            if done && let Some(Order::Pads(making)) = self.orders.pop_front() {
                self.ready.push_back(making.finish(delta));
            }
        }
        if at == 0 {
            self.stock.put(piece);
            return None;
        }
        self.stock.put(Zeroizing::new(piece[at..].to_vec()));
        Some(piece)
    }

    /// Pieces of the stock that were emptied.
    pub(super) fn emptied(&mut self) -> Vec<Vec<Block>> {
        std::mem::take(&mut self.stock.emptied)
    }
}

impl Session {
    /// Orders pads of the OTs that are made next, as many as a cost consumes: those that no demand
    /// is for come first. Both parties order alike, at the same point of the conversation.
    pub(crate) fn order(&mut self, cost: Cost, demands: &[Demand]) {
        let role = self.role();
        for (sender, all) in [(Role::Server, cost.server_cots), (Role::Client, cost.client_cots)] {
            let demands = || demands.iter().filter(|demand| demand.sender == sender);
            let cots: usize = demands().map(|demand| demand.cots()).sum();
            let whole = (all as usize).checked_sub(cots);
            let whole = whole.expect("invariant: a cost has the OTs of its demands");
            let side = if sender == role { Side::Sent } else { Side::Received };
            // Layers take theirs while steps draw pads: what is taken as it is waits in the stock.
            if whole > 0 {
                self.pools.line(side).orders.push_back(Order::Whole(whole));
            }
            for demand in demands().filter(|demand| demand.len > 0) {
                let making = Making::new(*demand, role, self.pad_key(*demand));
                self.pools.line(side).orders.push_back(Order::Pads(Box::new(making)));
            }
        }
    }

    /// Draws the next OTs of a direction, for one use: what was ordered, or where nothing was, out
    /// of the stock.
    ///
    /// # Errors
    /// [`Error::PoolDry`]: OTs are used once. [`Error::Undeclared`] where something else was
    /// ordered.
    pub(super) fn draw(&mut self, sender: Role, used: Use, len: usize) -> Result<Pads, Error> {
        let demand = Demand { sender, used, len };
        if len == 0 {
            return Ok(Making::new(demand, self.role(), [0; 32]).finish(Block::ZERO));
        }
        let line = self.pools.line(demand.side(self.role()));
        let Some(pads) = line.ready.pop_front() else { return self.draw_late(demand) };
        if pads.demand() != demand {
            return Err(self.undeclared(Some(pads.demand()), Some(demand)));
        }
        self.pools.line(demand.side(self.role())).stock.consumed += demand.cots() as u64;
        Ok(pads)
    }

    /// Makes pads that nobody has ordered.
    fn draw_late(&mut self, demand: Demand) -> Result<Pads, Error> {
        let (side, delta, count) = (demand.side(self.role()), self.pools.delta(), demand.cots());
        let line = self.pools.line(side);
        let left = line.stock.left;
        // The stock behind orders that are still open is of later OTs than theirs.
        if count > left || !line.orders.is_empty() {
            return Err(self.dry(count, left));
        }
        let mut making = Making::new(demand, self.role(), self.pad_key(demand));
        let line = self.pools.line(side);
        line.stock.consume(count, |keys| {
            making.feed(delta, keys);
        });
        line.stock.consumed += count as u64;
        #[cfg(test)]
        {
            line.late += count;
        }
        self.pools.collect();
        Ok(making.finish(delta))
    }

    /// Takes pads out of those that are ready, for what will draw them later.
    pub(crate) fn set_aside(&mut self, demands: &[Demand]) -> Result<Set, Error> {
        let role = self.role();
        let mut set = Set::default();
        for demand in demands.iter().filter(|demand| demand.len > 0) {
            let side = demand.side(role);
            let pads = self.pools.line(side).ready.pop_front();
            match pads.filter(|pads| pads.demand() == *demand) {
                Some(pads) => set.0[side as usize].push_back(pads),
                None => return Err(self.undeclared(None, Some(*demand))),
            }
        }
        Ok(set)
    }

    /// Makes pads ready that were set aside.
    pub(crate) fn bring(&mut self, set: Set) -> Result<(), Error> {
        // Pads of another inference would be drawn in the place of these.
        self.settle_pads()?;
        let Set([sent, received]) = set;
        self.pools.line(Side::Sent).ready = sent;
        self.pools.line(Side::Received).ready = received;
        Ok(())
    }

    /// All pads that are ready have been drawn.
    ///
    /// # Errors
    /// [`Error::Undeclared`] where some have not.
    pub(crate) fn settle_pads(&mut self) -> Result<(), Error> {
        for side in [Side::Sent, Side::Received] {
            if let Some(pads) = self.pools.line(side).ready.front() {
                let demand = pads.demand();
                return Err(self.undeclared(Some(demand), None));
            }
        }
        Ok(())
    }

    /// OTs whose pads nobody had ordered.
    #[cfg(test)]
    pub(crate) fn late(&mut self) -> usize {
        [Side::Sent, Side::Received].map(|side| self.pools.line(side).late).iter().sum()
    }

    /// The key of some pads: of their direction, and of no others of the session.
    fn pad_key(&mut self, demand: Demand) -> [u8; 32] {
        let side = demand.side(self.role());
        let keys = &mut self.pools.line(side).keys;
        *keys += 1;
        let bound_to = [demand.sender as u64, *keys];
        self.derive(demand.used.domain(), &bound_to)
    }

    fn undeclared(&self, declared: Option<Demand>, drawn: Option<Demand>) -> Error {
        let text =
            |demand: Option<Demand>| demand.map_or("nothing".to_owned(), |it| format!("{it:?}"));
        let step = self.channel.step().to_owned();
        Error::Undeclared { step, declared: text(declared), drawn: text(drawn) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use zeroize::ZeroizeOnDrop;

    use super::*;
    use crate::ot::Table;
    use crate::{Bits, testing};

    fn used() -> impl Strategy<Value = Use> {
        prop_oneof![
            (1u32..=64).prop_map(Use::Random),
            Just(Use::Key),
            (1u32..=64).prop_map(|l| Use::Correlated(Bits::of(l))),
            (1u32..=8, 1u32..=64).prop_map(|(m, b)| Use::OneOfN(Table::new(m, Bits::of(b)))),
        ]
    }

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let demand = (any::<bool>(), used(), 0usize..150).prop_map(|(server, used, len)| {
            let sender = if server { Role::Server } else { Role::Client };
            Demand { sender, used, len }
        });
        prop::collection::vec(demand, 0..6)
    }

    fn cots(demands: &[Demand], sender: Role) -> usize {
        let of_sender = demands.iter().filter(|demand| demand.sender == sender);
        of_sender.map(|demand| demand.cots()).sum()
    }

    /// A party with what was ordered, whose OTs come in pieces of these lengths, over and over, and
    /// five more than are drawn.
    fn party(demands: &[Demand], pieces: &[usize]) -> Session {
        let (mut session, _) = testing::sessions_with_dealer(3, 0);
        session.pools.set_delta(Block(0x1234_5679));
        let count = |sender| cots(demands, sender) + 5;
        let (server_cots, client_cots) = (count(Role::Server) as u64, count(Role::Client) as u64);
        session.order(Cost { server_cots, client_cots, ..Cost::ZERO }, demands);
        for (side, sender) in [(Side::Sent, Role::Server), (Side::Received, Role::Client)] {
            let mut next = 0..count(sender) as u128;
            for &len in pieces.iter().cycle() {
                let piece: Vec<Block> = next.by_ref().take(len).map(|i| Block(i << 40)).collect();
                if piece.is_empty() {
                    break;
                }
                match side {
                    Side::Sent => session.pools.add_sent(piece.into()),
                    Side::Received => session.pools.add_received(piece.into()),
                }
            }
        }
        session
    }

    fn drawn(session: &mut Session, demands: &[Demand]) -> Vec<Vec<u8>> {
        let pads = demands.iter().map(|it| session.draw(it.sender, it.used, it.len).unwrap());
        let rows = pads.map(|pads| pads.rows().flatten().copied().collect()).collect();
        session.settle_pads().unwrap();
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn pads_are_the_same_in_whatever_pieces_their_transfers_come(
            demands in demands(),
            pieces in prop::collection::vec(1usize..700, 1..5),
        ) {
            let mut whole = party(&demands, &[usize::MAX]);
            let mut cut = party(&demands, &pieces);
            prop_assert!(drawn(&mut whole, &demands) == drawn(&mut cut, &demands));
            let expected =
                [Role::Server, Role::Client].map(|sender| cots(&demands, sender) as u64);
            prop_assert_eq!(cut.pools.consumed(Role::Server), expected.into());
            prop_assert_eq!((cut.pools.left(), cut.late()), ((5, 5), 0));
        }
    }

    #[test]
    fn what_was_not_declared_is_an_error_and_never_a_draw() {
        let of = |used, len| Demand { sender: Role::Server, used, len };
        let (two, three) = (of(Use::Random(2), 9), of(Use::Random(3), 9));
        let mut session = party(&[two, three], &[100]);
        let swapped = session.draw(three.sender, three.used, three.len);
        assert!(matches!(swapped, Err(Error::Undeclared { .. })));
        for (aside, fine) in [(&[two, three][..], true), (&[two][..], false)] {
            let mut session = party(&[two, three], &[100]);
            let set = session.set_aside(aside).unwrap();
            assert_eq!(session.settle_pads().is_ok(), fine);
            assert_eq!(session.bring(set).is_ok(), fine, "nothing is left behind");
        }
        let mut session = party(&[two], &[100]);
        assert!(matches!(session.set_aside(&[three]), Err(Error::Undeclared { .. })));
        // What is still to come is not made of other OTs.
        let mut session = party(&[], &[100]);
        session.order(Cost { server_cots: 9, ..Cost::ZERO }, &[two]);
        let early = session.draw(two.sender, two.used, two.len);
        assert!(matches!(early, Err(Error::PoolDry { needed: 9, left: 5, .. })));
    }

    #[test]
    fn both_parties_derive_the_same_keys_for_pads_and_none_twice() {
        let (mut server, mut client) = testing::sessions_with_dealer(1, 0);
        let mut seen = HashSet::new();
        for _ in 0..50 {
            for used in [Use::Random(1), Use::Correlated(Bits::ONE)] {
                for sender in [Role::Client, Role::Server] {
                    let demand = Demand { sender, used, len: 1 };
                    let key = server.pad_key(demand);
                    assert_eq!(key, client.pad_key(demand));
                    assert!(seen.insert(key) && !seen.contains(&server.fresh_key(used.domain())));
                    client.fresh_key(used.domain());
                }
            }
        }
    }

    #[test]
    fn pads_are_wiped_where_they_are_dropped() {
        fn wiped(_: &impl ZeroizeOnDrop) {}
        let demand = Demand { sender: Role::Server, used: Use::Random(1), len: 1 };
        wiped(Making::new(demand, Role::Server, [0; 32]).secrets().0);
        wiped(Making::new(demand, Role::Server, [0; 32]).secrets().1);
    }
}

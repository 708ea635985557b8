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
        let mut at = 0;
        while at < piece.len()
            && let Some(order) = self.orders.front_mut()
        {
            let rest = &piece[at..];
            let done = match order {
                Order::Whole(left) => {
                    let count = rest.len().min(*left);
                    *left -= count;
                    let done = *left == 0;
                    self.stock.put(Zeroizing::new(rest[..count].to_vec()));
                    at += count;
                    done
                }
                Order::Pads(making) => {
                    at += making.feed(delta, rest);
                    making.is_done()
                }
            };
            if done && let Some(Order::Pads(making)) = self.orders.pop_front() {
                self.ready.push_back(making.finish(delta));
            }
        }
        if at == 0 {
            self.stock.put(piece);
            return None;
        }
        if at < piece.len() {
            self.stock.put(Zeroizing::new(piece[at..].to_vec()));
        }
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
        let (role, delta) = (self.role(), self.pools.delta());
        let side = demand.side(role);
        if len == 0 {
            return Ok(Making::new(demand, role, [0; 32]).finish(delta));
        }
        let line = self.pools.line(side);
        if let Some(pads) = line.ready.pop_front() {
            if pads.demand() != demand {
                return Err(self.undeclared(Some(pads.demand()), Some(demand)));
            }
            line.stock.consumed += demand.cots() as u64;
            return Ok(pads);
        }
        let (left, count) = (line.stock.left, demand.cots());
        if count > left || !line.orders.is_empty() {
            return Err(self.dry(count, left));
        }
        let mut making = Making::new(demand, role, self.pad_key(demand));
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

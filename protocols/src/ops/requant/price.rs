//! The price of a requantization, and the depths that are worth their messages.

use super::super::b2a::B2a;
use super::super::carry::Network;
use super::super::messages::Messages;
use super::super::mux::Selection;
use super::Requant;
use crate::ot::Draws;
use crate::{Phases, Role};

impl Requant {
    /// The depths worth taking, the least first: those at which fewer bits move than with fewer,
    /// in steps of two, since two levels of ANDs take as many messages as one.
    pub(crate) fn useful_depths(&self) -> Vec<u32> {
        let mut useful: Vec<(u32, u32)> = Vec::new();
        let least = self.within(Self::MAX_AND_DEPTH).network().circuit.bits();
        let first = self.within(0).network().circuit.depth() as u32;
        for and_depth in (first.next_multiple_of(2)..=Self::MAX_AND_DEPTH).step_by(2) {
            let bits = self.within(and_depth).network().circuit.bits();
            if useful.last().is_none_or(|(_, fewest)| bits < *fewest) {
                useful.push((and_depth, bits));
            }
            if bits == least {
                break;
            }
        }
        useful.into_iter().map(|(and_depth, _)| and_depth).collect()
    }

    /// The same within another AND depth.
    const fn within(&self, and_depth: u32) -> Self {
        Self { and_depth, ..*self }
    }

    /// The messages before and from the input on, where the client's share is known before or not,
    /// and with a message that replaces it by a mask or without.
    fn messages(&self, known: bool, reshare: bool) -> [Messages; 2] {
        let network = self.network();
        let mut messages @ [_, _] = <[Messages; 2]>::default();
        network.circuit.leaves(self.len).price_ask(&mut messages[usize::from(!known)]);
        let [_, online] = &mut messages;
        self.price_answer(&network, online);
        if reshare {
            online.send(Role::Client, self.out.packed_len(self.len));
        }
        messages
    }

    /// The price of both parts.
    pub(crate) fn phases(&self, known: bool, reshare: bool) -> Phases {
        let [offline, online] = self.messages(known, reshare);
        Phases { offline: offline.cost(), online: online.cost(), ..Phases::default() }
    }

    /// What both parts draw.
    pub(crate) fn draws(&self, known: bool) -> Draws {
        let [offline, online] = self.messages(known, false).map(Messages::into_demands);
        Draws { offline, online }
    }

    fn price_answer(&self, network: &Network, messages: &mut Messages) {
        let circuit = &network.circuit;
        circuit.leaves(self.len).price_answer(messages);
        for level in 1..=circuit.depth() {
            circuit.price_level(messages, self.len, level);
            if network.lifts_after(level) {
                let (choices, _) = B2a::price(messages, Role::Client, self.inner(), self.len);
                messages.send(Role::Client, choices);
            }
        }
        let (chosen, responded) = self.price_selection(messages);
        messages.send(Role::Server, chosen);
        messages.send(Role::Client, responded);
        self.extension().price(messages);
    }

    /// Adds the OTs of step 4; the bytes that the server sends to choose, with the corrections of
    /// c1, and that the client responds with.
    pub(super) fn price_selection(&self, messages: &mut Messages) -> (usize, usize) {
        let (len, inner) = (self.len, self.inner());
        let (mut chosen, mut responded) = Selection::price(messages, inner, len);
        if self.shift > 0 {
            chosen += B2a::price(&mut Messages::default(), Role::Client, inner, len).1;
        }
        let saturated = (self.saturating() > 0).then_some(inner);
        for ring in saturated.into_iter().chain(self.wrap_ring()) {
            let (choices, corrections) = B2a::price(messages, Role::Server, ring, len);
            chosen += choices;
            responded += corrections;
        }
        (chosen, responded)
    }
}

//! The price of a requantization, and the depths that are worth their messages.

use super::super::b2a::Lift;
use super::super::carry::Network;
use super::super::mux::Selection;
use super::super::turn::Script;
use super::Requant;
use crate::{Bits, Phases, Role};

impl Requant {
    /// The levels worth taking, the fewest first: those at which fewer bits move than with fewer,
    /// in steps of two, since two levels take as many messages as one.
    pub(crate) fn useful_levels(&self) -> Vec<u32> {
        let circuit = |levels| Self { levels, ..*self }.network().circuit;
        let mut useful: Vec<(u32, u32)> = Vec::new();
        let least = circuit(Self::MAX_LEVELS).bits();
        let first = (circuit(0).depth() as u32).next_multiple_of(2);
        for levels in (first..=Self::MAX_LEVELS).step_by(2) {
            let bits = circuit(levels).bits();
            if useful.last().is_none_or(|(_, fewest)| bits < *fewest) {
                useful.push((levels, bits));
            }
            if bits == least {
                break;
            }
        }
        useful.into_iter().map(|(levels, _)| levels).collect()
    }

    /// The price before and from the input on, where the client's share is known before or not, and
    /// with a message that replaces it by a mask or without.
    pub(crate) fn phases(&self, known: bool, reshare: bool) -> Phases {
        let network = self.network();
        let (mut offline, mut online) = (Script::default(), Script::default());
        network.circuit.leaves(self.len).price_ask(if known { &mut offline } else { &mut online });
        self.price_answer(&network, &mut online);
        if reshare {
            online.say(Role::Client, self.out.packed_len(self.len));
        }
        Phases { offline: offline.cost(), online: online.cost(), ..Phases::default() }
    }

    fn price_answer(&self, network: &Network, script: &mut Script) {
        let circuit = &network.circuit;
        circuit.leaves(self.len).price_answer(script);
        for level in 1..=circuit.depth() {
            circuit.price_level(script, self.len, level);
            if network.lifts_after(level) {
                script.say(Role::Client, Bits::ONE.packed_len(self.len));
            }
        }
        let (asked, replied) = self.price_selection(script);
        script.say(Role::Server, asked);
        script.say(Role::Client, replied);
        self.extension().price(script);
    }

    /// Adds the transfers of step 4, and that of c1; the bytes that the server asks and that the
    /// client replies.
    pub(super) fn price_selection(&self, script: &mut Script) -> (usize, usize) {
        let (len, inner) = (self.len, self.inner());
        let (mut asked, mut replied) = Selection::price(script, inner, len);
        if self.shift > 0 {
            asked += Lift::price(script, Role::Client, inner, len).1;
        }
        let saturated = (self.saturating() > 0).then_some(inner);
        for ring in saturated.into_iter().chain(self.wrap_ring()) {
            let (choices, corrections) = Lift::price(script, Role::Server, ring, len);
            asked += choices;
            replied += corrections;
        }
        (asked, replied)
    }
}

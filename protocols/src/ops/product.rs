//! A bit of one party times a ring element of the other: a correlated transfer, in two turns that others may share.

use super::turn::{Heard, Script, Turn};
use crate::ot::{CorrelatedReceiver, CorrelatedSender, Directions};
use crate::{BitString, Bits, Domain, Error, Role, Session};

/// Products under way; [`BitProduct::ask`] and [`BitProduct::asked`] surround one turn, [`BitProduct::answer`] and
/// [`BitProduct::answered`] a later one.
pub(super) struct BitProduct {
    ring: Bits,
    len: usize,
    side: Side,
}

enum Side {
    Chooser(CorrelatedReceiver),
    /// The transfers, and the choices once they are heard.
    Sender(Box<CorrelatedSender>, Vec<u8>),
    /// The sender's shares, once it has answered.
    Answered(Vec<u64>),
}

impl BitProduct {
    /// Products in `ring` of the bits of `chooser` (elsewhere, `bits` gives the length alone).
    pub(super) fn ask(
        session: &mut Session,
        turn: &mut Turn,
        chooser: Role,
        ring: Bits,
        bits: &BitString,
    ) -> Result<Self, Error> {
        let hashes = Directions::fresh(session, Domain::Correlated);
        let len = bits.len();
        let side = if session.role() == chooser {
            let (receiver, choices) = CorrelatedReceiver::new(session, &hashes.received, bits.clone())?;
            turn.say(&choices);
            Side::Chooser(receiver)
        } else {
            turn.hear(Bits::ONE.packed_len(len));
            Side::Sender(Box::new(CorrelatedSender::new(session, hashes.sent, len)?), Vec::new())
        };
        Ok(Self { ring, len, side })
    }

    /// Takes the choices out of what was heard.
    pub(super) fn asked(&mut self, heard: &mut Heard) {
        if let Side::Sender(_, choices) = &mut self.side {
            *choices = heard.next(Bits::ONE.packed_len(self.len)).to_vec();
        }
    }

    /// Answers with the sender's ring elements (the chooser's are ignored).
    pub(super) fn answer(&mut self, turn: &mut Turn, correlations: &[u64]) {
        self.side = match std::mem::replace(&mut self.side, Side::Answered(Vec::new())) {
            Side::Sender(sender, choices) => {
                let (share, corrections) = sender.correct(self.ring, correlations, &choices);
                turn.say(&corrections);
                Side::Answered(share)
            }
            side @ (Side::Chooser(_) | Side::Answered(_)) => {
                turn.hear(self.ring.packed_len(self.len));
                side
            }
        };
    }

    /// This party's share of the products.
    pub(super) fn answered(self, heard: &mut Heard) -> Vec<u64> {
        match self.side {
            Side::Chooser(receiver) => receiver.finish(self.ring, heard.next(self.ring.packed_len(self.len))),
            Side::Sender(..) => unreachable!("invariant: products are answered before they are used"),
            Side::Answered(share) => share,
        }
    }

    /// Adds the transfers to the script; the bytes of the choices and of the corrections.
    pub(super) const fn price(script: &mut Script, chooser: Role, ring: Bits, len: usize) -> (usize, usize) {
        script.cots(chooser.peer(), len);
        (Bits::ONE.packed_len(len), ring.packed_len(len))
    }
}

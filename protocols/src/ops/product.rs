//! A bit of one party times a ring element of the other: a correlated OT in two messages,
//! which others may share.

use super::messages::{Incoming, Messages};
use crate::ot::{CorrelatedReceiver, EarlySender, Use, choose_late, correct};
use crate::{BitString, Bits, Error, Role, Session};

/// The speaker's message; what the other party hears of it, and nothing at the speaker.
pub(crate) async fn pass(
    session: &mut Session,
    speaker: Role,
    outgoing: &[u8],
    len: usize,
) -> Result<Vec<u8>, Error> {
    if session.role() != speaker {
        return session.channel.receive(len).await;
    }
    debug_assert_eq!(outgoing.len(), len);
    session.channel.send(outgoing)?;
    Ok(Vec::new())
}

/// Products under way: the chooser chooses, the other responds.
pub(crate) struct BitProduct {
    ring: Bits,
    len: usize,
    side: Side,
}

enum Side {
    Chooser(CorrelatedReceiver),
    Sender(Vec<u64>),
}

impl BitProduct {
    /// Products in `ring` of the bits of `chooser`, who sends its choices (elsewhere, `bits` gives
    /// the length alone).
    pub(crate) fn choose(
        session: &mut Session,
        chooser: Role,
        ring: Bits,
        bits: &BitString,
        outgoing: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let len = bits.len();
        if session.role() != chooser {
            return Ok(Self { ring, len, side: Side::Sender(Vec::new()) });
        }
        let (receiver, choices) = CorrelatedReceiver::new(session, ring, bits.clone())?;
        outgoing.extend(choices);
        Ok(Self { ring, len, side: Side::Chooser(receiver) })
    }

    /// The other party receives the choices, and sends the corrections for its ring elements.
    /// Nothing at the chooser.
    pub(crate) fn respond(
        &mut self,
        session: &mut Session,
        correlations: &[u64],
        incoming: &mut Incoming<'_>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Side::Sender(share) = &mut self.side {
            let choices = incoming.next(Bits::ONE.packed_len(self.len));
            let (own, corrections) = correct(session, self.ring, correlations, choices)?;
            *share = own;
            outgoing.extend(corrections);
        }
        Ok(())
    }

    /// This party's share of the products; the chooser hears the corrections.
    pub(crate) fn finish(self, incoming: &mut Incoming<'_>) -> Vec<u64> {
        match self.side {
            Side::Chooser(receiver) => {
                receiver.finish(self.ring, incoming.next(self.ring.packed_len(self.len)))
            }
            Side::Sender(share) => share,
        }
    }

    /// Adds the OTs to the messages; the bytes of the choices and of the corrections.
    pub(crate) fn price(
        messages: &mut Messages,
        chooser: Role,
        ring: Bits,
        len: usize,
    ) -> (usize, usize) {
        messages.draw(chooser.peer(), Use::Correlated(ring), len);
        (Bits::ONE.packed_len(len), ring.packed_len(len))
    }
}

/// Products under way whose corrections come before the choices.
pub(super) struct LateProduct {
    ring: Bits,
    len: usize,
    side: LateSide,
}

enum LateSide {
    Sender(EarlySender),
    Chooser(Vec<u64>),
}

impl LateProduct {
    /// Products in `ring` of `len` bits with the elements of `sender`, who sends the corrections.
    pub(super) fn correct(
        session: &mut Session,
        sender: Role,
        ring: Bits,
        len: usize,
        correlations: impl FnOnce() -> Vec<u64>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        if session.role() != sender {
            return Ok(Self { ring, len, side: LateSide::Chooser(Vec::new()) });
        }
        let (early, corrections) = EarlySender::new(session, ring, correlations())?;
        outgoing.extend(corrections);
        Ok(Self { ring, len, side: LateSide::Sender(early) })
    }

    /// The chooser receives the corrections, and sends its choices. Nothing at the sender.
    pub(super) fn choose(
        &mut self,
        session: &mut Session,
        bits: &BitString,
        incoming: &mut Incoming<'_>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let LateSide::Chooser(share) = &mut self.side {
            let corrections = incoming.next(self.ring.packed_len(self.len));
            let (own, choices) = choose_late(session, self.ring, bits, corrections)?;
            *share = own;
            outgoing.extend(choices);
        }
        Ok(())
    }

    /// This party's share of the products, not reduced; the sender hears the choices.
    pub(super) fn finish(self, incoming: &mut Incoming<'_>) -> Vec<u64> {
        match self.side {
            LateSide::Sender(sender) => {
                sender.finish(incoming.next(Bits::ONE.packed_len(self.len)))
            }
            LateSide::Chooser(share) => share,
        }
    }

    /// Adds the OTs to the messages; the bytes of the corrections and of the choices.
    pub(super) fn price(
        messages: &mut Messages,
        sender: Role,
        ring: Bits,
        len: usize,
    ) -> (usize, usize) {
        messages.draw(sender, Use::Correlated(ring), len);
        (ring.packed_len(len), Bits::ONE.packed_len(len))
    }
}

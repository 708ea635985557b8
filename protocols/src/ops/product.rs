//! A bit of one party times a ring element of the other: a correlated transfer in two messages,
//! which others may share.

use super::turn::{Heard, Script};
use crate::ot::{CorrelatedReceiver, Directions, EarlySender, Hash, choose_late, correct};
use crate::{BitString, Bits, Domain, Error, Role, Session};

/// The speaker's message; what the other party hears of it, and nothing at the speaker.
pub(super) async fn pass(
    session: &mut Session,
    speaker: Role,
    said: &[u8],
    len: usize,
) -> Result<Vec<u8>, Error> {
    if session.role() != speaker {
        return session.channel.receive(len).await;
    }
    debug_assert_eq!(said.len(), len);
    session.channel.send(said)?;
    Ok(Vec::new())
}

/// Products under way: the chooser asks, the other replies.
pub(super) struct BitProduct {
    ring: Bits,
    len: usize,
    hash: Hash,
    side: Side,
}

enum Side {
    Chooser(CorrelatedReceiver),
    Sender(Vec<u64>),
}

impl BitProduct {
    /// Products in `ring` of the bits of `chooser`, who says its choices (elsewhere, `bits` gives
    /// the length alone).
    pub(super) fn ask(
        session: &mut Session,
        chooser: Role,
        ring: Bits,
        bits: &BitString,
        said: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        // Both parties draw the keys at the same point of the conversation, whatever their side.
        let hashes = Directions::fresh(session, Domain::Correlated);
        let len = bits.len();
        if session.role() != chooser {
            return Ok(Self { ring, len, hash: hashes.sent, side: Side::Sender(Vec::new()) });
        }
        let (receiver, choices) = CorrelatedReceiver::new(session, &hashes.received, bits.clone())?;
        said.extend(choices);
        Ok(Self { ring, len, hash: hashes.received, side: Side::Chooser(receiver) })
    }

    /// The other party hears the choices, and says the corrections for its ring elements. Nothing
    /// at the chooser.
    pub(super) fn reply(
        &mut self,
        session: &mut Session,
        correlations: &[u64],
        heard: &mut Heard<'_>,
        said: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Side::Sender(share) = &mut self.side {
            let choices = heard.next(Bits::ONE.packed_len(self.len));
            let (own, corrections) =
                correct(session, &self.hash, self.ring, correlations, choices)?;
            *share = own;
            said.extend(corrections);
        }
        Ok(())
    }

    /// This party's share of the products; the chooser hears the corrections.
    pub(super) fn finish(self, heard: &mut Heard<'_>) -> Vec<u64> {
        match self.side {
            Side::Chooser(receiver) => {
                receiver.finish(self.ring, heard.next(self.ring.packed_len(self.len)))
            }
            Side::Sender(share) => share,
        }
    }

    /// Adds the transfers to the script; the bytes of the choices and of the corrections.
    pub(super) const fn price(
        script: &mut Script,
        chooser: Role,
        ring: Bits,
        len: usize,
    ) -> (usize, usize) {
        script.cots(chooser.peer(), len);
        (Bits::ONE.packed_len(len), ring.packed_len(len))
    }
}

/// Products under way whose corrections come before the choices.
pub(super) struct LateProduct {
    ring: Bits,
    len: usize,
    hash: Hash,
    side: LateSide,
}

enum LateSide {
    Sender(EarlySender),
    Chooser(Vec<u64>),
}

impl LateProduct {
    /// Products in `ring` of `len` bits with the elements of `sender`, who says the corrections.
    pub(super) fn correct(
        session: &mut Session,
        sender: Role,
        ring: Bits,
        len: usize,
        correlations: impl FnOnce() -> Vec<u64>,
        said: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let hashes = Directions::fresh(session, Domain::Correlated);
        if session.role() != sender {
            return Ok(Self {
                ring,
                len,
                hash: hashes.received,
                side: LateSide::Chooser(Vec::new()),
            });
        }
        let (early, corrections) = EarlySender::new(session, &hashes.sent, ring, correlations())?;
        said.extend(corrections);
        Ok(Self { ring, len, hash: hashes.sent, side: LateSide::Sender(early) })
    }

    /// The chooser hears the corrections, and says its choices. Nothing at the sender.
    pub(super) fn choose(
        &mut self,
        session: &mut Session,
        bits: &BitString,
        heard: &mut Heard<'_>,
        said: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let LateSide::Chooser(share) = &mut self.side {
            let corrections = heard.next(self.ring.packed_len(self.len));
            let (own, choices) = choose_late(session, &self.hash, self.ring, bits, corrections)?;
            *share = own;
            said.extend(choices);
        }
        Ok(())
    }

    /// This party's share of the products, not reduced; the sender hears the choices.
    pub(super) fn finish(self, heard: &mut Heard<'_>) -> Vec<u64> {
        match self.side {
            LateSide::Sender(sender) => sender.finish(heard.next(Bits::ONE.packed_len(self.len))),
            LateSide::Chooser(share) => share,
        }
    }

    /// Adds the transfers to the script; the bytes of the corrections and of the choices.
    pub(super) const fn price(
        script: &mut Script,
        sender: Role,
        ring: Bits,
        len: usize,
    ) -> (usize, usize) {
        script.cots(sender, len);
        (ring.packed_len(len), Bits::ONE.packed_len(len))
    }
}

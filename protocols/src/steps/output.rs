//! The server reveals the logits, or the label, to the client.

use serde::{Deserialize, Serialize};

use super::{Body, Check, Context, Intervals, Kind, Online, WireId, reshare};
use crate::channel::STATEMENT;
use crate::linear::Work;
use crate::load::Reveal;
use crate::{Cost, Error, Phases, Role, Session, Share};

/// The server reveals the logits, or the label, to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The wire revealed.
    pub input: WireId,
}

impl Body for Output {
    fn inputs(&self) -> Vec<WireId> {
        vec![self.input]
    }

    fn output(&self) -> Option<WireId> {
        None
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Io)
    }

    fn protocol(&self) -> String {
        "reveal".into()
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        match check.reveals {
            // It has its own ring, without room for a sign.
            Reveal::Label => Ok(()),
            Reveal::Logits => check.fits(self.input),
        }
    }

    fn known(&self, _: &[bool]) -> bool {
        false
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        // The server's share, and behind it what the server says of the conversation so far.
        let share = reshare::message(context, self.input, Role::Server, images);
        let online = share.beside(Cost::message(Role::Server, STATEMENT));
        Phases { online, ..Phases::default() }
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        2 * context.bytes(self.input, images)
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        if intervals.reveals == Reveal::Label {
            return Ok(());
        }
        intervals.declared("logits", self.input)?;
        intervals.fits("logits", intervals.of(self.input), intervals.wires[self.input].ring)
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move {
            *run.result = reveal(session, &run.context, self.input, run.share(self.input)).await?;
            Ok(None)
        })
    }
}

/// The server sends its share of the logits, or of the label, and what it says of the conversation
/// up to there; the client adds. It has no result before it knows that both have seen the same, nor
/// one that cannot be.
async fn reveal(
    session: &mut Session,
    context: &Context<'_>,
    input: WireId,
    share: &Share,
) -> Result<Option<Vec<i64>>, Error> {
    let (wire, ring) = (&context.wires[input], share.ring());
    if session.role() == Role::Server {
        session.channel.send(&ring.pack(share.values()))?;
        session.channel.send_statement()?;
        return Ok(None);
    }
    let message = session.channel.receive(ring.packed_len(share.len())).await?;
    // A share that was altered on its way is a result that nobody computed: the comparison comes
    // before the sum.
    session.channel.check_statement().await?;
    let sums = share.values().iter().zip(ring.unpack(&message, share.len()));
    let sums = sums.map(|(a, b)| ring.reduce(a.wrapping_add(b)));
    let found: Vec<i64> =
        sums.map(|v| if wire.signed() { ring.decode(v) } else { v as i64 }).collect();
    let (low, high) = context.revealed;
    if found.iter().all(|value| (low..=high).contains(value)) {
        return Ok(Some(found));
    }
    // The value itself is the client's alone.
    let expected = format!("{} within {low}..={high}", context.reveals.name());
    Err(session.channel.violation(expected, "a value outside"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{Masks, Wire};
    use crate::{Bits, testing};

    /// What the client makes of shares of the wire that is revealed, logits of six bits in a ring
    /// of seven, or the label of ten of them: its own shares are zero.
    fn revealed(reveals: Reveal, shares: Vec<u64>) -> Result<Option<Vec<i64>>, Error> {
        let (wire, revealed) = match reveals {
            Reveal::Logits => {
                let (shape, ring) = ([10, 1, 1], Bits::of(7));
                (Wire { shape, bits: 6, low: -32, ring, carry: None }, (-32, 31))
            }
            Reveal::Label => {
                let (shape, ring) = ([1, 1, 1], Bits::of(4));
                (Wire { shape, bits: 4, low: 0, ring, carry: None }, (0, 9))
            }
        };
        let wires = [wire];
        let masks = Masks {
            known: vec![false],
            drawn: vec![false],
            first_layer: vec![None],
            by_layer: vec![false],
            carry_borne: vec![false],
        };
        let context = Context { wires: &wires, masks: &masks, streamed: false, reveals, revealed };
        let ours = Share::zeros(wire.ring, shares.len());
        let theirs = Share::new(wire.ring, shares);
        testing::runtime().block_on(async {
            let (mut server, mut client) = testing::sessions(1);
            let (sent, found) = tokio::join!(
                reveal(&mut server, &context, 0, &theirs),
                reveal(&mut client, &context, 0, &ours)
            );
            sent.unwrap();
            found
        })
    }

    #[test]
    fn what_cannot_be_revealed_is_a_violation_by_the_server() {
        use Reveal::{Label, Logits};
        assert_eq!(revealed(Label, vec![9]).unwrap(), Some(vec![9]));
        let row = |last| [vec![0; 9], vec![last]].concat();
        let least = Bits::of(7).encode(-32);
        assert_eq!(revealed(Logits, row(least)).unwrap().unwrap()[9], -32);
        assert_eq!(revealed(Logits, row(31)).unwrap().unwrap()[9], 31);
        for (reveals, shares, expected) in [
            (Label, vec![10], "label within 0..=9"),
            (Label, vec![15], "label within 0..=9"),
            (Logits, row(32), "logits within -32..=31"),
            (Logits, row(least - 1), "logits within -32..=31"),
        ] {
            match revealed(reveals, shares) {
                Err(Error::Violation { expected: said, found, .. }) => {
                    assert_eq!((said.as_str(), found.as_str()), (expected, "a value outside"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

//! The client shares the input: the wire's mask is drawn offline, the masked input is one message.

use serde::{Deserialize, Serialize};

use super::{Body, Check, Context, Intervals, Kind, Online, WireId, reshare};
use crate::linear::Work;
use crate::{Error, Phases, Role, Session, Share};

/// The client shares the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The wire.
    pub output: WireId,
}

impl Body for Input {
    fn inputs(&self) -> Vec<WireId> {
        Vec::new()
    }

    fn output(&self) -> Option<WireId> {
        Some(self.output)
    }

    fn kind(&self) -> Option<Kind> {
        Some(Kind::Io)
    }

    fn protocol(&self) -> String {
        "share".into()
    }

    fn check(&self, check: &Check<'_>) -> Result<(), Error> {
        // Values that wrap would be others.
        check.fits(self.output)
    }

    fn known(&self, _: &[bool]) -> bool {
        true
    }

    fn draws_mask(&self) -> bool {
        true
    }

    fn cost(&self, context: &Context<'_>, images: usize) -> Phases {
        let online = reshare::message(context, self.output, Role::Client, images);
        Phases { online, ..Phases::default() }
    }

    fn online_bytes(&self, context: &Context<'_>, _: Role, images: usize) -> u64 {
        2 * context.bytes(self.output, images)
    }

    fn follow(&self, intervals: &mut Intervals<'_>) -> Result<(), Error> {
        let ring = intervals.wires[self.output].ring;
        intervals.fits("values", intervals.of(self.output), ring)
    }

    fn online<'a>(&'a self, session: &'a mut Session, run: Online<'a>) -> Work<'a, Option<Share>> {
        Box::pin(async move { share(session, self.output, run).await.map(Some) })
    }
}

/// The client sends its input less the wire's mask, and keeps the mask.
async fn share(session: &mut Session, output: WireId, run: Online<'_>) -> Result<Share, Error> {
    let wire = &run.context.wires[output];
    let len = wire.elements() * run.images;
    match run.mask {
        // The client's share is the mask itself, as it was when the products with it were made.
        // The server's is the rest, uniform.
        Some(mask) if session.role() == Role::Client => {
            let values = run.input.iter().zip(mask.values());
            let masked = values.map(|(x, r)| (*x as u64).wrapping_sub(*r));
            session.channel.send(&wire.ring.pack_from(len, masked))?;
            Ok(mask)
        }
        _ => {
            let message = session.channel.receive(wire.ring.packed_len(len)).await?;
            Ok(Share::new(wire.ring, wire.ring.unpack(&message, len)))
        }
    }
}

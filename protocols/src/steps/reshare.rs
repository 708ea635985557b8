//! The client's share replaced by a mask that it drew before the input was known: what a linear
//! layer reads must be one.

use rand::RngExt;

use super::context::{Context, Online};
use super::{Wire, WireId};
use crate::{Cost, Error, Role, Session, Share};

/// The price of the message.
pub(super) fn cost(context: &Context<'_>, wire: WireId, reshare: bool, images: usize) -> Cost {
    if reshare { message(context, wire, Role::Client, images) } else { Cost::ZERO }
}

/// All elements of a wire in one message.
pub(super) fn message(context: &Context<'_>, wire: WireId, sender: Role, images: usize) -> Cost {
    let wire = &context.wires[wire];
    Cost::message(sender, wire.ring.packed_len(wire.elements() * images))
}

/// A fresh uniform mask for a wire.
pub(crate) fn draw(session: &mut Session, wire: &Wire, images: usize) -> Share {
    let values = (0..wire.elements() * images).map(|_| session.rng().random()).collect();
    Share::new(wire.ring, values)
}

/// What a step has written; where it is re-shared, the client replaces its share by the wire's mask
/// and sends the difference, which the server adds: uniform, since the mask is.
pub(super) async fn finish(
    session: &mut Session,
    online: Online<'_>,
    reshare: bool,
    share: Share,
) -> Result<Share, Error> {
    if !reshare {
        return Ok(share);
    }
    let (ring, len) = (share.ring(), share.len());
    match online.mask {
        Some(mask) if session.role() == Role::Client => {
            let moved = share.values().iter().zip(mask.values()).map(|(c, r)| c.wrapping_sub(*r));
            session.channel.send(&ring.pack_from(len, moved))?;
            Ok(mask)
        }
        _ => {
            let message = session.channel.receive(ring.packed_len(len)).await?;
            let moved = ring.unpack(&message, len);
            let sums = share.values().iter().zip(moved).map(|(s, m)| s.wrapping_add(m)).collect();
            Ok(Share::new(ring, sums))
        }
    }
}

//! The client's share replaced by a mask that it drew before the input was known: what a linear
//! layer reads must be one.

use rand::RngExt;

use super::context::{Context, Offline, Online};
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

/// The client draws a fresh uniform mask for a wire; unless the layer that reads it first does.
pub(super) fn draw(session: &mut Session, run: &mut Offline<'_>, wire: WireId) {
    if session.role() == Role::Server || run.context.masks.by_layer[wire] {
        return;
    }
    let Wire { ring, .. } = run.context.wires[wire];
    let len = run.context.wires[wire].elements() * run.images;
    let values = (0..len).map(|_| session.rng().random()).collect();
    run.masks[wire] = Some(Share::new(ring, values));
}

/// The client replaces its share by the wire's mask and sends the difference, which the server
/// adds: uniform, since the mask is.
pub(super) async fn run(
    session: &mut Session,
    online: Online<'_>,
    share: Share,
) -> Result<Share, Error> {
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

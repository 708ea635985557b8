//! A party from its first byte to its last, over a connection that is there: what tests and fuzz
//! targets run. The front door of the crate `pq` adds budgets of memory and system randomness.

use std::sync::Arc;

use super::{Logits, Side, execute};
use crate::ask::{Answer, Ask, Doorstep, Offer};
use crate::handshake::{Hello, shake_hands};
use crate::plan::{Load, Plan};
use crate::{Channel, Error, Role, Session};

/// A party's random bytes. Used twice, they are no secret any more.
pub struct Randomness {
    /// Of the handshake, public.
    pub nonce: [u8; 32],
    /// The seed of everything else.
    pub seed: [u8; 32],
}

/// Asks or answers, shakes hands and runs one inference: the client's logits, nothing at the
/// server.
///
/// # Errors
/// Those of [`Doorstep`], of [`shake_hands`] and of [`execute`].
pub async fn converse(
    channel: Channel,
    plan: &Plan,
    side: Side<'_>,
    images: usize,
    randomness: Randomness,
) -> Result<Logits, Error> {
    let role = match side {
        Side::Server(_) => Role::Server,
        Side::Client(_) => Role::Client,
    };
    let mut doorstep = Doorstep::new(channel, [0; 32]);
    match role {
        Role::Server => {
            doorstep.hear().await?;
            doorstep.answer(&Answer::Ok(Offer { plan: plan.hash(), ..Offer::default() }))?;
        }
        Role::Client => drop(doorstep.ask(&Ask::session(plan.hash(), images as u32, 1)).await?),
    }
    let (mut channel, binding) = doorstep.into_parts();
    let hello = Hello {
        role,
        reveals: plan.reveals(),
        plan: plan.hash(),
        load: Load::one(images),
        nonce: randomness.nonce,
        memory: u64::MAX,
        binding,
    };
    let agreement = shake_hands(&mut channel, &hello).await?;
    let session = Session::new(role, channel, agreement.id, randomness.seed);
    let plan = Arc::new(plan.clone());
    let (logits, _) = execute(&plan, session, side, agreement.load, &mut |_| ()).await?;
    Ok(logits)
}

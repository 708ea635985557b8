//! Set-up with hints that a plan names: the client has them, or gets them layer by layer.

use std::sync::Arc;

use super::{Outline, Part, PublicHints, ServerHints, header, named};
use crate::bits::hex;
use crate::linear::{Layer, State};
use crate::plan::{Hints, Plan};
use crate::{Error, Role, Session};

/// The hints of one session, as one party has them.
pub(crate) struct Delivery {
    pub(crate) outline: Outline,
    hints: Hints,
    own: Own,
    /// The plan's digest.
    digest: Option<String>,
}

enum Own {
    Server(Arc<ServerHints>),
    Client(Arc<PublicHints>),
    /// What the client has received so far.
    Receiving(Box<blake3::Hasher>),
    /// The plan names no hints.
    Nothing,
}

impl Delivery {
    /// What a party brings, held against the plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it should have hints and has none, or others.
    pub(crate) fn new(
        plan: &Plan,
        role: Role,
        hints: Hints,
        (server, client): (Option<Arc<ServerHints>>, Option<Arc<PublicHints>>),
    ) -> Result<Self, Error> {
        let outline = Outline::named(plan);
        let missing = |expected: &str| Error::invalid("hints", expected, "none");
        let own = match role {
            _ if plan.hints.is_none() => Own::Nothing,
            Role::Server => {
                let own = server.ok_or_else(|| {
                    missing("those that the plan names, of hints.secret; run `pq hints`")
                })?;
                own.public.check(plan)?;
                Own::Server(own)
            }
            Role::Client if hints == Hints::Known => {
                let own = client.ok_or_else(|| missing("those of hints.bin, as the load says"))?;
                own.check(plan)?;
                Own::Client(own)
            }
            Role::Client => {
                let mut hasher = Box::new(blake3::Hasher::new());
                hasher.update(&header(&named(plan)?.recipe));
                Own::Receiving(hasher)
            }
        };
        Ok(Self { outline, hints, own, digest: plan.hints.clone() })
    }

    /// The state of a layer, which is not prepared otherwise: the one of a part of the outline.
    ///
    /// # Errors
    /// Where the peer is lost.
    pub(crate) async fn state(
        &mut self,
        session: &mut Session,
        step: usize,
        layer: &Layer,
    ) -> Result<Option<State>, Error> {
        let Self { outline, hints, own, .. } = self;
        let Some(part) = outline.part(step) else { return Ok(None) };
        let (hints, cost) = (*hints, outline.state_cost(step, layer, *hints));
        let state = session.hold("layer", cost, async |session| {
            own.state(session, hints, (outline, part), layer).await
        });
        Ok(Some(state.await?))
    }

    /// Holds what was received against the plan's digest.
    ///
    /// # Errors
    /// [`Error::Violation`] where it is something else.
    pub(crate) fn finish(self, session: &Session) -> Result<(), Error> {
        let (Own::Receiving(hasher), Some(expected)) = (self.own, self.digest) else {
            return Ok(());
        };
        let found = hex(hasher.finalize().as_bytes());
        if found == expected {
            return Ok(());
        }
        let expected = format!("hints of the digest {expected}, as the plan says");
        Err(session.channel.violation(expected, found))
    }
}

impl Own {
    async fn state(
        &mut self,
        session: &mut Session,
        hints: Hints,
        (outline, part): (&Outline, &Part),
        layer: &Layer,
    ) -> Result<State, Error> {
        let Part { layer: made, bytes, .. } = part;
        match self {
            Self::Server(own) => {
                if hints == Hints::Sent {
                    made.send_hint(session, &own.public.bytes[bytes.clone()]).await?;
                }
                Ok(layer.hint_secrets(&own.seed(outline, part)))
            }
            Self::Client(own) => Ok(layer.known_hint(made, &own.bytes, bytes)),
            Self::Receiving(hasher) => {
                let received = Arc::new(made.receive_hint(session).await?);
                hasher.update(&received);
                Ok(layer.known_hint(made, &received, &(0..received.len())))
            }
            Self::Nothing => unreachable!("invariant: a plan without a digest has no outline"),
        }
    }
}

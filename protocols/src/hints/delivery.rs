//! Set-up with hints that a plan names: the client has them, or gets them first of all.

use std::sync::Arc;

use super::{Outline, PublicHints, ServerHints, header};
use crate::linear::{Layer, State};
use crate::plan::{Hints, Plan};
use crate::{Error, Role, Session};

/// The hints of one session, as one party has them.
pub(crate) struct Delivery {
    pub(crate) outline: Outline,
    hints: Hints,
    own: Own,
}

enum Own {
    Server(Arc<ServerHints>),
    Client(Arc<PublicHints>),
    /// The client gets hints of this digest.
    Due(String),
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
        let missing = |expected: &str| Error::invalid("hints", expected, "none");
        let own = match (role, &plan.hints) {
            (_, None) => Own::Nothing,
            (Role::Server, Some(_)) => {
                let own = server.ok_or_else(|| {
                    missing("those that the plan names, of hints.secret; run `pq hints`")
                })?;
                own.public.check(plan)?;
                Own::Server(own)
            }
            (Role::Client, Some(_)) if hints == Hints::Known => {
                let own = client.ok_or_else(|| missing("those of hints.bin, as the load says"))?;
                own.check(plan)?;
                Own::Client(own)
            }
            (Role::Client, Some(digest)) => Own::Due(digest.clone()),
        };
        Ok(Self { outline: Outline::named(plan), hints, own })
    }

    /// Moves the hints to a client that does not know them.
    ///
    /// # Errors
    /// Where the peer is lost; [`Error::Violation`] where what comes has not the plan's digest.
    pub(crate) async fn deliver(&mut self, session: &mut Session) -> Result<(), Error> {
        let Self { outline, hints, own } = self;
        let cost = outline.delivery_cost(*hints);
        match own {
            Own::Server(own) if *hints == Hints::Sent => {
                let send = async |session: &mut Session| {
                    for part in outline.parts() {
                        let bytes = &own.public.bytes[part.bytes.clone()];
                        part.layer.send_hint(session, bytes).await?;
                    }
                    Ok(())
                };
                session.hold("hints", cost, send).await
            }
            Own::Due(digest) => {
                let receive = async |session: &mut Session| outline.receive(session).await;
                let received = session.hold("hints", cost, receive).await?;
                if received.digest() != *digest {
                    let expected = format!("hints of the digest {digest}, as the plan says");
                    return Err(session.channel.violation(expected, received.digest()));
                }
                *own = Own::Client(Arc::new(received));
                Ok(())
            }
            Own::Server(_) | Own::Client(_) | Own::Nothing => Ok(()),
        }
    }

    /// The state of a step's layer, where its hint is one of these.
    pub(crate) fn state(&self, step: usize, layer: &Layer) -> Option<State> {
        let part = self.outline.part(step)?;
        match &self.own {
            Own::Server(own) => Some(layer.hint_secrets(&own.seed(&self.outline, part))),
            Own::Client(own) => Some(layer.known_hint(&part.layer, &own.bytes, &part.bytes)),
            Own::Due(_) | Own::Nothing => None,
        }
    }
}

impl Outline {
    /// Receives all hints.
    async fn receive(&self, session: &mut Session) -> Result<PublicHints, Error> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend(header(&self.recipe));
        for part in self.parts() {
            bytes.extend(part.layer.receive_hint(session).await?);
        }
        Ok(PublicHints::of(bytes))
    }
}

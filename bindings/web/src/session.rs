//! A client's session with one network of a server, over a stream of bytes.

use std::sync::Arc;

use protocols::ask::{Answer, Ask, Doorstep, Offer, Want};
use protocols::execute::{Event, Holdings, PartySession};
use protocols::handshake::{Hello, shake_hands};
use protocols::hints::PublicHints;
use protocols::plan::{Hints, Load, Plan};
use protocols::{Channel, Limits, Role, hex};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// The most inferences of a session.
const INFERENCES: usize = 1 << 20;
/// The most bytes of memory that this party may be predicted to need: half of what a module of
/// wasm32 can have.
const MEMORY: u64 = 2 << 30;

/// Why there is no session, or no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The conversation failed, or something in it is not as it should be.
    #[error(transparent)]
    Protocol(#[from] protocols::Error),
    /// The server has no room now.
    #[error("the server is busy; it is worth another try in {seconds} s")]
    Busy {
        /// When to try again.
        seconds: u32,
    },
    /// The client has had all images that it may have for now.
    #[error("this client has had all images that it may have for now; more in {seconds} s")]
    Quota {
        /// When there are more.
        seconds: u32,
    },
    /// The server has no such network for this client.
    #[error("the server has no network {model:?} for this client")]
    UnknownNetwork {
        /// What was asked for.
        model: String,
    },
    /// The network is too large for a browser.
    #[error("the network takes {needed} bytes of this party's memory, and it has {budget}")]
    Memory {
        /// What it takes.
        needed: u64,
        /// What there is.
        budget: u64,
    },
    /// There are no random bytes to be had.
    #[error("no random bytes: {0}")]
    Randomness(String),
}

/// What the client learns of an image, and what that took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inference {
    /// The class of the largest logit, the first of equals.
    pub label: usize,
    /// The logits by class, as the parties compute them; none where the label alone is revealed.
    pub logits: Option<Vec<i64>>,
    /// The session's ledger so far, of everything but its end.
    pub ledger: Ledger,
}

/// Bytes of a session, by what they were for and by who sent them. All were predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Once a session.
    pub setup: Moved,
    /// Before the images are known.
    pub offline: Moved,
    /// Of the images themselves.
    pub online: Moved,
}

/// Bytes, and one-way messages that wait for one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Bytes that the client has sent.
    pub sent: u64,
    /// Bytes that it has received.
    pub received: u64,
    /// Messages one after the other.
    pub rounds: u64,
}

/// A session with one network, one image an inference.
pub struct Session {
    plan: Arc<Plan>,
    party: PartySession,
}

impl Session {
    /// Asks the server at the other end for a network by its name, fetches its plan and its hints,
    /// and sets a session up.
    ///
    /// # Errors
    /// Where the server has no such network or no room, where the network is too large, and where
    /// the server is lost or violates the protocol.
    pub async fn open<S>(stream: S, model: &str, limits: Limits) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        // A browser cannot tell what its connection is bound to.
        let mut server =
            Source { doorstep: Doorstep::new(Channel::new(stream, limits), [0; 32]), model };
        let (plan, hash) = server.plan().await?;
        let hints = match &plan.hints {
            Some(_) => Some(Arc::new(server.hints(&plan).await?)),
            None => None,
        };
        // Memory does not depend on how many images may follow one another.
        let load = Load::new(1, 1, INFERENCES).with(Hints::of(hints.is_some()));
        let needed = plan.memory(Role::Client, load);
        if needed > MEMORY {
            return Err(Error::Memory { needed, budget: MEMORY });
        }
        granted(server.doorstep.ask(&Ask::session(hash, 1, 1)).await?, model)?;
        let (mut channel, binding) = server.doorstep.into_parts();
        let hello = Hello {
            role: Role::Client,
            reveals: plan.reveals(),
            plan: hash,
            load,
            nonce: *fresh()?,
            memory: 0,
            binding,
        };
        let agreement = shake_hands(&mut channel, &hello).await?;
        let session = protocols::Session::new(Role::Client, channel, agreement.id, *fresh()?);
        let (plan, holdings) = (Arc::new(plan), Holdings::of_client(hints));
        let (own, load, observe) = (Arc::clone(&plan), agreement.load, &mut |_: Event<'_>| ());
        let opened = PartySession::open(own, session, holdings, load, observe);
        // Not on the stack: wasm32 has one of a megabyte.
        let party = Box::pin(opened).await?;
        Ok(Self { plan, party })
    }

    /// What both parties run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Does all that needs no image, for the next inference; nothing where that is done.
    ///
    /// # Errors
    /// Where the server is lost or violates the protocol.
    pub async fn prepare(&mut self) -> Result<(), Error> {
        Ok(Box::pin(self.party.request_prepared(&mut |_| ())).await?)
    }

    /// Infers an image of bytes, 0 to 255, `[channels][rows][columns]`.
    ///
    /// # Errors
    /// Where the image does not fit; where the server is lost or violates the protocol.
    pub async fn infer(&mut self, pixels: &[u8]) -> Result<Inference, Error> {
        let input = Zeroizing::new(self.plan.encode_bytes(pixels)?);
        let found = Box::pin(self.party.request_inference(&input, &mut |_| ())).await?;
        let result = found.expect("invariant: the client learns the result");
        let answer = self.plan.decode(&result, 1).pop();
        let answer = answer.expect("invariant: an image has an answer");
        let logits = answer.logits.map(|logits| logits.integers);
        Ok(Inference { label: answer.label, logits, ledger: self.ledger() })
    }

    /// The ledger so far, of everything but the session's end.
    pub fn ledger(&self) -> Ledger {
        let report = self.party.so_far();
        let [setup, offline, online] =
            [report.setup.cost, report.offline().cost, report.online().cost].map(|cost| Moved {
                sent: cost.client_bytes,
                received: cost.server_bytes,
                rounds: cost.rounds,
            });
        Ledger { setup, offline, online }
    }

    /// Ends the session in good order.
    ///
    /// # Errors
    /// None that a client has results for.
    pub async fn close(self) -> Result<(), Error> {
        Box::pin(self.party.request_end()).await?;
        Ok(())
    }
}

/// A server that is asked for a network's files.
struct Source<'a> {
    doorstep: Doorstep,
    model: &'a str,
}

impl Source<'_> {
    async fn ask(&mut self, want: Want) -> Result<Offer, Error> {
        let answer = self.doorstep.ask(&Ask::of(want, self.model.to_owned())).await?;
        granted(answer, self.model)
    }

    /// The plan, and its hash.
    async fn plan(&mut self) -> Result<(Plan, [u8; 32]), Error> {
        let offer = self.ask(Want::Plan).await?;
        let file = self.doorstep.receive_file(offer.plan_len).await?;
        let plan = Plan::from_json(&file)?;
        let hash = plan.hash();
        if hash == offer.plan {
            return Ok((plan, hash));
        }
        let what = "hash of the plan that the server has sent";
        Err(protocols::Error::invalid(what, hex(&offer.plan), hex(&hash)).into())
    }

    /// The hints that a plan names.
    async fn hints(&mut self, plan: &Plan) -> Result<PublicHints, Error> {
        // The length is known from the plan: no server makes a client wait for more.
        let (offer, expected) =
            (self.ask(Want::Hints).await?, plan.hints_len().unwrap_or(0) as u64);
        if offer.hints_len != expected {
            let what = "bytes of the hints that the server offers";
            return Err(protocols::Error::invalid(what, expected, offer.hints_len).into());
        }
        let file = self.doorstep.receive_file(expected).await?;
        Ok(PublicHints::from_bytes(file, plan)?)
    }
}

fn granted(answer: Answer, model: &str) -> Result<Offer, Error> {
    match answer {
        Answer::Ok(offer) => Ok(offer),
        Answer::Busy(seconds) => Err(Error::Busy { seconds }),
        Answer::Quota(seconds) => Err(Error::Quota { seconds }),
        Answer::Unknown => Err(Error::UnknownNetwork { model: model.into() }),
    }
}

/// Random bytes of the system, or of the browser.
fn fresh() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(&mut *bytes).map_err(|error| Error::Randomness(error.to_string()))?;
    Ok(bytes)
}

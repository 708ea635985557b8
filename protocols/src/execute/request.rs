//! Requests in a session: the client says what comes next, and the server waits for it.
//!
//! A request is a message of eight bytes: its kind, three zeros, and a count in little-endian
//! order. What is requested follows at once, so that no request costs a turn. Waiting for one is
//! no part of any step: see [`Limits::idle`](crate::Limits::idle).

use super::{Observe, PartySession};
use crate::error::Reason;
use crate::plan::{Load, Plan};
use crate::{Cost, Error, Role};

/// What a client may request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// That so many more inferences are prepared.
    Prepare(usize),
    /// That the next inference is run.
    Infer,
    /// The end.
    Bye,
}

const LEN: usize = 8;
/// The number of the step of requests.
const STEP: usize = 15;

/// What one request moves, beside what it requests.
pub const fn request_cost() -> Cost {
    Cost::message(Role::Client, LEN)
}

impl Plan {
    /// The price of set-up and of the session's end, as [`Plan::setup_cost`] has it, with the
    /// requests of a client that prepares and runs what the load says.
    pub fn session_cost(&self, load: Load) -> Cost {
        // One for each preparation and each inference, and a goodbye.
        let [(_, whole), (_, last)] = load.groups();
        let requests = whole + last + load.inferences as u64 + 1;
        self.setup_cost(load.hints) + request_cost() * requests
    }
}

impl Request {
    fn encode(self) -> [u8; LEN] {
        let (kind, count) = match self {
            Self::Bye => (0, 0),
            // A checked load has at most 2^20.
            Self::Prepare(count) => (1, count as u32),
            Self::Infer => (2, 0),
        };
        let [a, b, c, d] = count.to_le_bytes();
        [kind, 0, 0, 0, a, b, c, d]
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [kind, 0, 0, 0, a, b, c, d] = *bytes else { return None };
        match (kind, u32::from_le_bytes([a, b, c, d]) as usize) {
            (0, 0) => Some(Self::Bye),
            (1, count @ 1..) => Some(Self::Prepare(count)),
            (2, 0) => Some(Self::Infer),
            _ => None,
        }
    }
}

impl PartySession {
    /// The client's: prepares as many inferences as the load says where nothing is prepared, at
    /// both parties.
    ///
    /// # Errors
    /// Those of [`PartySession::prepare`].
    pub async fn request_prepared(&mut self, observe: &mut Observe<'_>) -> Result<(), Error> {
        let due = self.due();
        if due > 0 {
            self.request(Request::Prepare(due)).await?;
            self.prepare(due, observe).await?;
        }
        Ok(())
    }

    /// The client's: has the next inference run, and prepares before where nothing is prepared.
    ///
    /// # Errors
    /// Those of [`PartySession::prepare`] and of [`PartySession::infer`].
    pub async fn request_inference(
        &mut self,
        input: &[i64],
        observe: &mut Observe<'_>,
    ) -> Result<super::Logits, Error> {
        self.request_prepared(observe).await?;
        // What does not fit is this party's fault: the peer is asked for nothing.
        super::check_input(&self.plan, input, self.next_images())?;
        self.request(Request::Infer).await?;
        self.infer(input, observe).await
    }

    /// The client's: says that there is nothing more, and closes the session.
    ///
    /// # Errors
    /// None that a client has results for: see [`PartySession::close`].
    pub async fn request_end(mut self) -> Result<super::Report, Error> {
        match self.request(Request::Bye).await {
            // As at the very end: the client has its results by then, and confirmed.
            Ok(()) | Err(Error::PeerLost { .. }) => self.close().await,
            Err(error) => Err(error),
        }
    }

    async fn request(&mut self, request: Request) -> Result<(), Error> {
        self.session.channel.enter_step(STEP, REQUEST, request_cost(), 0.0);
        let send = async |session: &mut crate::Session| session.channel.send(&request.encode());
        self.session.hold(REQUEST, request_cost(), send).await?;
        self.count();
        Ok(())
    }

    /// The server's: waits for what the client requests. What does not fit the load is a violation.
    /// May be dropped while it waits.
    ///
    /// # Errors
    /// Where the client is lost, takes too long, or violates the protocol.
    pub async fn requested(&mut self) -> Result<Request, Error> {
        let request = self.hear().await;
        super::told(&mut self.session, request).await
    }

    async fn hear(&mut self) -> Result<Request, Error> {
        // The step names errors; its time is that of no step.
        self.session.channel.enter_step(STEP, REQUEST, Cost::ZERO, 0.0);
        self.session.channel.wait_for_request();
        let hear = async |session: &mut crate::Session| session.channel.receive(LEN).await;
        let bytes = self.session.hold(REQUEST, request_cost(), hear).await?;
        self.count();
        let request = Request::decode(&bytes);
        match request.filter(|request| self.allows(*request)) {
            Some(request) => Ok(request),
            None => {
                let (load, stock) = (self.load, self.stock.len());
                let expected = format!("a request within {load:?}, with {stock} prepared");
                Err(self.session.channel.violation(expected, format!("{bytes:02x?}")))
            }
        }
    }

    /// Whether a request is one of the session that was agreed on.
    fn allows(&self, request: Request) -> bool {
        let (stock, begun) = (self.stock.len(), self.begun);
        match request {
            // The stock is no larger than what the memory was predicted for.
            Request::Prepare(count) => {
                count <= self.load.prepared.saturating_sub(stock)
                    && count <= self.load.prepared_in_all().saturating_sub(begun)
            }
            Request::Infer => stock > 0 && self.run() < self.load.inferences,
            Request::Bye => true,
        }
    }

    /// Ends a session whose client may want more, and says why.
    pub async fn dismiss(mut self, reason: Reason) {
        self.session.channel.dismiss(reason).await;
    }

    fn count(&mut self) {
        self.report.requests += 1;
        self.report.setup.cost += request_cost();
    }
}

const REQUEST: &str = "request";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_request_has_one_form(kind in 0u8..5, zeros in any::<[bool; 3]>(), count in 0u32..3) {
            let mut bytes = [kind, 0, 0, 0, 0, 0, 0, 0];
            for (byte, set) in bytes[1..4].iter_mut().zip(zeros) {
                *byte = u8::from(set);
            }
            bytes[4..].copy_from_slice(&count.to_le_bytes());
            match Request::decode(&bytes) {
                Some(request) => prop_assert_eq!(request.encode(), bytes),
                None => prop_assert!(
                    zeros.contains(&true) || kind > 2 || (kind == 1) == (count == 0)
                ),
            }
        }
    }

    #[test]
    fn all_requests_are_read_as_they_were_written() {
        for request in [Request::Bye, Request::Prepare(1), Request::Prepare(7), Request::Infer] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
    }
}

//! The door: a client that is known asks for files, or for a session.

use std::net::SocketAddr;
use std::sync::Arc;

use protocols::ask::{Answer, Ask, Doorstep, Want};
use protocols::plan::Load;
use protocols::price::PROCESS;
use protocols::{Channel, Error as ProtocolError, Limits};
use tokio::net::TcpStream;

use super::event::TARGET;
use super::models::Model;
use super::quota::{now, until_tomorrow};
use super::session::{self, Seat};
use super::state::{Current, Phase, Presence, Shared, Visit};
use crate::Error;
use crate::tls::{self, Connection, KnownClient, Stream};

/// A connection whose client is known, by a key, a certificate or a token.
pub(super) struct Guest {
    pub(super) client: KnownClient,
    pub(super) peer: SocketAddr,
    current: Arc<Current>,
    doorstep: Doorstep,
    presence: Presence,
    visit: Visit,
}

/// What an ask led to.
enum Next {
    /// Another ask may follow.
    Ask,
    /// A session.
    Session(Box<Seat>),
}

impl Guest {
    /// Proves who either side is.
    pub(super) async fn meet(
        shared: &Arc<Shared>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Self, Error> {
        let current = shared.current();
        let time = shared.options.authentication;
        let Connection { stream, binding, client } =
            tls::secure(&current.security, stream, time).await?;
        let client = client.ok_or(Error::Internal("invariant: TLS knows whom it let in"))?;
        // From here on, browsers and others are alike.
        Self::enter(shared, current, (client, peer), (stream, binding))
    }

    /// Sees a browser's token: none where it came for a page alone.
    pub(super) async fn meet_browser(
        shared: &Arc<Shared>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Option<Self>, Error> {
        let current = shared.current();
        let web = current.web.as_ref();
        let web =
            web.ok_or(Error::Internal("invariant: who listens for browsers can meet them"))?;
        let Some(visitor) = web.meet(stream, shared.options.authentication).await? else {
            return Ok(None);
        };
        // A page cannot tell what its connection is bound to.
        let (client, connection) = (visitor.client, (visitor.stream, [0; 32]));
        Self::enter(shared, current, (client, peer), connection).map(Some)
    }

    fn enter(
        shared: &Arc<Shared>,
        current: Arc<Current>,
        (client, peer): (KnownClient, SocketAddr),
        (stream, binding): (Box<dyn Stream>, [u8; 32]),
    ) -> Result<Self, Error> {
        // One client's connections are no trouble of another's.
        tracing::debug!(target: TARGET, %peer, client = client.name, "known");
        let visit = shared.visit(&client.credential).ok_or(Error::Busy { seconds: 1 })?;
        let limits: Limits = shared.options.limits;
        let doorstep = Doorstep::new(Channel::new(stream, limits), binding);
        Ok(Self { client, peer, current, doorstep, presence: shared.enter(), visit })
    }

    /// Answers an ask for a session: none where there is no room, or no image left.
    async fn seat(
        &mut self,
        shared: &Arc<Shared>,
        ask: &Ask,
        (model, place): (Arc<Model>, usize),
    ) -> Result<Option<Seat>, Error> {
        let (client, plan) = (&self.client, Arc::clone(&model.at(place).plan));
        let time = now();
        let rights = &client.rights;
        let left =
            rights.images_per_day.map(|a_day| shared.quota.left(&client.credential, a_day, time));
        if left == Some(0) {
            shared.refused(Some(self.peer), "quota", &client.name);
            self.doorstep.answer(&Answer::Quota(until_tomorrow(time)))?;
            return Ok(None);
        }
        // How many inferences there will be is the client's choice: memory does not depend on it.
        let load = Load::new(ask.images as usize, ask.prepared as usize, 1);
        let memory = load.check().map_or(u64::MAX, |()| plan.session_memory(load));
        let most = shared.admission.charged().1.saturating_sub(self.current.models.shared_memory());
        let ticket =
            shared.admission.session(&client.credential, rights.sessions, (memory, most)).await;
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(seconds) => {
                shared.refused(Some(self.peer), "busy", &client.name);
                self.doorstep.answer(&Answer::Busy(seconds))?;
                return Ok(None);
            }
        };
        self.doorstep.answer(&Answer::Ok(model.at(place).offer))?;
        // What the handshake agrees on takes no more than what there is a place for.
        let granted = PROCESS + plan.shared_memory() + memory.min(most);
        Ok(Some(Seat { model, place, ticket, granted, memory, load }))
    }

    async fn next(&mut self, shared: &Arc<Shared>) -> Result<Next, Error> {
        let ask = self.doorstep.hear().await?;
        let (peer, want) = (self.peer, ask.want);
        tracing::debug!(
            target: TARGET, %peer, client = self.client.name, network = %ask.network, ?want, "asked"
        );
        let found = self.current.models.find(&ask.network, &self.client.rights);
        // What there is for others sounds like what there is for nobody.
        let Some((model, place)) = found else {
            let why = format!("{} has no network {}", self.client.name, ask.network);
            shared.refused(Some(self.peer), "unknown", &why);
            self.doorstep.answer(&Answer::Unknown)?;
            return Ok(Next::Ask);
        };
        let variant = model.at(place);
        let file = match ask.want {
            Want::Session => {
                let seat = self.seat(shared, &ask, (model, place)).await?;
                return Ok(seat.map_or(Next::Ask, |seat| Next::Session(Box::new(seat))));
            }
            Want::Description => Some(&[][..]),
            Want::Plan => Some(&variant.json[..]),
            Want::Hints => variant.hints.as_ref().map(|hints| hints.bytes()),
        };
        let Some(file) = file else {
            self.doorstep.answer(&Answer::Unknown)?;
            return Ok(Next::Ask);
        };
        self.doorstep.answer(&Answer::Ok(variant.offer))?;
        self.doorstep.send_file(file).await?;
        shared.metrics.sent_file(file.len() as u64);
        Ok(Next::Ask)
    }
}

/// Answers a guest until it has a session, or goes.
pub(super) async fn receive(shared: Arc<Shared>, mut guest: Guest) {
    let (mut asked, mut phase) = (false, shared.phase.subscribe());
    let seat = loop {
        let next = tokio::select! {
            next = guest.next(&shared) => next,
            // Nobody is let in any more: the client tries elsewhere.
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match next {
            Ok(Next::Ask) => asked = true,
            Ok(Next::Session(seat)) => break *seat,
            // Who has had what it came for goes without a word.
            Err(Error::Protocol(ProtocolError::PeerLost { .. })) if asked => return,
            Err(error) => {
                return shared.refused(Some(guest.peer), reason(&error), &error.to_string());
            }
        }
    };
    let Guest { client, peer, doorstep, presence, visit, .. } = guest;
    let variant = seat.model.at(seat.place);
    let introduction = variant.introduction.clone().granting(seat.granted, seat.load);
    let met = match introduction.agree(doorstep).await {
        Ok(met) if seat.ticket.fits() => met,
        Ok(_) => return shared.refused(Some(peer), "memory", "another load than it asked for"),
        Err(error) => return shared.refused(Some(peer), reason(&error), &error.to_string()),
    };
    drop(visit);
    session::start(&shared, met, seat, (client, peer), presence);
}

/// A word for an error, of which there are few: metrics count by it.
pub(super) fn reason(error: &Error) -> &'static str {
    if let Error::Protocol(error) = error {
        return said(error);
    }
    if let Error::Web { reason, .. } = error {
        return reason;
    }
    let words = [
        (matches!(error, Error::UnknownClient { .. }), "key"),
        (matches!(error, Error::ClientCertificate { .. }), "certificate"),
        (matches!(error, Error::Tls { .. } | Error::Means { .. }), "tls"),
        (matches!(error, Error::Connection(_)), "connection"),
        (matches!(error, Error::Busy { .. }), "busy"),
    ];
    words.into_iter().find(|(own, _)| *own).map_or("internal", |(_, word)| word)
}

/// A word for an error of the protocol.
const fn said(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::PeerLost { .. } => "lost",
        ProtocolError::PeerSilent { .. } | ProtocolError::Overdue { .. } => "late",
        ProtocolError::Disagreement { .. } => "disagreement",
        ProtocolError::Violation { .. }
        | ProtocolError::Altered { .. }
        | ProtocolError::Dismissed { .. } => "violation",
        ProtocolError::Ledger { .. } => "ledger",
        ProtocolError::PoolDry { .. }
        | ProtocolError::Undeclared { .. }
        | ProtocolError::Unprepared { .. }
        | ProtocolError::Invalid { .. } => "internal",
    }
}

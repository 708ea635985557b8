//! Connections that have yet to shake hands: so many at a time, and each has a fair while.
//!
//! Nobody waits for a silent connection, and strangers take no more than so many places. Where all
//! places are taken, whoever comes next waits with the system until the oldest has had its while:
//! honest clients that come together must not push each other out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

/// The least that each of them has, however many others come.
const FAIR: Duration = Duration::from_secs(1);

/// Handshakes under way, which end in a `T`.
pub(crate) struct Handshakes<T> {
    pending: JoinSet<(SocketAddr, T)>,
    oldest: VecDeque<(SocketAddr, AbortHandle, Instant)>,
    places: usize,
}

impl<T: Send + 'static> Handshakes<T> {
    pub(crate) fn new(places: usize) -> Self {
        Self { pending: JoinSet::new(), oldest: VecDeque::new(), places }
    }

    /// Begins one. To be called where a place is left.
    pub(crate) fn admit(
        &mut self,
        peer: SocketAddr,
        handshake: impl Future<Output = T> + Send + 'static,
    ) {
        let handle = self.pending.spawn(async move { (peer, handshake.await) });
        self.oldest.push_back((peer, handle, Instant::now()));
    }

    /// Where no place is left: when the oldest has had its while.
    pub(crate) fn full_until(&mut self) -> Option<Instant> {
        self.oldest.retain(|(_, handshake, _)| !handshake.is_finished());
        let (_, _, begun) = self.oldest.front()?;
        (self.oldest.len() >= self.places).then(|| *begun + FAIR)
    }

    /// Drops the oldest, and returns its address.
    pub(crate) fn make_room(&mut self) -> Option<SocketAddr> {
        let (peer, handshake, _) = self.oldest.pop_front()?;
        handshake.abort();
        Some(peer)
    }

    /// The next one that has ended, `None` where none is under way. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Result<(SocketAddr, T), JoinError>> {
        self.pending.join_next().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test]
    async fn a_place_is_kept_for_a_while_and_the_oldest_goes_first() {
        let mut handshakes = Handshakes::<()>::new(3);
        let begun = Instant::now();
        for port in 1..=3 {
            assert_eq!(handshakes.full_until(), None);
            handshakes.admit(peer(port), std::future::pending());
        }
        assert!(handshakes.full_until().unwrap() >= begun + FAIR);
        assert_eq!(handshakes.make_room(), Some(peer(1)));
        assert_eq!(handshakes.full_until(), None);
        assert!(handshakes.next().await.unwrap().unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn whoever_has_shaken_hands_takes_no_place() {
        let mut handshakes = Handshakes::new(1);
        handshakes.admit(peer(7), async { 5 });
        assert_eq!(handshakes.next().await.unwrap().unwrap(), (peer(7), 5));
        assert_eq!(handshakes.full_until(), None);
        assert!(handshakes.next().await.is_none());
    }
}

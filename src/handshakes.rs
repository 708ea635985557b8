//! Connections that come in and have yet to shake hands: so many at a time, and each has a fair
//! while.
//!
//! Nobody waits for a silent connection, and strangers take no more than so many places. Where all
//! places are taken, whoever comes next waits with the system until the oldest has had its while:
//! honest clients that come together must not push each other out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The least that each of them has, however many others come.
const FAIR: Duration = Duration::from_secs(1);
/// The pause after an error of a listener, such as too many open files: there may be fewer soon.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Handshakes under way, which end in a `T`.
pub(crate) struct Handshakes<T> {
    pending: JoinSet<(SocketAddr, T)>,
    oldest: VecDeque<(SocketAddr, AbortHandle, Instant)>,
    places: usize,
    /// Until when nobody is accepted, where the last attempt has failed.
    pause: Option<Instant>,
}

/// What a connection has come to, or that none comes.
pub(crate) enum Arrival<T> {
    /// Its handshake has ended.
    Ended(SocketAddr, T),
    /// It has not finished its handshake, and made room for others.
    Slow(SocketAddr),
    /// The system accepts none for now. It is told once, however long that lasts.
    System(io::Error),
    /// Its handshake has ended in a panic.
    Panicked,
}

impl<T: Send + 'static> Handshakes<T> {
    pub(crate) fn new(places: usize) -> Self {
        Self { pending: JoinSet::new(), oldest: VecDeque::new(), places, pause: None }
    }

    /// Accepts connections and shakes hands with them, until one has come to something. May be
    /// dropped while it waits.
    pub(crate) async fn arrival<C, A, H>(
        &mut self,
        accept: impl Fn() -> A,
        meet: impl Fn(C, SocketAddr) -> H,
    ) -> Arrival<T>
    where
        A: Future<Output = io::Result<(C, SocketAddr)>>,
        H: Future<Output = T> + Send + 'static,
    {
        loop {
            let (full, pause) = (self.full_until(), self.pause);
            let accepted = async {
                sleep_until(pause.unwrap_or_else(Instant::now)).await;
                accept().await
            };
            tokio::select! {
                // Whoever comes now waits with the system, until there is a place.
                () = sleep_until(full.unwrap_or_else(Instant::now)), if full.is_some() => {
                    if let Some(oldest) = self.make_room() {
                        return Arrival::Slow(oldest);
                    }
                }
                accepted = accepted, if full.is_none() => match accepted {
                    Ok((connection, peer)) => {
                        self.pause = None;
                        self.admit(peer, meet(connection, peer));
                    }
                    Err(error) => {
                        if self.pause.replace(Instant::now() + PAUSE).is_none() {
                            return Arrival::System(error);
                        }
                    }
                },
                Some(ended) = self.pending.join_next() => match ended {
                    Ok((peer, ended)) => return Arrival::Ended(peer, ended),
                    Err(error) if error.is_panic() => return Arrival::Panicked,
                    // It was dropped, and told then.
                    Err(_) => {}
                },
            }
        }
    }

    /// Begins one. To be called where a place is left.
    fn admit(&mut self, peer: SocketAddr, handshake: impl Future<Output = T> + Send + 'static) {
        let handle = self.pending.spawn(async move { (peer, handshake.await) });
        self.oldest.push_back((peer, handle, Instant::now()));
    }

    /// Where no place is left: when the oldest has had its while.
    fn full_until(&mut self) -> Option<Instant> {
        self.oldest.retain(|(_, handshake, _)| !handshake.is_finished());
        let (_, _, begun) = self.oldest.front()?;
        (self.oldest.len() >= self.places).then(|| *begun + FAIR)
    }

    /// Drops the oldest, and returns its address.
    fn make_room(&mut self) -> Option<SocketAddr> {
        let (peer, handshake, _) = self.oldest.pop_front()?;
        handshake.abort();
        Some(peer)
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
        let cancelled = handshakes.pending.join_next().await.unwrap();
        assert!(cancelled.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn whoever_has_shaken_hands_takes_no_place() {
        let mut handshakes = Handshakes::new(1);
        handshakes.admit(peer(7), async { 5 });
        assert_eq!(handshakes.pending.join_next().await.unwrap().unwrap(), (peer(7), 5));
        assert_eq!(handshakes.full_until(), None);
    }

    #[tokio::test]
    async fn a_listener_in_trouble_is_told_once_and_tried_again() {
        let mut handshakes = Handshakes::new(1);
        let attempts = std::cell::Cell::new(0);
        let accept = || {
            attempts.set(attempts.get() + 1);
            let trouble = || io::Error::from(io::ErrorKind::OutOfMemory);
            let accepted = if attempts.get() < 4 { Err(trouble()) } else { Ok(((), peer(7))) };
            async move { accepted }
        };
        let meet = |(), _| async { 5 };
        let begun = Instant::now();
        assert!(matches!(handshakes.arrival(accept, meet).await, Arrival::System(_)));
        let met = handshakes.arrival(accept, meet).await;
        assert!(matches!(met, Arrival::Ended(from, 5) if from == peer(7)));
        assert!(attempts.get() >= 4 && begun.elapsed() >= 3 * PAUSE);
    }

    #[tokio::test]
    async fn a_panic_of_one_is_told_and_the_slow_make_room() {
        let mut handshakes = Handshakes::<()>::new(1);
        let accept = || async { Ok(((), peer(1))) };
        let panics = |(), _| async { panic!("a handshake") };
        assert!(matches!(handshakes.arrival(accept, panics).await, Arrival::Panicked));
        let hangs = |(), _| std::future::pending();
        assert!(matches!(handshakes.arrival(accept, hangs).await, Arrival::Slow(_)));
    }
}

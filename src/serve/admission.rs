//! Whether there is room: predicted memory, in the order in which it is asked for, and the sessions
//! of one client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Credential, Error};

/// Bytes of a permit.
const UNIT: u64 = 64 << 10;
/// The most seconds that a client is told to wait.
const LONGEST: usize = 60;

/// The memory that is left, and who waits for it.
pub(super) struct Admission {
    room: Arc<Semaphore>,
    /// Permits in all.
    all: u32,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
    sessions: Arc<Mutex<HashMap<Credential, u32>>>,
}

/// A place for a session, given back when this is dropped.
pub(super) struct Ticket {
    client: Credential,
    sessions: Arc<Mutex<HashMap<Credential, u32>>>,
    /// None of a session that is too large for the service, which comes to nothing.
    memory: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// For so many bytes.
    pub(super) fn new(bytes: u64, queue: usize, patience: Duration) -> Self {
        // The semaphore counts up to an eighth of a word, and one take is 32 bits.
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).min(u32::MAX >> 4);
        let room = Arc::new(Semaphore::new(all as usize));
        Self { room, all, waiting: AtomicUsize::new(0), queue, patience, sessions: Arc::default() }
    }

    /// Memory of a network, as long as it is there.
    ///
    /// # Errors
    /// [`Error::Memory`] where there is not as much, with what a session of one image needs.
    pub(super) fn network(&self, shared: u64, session: u64) -> Result<OwnedSemaphorePermit, Error> {
        let free = self.room.available_permits() as u64 * UNIT;
        let held = Arc::clone(&self.room).try_acquire_many_owned(permits(shared));
        match held {
            Ok(held) if session <= free.saturating_sub(shared) => Ok(held),
            Ok(_) | Err(_) => Err(Error::Memory { needed: shared + session, budget: free }),
        }
    }

    /// A place for a session that needs so many bytes, of `most` at the most that networks leave.
    ///
    /// # Errors
    /// Seconds until it is worth another try.
    pub(super) async fn session(
        &self,
        client: &Credential,
        allowed: Option<u32>,
        (bytes, most): (u64, u64),
    ) -> Result<Ticket, u32> {
        // A client's own bound comes first, so that it cannot fill the queue.
        let mut ticket = self.count(client, allowed).ok_or_else(|| self.retry())?;
        if bytes > most {
            return Ok(ticket);
        }
        let room = Arc::clone(&self.room);
        // What is free goes to those who wait, first of all: this finds what they leave.
        ticket.memory = match Arc::clone(&room).try_acquire_many_owned(permits(bytes)) {
            Ok(memory) => Some(memory),
            Err(_) => {
                let _waiting =
                    Waiting::enter(&self.waiting, self.queue).ok_or_else(|| self.retry())?;
                let turn = timeout(self.patience, room.acquire_many_owned(permits(bytes))).await;
                Some(turn.ok().and_then(Result::ok).ok_or_else(|| self.retry())?)
            }
        };
        Ok(ticket)
    }

    fn count(&self, client: &Credential, allowed: Option<u32>) -> Option<Ticket> {
        let mut sessions = lock(&self.sessions);
        let count = sessions.entry(client.clone()).or_default();
        if allowed.is_some_and(|allowed| *count >= allowed) {
            return None;
        }
        *count += 1;
        let client = client.clone();
        Some(Ticket { client, sessions: Arc::clone(&self.sessions), memory: None })
    }

    /// The longer the queue, the later it is worth another try.
    fn retry(&self) -> u32 {
        (1 + self.waiting()).min(LONGEST) as u32
    }

    /// Sessions that wait for memory.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that are spoken for, and bytes in all.
    pub(super) fn charged(&self) -> (u64, u64) {
        let free = self.room.available_permits() as u64 * UNIT;
        let all = u64::from(self.all) * UNIT;
        (all - free, all)
    }
}

impl Ticket {
    /// Whether it has a place.
    pub(super) const fn fits(&self) -> bool {
        self.memory.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut sessions = lock(&self.sessions);
        if let Some(count) = sessions.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&self.client);
            }
        }
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(waiting);
        // Counted before it is looked at, so that two cannot take the last place.
        if waiting.fetch_add(1, Ordering::Relaxed) < most { Some(place) } else { None }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    const MIB: u64 = 1 << 20;

    fn client() -> Credential {
        Credential::Key(Identity::generate().unwrap().public())
    }

    #[tokio::test]
    async fn memory_is_given_in_turn_and_comes_back() {
        let admission = Arc::new(Admission::new(10 * MIB, 1, Duration::from_secs(5)));
        let held = admission.network(2 * MIB, MIB).unwrap();
        let (a, room) = (client(), 8 * MIB);
        let first = admission.session(&a, None, (6 * MIB, room)).await.unwrap();
        assert_eq!(admission.charged(), (8 * MIB, 10 * MIB));
        let other = Arc::clone(&admission);
        let second =
            tokio::spawn(async move { other.session(&client(), None, (6 * MIB, room)).await });
        while admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // The queue has one place, and what came first goes first though less would fit.
        assert!(admission.session(&client(), None, (MIB, room)).await.is_err());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(second.fits());
        drop((second, held));
        assert_eq!(admission.charged().0, 0);
        let most = admission.session(&a, None, (9 * MIB, room)).await.unwrap();
        assert!(!most.fits() && admission.charged().0 == 0);
    }

    #[tokio::test]
    async fn a_client_has_no_more_sessions_than_it_may() {
        let admission = Admission::new(10 * MIB, 4, Duration::from_millis(20));
        let (a, b) = (client(), client());
        let held = admission.session(&a, Some(1), (MIB, 9 * MIB)).await.unwrap();
        assert!(admission.session(&a, Some(1), (MIB, 9 * MIB)).await.is_err());
        assert!(admission.session(&b, Some(1), (MIB, 9 * MIB)).await.is_ok());
        drop(held);
        assert!(admission.session(&a, Some(1), (MIB, 9 * MIB)).await.is_ok());
        let _held = admission.session(&a, None, (9 * MIB, 9 * MIB)).await.unwrap();
        let late = admission.session(&b, None, (2 * MIB, 9 * MIB)).await;
        assert!(late.is_err(), "there is no room in time");
        assert_eq!(admission.waiting(), 0);
    }
}

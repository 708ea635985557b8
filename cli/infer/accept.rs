//! The server's door: whoever connects may shake hands, and the first client that agrees is let in.
//!
//! A connection that is not a client's, or of a client that disagrees, is noted and changes
//! nothing. Handshakes run beside each other, so that nobody waits for a silent connection; where
//! too many are under way, the oldest goes, which has had the most time.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::console::Console;
use crate::exit::Outcome;

/// Handshakes under way at the most.
const PENDING: usize = 16;
/// The pause after an error of the listener, such as too many open files: there may be fewer soon.
const PAUSE: Duration = Duration::from_millis(100);

/// The first connection whose handshake succeeds; all others are closed.
pub(super) async fn first<T, F>(
    listener: TcpListener,
    console: &Console,
    meet: impl Fn(TcpStream) -> F,
) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut door = Door { pending: JoinSet::new(), oldest: VecDeque::new() };
    let mut troubled = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    troubled = false;
                    door.admit(console, peer, meet(stream));
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        console.note(format_args!("cannot accept a connection for now: {error}"));
                    }
                    sleep(PAUSE).await;
                }
            },
            Some(ended) = door.pending.join_next() => match ended {
                Ok((_, Ok(met))) => return Ok(met),
                Ok((peer, Err(failure))) => turned_away(console, peer, failure),
                // It was dropped, and noted then.
                Err(_) => {}
            },
        }
    }
}

struct Door<T> {
    pending: JoinSet<(SocketAddr, Outcome<T>)>,
    oldest: VecDeque<(SocketAddr, AbortHandle)>,
}

impl<T: Send + 'static> Door<T> {
    fn admit(
        &mut self,
        console: &Console,
        peer: SocketAddr,
        handshake: impl Future<Output = Outcome<T>> + Send + 'static,
    ) {
        self.oldest.retain(|(_, handshake)| !handshake.is_finished());
        while self.oldest.len() >= PENDING {
            let Some((oldest, handshake)) = self.oldest.pop_front() else { break };
            handshake.abort();
            turned_away(
                console,
                oldest,
                "it has not finished its handshake, and others are waiting",
            );
        }
        let handshake = self.pending.spawn(async move { (peer, handshake.await) });
        self.oldest.push_back((peer, handshake));
    }
}

/// Says why a connection came to nothing. The console escapes what a stranger has sent.
fn turned_away(console: &Console, peer: SocketAddr, why: impl Display) {
    console.note(format_args!("no session with {peer}: {why}; waiting for another client"));
}

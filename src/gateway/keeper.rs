//! The session of a gateway: a thread that prepares while nobody asks, and connects again when the
//! server ends or the connection breaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

use protocols::plan::{Answer, Plan};
use protocols::{Error as ProtocolError, Reason};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::infer::is_of_images;
use super::{GatewayEvent, GatewayOptions, Shared};
use crate::{Client, Error, Images};

/// The pause after the first attempt to connect that failed; it doubles up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// What a request comes to: the answers, and the plan that they are of.
pub(super) type Outcome = Result<(Vec<Answer>, Arc<Plan>), Error>;

/// What the session is to do.
pub(super) enum Job {
    /// To infer images, one after the other.
    Infer { images: Images, reply: oneshot::Sender<Outcome> },
    /// To end, after all that came before.
    End,
}

/// Whoever holds the session.
pub(super) struct Keeper {
    options: GatewayOptions,
    client: Option<Client>,
    jobs: mpsc::Receiver<Job>,
}

impl Keeper {
    pub(super) const fn new(
        options: GatewayOptions,
        client: Client,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        Self { options, client: Some(client), jobs }
    }

    /// Starts the thread; the receiver hears of its end.
    pub(super) fn start(self, shared: Arc<Shared>) -> Result<oneshot::Receiver<()>, Error> {
        let (ended, end) = oneshot::channel();
        let runtime = Handle::current();
        Builder::new()
            .name("session".into())
            .spawn(move || {
                // A session computes on the thread that waits for it.
                runtime.block_on(self.keep(&shared));
                let _ = ended.send(());
            })
            .map_err(|source| Error::System { what: "a thread for the session", source })?;
        Ok(end)
    }

    async fn keep(mut self, shared: &Shared) {
        let mut pause = PAUSE;
        loop {
            if let Err(error) = self.prepare(shared).await {
                // A server that is busy says when to come again.
                let wait = busy(&error).unwrap_or(pause);
                pause = (pause * 2).min(LONGEST);
                if self.pass(&error, wait).await {
                    return;
                }
                continue;
            }
            pause = PAUSE;
            match self.jobs.recv().await {
                Some(Job::Infer { images, reply }) => {
                    let outcome = self.infer(shared, &images).await;
                    // Whoever asked and went is not told.
                    let _ = reply.send(outcome);
                }
                Some(Job::End) | None => break,
            }
        }
        if let Some(client) = self.client.take() {
            // Whatever it comes to, nothing depends on it.
            let _ = client.close().await;
        }
    }

    /// Makes sure of a session, with inferences that are prepared.
    async fn prepare(&mut self, shared: &Shared) -> Result<(), Error> {
        let outcome = self.try_prepare(shared).await;
        if let Err(error) = &outcome {
            self.lose(shared, error);
        }
        outcome
    }

    async fn try_prepare(&mut self, shared: &Shared) -> Result<(), Error> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(self.options.connect().await?),
        };
        client.prepare(&mut |_| ()).await?;
        if !shared.ready.swap(true, Ordering::Relaxed) {
            shared.plan.send_replace(Arc::clone(client.plan()));
            shared.tell(&GatewayEvent::Connected { server: client.peer() });
        }
        Ok(())
    }

    fn lose(&mut self, shared: &Shared, error: &Error) {
        self.client = None;
        shared.ready.store(false, Ordering::Relaxed);
        shared.tell(&GatewayEvent::Disconnected { why: &error.to_string() });
    }

    /// Answers requests with what stands in their way, for some time; whether it is the end.
    async fn pass(&mut self, error: &Error, time: Duration) -> bool {
        let answer = async {
            loop {
                match self.jobs.recv().await {
                    Some(Job::Infer { reply, .. }) => {
                        let _ = reply.send(Err(again(error)));
                    }
                    Some(Job::End) | None => return,
                }
            }
        };
        timeout(time, answer).await.is_ok()
    }

    /// Infers images one after the other. A session that is gone is made anew, once for a request:
    /// an idle one may have ended long before.
    async fn infer(&mut self, shared: &Shared, images: &Images) -> Outcome {
        let (mut answers, mut tried) = (Vec::new(), false);
        while answers.len() < images.len() {
            self.prepare(shared).await?;
            let Some(client) = &mut self.client else { return Err(Error::Ended) };
            let plan = Arc::clone(client.plan());
            let image = images.skip(answers.len()).take(1);
            let image = image.preprocessed(plan.input.preprocess.clone());
            match client.infer(&image).await {
                Ok(found) => answers.extend(found),
                Err(error) if is_of_images(&error) => return Err(error),
                Err(error) => {
                    self.lose(shared, &error);
                    if !is_gone(&error) || std::mem::replace(&mut tried, true) {
                        return Err(error);
                    }
                    // Another server may have another plan: answers are of one alone.
                    answers.clear();
                }
            }
        }
        shared.served.fetch_add(answers.len() as u64, Ordering::Relaxed);
        let plan = Arc::clone(&shared.plan.borrow());
        Ok((answers, plan))
    }
}

/// Whether another session may do.
const fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::Connection(_)
            | Error::Ended
            | Error::Exhausted { .. }
            | Error::Protocol(
                ProtocolError::PeerLost { .. }
                    | ProtocolError::PeerSilent { .. }
                    | ProtocolError::Overdue { .. }
                    | ProtocolError::Dismissed { reason: Reason::Leaving | Reason::Overdue, .. }
            )
    )
}

/// When a server that is busy is worth another try.
fn busy(error: &Error) -> Option<Duration> {
    let Error::Busy { seconds } = error else { return None };
    Some(Duration::from_secs(u64::from(*seconds).clamp(1, 60)))
}

/// An error for one more of those who wait for what it was about.
fn again(error: &Error) -> Error {
    if let Error::Quota { seconds } = error {
        return Error::Quota { seconds: *seconds };
    }
    Error::Connection(std::io::Error::other(error.to_string()))
}

//! Two parties in one process, and the processor time that they take.

use std::path::Path;
use std::time::{Duration, SystemTime};

use protocols::{Channel, Error, Limits, Role, Session};
use tokio::runtime::Runtime;

/// Two connected sessions, and the runtime that moves their bytes.
pub(crate) struct Parties {
    pub(crate) runtime: Runtime,
    pub(crate) server: Session,
    pub(crate) client: Session,
}

impl Parties {
    /// Two parties with empty pools.
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let (left, right) = {
            let _entered = runtime.enter();
            Channel::pair(Limits::default())
        };
        let server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        Self { runtime, server, client }
    }

    /// Runs both parties, each on a thread of its own. The time is half of the processor time of
    /// this process, the system's included: what one party takes of one core, however busy the
    /// machine is.
    pub(crate) fn run<A: Send, B: Send>(
        &mut self,
        server: impl AsyncFnOnce(&mut Session) -> Result<A, Error> + Send,
        client: impl AsyncFnOnce(&mut Session) -> Result<B, Error> + Send,
    ) -> (A, B, Duration) {
        let Self { runtime, server: left, client: right } = self;
        let start = processor_time();
        let (a, own, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let result = runtime.block_on(server(left));
                (result, thread_time("/proc/thread-self"))
            });
            let b = runtime.block_on(client(right));
            let (a, own) = other.join().expect("the server's thread");
            (a, own, b)
        });
        // Threads that end meanwhile take their times with them.
        let taken = (processor_time() + own).saturating_sub(start) / 2;
        (a.expect("the server"), b.expect("the client"), taken)
    }
}

/// The time that the living threads of this process have run for, as Linux tells it; elsewhere, the
/// time since the epoch.
fn processor_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    };
    threads.flatten().map(|thread| thread_time(thread.path())).sum()
}

/// The time that a thread has run for.
pub(crate) fn thread_time(thread: impl AsRef<Path>) -> Duration {
    let statistics = std::fs::read_to_string(thread.as_ref().join("schedstat"));
    let nanoseconds = statistics.ok().and_then(|line| line.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

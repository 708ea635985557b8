//! Two parties in one process, and the processor time that they take.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use protocols::ot::{Extend, Setup};
use protocols::{Channel, Error, Limits, Role, Session, bench};
use tokio::runtime::Runtime;

/// Two connected sessions, and the runtime that moves their bytes.
pub(crate) struct Parties {
    runtime: Runtime,
    server: Session,
    client: Session,
}

/// What both parties took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    /// Half of the processor time of this process, the system's included: what one party takes of one core, however busy
    /// the machine is.
    pub(crate) processor: Duration,
    /// From the start to the end of the slower one.
    pub(crate) wall: Duration,
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

    /// Runs both parties, each on a thread of its own.
    pub(crate) fn run<A: Send, B: Send>(
        &mut self,
        server: impl AsyncFnOnce(&mut Session) -> Result<A, Error> + Send,
        client: impl AsyncFnOnce(&mut Session) -> Result<B, Error> + Send,
    ) -> (A, B, Taken) {
        let Self { runtime, server: left, client: right } = self;
        let (start, clock) = (processor_time(), Instant::now());
        let (a, own, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let result = runtime.block_on(server(left));
                (result, thread_time("/proc/thread-self"))
            });
            let b = runtime.block_on(client(right));
            let (a, own) = other.join().expect("the server's thread");
            (a, own, b)
        });
        let taken = Taken { processor: (processor_time() + own - start) / 2, wall: clock.elapsed() };
        (a.expect("the server"), b.expect("the client"), taken)
    }

    /// Extends by so many transfers that the client sends.
    pub(crate) fn fill(&mut self, setup: Setup, client: usize) {
        let extend = Extend { depth: setup.depth, server: 0, client };
        let fill = async |session: &mut Session| {
            session.run(&setup, ()).await?;
            session.run(&extend, ()).await
        };
        self.run(fill, fill);
    }

    /// Drops whatever transfers are left.
    pub(crate) fn drain(&mut self) {
        bench::drain(&mut self.server);
        bench::drain(&mut self.client);
    }
}

/// The time that the living threads of this process have run for, as Linux tells it; elsewhere, the time since the epoch.
fn processor_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    };
    threads.flatten().map(|thread| thread_time(&thread.path())).sum()
}

fn thread_time(thread: impl AsRef<Path>) -> Duration {
    let statistics = std::fs::read_to_string(thread.as_ref().join("schedstat"));
    let nanoseconds = statistics.ok().and_then(|line| line.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

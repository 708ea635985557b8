//! One party of one session: handshake, then the plan.

use protocols::execute::{self, Event, Logits, Report, Side};
use protocols::handshake::{Agreement, Greeting, greet};
use protocols::plan::{Load, Plan, Reveal};
use protocols::{Channel, Limits, Role, Session};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::connection;
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;

/// What a party brings.
pub(super) struct Party<'a> {
    pub(super) plan: &'a Plan,
    pub(super) side: Side<'a>,
    /// Client: what it asks for. Server: the most that it takes.
    pub(super) load: Load,
    pub(super) limits: Limits,
}

/// A connection to a peer that agrees.
pub(super) struct Met {
    channel: Channel,
    agreement: Agreement,
}

/// How a party meets its peer: what it says of itself, as often as it is asked.
#[derive(Clone, Copy)]
pub(super) struct Introduction {
    role: Role,
    reveals: Reveal,
    plan: [u8; 32],
    load: Load,
    limits: Limits,
}

impl Introduction {
    /// Shakes hands, with a nonce of its own for every connection.
    pub(super) async fn meet(self, stream: TcpStream) -> Outcome<Met> {
        let Self { role, reveals, plan, load, limits } = self;
        let greeting = Greeting { role, reveals, plan, load, nonce: fresh()?, memory: u64::MAX };
        let mut channel = Channel::new(connection::ready(stream)?, limits);
        let agreement = greet(&mut channel, &greeting).await?;
        Ok(Met { channel, agreement })
    }
}

impl Party<'_> {
    /// What it says of itself.
    pub(super) fn introduction(&self) -> Introduction {
        let role = match self.side {
            Side::Server(_) => Role::Server,
            Side::Client(_) => Role::Client,
        };
        let (reveals, plan) = (self.plan.reveals(), self.plan.hash());
        Introduction { role, reveals, plan, load: self.load, limits: self.limits }
    }

    /// Runs the party on this thread, handshake and all; the runtime's workers move its bytes
    /// meanwhile.
    pub(super) fn run(
        &self,
        runtime: &Runtime,
        stream: TcpStream,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Outcome<(Logits, Report)> {
        let met = runtime.block_on(self.introduction().meet(stream))?;
        self.converse(runtime, met, observe)
    }

    /// Runs the party with a peer that it has met.
    pub(super) fn converse(
        &self,
        runtime: &Runtime,
        Met { channel, agreement }: Met,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Outcome<(Logits, Report)> {
        let mut session = Session::new(self.introduction().role, channel, agreement.id, fresh()?);
        let run = execute::execute(self.plan, &mut session, self.side, agreement.load, observe);
        Ok(runtime.block_on(run)?)
    }
}

/// Shows the events of a run as progress.
pub(super) fn show(progress: &Progress) -> impl FnMut(Event<'_>) {
    |event| progress.set(&format!("{}: {}", event.phase, event.step), event.index, event.count)
}

/// Random bytes of the operating system.
fn fresh() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    let failed = |error| Failure::internal(format_args!("the system has no random bytes: {error}"));
    SysRng.try_fill_bytes(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

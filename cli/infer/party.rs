//! One party of one session: handshake, then the plan.

use std::sync::Arc;

use protocols::allowance;
use protocols::execute::{self, Event, Logits, Report, Side};
use protocols::handshake::{Agreement, Greeting, greet};
use protocols::plan::{Load, Plan};
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
    /// Server: the bytes that it may be predicted to need.
    pub(super) memory: u64,
    pub(super) limits: Limits,
}

/// A connection to a peer that agrees.
pub(super) struct Met {
    channel: Channel,
    agreement: Agreement,
}

/// How a party meets its peer: what it says of itself, as often as it is asked.
#[derive(Clone)]
pub(super) struct Introduction {
    role: Role,
    plan: Arc<Plan>,
    hash: [u8; 32],
    load: Load,
    memory: u64,
    limits: Limits,
}

impl Introduction {
    /// Shakes hands, with a nonce of its own for every connection. A load that takes more than the
    /// server's memory is no session either.
    pub(super) async fn meet(self, stream: TcpStream) -> Outcome<Met> {
        let Self { role, plan, hash, load, memory, limits } = self;
        let reveals = plan.reveals();
        let greeting = Greeting { role, reveals, plan: hash, load, nonce: fresh()?, memory };
        let mut channel = Channel::new(connection::ready(stream)?, limits);
        let agreement = greet(&mut channel, &greeting).await?;
        let server = |load| plan.memory(Role::Server, load);
        match allowance::allowed(server, agreement.memory, agreement.load) {
            Ok(()) => Ok(Met { channel, agreement }),
            Err(excess) => {
                // The peer comes to the same end by itself, once it has this party's confirmation.
                channel.part().await;
                Err(excess.disagreement(role).into())
            }
        }
    }
}

impl Party<'_> {
    /// What it says of itself.
    pub(super) fn introduction(&self) -> Introduction {
        Introduction {
            role: role_of(self.side),
            plan: Arc::new(self.plan.clone()),
            hash: self.plan.hash(),
            load: self.load,
            memory: self.memory,
            limits: self.limits,
        }
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
        let mut session = Session::new(role_of(self.side), channel, agreement.id, fresh()?);
        let run = execute::execute(self.plan, &mut session, self.side, agreement.load, observe);
        Ok(runtime.block_on(run)?)
    }
}

const fn role_of(side: Side<'_>) -> Role {
    match side {
        Side::Server(_) => Role::Server,
        Side::Client(_) => Role::Client,
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

//! One party of one session: handshake, then the plan.

use protocols::allowance;
use protocols::execute::{self, Event, Logits, Report, Side};
use protocols::handshake::{Greeting, greet};
use protocols::plan::{Load, Plan};
use protocols::{Channel, Limits, Role, Session};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

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

impl Party<'_> {
    /// Runs the party on this thread; the runtime's workers move its bytes meanwhile.
    pub(super) fn run(
        &self,
        runtime: &Runtime,
        stream: TcpStream,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Outcome<(Logits, Report)> {
        runtime.block_on(self.converse(stream, observe))
    }

    async fn converse(
        &self,
        stream: TcpStream,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Outcome<(Logits, Report)> {
        let role = match self.side {
            Side::Server(_) => Role::Server,
            Side::Client(_) => Role::Client,
        };
        let mut channel = Channel::new(stream, self.limits);
        let (reveals, plan) = (self.plan.reveals(), self.plan.hash());
        let greeting =
            Greeting { role, reveals, plan, load: self.load, nonce: fresh()?, memory: self.memory };
        let agreement = greet(&mut channel, &greeting).await?;
        let server = |load| self.plan.memory(Role::Server, load);
        allowance::allowed(server, agreement.memory, agreement.load)
            .map_err(|excess| excess.disagreement(role))?;
        let mut session = Session::new(role, channel, agreement.id, fresh()?);
        Ok(execute::execute(self.plan, &mut session, self.side, agreement.load, observe).await?)
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

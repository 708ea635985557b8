//! One party of a session, through the library.

use std::time::Duration;

use protocols::execute::{Side, execute};
use protocols::handshake::{Greeting, greet};
use protocols::plan::{Load, Plan};
use protocols::{Channel, Error, Limits, Role, Session};
use tokio::net::TcpStream;

/// Runs a party to its end: the client's logits, nothing for the server.
pub(crate) async fn converse(
    stream: TcpStream,
    plan: &Plan,
    side: Side<'_>,
    images: usize,
    silence: Duration,
) -> Result<Option<Vec<i64>>, Error> {
    stream.set_nodelay(true).unwrap();
    let role = match side {
        Side::Server(_) => Role::Server,
        Side::Client(_) => Role::Client,
    };
    let mut channel = Channel::new(stream, Limits::new(silence));
    let greeting = Greeting {
        role,
        reveals: plan.reveals(),
        plan: plan.hash(),
        load: Load::one(images),
        nonce: [role as u8; 32],
        memory: u64::MAX,
    };
    let agreement = greet(&mut channel, &greeting).await?;
    let mut session = Session::new(role, channel, agreement.id, [7 + role as u8; 32]);
    let (logits, _) = execute(plan, &mut session, side, agreement.load, &mut |_| ()).await?;
    Ok(logits)
}

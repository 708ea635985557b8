//! One party of a session, through the library.

use std::sync::Arc;

use protocols::execute::{Side, execute};
use protocols::handshake::{Hello, shake_hands};
use protocols::plan::{Load, Plan};
use protocols::{Channel, Error, Limits, Role, Session};
use tokio::net::TcpStream;

/// Runs a party to its end: the client's logits, nothing for the server.
pub(crate) async fn converse(
    stream: TcpStream,
    plan: &Plan,
    side: Side<'_>,
    images: usize,
    limits: Limits,
) -> Result<Option<Vec<i64>>, Error> {
    stream.set_nodelay(true).unwrap();
    let role = match side {
        Side::Server(_) => Role::Server,
        Side::Client(_) => Role::Client,
    };
    let mut channel = Channel::new(stream, limits);
    let hello = Hello {
        role,
        reveals: plan.reveals(),
        plan: plan.hash(),
        load: Load::one(images),
        nonce: rand::random(),
        memory: u64::MAX,
    };
    let agreement = shake_hands(&mut channel, &hello).await?;
    let session = Session::new(role, channel, agreement.id, rand::random());
    let (logits, _) =
        execute(&Arc::new(plan.clone()), session, side, agreement.load, &mut |_| ()).await?;
    Ok(logits)
}

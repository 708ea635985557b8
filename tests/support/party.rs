//! One party of a session, through the library.

use protocols::execute::{Randomness, Side};
use protocols::plan::Plan;
use protocols::{Channel, Error, Limits};
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
    let randomness = Randomness { nonce: rand::random(), seed: rand::random() };
    let channel = Channel::new(stream, limits);
    // Not on the stack: without optimization a party's future is large, and tests have two.
    Box::pin(protocols::execute::converse(channel, plan, side, images, randomness)).await
}

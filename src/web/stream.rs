//! The bytes that the messages of a WebSocket carry: where one message ends means nothing.

use std::future::ready;
use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::tls::Stream;

/// The longest message: a frame of the protocol's, with room. It is read whole, so it bounds what
/// a peer can make this party hold.
const LONGEST: usize = 2 << 20;

/// How WebSockets are read and written.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
        // Nothing waits here for more: the channel says when a message is to leave.
        .write_buffer_size(0)
        .max_write_buffer_size(2 * LONGEST)
}

/// A WebSocket as a stream of bytes.
pub(super) fn bytes<S>(socket: WebSocketStream<S>) -> Box<dyn Stream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The channel reads and writes at the same time, and each half has its own buffer.
    let (sink, messages) = socket.split();
    let reader = StreamReader::new(messages.filter_map(|message| ready(payload(message))));
    let binary = sink.with(|bytes: Bytes| ready(Ok::<_, Error>(Message::Binary(bytes))));
    let writer = SinkWriter::new(CopyToBytes::new(binary.sink_map_err(broken)));
    Box::new(tokio::io::join(reader, writer))
}

/// What a message carries. Pings are answered below, and the end of the messages is the stream's.
fn payload(message: Result<Message, Error>) -> Option<io::Result<Bytes>> {
    match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
        Ok(Message::Text(_)) => Some(Err(io::Error::other("expected bytes, found a text message"))),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => None,
        // The reader then finds the end, as of any stream.
        Err(Error::ConnectionClosed | Error::AlreadyClosed) => None,
        Err(error) => Some(Err(broken(error))),
    }
}

fn broken(error: Error) -> io::Error {
    // Its kind says more than that of what it is wrapped in.
    if let Error::Io(error) = error { error } else { io::Error::other(error) }
}

//! A proxy between the parties that knows frames, and breaks the connection at one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Server,
    Client,
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Both connections are closed instead of forwarding it.
    Close,
    /// Half of it is forwarded, then both connections are closed.
    Half,
    /// Neither it nor anything after it is forwarded; the connections stay open.
    Stall,
    /// One bit of it is flipped, header included; the number is taken modulo its bits.
    Flip(usize),
    /// It is forwarded behind the next one.
    Swap,
    /// It is forwarded twice.
    Twice,
    /// It is not forwarded, but what comes after it is.
    Drop,
    /// All bytes of its payload are replaced.
    Fill(u8),
}

/// One frame of one direction, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) from: From,
    pub(crate) frame: usize,
    pub(crate) fate: Fate,
}

/// Frames that were forwarded.
#[derive(Default)]
pub(crate) struct Counts {
    server: AtomicUsize,
    client: AtomicUsize,
}

impl Counts {
    pub(crate) fn of(&self, from: From) -> usize {
        match from {
            From::Server => self.server.load(Ordering::SeqCst),
            From::Client => self.client.load(Ordering::SeqCst),
        }
    }
}

pub(crate) const HEADER: usize = 12;
const DATA: u8 = 0xD1;

/// Starts a proxy for one connection to `server`; returns its address.
pub(crate) async fn start(server: String, fault: Option<Fault>) -> (String, Arc<Counts>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(server).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let cut = Notify::new();
        let of = |from: From| {
            fault.filter(|fault| fault.from == from).map(|fault| (fault.frame, fault.fate))
        };
        let both = async {
            tokio::join!(
                forward(server_read, client_write, of(From::Server), &counted.server, &cut),
                forward(client_read, server_write, of(From::Client), &counted.client, &cut),
            )
        };
        // Dropping the halves of both sockets closes them.
        tokio::select! {
            _ = both => (),
            () = cut.notified() => (),
        }
    });
    (address, counts)
}

/// Forwards frames of one direction until it ends.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Option<(usize, Fate)>,
    count: &AtomicUsize,
    cut: &Notify,
) -> Option<()> {
    let mut held: Option<Vec<u8>> = None;
    loop {
        let mut frame = vec![0; HEADER];
        from.read_exact(&mut frame).await.ok()?;
        let len = u32::from_le_bytes(frame[8..].try_into().unwrap()) as usize;
        frame.resize(HEADER + len, 0);
        from.read_exact(&mut frame[HEADER..]).await.ok()?;
        let number =
            if frame[0] == DATA { Some(count.fetch_add(1, Ordering::SeqCst)) } else { None };
        match fault.filter(|(at, _)| number == Some(*at)) {
            None => (),
            Some((_, Fate::Close)) => {
                cut.notify_one();
                return None;
            }
            Some((_, Fate::Half)) => {
                to.write_all(&frame[..frame.len() / 2]).await.ok()?;
                cut.notify_one();
                return None;
            }
            Some((_, Fate::Stall)) => std::future::pending::<()>().await,
            Some((_, Fate::Flip(bit))) => {
                let bit = bit % (8 * frame.len());
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            Some((_, Fate::Fill(byte))) => frame[HEADER..].fill(byte),
            Some((_, Fate::Twice)) => frame.extend_from_within(..),
            Some((_, Fate::Drop)) => continue,
            Some((_, Fate::Swap)) => {
                held = Some(frame);
                continue;
            }
        }
        if number.is_some() {
            frame.extend(held.take().unwrap_or_default());
        }
        to.write_all(&frame).await.ok()?;
    }
}

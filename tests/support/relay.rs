//! Between clients and a server: connections that are cut, or fall silent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::park;

use super::service::apart;

/// What happens to the first connection after its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Both ends lose it.
    Cut,
    /// Neither end hears of the other any more.
    Stall,
}

/// Forwards connections to a server, the first one up to a number of bytes to its client.
pub(crate) struct Relay {
    pub(crate) address: String,
    sent: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) fn to(server: &str, limit: u64, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(AtomicU64::new(0));
        let (server, counted) = (server.to_owned(), Arc::clone(&sent));
        apart(move || {
            let mut limit = limit;
            for client in listener.incoming().map_while(Result::ok) {
                forward(client, &server, (limit, then), Arc::clone(&counted));
                limit = u64::MAX;
            }
        });
        Self { address, sent }
    }

    /// Bytes to clients, of all connections.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn forward(mut client: TcpStream, server: &str, (limit, then): (u64, Then), sent: Arc<AtomicU64>) {
    let mut up = TcpStream::connect(server).unwrap();
    let (mut down, mut own) = (up.try_clone().unwrap(), client.try_clone().unwrap());
    let stalled = Arc::new(AtomicBool::new(false));
    let stalls = Arc::clone(&stalled);
    apart(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = own.read(&mut buffer) {
            // What has stalled stays open, until the process ends.
            while stalled.load(Ordering::SeqCst) {
                park();
            }
            if up.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = up.shutdown(Shutdown::Write);
    });
    apart(move || {
        let (mut buffer, mut forwarded) = ([0; 256], 0);
        while let Ok(read @ 1..) = down.read(&mut buffer) {
            forwarded += read as u64;
            sent.fetch_add(read as u64, Ordering::SeqCst);
            let over = forwarded >= limit;
            stalls.store(over && then == Then::Stall, Ordering::SeqCst);
            while stalls.load(Ordering::SeqCst) {
                park();
            }
            if over || client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        for stream in [&client, &down] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

//! The log: a line of JSON on stderr for everything that happens.

use std::net::SocketAddr;
use std::panic::Location;
use std::time::{SystemTime, UNIX_EPOCH};

use pq::{Service, ServiceEvent};
use serde::Serialize;

use crate::console::{Verbosity, say, to_json_line, verbosity};
use crate::heap;

/// A line: when, and what.
#[derive(Serialize)]
struct Line<'a, T> {
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    event: &'a T,
}

#[derive(Serialize)]
struct Listening {
    event: &'static str,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Panicked<'a> {
    event: &'static str,
    thread: &'a str,
    place: Option<String>,
}

/// Says where the service listens.
pub(super) fn listening(service: &Service) {
    line(&Listening {
        event: "listening",
        address: service.address(),
        admin: service.admin_address(),
        web: service.web_address(),
    });
}

/// Says which thread has panicked, and where. Whoever wants quiet hears of it, too.
pub(super) fn panicked(thread: &str, place: Option<&Location<'_>>) {
    let place = place.map(|place| format!("{}:{}", place.file(), place.line()));
    say_line(&Panicked { event: "panicked", thread, place });
}

/// Writes what happens.
pub(super) fn event(event: &ServiceEvent<'_>) {
    line(event);
    // The session's memory is free by now.
    if matches!(event, ServiceEvent::Ended(_)) {
        heap::give_back();
    }
}

/// Writes a line of JSON with the time.
pub(crate) fn line<T: Serialize>(event: &T) {
    if verbosity() != Verbosity::Quiet {
        say_line(event);
    }
}

fn say_line<T: Serialize>(event: &T) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Milliseconds: a clock tells no more.
    let time = now.as_millis() as f64 / 1e3;
    if let Ok(line) = to_json_line(&Line { time, event }) {
        say(line);
    }
}

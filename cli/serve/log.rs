//! What `pq serve` itself has to say in the log, beside the library's events.

use std::panic::Location;

use pq::{Service, ServiceEvent};
use tracing::field;

use crate::heap;

/// Says where the service listens.
pub(super) fn listening(service: &Service) {
    tracing::info!(
        target: "pq::serve",
        address = %service.address(),
        admin = service.admin_address().map(field::display),
        web = service.web_address().map(field::display),
        "listening"
    );
}

/// Says which thread has panicked, and where. Whoever wants quiet hears of it, too.
pub(super) fn panicked(thread: &str, place: Option<&Location<'_>>) {
    let place = place.map(|place| format!("{}:{}", place.file(), place.line()));
    tracing::error!(target: "pq::serve", thread, place, "panicked");
}

/// Gives the memory of a session that has ended back.
pub(super) fn ended(event: &ServiceEvent<'_>) {
    if matches!(event, ServiceEvent::Ended(_)) {
        heap::give_back();
    }
}

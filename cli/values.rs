//! Values of options that several commands take.

use std::time::Duration;

/// Seconds, of which there may be parts; a million at the most, so that no clock overflows.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.001..=1e6).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds above 0".into())
}

/// A host and a port. The host is looked up where it is used.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("expected HOST:PORT, such as 127.0.0.1:7000".into()),
    }
}

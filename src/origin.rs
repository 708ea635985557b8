//! Which requests are of this machine. A page of anywhere can have a browser send requests to a
//! loopback address; what it cannot do is to say that it is from there.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// Whether a request names this machine as where it goes to and, if a page has sent it, as where
/// that page is from.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).is_none_or(|host| is_loopback(host, ""));
    let page = headers.get(ORIGIN).is_none_or(|page| is_loopback(page, "://"));
    host && page
}

/// Whether it is a loopback host, behind `before`.
fn is_loopback(value: &HeaderValue, before: &str) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let Some(start) = text.find(before) else { return false };
    let authority = &text[start + before.len()..];
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_names_of_elsewhere_are_not_of_this_machine() {
        for (host, origin, local) in [
            ("127.0.0.1:8080", None, true),
            ("localhost", None, true),
            ("[::1]:8080", Some("http://localhost:3000"), true),
            ("127.0.0.1:8080", Some("https://example.org"), false),
            ("127.0.0.1:8080", Some("null"), false),
            ("rebound.example.org:8080", None, false),
            ("127.0.0.1.example.org", None, false),
            ("localhost.example.org:80", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_local(&headers), local, "{host} {origin:?}");
        }
    }
}

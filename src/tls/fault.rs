//! What is wrong with a certificate, in words.

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, ExtendedKeyPurpose};
use time::OffsetDateTime;

/// What is wrong with a certificate, and what to do about it.
pub(super) struct Fault {
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) advice: &'static str,
}

impl Fault {
    /// Of a verifier's error: `authority` was to have issued the certificate, which has these
    /// names.
    pub(super) fn of(error: &CertificateError, authority: &str, names: &str) -> Self {
        in_time(error).or_else(|| for_use(error)).unwrap_or_else(|| {
            let unknown = matches!(error, CertificateError::UnknownIssuer);
            Self {
                expected: format!("a certificate issued by {authority}"),
                found: if unknown {
                    format!("one of another issuer ({names})")
                } else {
                    format!("one that fails ({names}): {error}")
                },
                advice: "check that it is the right one, and that its file has the intermediate \
                         certificates behind it",
            }
        })
    }

    /// Of a party's own certificate: what everybody will refuse, whichever authority they trust.
    pub(super) fn of_own(error: &CertificateError) -> Option<Self> {
        let purpose = matches!(error, CertificateError::InvalidPurposeContext { .. });
        in_time(error).or_else(|| for_use(error).filter(|_| purpose))
    }
}

/// A certificate that ended, or that begins later.
fn in_time(error: &CertificateError) -> Option<Fault> {
    let (found, time) = if let CertificateError::ExpiredContext { time, not_after } = error {
        (format!("one that ended on {}", date(*not_after)), *time)
    } else if let CertificateError::NotValidYetContext { time, not_before } = error {
        (format!("one that begins on {}", date(*not_before)), *time)
    } else {
        return None;
    };
    let expected = format!("a certificate that is valid now, {}", date(time));
    Some(Fault { expected, found, advice: "have it renewed, or set the clock right" })
}

/// A certificate of another name, or for another purpose.
fn for_use(error: &CertificateError) -> Option<Fault> {
    if let CertificateError::NotValidForNameContext { expected, presented } = error {
        let expected = format!("a certificate for {}", expected.to_str());
        let found = if presented.is_empty() {
            "nobody".into()
        } else {
            few(presented.iter().map(|name| bare(name)))
        };
        let advice = "if it is the right server, call it by a name of its certificate";
        return Some(Fault { expected, found: format!("one for {found}"), advice });
    }
    if let CertificateError::InvalidPurposeContext { required, presented } = error {
        let expected = format!("a certificate for {required}");
        let found = format!("one for {}", few(presented.iter().map(purpose)));
        return Some(Fault { expected, found, advice: "have it issued with that purpose" });
    }
    let CertificateError::Other(other) = error else { return None };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)).then(|| Fault {
        expected: "a certificate of the party's own".into(),
        found: "that of an authority".into(),
        advice: "have the authority issue one for the party (basic constraints CA:FALSE)",
    })
}

/// The most names or purposes of a stranger's that a message lists.
const LISTED: usize = 4;

fn few(all: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let more = all.len().saturating_sub(LISTED);
    let mut shown: Vec<String> = all.take(LISTED).map(|one| one.to_string()).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// A name without its kind: rustls writes `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// As an object identifier is written.
fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::Other(parts) => {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            parts.join(".")
        }
        ExtendedKeyPurpose::ClientAuth | ExtendedKeyPurpose::ServerAuth => purpose.to_string(),
    }
}

/// A time to the second, in UTC.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    match seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) {
        Some(date) => {
            let (hour, minute, second) = date.to_hms();
            format!("{} {hour:02}:{minute:02}:{second:02} UTC", date.date())
        }
        None => format!("{} s after 1970", time.as_secs()),
    }
}

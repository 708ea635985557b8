//! By what a server knows a client that has a certificate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use protocols::hex;
use protocols::printable::cut;
use rustls::pki_types::{CertificateDer, DnsName};
use webpki::EndEntityCert;

use crate::digest;

/// By what a server knows a client that has a certificate: one of its alternative names, whole, or
/// its public key. No part and no pattern of a name matches, and the subject is not looked at.
///
/// It is written `x509:dns:alice.example.org`, `x509:uri:spiffe://example.org/alice`, or
/// `x509:key:` and the SHA-256 of the key's `SubjectPublicKeyInfo` in 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CertificateName(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// In lower case: letters of a DNS name may be small or large.
    Dns(Arc<str>),
    Uri(Arc<str>),
    Key([u8; digest::LEN]),
}

const NAME: &str = "x509:";
/// The most names of one certificate that a message lists, and the most characters of each.
const LISTED: usize = 4;
const LONGEST: usize = 200;

impl CertificateName {
    /// All that a certificate may be known by, its key last. None where it is no certificate.
    pub(crate) fn all_of(certificate: &CertificateDer<'_>) -> Option<Vec<Self>> {
        let parsed = EndEntityCert::try_from(certificate).ok()?;
        // A pattern is a name of nobody.
        let dns = parsed.valid_dns_names().filter_map(dns);
        let uris = parsed.valid_uri_names().filter_map(uri);
        let key = Form::Key(digest::sha256(&parsed.subject_public_key_info()));
        Some(dns.chain(uris).chain([key]).map(Self).collect())
    }
}

/// Names for a message: a certificate of a stranger may have many.
pub(crate) fn listed(names: &[CertificateName]) -> String {
    let Some((key, others)) = names.split_last() else { return "none".into() };
    let mut shown: Vec<String> = others.iter().take(LISTED).map(ToString::to_string).collect();
    if others.len() > LISTED {
        shown.push(format!("{} more", others.len() - LISTED));
    }
    shown.push(key.to_string());
    let shown: Vec<_> = shown.iter().map(|name| cut(name, LONGEST)).collect();
    shown.join(", ")
}

fn dns(name: &str) -> Option<Form> {
    DnsName::try_from(name).ok().map(|name| Form::Dns(name.as_ref().to_ascii_lowercase().into()))
}

/// Bytes are compared: two spellings of one address are two names.
fn uri(name: &str) -> Option<Form> {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic()) && name.contains(':');
    plain.then(|| Form::Uri(name.into()))
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Dns(name) => write!(f, "{NAME}dns:{name}"),
            Form::Uri(name) => write!(f, "{NAME}uri:{name}"),
            Form::Key(key) => write!(f, "{NAME}key:{}", hex(key)),
        }
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = text.strip_prefix(NAME).and_then(|text| text.split_once(':'));
        let form = form.and_then(|(kind, name)| match kind {
            "dns" => dns(name),
            "uri" => uri(name),
            "key" => digest::of_hex(name).map(Form::Key),
            _ => None,
        });
        form.map(Self).ok_or_else(|| {
            format!(
                "expected a name of a certificate: {NAME}dns: and a whole name, {NAME}uri: and a \
                 URI, or {NAME}key: and 64 hexadecimal digits; found {text:?}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_patterns_are_none() {
        let key = format!("x509:key:{}", "0a".repeat(32));
        for text in ["x509:dns:a.example.org", "x509:uri:spiffe://example.org/a#b", &key] {
            assert_eq!(text.parse::<CertificateName>().unwrap().to_string(), text);
        }
        let parse = |text: &str| text.parse::<CertificateName>();
        assert_eq!(parse("x509:dns:A.Example.org"), parse("x509:dns:a.example.ORG"));
        assert_ne!(parse("x509:uri:https://a/B"), parse("x509:uri:https://a/b"));
        for wrong in [
            "x509:",
            "x509:dns:",
            "x509:dns:*.example.org",
            "x509:dns:a b",
            "x509:uri:",
            "x509:uri:a",
            "x509:email:a@example.org",
            "x509:key:0a",
            &key.to_uppercase(),
            &key[..key.len() - 1],
            "dns:a.example.org",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_message_lists_few_of_many_names() {
        let names: Vec<CertificateName> = (0..50)
            .map(|at| format!("x509:uri:a:{}", "b".repeat(at * 100)).parse().unwrap())
            .chain([format!("x509:key:{}", "0a".repeat(32)).parse().unwrap()])
            .collect();
        let text = listed(&names);
        assert!(text.len() < 1200 && text.contains("46 more") && text.contains("x509:key:0a"));
    }
}

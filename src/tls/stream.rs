//! The encrypted stream, with errors that say what has happened.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sides::{ClientIdentity, ClientTls};
use crate::Error;

/// What the protocol runs on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream of TLS.
///
/// What the other side says of this one's key or certificate arrives with the first bytes that are
/// read, after the handshake: it becomes [`io::ErrorKind::PermissionDenied`]. Other errors of TLS
/// stay [`io::ErrorKind::InvalidData`].
pub(super) struct Private<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Private<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map_err(told)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Private<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn told(error: io::Error) -> io::Error {
    // An alert of the handshake comes here: the client's part of it was done before the server had
    // looked at what it has shown.
    match alert(&error) {
        Some(alert) if refusal(alert).is_some() => {
            let source = rustls::Error::AlertReceived(alert);
            io::Error::new(io::ErrorKind::PermissionDenied, source)
        }
        _ => error,
    }
}

/// What rustls says within an error of a stream.
pub(super) fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The alert of TLS that an error is, if it is one.
pub(super) fn alert(error: &io::Error) -> Option<AlertDescription> {
    if let Some(rustls::Error::AlertReceived(alert)) = inner(error) { Some(*alert) } else { None }
}

/// What an alert says of the key or the certificate that was shown.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    let words = [
        (AlertDescription::AccessDenied, "it is none of its clients'"),
        (AlertDescription::CertificateExpired, "it has ended, or has not begun, by its clock"),
        (AlertDescription::UnknownCA, "it does not trust its issuer"),
        (AlertDescription::UnsupportedCertificate, "it is not for a client"),
        (AlertDescription::BadCertificate, "it cannot read it"),
        (AlertDescription::CertificateRevoked, "it is revoked"),
        (AlertDescription::CertificateUnknown, "it is not acceptable"),
        (AlertDescription::CertificateRequired, "it has seen none"),
    ];
    words.into_iter().find(|(own, _)| *own == alert).map(|(_, why)| why)
}

/// Why a server has not let a client in, from the first bytes that the client has read.
pub(crate) fn not_admitted(client: &ClientTls, heard: &io::Error) -> Error {
    match &client.identity {
        ClientIdentity::Key(key) => Error::NotAdmitted { key: key.public() },
        ClientIdentity::Certificate(certificate) => Error::CertificateNotAdmitted {
            names: certificate.names().to_owned(),
            why: alert(heard).and_then(refusal).unwrap_or("it says no more"),
        },
    }
}

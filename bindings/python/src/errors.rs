//! Which exception an error of the library is.

use std::error::Error as _;
use std::io;

use pq::{Error, ProtocolError, Reason};
use pyo3::create_exception;
use pyo3::exceptions::{
    PyConnectionError, PyConnectionRefusedError, PyConnectionResetError, PyOSError, PyRuntimeError,
    PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;

create_exception!(pq, BusyError, PyConnectionError, "The server has no room now; try again later.");
create_exception!(
    pq,
    DisagreementError,
    PyConnectionError,
    "The server disagrees: about a key, a network, a plan, memory or a quota."
);
create_exception!(
    pq,
    ViolationError,
    PyConnectionError,
    "The server violates the protocol, or the conversation was altered on the way."
);

/// The exception, with the library's message.
pub(crate) fn exception(error: Error) -> PyErr {
    let message = error.to_string();
    match &error {
        Error::Protocol(error) => of_protocol(error, message),
        Error::NoServer { .. } => PyConnectionRefusedError::new_err(message),
        Error::Connection(_) => PyConnectionResetError::new_err(message),
        Error::Busy { .. } => BusyError::new_err(message),
        Error::UnexpectedKey { .. }
        | Error::NotAdmitted { .. }
        | Error::ServerCertificate { .. }
        | Error::CertificateNotAdmitted { .. }
        | Error::Means { .. }
        | Error::UnknownNetwork { .. }
        | Error::Quota { .. } => DisagreementError::new_err(message),
        Error::Tls { .. } => ViolationError::new_err(message),
        Error::File { .. }
        | Error::Import { .. }
        | Error::Data(_)
        | Error::Search(_)
        | Error::Plaintext(_)
        | Error::Read { .. }
        | Error::TooLarge { .. }
        | Error::Unencrypted { .. }
        | Error::Key { .. } => of_input(&error, message),
        Error::Write { source, .. } | Error::System { source, .. } => of_system(source, message),
        Error::Exhausted { .. } | Error::Ended => PyRuntimeError::new_err(message),
        // What a client in Python does not meet, and faults of the library.
        _ => PyRuntimeError::new_err(message),
    }
}

fn of_protocol(error: &ProtocolError, message: String) -> PyErr {
    match error {
        ProtocolError::PeerLost { .. }
        | ProtocolError::Dismissed { reason: Reason::Leaving, .. } => {
            PyConnectionResetError::new_err(message)
        }
        ProtocolError::PeerSilent { .. }
        | ProtocolError::Overdue { .. }
        | ProtocolError::Dismissed { reason: Reason::Overdue, .. } => {
            PyTimeoutError::new_err(message)
        }
        ProtocolError::Disagreement { .. }
        | ProtocolError::Dismissed { reason: Reason::Quota, .. } => {
            DisagreementError::new_err(message)
        }
        ProtocolError::Violation { .. }
        | ProtocolError::Altered { .. }
        | ProtocolError::Dismissed { reason: Reason::Violated, .. } => {
            ViolationError::new_err(message)
        }
        ProtocolError::Invalid { .. } => PyValueError::new_err(message),
        ProtocolError::Ledger { .. }
        | ProtocolError::PoolDry { .. }
        | ProtocolError::Undeclared { .. }
        | ProtocolError::Unprepared { .. } => PyRuntimeError::new_err(message),
    }
}

/// A file that cannot be read is the system's fault, and any other is its content's.
fn of_input(error: &Error, message: String) -> PyErr {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return of_system(error, message);
        }
        source = cause.source();
    }
    PyValueError::new_err(message)
}

/// `OSError` chooses its kind by the number, such as `FileNotFoundError`.
fn of_system(error: &io::Error, message: String) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, message)),
        None => PyOSError::new_err(message),
    }
}

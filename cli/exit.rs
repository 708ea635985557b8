//! Exit codes, and the failures that they stand for. The only place where an error becomes a code.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use protocols::allowance::Excess;
use protocols::printable::{Printable, cut};
use protocols::{Error, Reason};
use quant::{DataError, ImportError, ReferenceRuntimeError};

/// The end of every `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    success
  1    internal error (a step that did not cost what was predicted is one), local input/output, or
       a limit of the system
  2    wrong usage of the command line
  3    an input file that cannot be used, or a budget that cannot be met
  4    the peer could not be reached, was lost, fell silent, was too slow or is busy
  5    the peer disagrees: key, protocol version, what is revealed, plan hash, role, batch size or
       memory; or it has no such network, or no more images for this client today
  6    the peer violated the protocol, or the conversation was altered on the way
  7    verification failed: the private result differs from the plaintext one
  130  interrupted";

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// A fault of this program, or of the machine's files, sockets and limits.
    Internal = 1,
    /// The command line.
    Usage = 2,
    /// A file that was given, or an impossible budget.
    Input = 3,
    /// The peer could not be reached, was lost, fell silent or was too slow.
    PeerLost = 4,
    /// The peer runs something else.
    Disagreement = 5,
    /// The peer sent what the protocol does not allow, or the parties saw different conversations.
    Violation = 6,
    /// The private result is not the plaintext one.
    Unverified = 7,
    /// Ctrl-C or a request to terminate: 128 + SIGINT, as shells have it.
    Interrupted = 130,
}

impl Code {
    /// The word for it in JSON. It stays as it is.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Input => "input",
            Self::PeerLost => "peer_lost",
            Self::Disagreement => "disagreement",
            Self::Violation => "violation",
            Self::Unverified => "unverified",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The most characters of a message: errors quote files and peers.
const LONGEST: usize = 2000;

/// Why a command ends, for the user, and the code that it ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// Seconds until it is worth another try, where the peer says so.
    again_in: Option<u32>,
}

/// What a command comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: line(message), again_in: None }
    }

    /// A failure that takes several lines to tell.
    fn lines(code: Code, lines: impl IntoIterator<Item: Display>) -> Self {
        let lines: Vec<String> = lines.into_iter().map(line).collect();
        Self { code, message: lines.join("\n"), again_in: None }
    }

    /// What the parser of the command line says.
    pub(crate) fn command_line(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        match text.strip_prefix("error: ") {
            Some(text) => Self::lines(Code::Usage, text.trim_end().lines()),
            // Where nothing was asked for at all, it is the help.
            None => Self::lines(
                Code::Usage,
                ["a command is missing", ""].into_iter().chain(text.lines()),
            ),
        }
    }

    pub(crate) fn internal(message: impl Display) -> Self {
        Self::new(Code::Internal, message)
    }

    /// A thread or a process that the system refuses, and the limits that may be the reason.
    pub(crate) fn refused(what: &str, error: &dyn std::error::Error) -> Self {
        Self::internal(format_args!(
            "the system refuses {what}: {error}; raise the limit of processes and threads \
             (ulimit -u, or the container's limit of them) or end other programs; \
             RAYON_NUM_THREADS=1 needs the fewest threads"
        ))
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn input(message: impl Display) -> Self {
        Self::new(Code::Input, message)
    }

    /// The same, with the file that it is about.
    #[must_use]
    pub(crate) fn of_file(self, path: &Path) -> Self {
        Self { message: format!("{}: {}", line(path.display()), self.message), ..self }
    }

    /// A network that cannot be imported.
    pub(crate) fn import(error: &ImportError, path: &Path) -> Self {
        match error {
            // This one names the file itself.
            ImportError::Io { .. } | ImportError::External { .. } => Self::input(error),
            ImportError::Unsupported(nodes) => Self::lines(Code::Input, nodes).of_file(path),
            ImportError::Decode(_) | ImportError::Field { .. } | ImportError::Model(_) => {
                Self::input(error).of_file(path)
            }
        }
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// Not worth another try for so many seconds.
    fn after(self, seconds: u32) -> Self {
        Self { again_in: Some(seconds), ..self }
    }

    /// Seconds until it is worth another try, where the peer says so.
    pub(crate) const fn again_in(&self) -> Option<u32> {
        self.again_in
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// A message on one line, bounded: it may quote a name, a file or a peer.
fn line(message: impl Display) -> String {
    cut(&Printable(message).to_string(), LONGEST).into_owned()
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::Ledger { .. }
            | Error::PoolDry { .. }
            | Error::Undeclared { .. }
            | Error::Unprepared { .. } => Code::Internal,
            Error::PeerLost { .. }
            | Error::PeerSilent { .. }
            | Error::Overdue { .. }
            | Error::Dismissed { reason: Reason::Overdue | Reason::Leaving, .. } => Code::PeerLost,
            Error::Disagreement { .. } | Error::Dismissed { reason: Reason::Quota, .. } => {
                Code::Disagreement
            }
            Error::Violation { .. }
            | Error::Altered { .. }
            | Error::Dismissed { reason: Reason::Violated, .. } => Code::Violation,
            Error::Invalid { .. } => Code::Input,
        };
        Self::new(code, format_args!("{error}{}", hint(error)))
    }
}

/// Which option helps, where one does.
fn hint(error: &Error) -> &'static str {
    match error {
        Error::Disagreement { field: Excess::FIELD, .. } => {
            "; ask for fewer images with --batch, or raise the server's --max-memory"
        }
        Error::PeerSilent { .. } => "; raise --timeout if it needs longer",
        Error::Overdue { .. } | Error::Dismissed { reason: Reason::Overdue, .. } => {
            "; raise --timeout, or lower --min-rate on a slow connection, if it needs longer"
        }
        Error::Ledger { .. }
        | Error::PeerLost { .. }
        | Error::Altered { .. }
        | Error::Dismissed { reason: Reason::Violated | Reason::Leaving | Reason::Quota, .. }
        | Error::Violation { .. }
        | Error::Disagreement { .. }
        | Error::PoolDry { .. }
        | Error::Undeclared { .. }
        | Error::Unprepared { .. }
        | Error::Invalid { .. } => "",
    }
}

impl Failure {
    /// What was asked for would cross the network in the clear: each kind has its own remedy.
    fn in_the_clear(error: &pq::Error) -> Self {
        let advice = if matches!(error, pq::Error::Exposed { .. }) {
            "listen on 127.0.0.1, or say --expose where only those can connect who may ask"
        } else if matches!(error, pq::Error::NoCertificate { .. }) {
            "name --web-cert and --web-key, listen on 127.0.0.1 behind a proxy that speaks TLS, or \
             say --insecure where a tunnel protects it"
        } else {
            "encrypt it (--key, with keys of pq keygen, or --tls-cert), or say --insecure where a \
             tunnel such as SSH or WireGuard protects it"
        };
        Self::usage(format_args!("{error}; {advice}"))
    }
}

impl Failure {
    /// One side is none that the other knows.
    fn unknown(error: &pq::Error) -> Self {
        let advice = if matches!(error, pq::Error::UnexpectedKey { .. }) {
            "; ask its operator which key is right, and name it with --server-key, or with pq known"
        } else if matches!(error, pq::Error::UnknownClient { .. }) {
            "; add it to the file of --clients to serve it"
        } else if matches!(error, pq::Error::NotAdmitted { .. }) {
            "; its operator has to add it to the clients' file"
        } else if matches!(error, pq::Error::CertificateNotAdmitted { .. }) {
            "; its operator has to add one of the names to the clients' file, and --client-ca has \
             to have its issuer"
        } else if matches!(error, pq::Error::ServerCertificate { .. }) {
            " (--server-ca says who issues it, --server-name what it is for)"
        } else if matches!(error, pq::Error::Means { .. }) {
            "; of a client, --server-key and --server-ca say what the server shows, --key and \
             --tls-cert what this side does; a server takes certificates with --client-ca"
        } else {
            ""
        };
        Self::new(Code::Disagreement, format_args!("{error}{advice}"))
    }
}

impl From<&pq::Error> for Failure {
    fn from(error: &pq::Error) -> Self {
        match error {
            pq::Error::Protocol(error) => Self::from(error),
            pq::Error::File { path, source } => Self::from(&**source).of_file(path),
            pq::Error::Import { path, source } => Self::import(source, path),
            pq::Error::Search(error) => Self::from(error),
            pq::Error::NoServer { .. } => Self::new(
                Code::PeerLost,
                format_args!("{error}; start it, or raise --connect-timeout"),
            ),
            pq::Error::Connection(_) => Self::new(Code::PeerLost, error),
            pq::Error::Unencrypted { .. }
            | pq::Error::Exposed { .. }
            | pq::Error::NoCertificate { .. } => Self::in_the_clear(error),
            pq::Error::UnexpectedKey { .. }
            | pq::Error::UnknownClient { .. }
            | pq::Error::NotAdmitted { .. }
            | pq::Error::ServerCertificate { .. }
            | pq::Error::ClientCertificate { .. }
            | pq::Error::CertificateNotAdmitted { .. }
            | pq::Error::Means { .. } => Self::unknown(error),
            pq::Error::Busy { seconds } => Self::new(Code::PeerLost, error).after(*seconds),
            pq::Error::UnknownNetwork { .. } => Self::new(
                Code::Disagreement,
                format_args!("{error}; its operator names networks, and who may use them"),
            ),
            pq::Error::Quota { .. } | pq::Error::Web { .. } => Self::new(Code::Disagreement, error),
            pq::Error::Memory { .. } => {
                Self::input(format_args!("{error}; raise --max-memory, or serve fewer networks"))
            }
            pq::Error::Tls { .. } => Self::new(
                Code::Violation,
                format_args!("{error}; the other side may not be given a --key or --tls-cert"),
            ),
            pq::Error::System { what, source } => Self::refused(what, source),
            pq::Error::Data(_)
            | pq::Error::Reshape(_)
            | pq::Error::Plaintext(_)
            | pq::Error::Read { .. }
            | pq::Error::Key { .. }
            | pq::Error::TooLarge { .. } => Self::input(error),
            pq::Error::Write { .. }
            | pq::Error::Listen { .. }
            | pq::Error::Exhausted { .. }
            | pq::Error::Ended
            | pq::Error::Internal(_)
            | _ => Self::internal(error),
        }
    }
}

impl From<pq::Error> for Failure {
    fn from(error: pq::Error) -> Self {
        Self::from(&error)
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::input(error)
    }
}

impl From<ReferenceRuntimeError> for Failure {
    fn from(error: ReferenceRuntimeError) -> Self {
        Self::input(error)
    }
}

impl From<fusion::Error> for Failure {
    fn from(error: fusion::Error) -> Self {
        Self::input(error)
    }
}

#[cfg(test)]
mod tests {
    use protocols::Cost;

    use super::*;

    #[test]
    fn what_a_failure_quotes_is_one_bounded_line() {
        let forged = "\u{1b}[2K\u{1b}[1A\nverified: equal to the plaintext network";
        let theirs =
            Error::Disagreement { field: "plan hash", ours: "a".into(), theirs: forged.into() };
        let failures = [Failure::from(theirs), Failure::input("x").of_file(Path::new(forged))];
        for failure in failures {
            assert_eq!(failure.to_string().lines().count(), 1, "{failure}");
            assert!(
                failure.to_string().contains("\\u{1b}[2K\\u{1b}[1A\\u{a}verified"),
                "{failure}"
            );
        }
        let long = Failure::input("y".repeat(1 << 20));
        assert_eq!(long.to_string().chars().count(), LONGEST);
    }

    #[test]
    fn a_difference_in_the_ledger_is_an_internal_error() {
        let (predicted, measured) = (Cost::ZERO, Cost { rounds: 1, ..Cost::ZERO });
        let failure = Failure::from(Error::Ledger { operator: "conv", predicted, measured });
        assert_eq!(failure.code(), Code::Internal);
        assert!(failure.to_string().contains("conv"), "{failure}");
    }

    #[test]
    fn what_came_too_late_names_the_options_that_help() {
        let step = || "layer1.conv".to_owned();
        let overdue = Error::Overdue { step: step(), whose: "the step's", seconds: 60.0 };
        let dismissed = Error::Dismissed { step: step(), reason: Reason::Overdue };
        for error in [overdue, dismissed] {
            let failure = Failure::from(error);
            assert_eq!(failure.code(), Code::PeerLost);
            for part in ["layer1.conv", "--timeout", "--min-rate"] {
                assert!(failure.to_string().contains(part), "{failure}");
            }
        }
        let dismissed = Error::Dismissed { step: step(), reason: Reason::Violated };
        assert_eq!(Failure::from(dismissed).code(), Code::Violation);
    }
}

//! What can go wrong, for programs: every error says what was expected and what was found.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::key::PublicKey;

/// Why an operation came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A session failed, or a plan or weights are not valid.
    #[error(transparent)]
    Protocol(#[from] protocols::Error),
    /// A file of a network is not valid.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<protocols::Error>,
    },
    /// A model cannot be imported.
    #[error("{}: {source}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// The nodes or fields that stand in the way.
        source: Box<quant::ImportError>,
    },
    /// Images or labels cannot be used.
    #[error(transparent)]
    Data(#[from] quant::DataError),
    /// A search found nothing.
    #[error(transparent)]
    Search(#[from] quant::search::SearchError),
    /// A model cannot be reshaped.
    #[error(transparent)]
    Reshape(#[from] quant::reshape::ReshapeError),
    /// A model cannot be trained.
    #[error(transparent)]
    Train(Box<quant::tune::TuneError>),
    /// The plaintext network cannot be evaluated.
    #[error(transparent)]
    Plaintext(#[from] fusion::Error),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of a network is larger than any can be.
    #[error("{}: more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// No server could be reached in time.
    #[error("no server at {address} within {seconds} s: {source}")]
    NoServer {
        /// The address.
        address: String,
        /// How long it was tried.
        seconds: f64,
        /// The last attempt's reason.
        source: io::Error,
    },
    /// The connection failed before the session began.
    #[error("the connection failed: {0}")]
    Connection(io::Error),
    /// A file of keys is not valid.
    #[error("{}{}: expected {expected}, found {found}", path.display(), at(*line))]
    Key {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is one that is wrong.
        line: Option<usize>,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Traffic would leave this machine in the clear.
    #[error(
        "{peer} is not a loopback address, and the traffic would not be encrypted: whoever can \
         change it can break the protocol's guarantees"
    )]
    Unencrypted {
        /// The other side.
        peer: SocketAddr,
    },
    /// Other machines could ask a gateway.
    #[error(
        "{address} is not a loopback address: other machines could ask, and what they send would \
         not be encrypted"
    )]
    Exposed {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The server at an address is another one than was expected.
    #[error("the server at {peer} has the key {found}, and {expected} was expected")]
    UnexpectedKey {
        /// The server's address.
        peer: SocketAddr,
        /// The key that was expected.
        expected: PublicKey,
        /// The key that it has.
        found: PublicKey,
    },
    /// A client's key is none that the server knows.
    #[error("its key {key} is none of the clients'")]
    UnknownClient {
        /// The client's key.
        key: PublicKey,
    },
    /// The certificate of the server at an address is none that its client trusts.
    #[error("the server at {peer}: expected {expected}, found {found}; {advice}")]
    ServerCertificate {
        /// The server's address.
        peer: SocketAddr,
        /// What was expected.
        expected: String,
        /// What it has, with its names.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A client's certificate is none that the server trusts, or nobody's.
    #[error("its certificate: expected {expected}, found {found}; {advice}")]
    ClientCertificate {
        /// What was expected.
        expected: String,
        /// What it has, with its names.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// One side has a key where the other one takes certificates, or the reverse.
    #[error("no agreement with {peer}: expected {expected}, found {found}")]
    Means {
        /// The other side.
        peer: SocketAddr,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A browser did not get in: what it was told.
    #[error("a browser was refused: {why}")]
    Web {
        /// A word for it, of which there are few.
        reason: &'static str,
        /// What was wrong.
        why: String,
    },
    /// Browsers would speak to the server in the clear.
    #[error(
        "{address} is not a loopback address, and without a certificate tokens and results would \
         cross the network in the clear"
    )]
    NoCertificate {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The server does not know this client's key.
    #[error("the server does not know this client's key {key}")]
    NotAdmitted {
        /// This client's key.
        key: PublicKey,
    },
    /// The server does not admit this client's certificate.
    #[error("the server does not admit this client's certificate ({names}): {why}")]
    CertificateNotAdmitted {
        /// The certificate's names.
        names: String,
        /// What the server says.
        why: &'static str,
    },
    /// The other side does not speak TLS as it should.
    #[error("no TLS connection with {peer}: {source}")]
    Tls {
        /// The other side.
        peer: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The server has no room for a session now.
    #[error("the server is busy; it is worth another try in {seconds} s")]
    Busy {
        /// When to try again.
        seconds: u32,
    },
    /// The server has no such network for this client.
    #[error("the server has no network {network} for this client")]
    UnknownNetwork {
        /// What was asked for.
        network: String,
    },
    /// The client has had all images that it may have for now.
    #[error("this client has had all images that it may have for now; more in {seconds} s")]
    Quota {
        /// When there are more.
        seconds: u32,
    },
    /// The networks of a server take more memory than it may.
    #[error("the networks take {needed} bytes of memory, with a session of one image, of {budget}")]
    Memory {
        /// What they take.
        needed: u64,
        /// What they may take.
        budget: u64,
    },
    /// The system refuses what a run needs.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// All inferences that were agreed on with the server have been run.
    #[error("all {agreed} inferences of the session are run; connect again for more")]
    Exhausted {
        /// How many were agreed on.
        agreed: usize,
    },
    /// The session has ended, by an error before or because it was never begun.
    #[error("the session has ended; connect again")]
    Ended,
    /// A party ended in a panic: a fault of this crate.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// A TLS handshake that failed: of a connection that was lost, or of a peer that speaks
    /// something else.
    pub(crate) fn tls(peer: SocketAddr, source: io::Error) -> Self {
        let other = source.kind() == io::ErrorKind::InvalidData;
        if other { Self::Tls { peer, source } } else { Self::Connection(source) }
    }

    /// The error of a network's file.
    pub(crate) fn of_file(path: &Path) -> impl FnOnce(protocols::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, source: Box::new(source) }
    }
}

/// A line of a file.
fn at(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::System { what: "a TLS connection", source: io::Error::other(error) }
    }
}

impl From<quant::tune::TuneError> for Error {
    fn from(error: quant::tune::TuneError) -> Self {
        Self::Train(Box::new(error))
    }
}

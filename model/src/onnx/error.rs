//! What keeps a file from being imported.

use std::path::PathBuf;

use crate::model::ModelError;

/// An ONNX file that is not imported, and why.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of weights beside it cannot be read.
    #[error(
        "cannot read {}, where the weights of {tensor:?} are: {source}; keep it in the folder of \
         the model, under the name that it was exported with",
        path.display()
    )]
    External {
        /// The file.
        path: PathBuf,
        /// A tensor that is in it.
        tensor: String,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no ONNX.
    #[error("not an ONNX file: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A part of the file, outside its nodes, is not as needed.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// The part.
        field: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Nodes that this program does not support: all of them.
    #[error("{}", lines(.0))]
    Unsupported(Vec<Unsupported>),
    /// The imported network does not hold together.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl ImportError {
    pub(super) fn field(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Field { field: field.into(), expected: expected.into(), found: found.into() }
    }
}

/// A node that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node:?} ({operator}): {reason}; {advice}")]
pub struct Unsupported {
    /// The node's name; its output's, if it has none.
    pub node: String,
    /// Its operator, with the domain if it is not ONNX's own.
    pub operator: String,
    /// What is not supported.
    pub reason: String,
    /// What to do about it.
    pub advice: String,
}

/// Why a node cannot be imported; the node is not yet named.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) reason: String,
    pub(super) advice: String,
}

impl Problem {
    pub(super) fn new(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: reason.into(), advice: advice.into() }
    }

    /// A node that contradicts ONNX's specification.
    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::new(reason, "the file is malformed: export the network again")
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        Self::new(
            format!("{}: expected {}, found {}", error.what, error.expected, error.found),
            "change the layer, or export the network again",
        )
    }
}

fn lines(all: &[Unsupported]) -> String {
    all.iter().map(Unsupported::to_string).collect::<Vec<_>>().join("\n")
}

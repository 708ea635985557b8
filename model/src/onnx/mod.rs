//! ONNX: from a file to a [`Model`], and back.

mod activation;
mod arithmetic;
mod attributes;
mod constant;
mod error;
mod export;
mod fold;
mod importer;
mod layers;
mod name;
pub mod nodes;
mod patterns;
mod pooling;
pub mod proto;
mod qdq;
mod reshape;
mod simplify;
mod views;

pub use error::{ImportError, Unsupported};
pub use export::export;
pub use qdq::{Integers, Quantized, Quantizer};

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use prost::Message;

use crate::model::Model;
use importer::Importer;
use proto::ModelProto;

/// No file may be larger: 2 GiB, which is also the most that ONNX can hold in one file.
const MAX_FILE: u64 = 2 << 30;
/// Operator sets below it have other forms of the operators that this module reads.
const OLDEST_OPSET: i64 = 7;
/// Operator sets above it were not there to be read when this was written; they may mean something
/// else by the same names.
const NEWEST_OPSET: i64 = 23;

/// What a file holds, supported or not.
#[derive(Clone, Debug)]
pub struct Report {
    /// The program that wrote the file, as it says.
    pub producer: String,
    /// The version of ONNX's operator set.
    pub opset: i64,
    /// How many nodes there are of each operator.
    pub operators: BTreeMap<String, usize>,
    /// Every node that cannot be imported. Those that only depend on one are not among them.
    pub unsupported: Vec<Unsupported>,
    /// The network, if everything in it is supported.
    pub model: Option<Model>,
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// The bytes are no ONNX model, or not one that this program supports: then all unsupported nodes
/// are named.
pub fn import(bytes: &[u8]) -> Result<Model, ImportError> {
    let report = survey(bytes)?;
    report.model.ok_or(ImportError::Unsupported(report.unsupported))
}

/// Reads a network from an ONNX file.
///
/// # Errors
/// As [`import`], or the file cannot be read.
pub fn import_file(path: &Path) -> Result<Model, ImportError> {
    import(&read(path)?)
}

/// Reads an ONNX file as far as possible; unsupported nodes are part of the result.
///
/// # Errors
/// The bytes are no ONNX model, or its input or output is not that of a classifier of single
/// images.
pub fn survey(bytes: &[u8]) -> Result<Report, ImportError> {
    let (report, quantized) = parse(bytes)?;
    Ok(Report { model: quantized.map(|quantized| quantized.model), ..report })
}

/// Reads a quantized network from the bytes of an ONNX file: values and weights between
/// QuantizeLinear and DequantizeLinear. What is quantized and what is not is for the caller to
/// judge.
///
/// # Errors
/// As [`import`].
pub fn import_quantized(bytes: &[u8]) -> Result<Quantized, ImportError> {
    let (report, quantized) = parse(bytes)?;
    quantized.ok_or(ImportError::Unsupported(report.unsupported))
}

/// The report without the model, and the model.
fn parse(bytes: &[u8]) -> Result<(Report, Option<Quantized>), ImportError> {
    let file = ModelProto::decode(bytes)?;
    let opset = opset(&file)?;
    let graph = file.graph.ok_or_else(|| ImportError::field("graph", "one", "none"))?;
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(name::shown(&node.op_type)).or_insert(0) += 1;
    }
    let graph = patterns::join(graph);
    let importer = Importer::new(&graph, bytes.len())?;
    let (quantized, unsupported) = importer.run(&graph)?;
    let producer =
        format!("{} {}", name::shown(&file.producer_name), name::shown(&file.producer_version));
    let producer = producer.trim().to_owned();
    Ok((Report { producer, opset, operators, unsupported, model: None }, quantized))
}

/// As [`survey`], from a file.
///
/// # Errors
/// As [`survey`], or the file cannot be read.
pub fn survey_file(path: &Path) -> Result<Report, ImportError> {
    survey(&read(path)?)
}

fn opset(file: &ModelProto) -> Result<i64, ImportError> {
    let mut sets = file.opset_import.iter();
    let default = sets.find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let found = default.map(|set| set.version);
    match found {
        Some(version) if (OLDEST_OPSET..=NEWEST_OPSET).contains(&version) => Ok(version),
        Some(version) => Err(ImportError::field(
            "opset_import",
            format!(
                "a version from {OLDEST_OPSET} to {NEWEST_OPSET}: export the network again, with \
                 operator set 13 to 17"
            ),
            version.to_string(),
        )),
        None => {
            Err(ImportError::field("opset_import", "a version of the default operator set", "none"))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| ImportError::Io { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ImportError::field("file", format!("at most {MAX_FILE} bytes"), "more"));
    }
    Ok(bytes)
}

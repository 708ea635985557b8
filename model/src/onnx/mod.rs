//! ONNX: from a file to a [`Model`], and back.

mod activation;
mod adaptive;
mod arithmetic;
mod arrange;
mod attributes;
mod constant;
mod elements;
mod ends;
mod error;
mod export;
mod fold;
mod gather;
mod importer;
mod inputs;
mod layers;
mod layout;
mod name;
pub mod nodes;
mod operators;
mod order;
mod passing;
mod patterns;
mod pooling;
pub mod proto;
mod qdq;
mod qoperators;
mod requant_shift;
mod reshape;
mod separate;
mod simplify;
mod source;
mod transposed;
mod views;

pub use error::{ImportError, Unsupported};
pub use export::export;
pub use operators::{OPERATORS, Operator};
pub use qdq::{Integers, Quantized, Quantizer};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;
use zeroize::Zeroizing;

use crate::model::Model;
use importer::Importer;
use proto::ModelProto;

/// Operator sets below it have other forms of the operators that this module reads.
const OLDEST_OPSET: i64 = 7;
/// Operator sets above it were not there to be read when this was written; they may mean something
/// else by the same names.
const NEWEST_OPSET: i64 = 26;

/// An ONNX file, and which of its outputs is meant.
#[derive(Clone)]
pub struct Source {
    bytes: Zeroizing<Vec<u8>>,
    /// Where files of weights are; none without one.
    folder: Option<PathBuf>,
    output: Option<String>,
}

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
    /// What was left out of a network that is supported, and what was chosen, in sentences.
    pub notes: Vec<String>,
    /// The network, if everything in it is supported.
    pub model: Option<Model>,
}

impl Source {
    /// The bytes of a file that has all its weights in itself.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Zeroizing::new(bytes), folder: None, output: None }
    }

    /// Reads a file. Its weights may be in other files of its folder.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = Some(folder.unwrap_or(Path::new(".")).to_owned());
        Ok(Self { bytes: Zeroizing::new(source::read(path)?), folder, output: None })
    }

    /// The same file, of which the output of this name is meant; without a name, the first.
    #[must_use]
    pub fn with_output(self, output: Option<String>) -> Self {
        Self { output, ..self }
    }

    /// Reads the file as far as possible; unsupported nodes are part of the result.
    ///
    /// # Errors
    /// The bytes are no ONNX model, a file of weights cannot be read, or the model's input or
    /// output is not that of a classifier of single images.
    pub fn survey(&self) -> Result<Report, ImportError> {
        let (report, quantized) = self.parse()?;
        let (notes, model) = quantized.map(|found| (found.notes, found.model)).unzip();
        Ok(Report { model, notes: notes.unwrap_or_default(), ..report })
    }

    /// Reads the network.
    ///
    /// # Errors
    /// As [`Source::survey`], or nodes are not supported: then all of them are named.
    pub fn import(&self) -> Result<Model, ImportError> {
        let report = self.survey()?;
        report.model.ok_or(ImportError::Unsupported(report.unsupported))
    }

    /// Reads a quantized network: values and weights between QuantizeLinear and DequantizeLinear.
    /// What is quantized and what is not is for the caller to judge.
    ///
    /// # Errors
    /// As [`Source::import`].
    pub fn import_quantized(&self) -> Result<Quantized, ImportError> {
        let (report, quantized) = self.parse()?;
        quantized.ok_or(ImportError::Unsupported(report.unsupported))
    }

    /// The report without the model, and the model.
    fn parse(&self) -> Result<(Report, Option<Quantized>), ImportError> {
        // Decoding copies the tensors, and ends the process where memory is short: so that is asked
        // before, of a buffer that no compiler may leave out.
        let mut room = Vec::<u8>::new();
        if std::hint::black_box(&mut room).try_reserve_exact(self.bytes.len()).is_err() {
            let found = format!("none for its {} bytes", self.bytes.len());
            return Err(ImportError::field("file", "memory for a copy of its tensors", found));
        }
        drop(std::hint::black_box(room));
        let file = ModelProto::decode(&self.bytes[..])?;
        let opset = opset(&file)?;
        let mut graph = file.graph.ok_or_else(|| ImportError::field("graph", "one", "none"))?;
        let mut operators = BTreeMap::new();
        for node in &graph.node {
            *operators.entry(name::shown(&node.op_type)).or_insert(0) += 1;
        }
        let output = order::output(&graph, self.output.as_deref())?;
        order::sort(&mut graph, &output)?;
        let external = source::gather(&mut graph, self.folder.as_deref())?;
        let mut graph = patterns::join(adaptive::pool(qoperators::dequantize(graph)));
        let bytes = self.bytes.len().saturating_add(external);
        let mut importer = Importer::new(&mut graph, (opset, &output), bytes)?;
        if self.output.is_none() && graph.output.len() > 1 {
            let names = graph.output.iter().map(|output| name::shown(&output.name));
            let names = names.collect::<Vec<_>>().join(", ");
            let taken = name::shown(&output);
            importer.notes.push(format!("of the outputs {names}, {taken} is taken: the first"));
        }
        let (quantized, unsupported) = importer.run(&graph, &output)?;
        let producer =
            format!("{} {}", name::shown(&file.producer_name), name::shown(&file.producer_version));
        let producer = producer.trim().to_owned();
        let notes = Vec::new();
        Ok((Report { producer, opset, operators, unsupported, notes, model: None }, quantized))
    }
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// As [`Source::import`].
pub fn import(bytes: &[u8]) -> Result<Model, ImportError> {
    Source::new(bytes.to_vec()).import()
}

/// Reads a network from an ONNX file.
///
/// # Errors
/// As [`Source::import`], or the file cannot be read.
pub fn import_file(path: &Path) -> Result<Model, ImportError> {
    Source::open(path)?.import()
}

/// Reads an ONNX file as far as possible; unsupported nodes are part of the result.
///
/// # Errors
/// As [`Source::survey`].
pub fn survey(bytes: &[u8]) -> Result<Report, ImportError> {
    Source::new(bytes.to_vec()).survey()
}

/// Reads a quantized network from the bytes of an ONNX file.
///
/// # Errors
/// As [`Source::import_quantized`].
pub fn import_quantized(bytes: &[u8]) -> Result<Quantized, ImportError> {
    Source::new(bytes.to_vec()).import_quantized()
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
                 operator set 13 to 20"
            ),
            version.to_string(),
        )),
        None => {
            Err(ImportError::field("opset_import", "a version of the default operator set", "none"))
        }
    }
}

//! The ONNX file that a command is given, and which of its outputs is meant.

use std::path::Path;

use quant::onnx::{ImportError, Source};
use quant::{Model, onnx};

use crate::console::Console;
use crate::exit::{Failure, Outcome};

/// Which output of a network is meant.
#[derive(Default, clap::Args)]
pub(crate) struct OutputArg {
    /// The output of the ONNX file that is the logits, where it has several [default: the first].
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
}

impl OutputArg {
    pub(crate) fn name(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// The file, whatever is in it.
    pub(crate) fn open(&self, path: &Path) -> Outcome<Source> {
        let source = Source::open(path).map_err(|error| Failure::import(&error, path))?;
        Ok(source.with_output(self.output.clone()))
    }

    /// The network in it; what of the file was left out is told.
    pub(crate) fn import(&self, path: &Path, console: &Console) -> Outcome<Model> {
        let failed = |error: ImportError| Failure::import(&error, path);
        let onnx::Report { model, notes, unsupported, .. } =
            self.open(path)?.survey().map_err(failed)?;
        notes.iter().for_each(|note| console.note(note));
        model.ok_or_else(|| failed(ImportError::Unsupported(unsupported)))
    }
}

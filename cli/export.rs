//! `pq export`: a quantized network as ONNX, for other runtimes.

use std::fmt::Write;
use std::path::PathBuf;

use pq::Network;
use protocols::printable::Printable;
use quant::qdq::{ExportError, export_quantized};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::out;
use crate::units;

/// What `pq export` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` or `pq import` has written, weights included.
    net_folder: PathBuf,
    /// The ONNX file to write. It holds the weights: it is as secret as they are.
    #[arg(long, value_name = "ONNX")]
    out: PathBuf,
    /// Replace the file if it is there already.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Export {
    file: PathBuf,
    bytes: usize,
    layers: usize,
    wide: Vec<Wide>,
}

/// A step whose sums floats may not hold exactly.
#[derive(Serialize)]
struct Wide {
    step: String,
    bits: u32,
}

/// Runs `pq export`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let name = args.out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("--out has to name a file"))?;
    out::file(app, &args.out, args.force)?;
    let network = Network::open(&args.net_folder)?;
    let exported = export_quantized(network.plan(), network.weights())
        .map_err(|error| Failure::from(error).of_file(&args.net_folder))?;
    let file = files::secret(name, &exported.bytes);
    files::write_together(&app.cleanup, files::folder_of(&args.out), &[file])?;
    let wide = exported.wide.into_iter().map(|(step, bits)| Wide { step, bits });
    let export = Export {
        file: args.out.clone(),
        bytes: exported.bytes.len(),
        layers: network.plan().layers().count(),
        wide: wide.collect(),
    };
    app.console.result(&export, text)
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::input(error)
    }
}

fn text(export: &Export) -> String {
    let (layers, bytes) = (export.layers, units::bytes(export.bytes as u64));
    let mut text = format!("{}: {layers} layers, {bytes}\n", Printable(export.file.display()));
    if let Some(Wide { step, bits }) = export.wide.iter().max_by_key(|wide| wide.bits) {
        let (count, exact) = (export.wide.len(), quant::qdq::EXACT_BITS);
        let _ = writeln!(
            text,
            "the sums of {count} steps may take more than the {exact} bits that floats hold \
            exactly, those of {step} {bits}"
        );
    }
    text
}

//! `pq inspect`: what an ONNX file holds, what of it is not supported, and how it is fused.

mod passes;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use protocols::printable::Printable;
use quant::model::{Model, Node};
use quant::onnx::{self, Report};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::source::OutputArg;
use crate::table::Table;
use crate::units;

/// What `pq inspect` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The network, an ONNX file.
    model: PathBuf,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    passes: passes::Args,
}

#[derive(Serialize)]
struct Inspection {
    name: Option<String>,
    producer: String,
    opset: i64,
    operators: BTreeMap<String, usize>,
    input: Option<[usize; 3]>,
    classes: Option<usize>,
    layers: Vec<Layer>,
    macs: u64,
    relus: u64,
    parameters: u64,
    unsupported: Vec<Unsupported>,
    /// What was left out of the file, and what was chosen.
    notes: Vec<String>,
    /// Null unless asked for.
    fusion: Option<passes::Fusion>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: &'static str,
    shape: [usize; 3],
    macs: u64,
    relus: u64,
    parameters: u64,
}

#[derive(Serialize)]
struct Unsupported {
    node: String,
    operator: String,
    reason: String,
    advice: String,
}

/// Runs `pq inspect`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let source = args.output.open(&args.model)?;
    let mut report = source.survey().map_err(|error| Failure::import(&error, &args.model))?;
    // Operators that are supported one by one may still not fit together.
    if let Some(model) = report.model.as_ref().filter(|_| report.unsupported.is_empty())
        && let Some(error) = args.passes.trial(model)?
    {
        report.unsupported.push(onnx::Unsupported {
            node: model.name.clone(),
            operator: "network".into(),
            reason: error.to_string(),
            advice: "it cannot be made one of integers: change the network there".into(),
        });
    }
    let fusion = match &report.model {
        Some(model) if args.passes.wanted() && report.unsupported.is_empty() => {
            Some(args.passes.fuse(model).map_err(|failure| failure.of_file(&args.model))?)
        }
        _ => None,
    };
    let inspection = Inspection::new(report, fusion);
    match inspection.unsupported.len() {
        0 => app.console.result(&inspection, text),
        count => {
            let failure = Failure::input(format_args!("{count} nodes are not supported"));
            app.console.failed_result(&inspection, text, failure.of_file(&args.model))
        }
    }
}

impl Inspection {
    fn new(report: Report, fusion: Option<passes::Fusion>) -> Self {
        let model = report.model.as_ref();
        Self {
            name: model.map(|model| model.name.clone()),
            input: model.map(|model| model.input),
            classes: model.map(Model::classes),
            layers: model
                .map(|model| model.nodes.iter().map(Layer::new).collect())
                .unwrap_or_default(),
            macs: model.map_or(0, Model::macs),
            relus: model.map_or(0, Model::relus),
            parameters: model.map_or(0, Model::parameters),
            producer: report.producer,
            opset: report.opset,
            operators: report.operators,
            notes: report.notes,
            unsupported: report.unsupported.into_iter().map(Into::into).collect(),
            fusion,
        }
    }
}

impl From<onnx::Unsupported> for Unsupported {
    fn from(found: onnx::Unsupported) -> Self {
        let onnx::Unsupported { node, operator, reason, advice } = found;
        Self { node, operator, reason, advice }
    }
}

impl Layer {
    fn new(node: &Node) -> Self {
        Self {
            name: node.name.clone(),
            kind: node.op.kind(),
            shape: node.shape,
            macs: node.macs(),
            relus: node.relus(),
            parameters: node.parameters(),
        }
    }
}

fn text(inspection: &Inspection) -> String {
    let mut text = String::new();
    let i = inspection;
    let name = Printable(i.name.as_deref().unwrap_or("network"));
    let _ = writeln!(text, "{} (opset {}, by {})", name, i.opset, Printable(&i.producer));
    if let (Some(input), Some(classes)) = (&i.input, i.classes) {
        let _ = writeln!(text, "input {}, {classes} logits\n", units::shape(input));
        let mut table = Table::new(3, &["layer", "kind", "output", "MACs", "ReLUs", "parameters"]);
        for layer in &i.layers {
            let numbers = [layer.macs, layer.relus, layer.parameters].map(nonzero);
            let [macs, relus, parameters] = numbers;
            let shape = units::shape(&layer.shape);
            table.row(vec![layer.name.clone(), layer.kind.into(), shape, macs, relus, parameters]);
        }
        let [macs, relus, parameters] = [i.macs, i.relus, i.parameters].map(units::count);
        table.row(vec!["total".into(), String::new(), String::new(), macs, relus, parameters]);
        let _ = write!(text, "{table}");
    } else {
        let operators: Vec<_> = i
            .operators
            .iter()
            .map(|(name, count)| format!("{count} {}", Printable(name)))
            .collect();
        let _ = writeln!(text, "nodes: {}", operators.join(", "));
    }
    let _ = match i.unsupported.len() {
        0 => {
            for note in &i.notes {
                let _ = writeln!(text, "\nnote: {}", Printable(note));
            }
            writeln!(text, "\neverything is supported")
        }
        count => writeln!(text, "\nnot supported: {count}"),
    };
    for u in &i.unsupported {
        let [node, operator, reason, advice] =
            [&u.node, &u.operator, &u.reason, &u.advice].map(Printable);
        let _ = writeln!(text, "  {node} ({operator}): {reason}\n      {advice}");
    }
    if let Some(fusion) = &i.fusion {
        text += &fusion.text();
    }
    text
}

fn nonzero(number: u64) -> String {
    if number == 0 { String::new() } else { units::count(number) }
}

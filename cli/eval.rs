//! `pq eval`: the plaintext accuracy of a quantized network, beside that of the float network it
//! came from.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pq::{Network, Plan};
use quant::data::OffScale;
use quant::{Dataset, ReferenceRuntime, ReferenceRuntimeError, Tensor, float};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::images;
use crate::progress::Progress;
use crate::source::OutputArg;

/// What `pq eval` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that `pq search` has written.
    net_folder: PathBuf,
    /// The images: CIFAR records, IDX, .npy, .npz, PNG or JPEG, also gzipped.
    #[arg(long)]
    data: PathBuf,
    /// Their labels, if they are in another file: IDX, .npy, or one number a line.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// The first N images only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The float network, an ONNX file, to evaluate as well.
    #[arg(long, value_name = "ONNX")]
    float: Option<PathBuf>,
    /// With --json, all logits as integers, as pq infer and pq merge have them.
    #[arg(long)]
    logits: bool,
    #[command(flatten)]
    output: OutputArg,
    /// The onnxruntime library for --float (else ORT_DYLIB_PATH, else an installed Python package,
    /// else our own evaluation).
    #[arg(long, value_name = "PATH", requires = "float")]
    onnxruntime: Option<PathBuf>,
}

#[derive(Serialize)]
struct Evaluation {
    /// Null without labels.
    accuracy: Option<f64>,
    float_accuracy: Option<f64>,
    float_engine: Option<&'static str>,
    agreement: Option<f64>,
    images: usize,
    seconds: f64,
    off_scale: Option<OffScale>,
    /// `[images][classes]`; null where they were not asked for, or the label alone is revealed.
    logits_int: Option<Vec<Vec<i64>>>,
}

/// Images evaluated between two steps of progress.
const CHUNK: usize = 100;

/// Runs `pq eval`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let network = Network::open(&args.net_folder)?;
    let plan = network.plan();
    let data = images::open(plan, &args.data, args.labels.as_ref())?;
    if data.labels().is_none() && args.float.is_none() && !args.logits {
        let missing = "there are no labels in this file or beside it; name their file with \
                       --labels, or the float network to compare with by --float, or ask for \
                       --logits";
        return Err(Failure::input(missing).of_file(&args.data));
    }
    let images = args.limit.map_or(data.len(), |limit| data.len().min(limit as usize));
    if images == 0 {
        return Err(Failure::input("there are no images in this file").of_file(&args.data));
    }
    let labels = data.labels().map(|labels| &labels[..images]);
    let started = Instant::now();
    let answers = in_chunks(plan, &data, images, "integer", |batch| {
        let input = plan.encode(&batch.data)?;
        let found = fusion::ideal(plan, network.weights(), &input)?;
        Ok(plan.decode(&found, batch.images()))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let classes: Vec<usize> = answers.iter().map(|answer| answer.label).collect();
    let logits = answers.into_iter().map(|answer| Some(answer.logits?.integers));
    let mut evaluation = Evaluation {
        accuracy: labels.map(|labels| alike(&classes, labels)),
        float_accuracy: None,
        float_engine: None,
        agreement: None,
        images,
        seconds,
        off_scale: images::off_scale(plan, &data, 0..images),
        logits_int: if args.logits { logits.collect() } else { None },
    };
    images::warn(&app.console, &args.data, evaluation.off_scale.as_ref());
    if let Some(onnx) = &args.float {
        let mut engine = Engine::open(app, args, onnx)?;
        evaluation.float_engine = Some(engine.name());
        let float = in_chunks(plan, &data, images, "float", |batch| engine.classify(onnx, batch))?;
        evaluation.float_accuracy = labels.map(|labels| alike(&float, labels));
        evaluation.agreement = Some(alike(&float, &classes));
    }
    app.console.result(&evaluation, text)
}

/// What there is to say of the first images, in their order.
fn in_chunks<T>(
    plan: &Plan,
    data: &Dataset,
    images: usize,
    what: &str,
    mut evaluate: impl FnMut(&Tensor) -> Outcome<Vec<T>>,
) -> Outcome<Vec<T>> {
    let progress = Progress::new();
    let mut all = Vec::with_capacity(images);
    for start in (0..images).step_by(CHUNK) {
        progress.set(what, start, images);
        let batch = images::batch(plan, data, start..images.min(start + CHUNK))?;
        all.extend(evaluate(&batch)?);
    }
    Ok(all)
}

/// The fraction of places where both say the same.
fn alike(a: &[usize], b: &[usize]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

/// What evaluates the float network.
enum Engine {
    OnnxRuntime(quant::reference_runtime::ReferenceSession),
    Own(quant::Model),
}

impl Engine {
    /// onnxruntime where there is one, our own evaluation elsewhere.
    fn open(app: &App, args: &Args, onnx: &Path) -> Outcome<Self> {
        match ReferenceRuntime::find(args.onnxruntime.as_deref()) {
            Ok(runtime) => Ok(Self::OnnxRuntime(runtime.open(onnx, args.output.name())?)),
            Err(ReferenceRuntimeError::NotFound { .. }) => {
                args.output.import(onnx, &app.console).map(Self::Own)
            }
            Err(error) => Err(error.into()),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::OnnxRuntime(_) => "onnxruntime",
            Self::Own(_) => "pq",
        }
    }

    fn classify(&mut self, onnx: &Path, batch: &Tensor) -> Outcome<Vec<usize>> {
        let logits = match self {
            Self::OnnxRuntime(session) => session.run(batch)?,
            Self::Own(model) => float::evaluate(model, batch)
                .map_err(|error| Failure::input(error).of_file(onnx))?,
        };
        Ok(logits.argmax())
    }
}

fn text(evaluation: &Evaluation) -> String {
    let e = evaluation;
    let mut text = String::new();
    if let Some(accuracy) = e.accuracy {
        text += &format!("{:6.2} %  ", 100.0 * accuracy);
    }
    let rate = e.images as f64 / e.seconds.max(1e-9);
    text += &format!("quantized, {} images, {rate:.0} images/s", e.images);
    let (Some(engine), Some(agreement)) = (e.float_engine, e.agreement) else { return text };
    if let (Some(accuracy), Some(float)) = (e.accuracy, e.float_accuracy) {
        text += &format!("\n{:6.2} %  float, by {engine}", 100.0 * float);
        text += &format!("\n{:+6.2}    points of difference", 100.0 * (accuracy - float));
    } else {
        text += &format!("\nfloat, by {engine}; there are no labels");
    }
    text += &format!("\n{:6.2} %  of the images both classify alike", 100.0 * agreement);
    text
}

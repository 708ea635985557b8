//! What `pq reshape` is given.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use fusion::relus::ReluSystem;
use pq::{ReshapeOptions, Saving};
use quant::reshape::{
    GateOptions, Granularity, LinearizeOptions, PolynomialOptions, PolynomialPrices,
    PolynomialStart, ReluSelection, ReshapeError,
};
use quant::search::{FirstAndLast, SearchOptions, Uniform};

use crate::exit::{Failure, Outcome};
use crate::purpose::PurposeArgs;
use crate::source::OutputArg;
use crate::training::{NetworkArgs, Place, TrainingArgs, digest};
use crate::units;

/// What `pq reshape` is given.
#[derive(clap::Args)]
#[command(group(
    clap::ArgGroup::new("shape").required(true).args(["merge", "relus", "polynomial"])
))]
pub(crate) struct Args {
    /// The network, an ONNX file: it is the teacher, and where training starts.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArg,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Blocks (convolutions with functions between) that one convolution each is to stand for:
    /// those whose replacement loses least for what it saves.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    merge: Option<u16>,
    /// The part of the ReLUs to keep, from 0 to 1: those that matter least become the identity.
    /// That saves next to nothing here, and much where ReLUs are garbled circuits.
    #[arg(
        long,
        value_name = "PART",
        value_parser = units::part,
        conflicts_with_all = ["kernel", "drop", "save"],
    )]
    relus: Option<f64>,
    /// What becomes linear together: every pixel for itself, a channel, or a layer
    /// [default: pixel].
    #[arg(
        long,
        value_name = "pixel|channel|layer",
        conflicts_with_all = ["merge", "polynomial"],
    )]
    by: Option<Granularity>,
    /// Nodes of ReLUs that become polynomials of degree two, one a channel: how many, those that
    /// lose least; auto, those that save by --prices; or their names. That costs a little here,
    /// and saves much where squares are cheap. Poolings among auto or the names become the other
    /// kind, averages or maxima.
    #[arg(
        long,
        value_name = "N|auto|NAME,..",
        conflicts_with_all = ["kernel", "drop"],
    )]
    polynomial: Option<Asked>,
    /// What polynomials are at first: least-squares, the nearest to their ReLUs, or near-identity,
    /// 0.005 x^2 + x, for networks that are not trained yet [default: least-squares].
    #[arg(
        long,
        value_name = "least-squares|near-identity",
        conflicts_with_all = ["merge", "relus"],
    )]
    start: Option<PolynomialStart>,
    /// What says how much a polynomial saves: pq, by whole plans; cryptflow2, sirnn or cheetah, by
    /// models of them; or a JSON file such as {"relu": [0.4, 13.6], "square": [0.2, 0.03]}, of a
    /// node and of each element, max_pool and avg_pool likewise [default: pq].
    #[arg(
        long,
        value_name = "pq|cryptflow2|sirnn|cheetah|FILE",
        conflicts_with_all = ["merge", "relus"],
    )]
    prices: Option<PathBuf>,
    /// What --polynomial auto may lose, in nats: all together, before any training [default: 0.5].
    #[arg(long, value_name = "NATS", value_parser = nats, conflicts_with_all = ["merge", "relus"])]
    most_loss: Option<f64>,
    /// Has --polynomial auto find out what saves by gates, trained for so many batches with what is
    /// saved in the loss, instead of by what each loses alone.
    #[arg(
        long,
        value_name = "STEPS",
        value_parser = clap::value_parser!(u32).range(2..),
        conflicts_with_all = ["merge", "relus"],
    )]
    gates: Option<u32>,
    /// What all that gates could save is worth, in nats of the loss [default: 1].
    #[arg(long, value_name = "NATS", value_parser = nats, requires = "gates")]
    worth: Option<f64>,
    /// Kernels of the convolutions that may stand for a block.
    #[arg(
        long,
        value_name = "K,..",
        value_delimiter = ',',
        default_value = "3",
        value_parser = clap::value_parser!(u8).range(1..=15),
    )]
    kernel: Vec<u8>,
    /// Dropping a block, where something is added to its result, may stand for it too.
    #[arg(long)]
    drop: bool,
    /// How far a weight moves in a step, about, where the rate is highest.
    #[arg(long, value_name = "RATE", default_value_t = 4e-4, value_parser = units::rate)]
    rate: f32,
    /// What is to be saved: bits of one inference, or seconds on the connection of --link; where
    /// --polynomial auto goes by whole plans, too [default: bits].
    #[arg(long, value_name = "bits|seconds")]
    save: Option<Saved>,
    /// Widths that networks are priced at.
    #[arg(long, value_name = "wNaM", default_value = "w4a4")]
    widths: Uniform,
    /// Widths of the first and last layer: same, or wNaM [default: w8a8].
    #[arg(long, value_name = "same|wNaM")]
    first_last: Option<FirstAndLast>,
    #[command(flatten)]
    purpose: PurposeArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// What is to be saved, by its name.
#[derive(Clone, Copy, Debug)]
struct Saved(Saving);

impl FromStr for Saved {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bits" => Ok(Self(Saving::Bits)),
            "seconds" => Ok(Self(Saving::Seconds)),
            _ => Err("expected bits or seconds".into()),
        }
    }
}

/// ReLUs, by their number, by their prices or by their names.
#[derive(Clone, Debug)]
struct Asked(ReluSelection);

/// What polynomials may lose, unless told otherwise.
const MOST_LOSS: f64 = 0.5;

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let count = text.parse::<u16>().ok().filter(|&count| count > 0);
            let count = count.ok_or("expected a number of 1 to 65535, or names of ReLUs")?;
            return Ok(Self(ReluSelection::Count(count.into())));
        }
        if text == "auto" {
            return Ok(Self(ReluSelection::Saving(MOST_LOSS)));
        }
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err("expected names of ReLUs with a comma between, found an empty one".into());
        }
        Ok(Self(ReluSelection::Named(names)))
    }
}

impl Args {
    /// The blocks to replace, where any are.
    pub(super) fn options(&self) -> ReshapeOptions {
        ReshapeOptions {
            blocks: self.merge.unwrap_or(0).into(),
            kernels: self.kernel.iter().map(|&kernel| kernel.into()).collect(),
            drop: self.drop,
            saving: self.save(),
            prices: self.prices(),
            training: self.training.options(),
            rate: self.rate,
        }
    }

    /// The ReLUs to keep, if that is what is asked.
    pub(super) fn linearize(&self) -> Option<LinearizeOptions> {
        Some(LinearizeOptions {
            keep: self.relus?,
            by: self.by.unwrap_or_default(),
            prices: self.prices(),
            training: self.training.options(),
            rate: self.rate,
        })
    }

    /// The ReLUs that become polynomials, if that is what is asked.
    ///
    /// # Errors
    /// The file of prices cannot be read, or is none.
    pub(super) fn polynomial(&self) -> Outcome<Option<PolynomialOptions>> {
        let Some(Asked(relus)) = self.polynomial.clone() else { return Ok(None) };
        let relus = match (relus, self.most_loss) {
            (ReluSelection::Saving(_), Some(most)) => ReluSelection::Saving(most),
            (_, Some(_)) => {
                return Err(Failure::usage("--most-loss is for --polynomial auto alone"));
            }
            (relus, None) => relus,
        };
        if self.gates.is_some() && !matches!(relus, ReluSelection::Saving(_)) {
            return Err(Failure::usage("--gates is for --polynomial auto alone"));
        }
        let worth = self.worth.unwrap_or(1.0);
        let gates = self.gates.map(|steps| GateOptions { steps: steps.into(), worth });
        Ok(Some(PolynomialOptions {
            relus,
            start: self.start.unwrap_or_default(),
            gates,
            saving: self.saving()?,
            prices: self.prices(),
            training: self.training.options(),
            rate: self.rate,
        }))
    }

    /// What is to be saved of whole plans.
    fn save(&self) -> Saving {
        self.save.map_or_else(Saving::default, |Saved(saving)| saving)
    }

    /// The prices that --prices names.
    fn saving(&self) -> Outcome<PolynomialPrices> {
        let plans = PolynomialPrices::Plans(self.save());
        let Some(path) = self.prices.as_ref().filter(|path| path.to_str() != Some("pq")) else {
            return Ok(plans);
        };
        // A system's bits and a table's units are of single nodes: no plan is made with them.
        if self.save.is_some() {
            return Err(Failure::usage("--save is for the prices of pq: others have one unit"));
        }
        Ok(match path.to_str() {
            Some("cryptflow2") => PolynomialPrices::System(ReluSystem::CrypTFlow2),
            Some("sirnn") => PolynomialPrices::System(ReluSystem::Sirnn),
            Some("cheetah") => PolynomialPrices::System(ReluSystem::Cheetah),
            _ => table(path).map_err(|error| Failure::from(error).of_file(path))?,
        })
    }

    fn prices(&self) -> SearchOptions {
        SearchOptions {
            fixed: Some(self.widths),
            ends: self.first_last.unwrap_or_default(),
            ..self.purpose.search()
        }
    }

    /// A network that cannot be reshaped, or whose images do not say how.
    pub(super) fn failure(&self, error: ReshapeError) -> Failure {
        let images = matches!(&error, ReshapeError::Price(error) if error.is_of_images());
        Failure::from(error).of_file(if images { &self.training.train[0] } else { &self.model })
    }

    /// Where the state of the training is, and all that it depends on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn place(&self) -> Outcome<Place> {
        let polynomial = self.polynomial()?;
        let mut lines = vec![
            format!("MODEL {}", digest(&self.model)?),
            format!("--output {}", self.output.name().unwrap_or_default()),
            format!("--merge {}", self.merge.unwrap_or(0)),
            format!("--relus {}", self.relus.map_or("none".into(), |part| part.to_string())),
            format!("--by {}", self.by.unwrap_or_default()),
            format!("--polynomial {:?}", polynomial.as_ref().map(|options| &options.relus)),
            format!("--gates {:?}", polynomial.as_ref().and_then(|options| options.gates)),
            format!("--start {}", self.start.unwrap_or_default()),
            format!("--prices {:?}", self.saving()?),
            format!("--kernel {:?}", self.kernel),
            format!("--drop {}", self.drop),
            format!("--rate {}", self.rate),
            format!("--save {:?}", self.save()),
            format!("prices {:?}", self.prices()),
            format!("preprocessing {:?}", self.network.preprocess.preprocess()),
        ];
        lines.extend(self.training.lines()?);
        Ok(Place { path: self.network.state(), arguments: lines.join("\n") })
    }
}

/// Reads a file of prices.
fn table(path: &Path) -> Result<PolynomialPrices, ReshapeError> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let table = text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()));
    let table = table.map_err(|found| ReshapeError::Prices { found })?;
    let prices = PolynomialPrices::Table(table);
    prices.check()?;
    Ok(prices)
}

fn nats(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| *n > 0.0 && n.is_finite());
    number.ok_or_else(|| "expected a number above 0, such as 0.5".into())
}

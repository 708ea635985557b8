//! `pq search --frontier`: the same network within many budgets, beside uniform widths; a table, a
//! drawing and a page.

mod advice;
mod bars;
mod drawing;
mod page;
mod provenance;

use std::collections::BTreeMap;
use std::path::Path;

use pq::{Network, PLAN};
use protocols::plan::{Hints, Plan};
use protocols::printable::Printable;
use protocols::weights::Weights;
use quant::Dataset;
use quant::search::{
    Fidelity, Images, LayerReport, Measure, Prepared, SearchOptions, Sensitivity, Uniform,
    fingerprint,
};
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::resume;
use crate::console::to_json;
use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::images;
use crate::net::{self, Net};
use crate::out::{DRAWING, PAGE, POINT, POINTS, Writer};
use crate::progress::Progress;
use crate::sealed;
use crate::table::Table;
use crate::units;
use provenance::Provenance;

/// Accuracy against communication, as `search.json` has it.
#[derive(Serialize)]
struct Frontier {
    network: String,
    /// Images that accuracies are of.
    images: usize,
    float_accuracy: f64,
    /// Those that no cheaper one beats, by the measured loss; searched, or of one width.
    points: Vec<Point>,
    /// One width everywhere but in the first and the last layer: the baselines.
    uniform: Vec<Point>,
    /// By measure: what the search was guided by, and the others.
    sensitivities: BTreeMap<&'static str, Sensitivity>,
    /// Layers with the index of the activation quantizer that each reads.
    layers: Vec<(String, usize)>,
    /// What it was made from, and how.
    provenance: Provenance,
}

/// One network.
#[derive(Clone, Serialize, Deserialize)]
struct Point {
    name: String,
    /// The folder of its plan and weights, within that of the frontier.
    folder: String,
    budget_bits: Option<u64>,
    predicted_bits: u64,
    /// Of these, what moves before the input is known.
    offline_bits: u64,
    /// Messages of an inference that are waited for, offline and online.
    rounds: u64,
    /// Once a session, beside the hints.
    setup_bits: u64,
    /// Once, for all sessions of a client: the file of hints.
    hints_bits: u64,
    predicted_seconds: f64,
    accuracy: f64,
    expected_loss: Option<f64>,
    fidelity: Fidelity,
    layers: Vec<LayerReport>,
    /// Of the network, all images and the options: what a resumed search must agree on.
    fingerprint: String,
    /// The hash of the plan beside it, whose weights are bound to it in turn.
    plan: String,
}

/// Widths of the baselines.
const UNIFORM: [u8; 5] = [3, 4, 5, 6, 8];
/// Images evaluated between two steps of progress.
const CHUNK: usize = 100;

/// What accuracies are measured on.
struct Test<'a> {
    data: &'a Dataset,
    labels: &'a [usize],
}

/// One search after another on the same network.
struct Sweep<'a> {
    app: &'a App,
    args: &'a Args,
    out: &'a Path,
    prepared: Prepared<'a>,
    test: Test<'a>,
    fingerprint: String,
    bar: Progress,
}

/// Runs `pq search --frontier`.
pub(crate) fn run(app: &App, args: &Args, count: usize) -> Outcome<()> {
    let Some(out) = &args.out else {
        return Err(Failure::usage("--frontier writes files: name a folder with --out"));
    };
    let _kept = args.folder(app, Writer::Frontier)?;
    let input = args.input(&app.console)?;
    let other = match &args.test {
        Some(path) => Some(Dataset::open(path, None, input.model.interface())?),
        None => None,
    };
    let test = Test::new(other.as_ref().unwrap_or(&input.data), args.limit)?;
    let options = args.options();
    let bar = Progress::new();
    let model = input.equalized(app).map_err(|error| args.failure(error))?;
    // Accuracies are measured on images of their own.
    let images = input.images();
    let digest = fingerprint(&model, &input.preprocess, &images, &options);
    let stored = resume::known(app, args, &digest)?;
    let prepared = Prepared::new(&model, &input.preprocess, &images, &options, stored, &mut |at| {
        bar.search(at)
    });
    let prepared = prepared.map_err(|error| args.failure(error))?;
    resume::remember(app, args, &digest, prepared.known())?;
    let batch = test.data.batch(0..test.labels.len(), &input.preprocess)?;
    let float = quant::float::evaluate(&input.model, &batch).map_err(Failure::input)?;
    let float_accuracy = float.accuracy(test.labels);
    let tested = Images { batch: &batch, labels: Some(test.labels), held_back: None };
    let tested = fingerprint(&model, &input.preprocess, &tested, &options);
    let fingerprint = format!("{digest} {tested}");
    drop((batch, float));
    let sweep = Sweep { app, args, out, prepared, test, fingerprint, bar };
    let frontier = sweep.run(input.model.name.clone(), &options, count, float_accuracy)?;
    drop(sweep);
    let json = format!("{}\n", to_json(&frontier)?);
    let svg = drawing::frontier(&frontier);
    let page = page::write(&frontier);
    let written = [
        files::secret(net::SUMMARY, json.as_bytes()),
        files::secret(DRAWING, svg.as_bytes()),
        files::secret(PAGE, page.as_bytes()),
    ];
    files::write_together(&app.cleanup, out, &written)?;
    app.console.result(&frontier, Frontier::text)
}

impl Sweep<'_> {
    fn run(
        &self,
        network: String,
        options: &SearchOptions,
        count: usize,
        float_accuracy: f64,
    ) -> Outcome<Frontier> {
        let mut sensitivities = BTreeMap::new();
        for measure in Measure::ALL {
            // The measure that guides the search is there already; only the others are measured for
            // the report.
            let known = self.prepared.known().filter(|_| measure == options.measure).cloned();
            let found = match known {
                Some(known) => known,
                None => self
                    .prepared
                    .sensitivity(measure, &mut |at| self.bar.search(at))
                    .map_err(|error| self.args.failure(error))?,
            };
            sensitivities.insert(measure.name(), found);
        }
        let mut uniform = Vec::new();
        for bits in UNIFORM {
            let fixed = Uniform { weight_bits: bits, activation_bits: bits };
            // At their least price, as searched ones are: with faster protocols they would look
            // worse than they are.
            let options = SearchOptions { fixed: Some(fixed), cheapest: true, ..*options };
            uniform.push(self.point(format!("w{bits}a{bits}"), options)?);
        }
        let [least, most] =
            self.prepared.extent(options).map_err(|error| self.args.failure(error))?;
        let mut points = Vec::new();
        for (at, budget) in budgets(least, most, count).enumerate() {
            let options = SearchOptions { budget_bits: Some(budget), ..*options };
            points.push(self.point(format!("searched-{}", at + 1), options)?);
        }
        let points = undominated(points, &uniform);
        Ok(Frontier {
            network,
            images: self.test.labels.len(),
            float_accuracy,
            points,
            uniform,
            sensitivities,
            layers: self.prepared.names(),
            provenance: Provenance::of(self.args, &self.fingerprint),
        })
    }

    /// One search, or what an interrupted one has found.
    fn point(&self, name: String, options: SearchOptions) -> Outcome<Point> {
        let folder = format!("{POINTS}/{name}");
        let path = self.out.join(&folder);
        let fingerprint =
            format!("{} {:?} {:?}", self.fingerprint, options.budget_bits, options.fixed);
        if self.args.resume
            && let Some(point) = known(&path, &fingerprint)?
        {
            return Ok(point);
        }
        self.app.console.note(format_args!("{name}"));
        let found = self.prepared.find(&options, &mut |at| self.bar.search(at));
        let mut found = found.map_err(|error| self.args.failure(error))?;
        let hints = found.make_hints()?;
        let cost = found.plan.cost(1);
        // What a client that lacks the hints gets more in its set-up is the hints.
        let [sent, known] =
            [Hints::Sent, Hints::Known].map(|hints| found.plan.setup_cost(hints).bits());
        let point = Point {
            offline_bits: cost.offline.bits(),
            rounds: cost.offline.rounds + cost.online.rounds,
            hints_bits: sent - known,
            accuracy: self.test.accuracy(&found.plan, &found.weights, &self.bar)?,
            name,
            folder,
            budget_bits: found.budget_bits,
            predicted_bits: found.predicted_bits,
            setup_bits: found.setup_bits,
            predicted_seconds: found.predicted_seconds,
            expected_loss: found.expected_loss,
            fidelity: found.fidelity,
            layers: found.layers,
            fingerprint,
            plan: hash(&found.plan),
        };
        let json = sealed::seal(&point)?;
        let (plan, weights, hints) = (&found.plan, &found.weights, hints.as_ref());
        let record = files::secret(POINT, json.as_bytes());
        net::write_with(self.app, &path, Net { plan, weights, hints }, record)?;
        Ok(point)
    }
}

impl Point {
    /// Whether it loses less than another one: by the divergence, and where that is the same, as it
    /// is of a network with one output, by the logits.
    fn is_better_than(&self, other: &Self) -> bool {
        let [own, other] = [self, other].map(|point| (point.fidelity.loss, point.fidelity.error));
        own < other
    }
}

/// Those of all networks that lose less than every cheaper one, the cheapest first.
fn undominated(searched: Vec<Point>, uniform: &[Point]) -> Vec<Point> {
    let mut all = searched;
    all.extend_from_slice(uniform);
    // Of equal prices the better one comes first; of equals, what was searched.
    all.sort_by(|a, b| {
        a.predicted_bits
            .cmp(&b.predicted_bits)
            .then_with(|| b.is_better_than(a).cmp(&a.is_better_than(b)))
    });
    // Invariant: `points` lose less and less, and each cheaper network loses no less than the last.
    let mut points: Vec<Point> = Vec::new();
    for point in all {
        if points.last().is_none_or(|best| point.is_better_than(best)) {
            points.push(point);
        }
    }
    points
}

/// So many budgets from a little above the smallest to the largest, evenly in the logarithm.
fn budgets(least: u64, most: u64, count: usize) -> impl Iterator<Item = u64> {
    let (low, high) = (least as f64 * 1.1, most as f64);
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(move |at| (low * (high / low).powf(at as f64 / last)) as u64)
}

/// A point that an interrupted search has written.
fn known(path: &Path, fingerprint: &str) -> Outcome<Option<Point>> {
    let point = sealed::open::<Point>(&path.join(POINT))?;
    let Some(point) = point.filter(|point| point.fingerprint == fingerprint) else {
        return Ok(None);
    };
    let network = Network::open(path)?;
    if hash(network.plan()) != point.plan {
        return Err(sealed::broken(&path.join(PLAN), "it is another plan"));
    }
    Ok(Some(point))
}

/// A plan's hash, in hexadecimal.
fn hash(plan: &Plan) -> String {
    protocols::hex(&plan.hash())
}

impl<'a> Test<'a> {
    fn new(data: &'a Dataset, limit: Option<u32>) -> Outcome<Self> {
        let Some(labels) = data.labels() else {
            return Err(Failure::input("accuracies need labels: name a labeled file with --test"));
        };
        let count = limit.map_or(labels.len(), |limit| labels.len().min(limit as usize));
        Ok(Self { data, labels: &labels[..count] })
    }

    fn accuracy(&self, plan: &Plan, weights: &Weights, bar: &Progress) -> Outcome<f64> {
        let mut hits = 0;
        for (at, labels) in self.labels.chunks(CHUNK).enumerate() {
            bar.set("evaluation", at * CHUNK, self.labels.len());
            let batch = images::batch(plan, self.data, at * CHUNK..at * CHUNK + labels.len())?;
            let found = fusion::ideal(plan, weights, &plan.encode(&batch.data)?)?;
            let answers = plan.decode(&found, batch.images());
            let right =
                answers.iter().zip(labels).filter(|(answer, label)| answer.label == **label);
            hits += right.count();
        }
        Ok(hits as f64 / self.labels.len().max(1) as f64)
    }
}

impl Frontier {
    /// Of an accuracy like the float network's.
    fn standard_error(&self) -> f64 {
        (self.float_accuracy * (1.0 - self.float_accuracy) / self.images.max(1) as f64).sqrt()
    }

    fn text(&self) -> String {
        let mut table = Table::new(1, &["network", "one inference", "seconds", "accuracy", "loss"]);
        let beaten = |uniform: &&Point| self.points.iter().all(|point| point.name != uniform.name);
        for point in self.points.iter().chain(self.uniform.iter().filter(beaten)) {
            table.row(vec![
                point.name.clone(),
                units::bytes(point.predicted_bits / 8),
                format!("{:.2}", point.predicted_seconds),
                units::percent(point.accuracy),
                units::loss(point.fidelity.loss),
            ]);
        }
        let float = 100.0 * self.float_accuracy;
        let (name, images, advice) = (Printable(&self.network), self.images, self.advice());
        format!("{name}\n\n{table}\nfloat {float:.2} %, {images} images\n{advice}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, predicted_bits: u64, loss: f64) -> Point {
        Point {
            name: name.into(),
            folder: name.into(),
            budget_bits: None,
            predicted_bits,
            offline_bits: 0,
            rounds: 0,
            setup_bits: 0,
            hints_bits: 0,
            predicted_seconds: 0.0,
            accuracy: 0.0,
            expected_loss: None,
            fidelity: Fidelity { images: 1, agreement: 1.0, loss, error: loss, held_back: false },
            layers: Vec::new(),
            fingerprint: String::new(),
            plan: String::new(),
        }
    }

    #[test]
    fn no_point_of_a_frontier_is_beaten_by_a_cheaper_one() {
        let searched = vec![
            point("a", 10, 0.5),
            point("b", 20, 0.1),
            point("worse", 30, 0.8),
            point("as good", 35, 0.1),
            point("c", 50, 0.02),
        ];
        let uniform = [point("w3a3", 15, 0.4), point("w4a4", 40, 0.3), point("w8a8", 50, 0.01)];
        let found = undominated(searched, &uniform);
        let names: Vec<&str> = found.iter().map(|point| point.name.as_str()).collect();
        assert_eq!(names, ["a", "w3a3", "b", "w8a8"]);
    }

    #[test]
    fn the_cheapest_network_that_is_close_is_taken_and_else_the_most_accurate() {
        let mut points = vec![point("a", 10, 0.5), point("b", 20, 0.1), point("c", 30, 0.0)];
        for (point, accuracy) in points.iter_mut().zip([0.70, 0.895, 0.91]) {
            point.accuracy = accuracy;
        }
        let mut frontier = Frontier {
            network: "net".into(),
            images: 100_000,
            float_accuracy: 0.90,
            points,
            uniform: Vec::new(),
            sensitivities: BTreeMap::new(),
            layers: Vec::new(),
            provenance: Provenance::default(),
        };
        assert_eq!(frontier.taken().unwrap().name, "b");
        assert!(frontier.advice().contains("0.50 points below"), "{}", frontier.advice());
        frontier.float_accuracy = 0.99;
        assert_eq!(frontier.taken().unwrap().name, "c");
        assert!(frontier.advice().contains("none is close"), "{}", frontier.advice());
        // Few images cannot tell so little apart.
        (frontier.float_accuracy, frontier.images) = (0.90, 5);
        frontier.points[0].accuracy = 0.80;
        assert_eq!(frontier.taken().unwrap().name, "a");
    }

    #[test]
    fn networks_of_one_output_are_told_apart_by_their_logits() {
        let mut points = [point("a", 10, 0.0), point("b", 20, 0.0), point("c", 30, 0.0)];
        for (point, error) in points.iter_mut().zip([0.5, 0.6, 0.1]) {
            point.fidelity.error = error;
        }
        let found = undominated(points.to_vec(), &[]);
        assert_eq!(found.iter().map(|point| point.predicted_bits).collect::<Vec<_>>(), [10, 30]);
    }
}

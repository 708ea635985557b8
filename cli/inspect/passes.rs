//! `pq inspect --passes`: the integer network after each fusion pass, and what it costs.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::path::PathBuf;

use fusion::planner::inference_bits;
use fusion::{Graph, Options, fuse, pass};
use protocols::printable::Printable;
use quant::search::{FirstAndLast, SearchError, Uniform, check, uniform_graph};
use quant::{Dataset, Model};
use serde::Serialize;

use crate::assumptions::{self, Assumed};
use crate::exit::{Failure, Outcome};
use crate::images::PreprocessArgs;
use crate::units;

/// How a network is quantized to be looked at.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Print the integer network after each fusion pass.
    #[arg(long)]
    passes: bool,
    /// Leave a pass out: the same integers at a higher price; may be repeated.
    #[arg(long, value_name = "PASS", requires = "passes")]
    without: Vec<String>,
    /// The widths of all layers but the first and the last, which have w8a8.
    #[arg(long, value_name = "wNaM", default_value = "w4a4", requires = "passes")]
    fixed: Uniform,
    /// Images that decide the shifts; noise without them.
    #[arg(long, value_name = "FILE", requires = "passes")]
    calib: Option<PathBuf>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// How a network is fused.
#[derive(Serialize)]
pub(super) struct Fusion {
    /// The network before any pass, a line a node.
    graph: Vec<String>,
    /// The passes that found a place.
    passes: Vec<Stage>,
    /// Passes left out.
    without: BTreeSet<String>,
    /// Steps of the plan.
    steps: usize,
    /// Bits of one inference, offline and online, with one protocol for all layers.
    bits: u64,
    /// The same with all passes.
    bits_with_all: u64,
    /// Whether noise stood in for images.
    noise: bool,
    /// What the security of the plan rests on.
    assumptions: Vec<Assumed>,
}

#[derive(Serialize)]
struct Stage {
    pass: &'static str,
    places: usize,
    graph: Vec<String>,
}

/// Images that decide the shifts.
const IMAGES: usize = 16;
/// Images that a search is tried on.
const TRIAL_IMAGES: usize = 2;

impl Args {
    pub(super) const fn wanted(&self) -> bool {
        self.passes
    }

    /// What keeps a network from being searched, tried on noise; nothing where nothing does.
    pub(super) fn trial(&self, model: &Model) -> Outcome<Option<SearchError>> {
        let preprocess = self.preprocess.preprocess();
        let batch = Dataset::noise(TRIAL_IMAGES, model.input, 0);
        let batch = batch.batch(0..TRIAL_IMAGES, &preprocess)?;
        Ok(check(model, &preprocess, &batch).err())
    }

    pub(super) fn fuse(&self, model: &Model) -> Outcome<Fusion> {
        let data = match &self.calib {
            Some(path) => Dataset::open(path, None, model.interface())?,
            None => Dataset::noise(IMAGES, model.input, 0),
        };
        let preprocess = self.preprocess.preprocess();
        let batch = data.batch(0..data.len().min(IMAGES), &preprocess)?;
        let graph = uniform_graph(model, &preprocess, &batch, self.fixed, FirstAndLast::default())?;
        let without: BTreeSet<String> = self.without.iter().cloned().collect();
        let stages = pass::stages(&graph, &without).map_err(|error| {
            let misspelt = matches!(error, fusion::Error::UnknownPass { .. });
            if misspelt { Failure::usage(format_args!("--without: {error}")) } else { error.into() }
        })?;
        let with_all = fuse(&graph, &Options::default())?;
        let plan = fuse(&graph, &Options { without: without.clone(), ..Options::default() })?;
        Ok(Fusion {
            graph: lines(&graph),
            passes: stages.iter().map(Stage::new).collect(),
            without,
            steps: plan.steps.len(),
            bits: inference_bits(&plan),
            bits_with_all: inference_bits(&with_all),
            noise: self.calib.is_none(),
            assumptions: assumptions::of(&plan),
        })
    }
}

impl Stage {
    fn new(stage: &pass::Stage) -> Self {
        Self { pass: stage.pass, places: stage.places, graph: lines(&stage.graph) }
    }
}

fn lines(graph: &Graph) -> Vec<String> {
    graph.to_string().lines().map(str::to_owned).collect()
}

impl Fusion {
    /// The network, then after each pass, what is new marked.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let source =
            if self.noise { " (shifts from noise; give --calib for real ones)" } else { "" };
        let _ = writeln!(text, "\nbefore any pass{source}");
        self.graph.iter().for_each(|line| text += &format!("    {}\n", Printable(line)));
        let mut before = &self.graph;
        for Stage { pass, places, graph } in &self.passes {
            let places =
                if *places == 1 { "1 place".to_owned() } else { format!("{places} places") };
            let _ = writeln!(text, "\nafter {pass}: {places}, {} nodes", graph.len());
            let old: HashSet<&String> = before.iter().collect();
            for line in graph {
                let mark = if old.contains(line) { ' ' } else { '+' };
                let _ = writeln!(text, "  {mark} {}", Printable(line));
            }
            before = graph;
        }
        let _ = writeln!(text, "\n{} steps, {} an inference", self.steps, units::bits(self.bits));
        if !self.without.is_empty() {
            let without: Vec<&str> = self.without.iter().map(String::as_str).collect();
            let all = units::bits(self.bits_with_all);
            let _ = writeln!(text, "without {}; {all} with all passes", without.join(", "));
        }
        let _ = write!(text, "\n{}", assumptions::text(&self.assumptions));
        text
    }
}

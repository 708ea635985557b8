//! `pq merge`: the results of all shards, together.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};
use crate::lines::{Content, ImageLine, Lines};
use crate::units;

/// What `pq merge` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The files that pq infer --shard I/N --out FILE has written, of all shards.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Merged {
    images: usize,
    /// Of the images whose label is known; null where none is.
    accuracy: Option<f64>,
    predictions: Vec<usize>,
    /// `[images][classes]`; null where the label alone was revealed.
    logits_int: Option<Vec<Vec<i64>>>,
    plan: String,
    server_bytes: u64,
    client_bytes: u64,
}

/// Runs `pq merge`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    let mut shards = Vec::with_capacity(args.files.len());
    for path in &args.files {
        shards.push((path, Lines::open(path)?));
    }
    // By their first image: whatever order a shell has them in.
    shards.sort_by_key(|(_, lines)| lines.content.images);
    let Some((_, first)) = shards.first() else {
        return Err(Failure::usage("expected files of pq infer --out, found none"));
    };
    let Content { of: [from, to], plan, .. } = first.content.clone();
    let (mut all, mut next, mut bytes) = (Vec::new(), from, [0; 2]);
    for (path, Lines { images, content }) in shards {
        if (content.of, &content.plan) != ([from, to], &plan) {
            let why = format_args!(
                "expected a shard of the images {from}..{to} with the plan {plan}, found one of \
                 {}..{} with the plan {}",
                content.of[0], content.of[1], content.plan
            );
            return Err(Failure::input(why).of_file(path));
        }
        let [start, end] = content.images;
        // Each begins where the one before ends: none is missing, and none there twice.
        if start != next {
            let why =
                if start > next { "missing: run its shard" } else { "there twice: name it once" };
            return Err(Failure::input(format_args!(
                "expected image {next} next, found {start}; {why}"
            ))
            .of_file(path));
        }
        next = end;
        bytes = [bytes[0] + content.server_bytes, bytes[1] + content.client_bytes];
        all.extend(images);
    }
    if next != to {
        return Err(Failure::input(format_args!(
            "expected the images {from}..{to}, found {from}..{next}; run the shards of the others"
        )));
    }
    app.console.result(&Merged::new(all, plan, bytes), Merged::text)
}

impl Merged {
    fn new(images: Vec<ImageLine>, plan: String, [server_bytes, client_bytes]: [u64; 2]) -> Self {
        // Images without a label are neither right nor wrong.
        let labeled = images.iter().filter(|image| image.label.is_some());
        let (known, right) = labeled.fold((0, 0), |(known, right), image| {
            (known + 1, right + usize::from(image.label == Some(image.prediction)))
        });
        Self {
            images: images.len(),
            accuracy: (known > 0).then(|| f64::from(right as u32) / f64::from(known)),
            predictions: images.iter().map(|image| image.prediction).collect(),
            logits_int: images.into_iter().map(|image| image.logits).collect(),
            plan,
            server_bytes,
            client_bytes,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("images         {}\n", self.images);
        if let Some(accuracy) = self.accuracy {
            let _ = writeln!(text, "accuracy       {:.2} %", 100.0 * accuracy);
        }
        let bytes = units::bytes(self.server_bytes + self.client_bytes);
        let _ = writeln!(text, "communication  {bytes}, set-up included");
        text
    }
}

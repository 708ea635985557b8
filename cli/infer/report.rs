//! The result of `pq infer`, as JSON and as text.

use std::fmt::Write;
use std::path::Path;

use protocols::plan::Plan;
use quant::data::OffScale;
use serde::{Deserialize, Serialize};

use super::args::ImageOptions;
use super::memory::Memory;
use super::sessions::Session;
use crate::context::App;
use crate::exit::{Code, Failure, Outcome};
use crate::files;
use crate::ledger::Ledger;
use crate::lines::{Content, ImageLine, Lines};
use crate::logits;
use crate::out;
use crate::units;

/// What a party knows after a run: the server knows the ledger only.
#[derive(Serialize, Deserialize)]
pub(crate) struct Inference {
    /// The class of every image.
    pub(crate) predictions: Option<Vec<usize>>,
    /// `[images][classes]`; null where the label alone is revealed.
    pub(crate) logits: Option<Vec<Vec<f64>>>,
    /// `[images][classes]`.
    pub(crate) logits_int: Option<Vec<Vec<i64>>>,
    /// The labels of the images, where they are known.
    pub(crate) labels: Option<Vec<usize>>,
    /// Whether the result equals that of the plaintext network, if that was asked for.
    pub(crate) verified: Option<bool>,
    /// Where the images are floats that are far from what the plan's integers hold.
    pub(crate) off_scale: Option<OffScale>,
    #[serde(flatten)]
    pub(crate) ledger: Ledger,
    /// Those of a client; null where this process is the server, or both.
    pub(crate) sessions: Option<Vec<Session>>,
    /// Bytes of keep-alive frames, in both directions: outside the ledger.
    pub(crate) keep_alive_bytes: u64,
    /// Of this process: of both parties where it is both.
    pub(crate) memory: Memory,
    /// The index of the first image in its file.
    #[serde(skip)]
    pub(crate) first: usize,
    #[serde(skip)]
    pub(crate) class_names: Option<Vec<String>>,
}

/// Whether what a run would write is there already, whole, and says so.
pub(super) fn is_there(app: &App, options: &ImageOptions<'_>, plan: &Plan) -> Outcome<bool> {
    let Some(path) = options.out else { return Ok(false) };
    if !path.exists() {
        // Better now than when all is run.
        out::file(app, path, false)?;
        return Ok(false);
    }
    // Whatever else stands there is not this command's to replace.
    let content = Lines::open(path)?.content;
    if !content.is_of(&hash(plan), &options.all, &options.indices.0) {
        let why = "it has results of other images or of another plan; name another file";
        return Err(Failure::input(why).of_file(path));
    }
    app.console.note(format_args!("{} is there already: nothing is run", path.display()));
    app.console.result(&content, |_| String::new())?;
    Ok(true)
}

/// The folder and the name of a file.
fn parts(path: &Path) -> Outcome<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("--out needs the name of a file"))?;
    Ok((files::folder_of(path), name))
}

fn hash(plan: &Plan) -> String {
    protocols::hex(&plan.hash())
}

impl Inference {
    /// What the server knows.
    pub(super) const fn of_server(ledger: Ledger, keep_alive_bytes: u64, memory: Memory) -> Self {
        Self {
            predictions: None,
            logits: None,
            logits_int: None,
            labels: None,
            verified: None,
            off_scale: None,
            ledger,
            sessions: None,
            keep_alive_bytes,
            memory,
            first: 0,
            class_names: None,
        }
    }

    /// Writes a line an image, where that was asked for, and prints it.
    pub(super) fn finish(&self, app: &App, options: &ImageOptions<'_>, plan: &Plan) -> Outcome<()> {
        // What did not verify is nobody's result.
        if let Some(path) = options.out.filter(|_| self.verified != Some(false)) {
            let (folder, name) = parts(path)?;
            // Derived from images: its owner's alone.
            let text = self.lines(options, plan).text()?;
            let written = [files::secret(name, text.as_bytes())];
            files::write_together(&app.cleanup, folder, &written)?;
        }
        self.print(app)
    }

    fn lines(&self, options: &ImageOptions<'_>, plan: &Plan) -> Lines {
        let (cost, part) = (&self.ledger.cost, &options.indices.0);
        let images = self.predictions.iter().flatten().enumerate().map(|(at, prediction)| {
            let logits = self.logits_int.as_ref().map(|all| all[at].clone());
            let label = self.labels.as_ref().map(|all| all[at]);
            ImageLine { index: self.first + at, prediction: *prediction, logits, label }
        });
        let phases = [cost.setup, cost.offline, cost.online];
        let content = Content {
            of: [options.all.start, options.all.end],
            images: [part.start, part.end],
            plan: hash(plan),
            server_bytes: phases.iter().map(|phase| phase.server_bytes).sum(),
            client_bytes: phases.iter().map(|phase| phase.client_bytes).sum(),
        };
        Lines { images: images.collect(), content }
    }

    /// Prints it; a result that is not the plaintext one is a failure.
    pub(super) fn print(&self, app: &App) -> Outcome<()> {
        if let Some(off_scale) = &self.off_scale {
            app.console.warn(format_args!("--input: {off_scale}"));
        }
        if self.verified != Some(false) {
            return app.console.result(self, Self::text);
        }
        let message =
            "verification failed: the private result differs from that of the plaintext network";
        app.console.failed_result(self, Self::text, Failure::new(Code::Unverified, message))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let names = self.class_names.as_deref();
        for (image, &prediction) in self.predictions.iter().flatten().enumerate() {
            let label = self.labels.as_ref().and_then(|labels| labels.get(image));
            let label = label.map(|&label| format!(", label {}", logits::name(label, names)));
            let _ = writeln!(text, "image {}{}", self.first + image, label.unwrap_or_default());
            match self.logits.as_ref().and_then(|logits| logits.get(image)) {
                Some(logits) => text += &logits::top(logits, names),
                None => text += &format!("    {}\n", logits::name(prediction, names)),
            }
        }
        text += "\n";
        text += &self.ledger_text();
        text
    }

    /// The ledger, and whether the result was verified.
    pub(crate) fn ledger_text(&self) -> String {
        let verdict = match self.verified {
            Some(true) => "verified: equal to the plaintext network, integer for integer\n",
            Some(false) => "NOT VERIFIED: different from the plaintext network\n",
            None => "",
        };
        let alive = match self.keep_alive_bytes {
            0 => String::new(),
            bytes => format!("keep-alive frames, outside the ledger: {}\n", units::bytes(bytes)),
        };
        let lost = self.sessions.iter().flatten().filter(|session| !session.complete).count();
        let lost = match lost {
            0 => String::new(),
            lost => format!("sessions that were lost: {lost}, counted up to their last answers\n"),
        };
        self.ledger.measured_text() + &alive + &lost + &self.memory.text() + verdict
    }
}

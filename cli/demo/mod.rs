//! `pq demo`: the whole way, on a small network that is built in: search, two real processes over
//! loopback, the ledger.

mod picture;
mod web;

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};

use clap::Parser;
use protocols::ot::OtExtensions;
use protocols::plan::Plan;
use quant::Dataset;
use serde::Serialize;

use pq::{Network, PLAN, WEIGHTS};

use crate::cleanup::{ChildPipes, Kept};
use crate::context::App;
use crate::exit::{Code, Failure, Outcome};
use crate::images;
use crate::infer::{Inference, LISTENING};
use crate::process;
use crate::search;

/// What `pq demo` is given.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many images.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=64),
    )]
    images: u32,
    /// Where correlated OTs come from: softspoken:K with K of 1 to 8, or ferret [default:
    /// whatever is fastest].
    #[arg(long, value_name = "softspoken:K|ferret")]
    ot: Option<OtExtensions>,
    /// Serve a page on this machine instead, on which one draws a digit, with the client in the
    /// browser; until it is interrupted.
    #[arg(long, conflicts_with = "images")]
    web: bool,
    /// The folder of the client for browsers, as bindings/web/build.sh has written it [default:
    /// pq-web beside this program, or target/pq-web].
    #[arg(long, value_name = "FOLDER", requires = "web")]
    web_client: Option<PathBuf>,
    /// The address of this machine that the page is served at [default: any that is free].
    #[arg(long, value_name = "HOST:PORT", value_parser = crate::values::address, requires = "web")]
    web_listen: Option<String>,
}

const MODEL: &str = "digits.onnx";
const CALIBRATION: &str = "calib-images-idx3-ubyte";
const IMAGES: &str = "test-images-idx3-ubyte";
/// Beside the images, where their reader looks for it.
const LABELS: &str = "test-labels-idx1-ubyte";

/// The network and the images, as files of the temporary folder.
const ASSETS: [(&str, &[u8]); 4] = [
    (MODEL, include_bytes!("../../assets/digits.onnx")),
    (CALIBRATION, include_bytes!("../../assets/digits-calib-images-idx3-ubyte")),
    (IMAGES, include_bytes!("../../assets/digits-test-images-idx3-ubyte")),
    (LABELS, include_bytes!("../../assets/digits-test-labels-idx1-ubyte")),
];

/// Tight enough that layers differ in their widths.
const BUDGET: &str = "2500k";
/// Enough to calibrate so small a network.
const SAMPLES: &str = "64";

/// What the demo comes to.
#[derive(Serialize)]
struct Demo {
    search: search::Summary,
    #[serde(flatten)]
    inference: Inference,
}

/// Runs `pq demo`.
pub(crate) fn run(app: &App, args: &Args) -> Outcome<()> {
    // What is missing is told before anything is searched.
    let files = args.web.then(|| web::files(args.web_client.as_deref())).transpose()?;
    let folder = std::env::temp_dir().join(format!("pq-demo-{}", std::process::id()));
    let created = app.cleanup.create(folder, |path| fs::create_dir(path));
    let (folder, ()) = created.map_err(|error| unwritable(&error))?;
    let folder = folder.path();
    for (name, bytes) in ASSETS {
        fs::write(folder.join(name), bytes).map_err(|error| unwritable(&error))?;
    }
    app.console
        .note(format_args!("1. searching widths for a budget of {BUDGET} bits an inference"));
    let (search, plan) = search::find(app, &search_args(folder, args.ot)?)?;
    if let Some(files) = files {
        return web::serve(app, folder, files, args.web_listen.as_deref());
    }
    app.console.note("2. two processes: a server with the weights, a client with the images");
    let mut inference = infer(app, folder, args.images as usize)?;
    let data = images::open(&plan, &folder.join(IMAGES), None)?;
    verify(folder, &data, &mut inference)?;
    let demo = Demo { search, inference };
    if demo.inference.verified == Some(true) {
        return app.console.result(&demo, |demo| demo.text(&plan, &data));
    }
    let failure =
        Failure::new(Code::Unverified, "the private result differs from the plaintext one");
    app.console.failed_result(&demo, |demo| demo.text(&plan, &data), failure)
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::internal(format_args!("cannot write the demo's temporary files: {error}"))
}

/// The options that a user would write.
fn search_args(folder: &Path, ot: Option<OtExtensions>) -> Outcome<search::Args> {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: search::Args,
    }
    let [model, calibration, out] =
        [MODEL, CALIBRATION, "net"].map(|name| folder.join(name).into_os_string());
    let words = ["search".into(), model, "--calib".into(), calibration, "--out".into(), out];
    let numbers = ["--budget-bits", BUDGET, "--samples", SAMPLES].map(Into::into);
    let line = Line::try_parse_from(words.into_iter().chain(numbers));
    line.map(|mut line| {
        line.args.purpose.ot = ot;
        line.args
    })
    .map_err(|error| Failure::internal(format_args!("the demo's search: {error}")))
}

/// Runs both parties as processes; the client's result.
fn infer(app: &App, folder: &Path, images: usize) -> Outcome<Inference> {
    let net = folder.join("net");
    let (kept_server, server) = party(app, "server", &net.join(PLAN), |command| {
        command.arg("--weights").arg(net.join(WEIGHTS)).args(["--listen", "127.0.0.1:0"]);
    })?;
    let ChildPipes { stdout: server_result, stderr: server_messages } = server;
    let mut messages = server_messages.map(BufReader::new);
    let address = address(messages.as_mut())?;
    app.console.note(format_args!("   the server listens on {address}"));
    // Emptied all the time, so that the server never waits for its reader.
    let server = process::spawn("server's output", move || (text(server_result), text(messages)))?;
    let (kept_client, client) = party(app, "client", &net.join(PLAN), |command| {
        command.arg("--input").arg(folder.join(IMAGES)).args(["--index", &format!("0..{images}")]);
        command.args(["--connect", &address]);
    })?;
    let client_messages = process::spawn("client's output", move || text(client.stderr))?;
    let result = text(client.stdout);
    let client_messages = client_messages.join().unwrap_or_default();
    ended(kept_client, "client", &client_messages)?;
    let (_, server_messages) = server.join().unwrap_or_default();
    ended(kept_server, "server", &server_messages)?;
    serde_json::from_str(&result).map_err(|error| {
        Failure::internal(format_args!("the client's result is not as expected: {error}"))
    })
}

/// Starts this program as one party.
fn party(
    app: &App,
    role: &str,
    plan: &Path,
    more: impl FnOnce(&mut Command),
) -> Outcome<(Kept, ChildPipes)> {
    let program: PathBuf = std::env::current_exe()
        .map_err(|error| Failure::internal(format_args!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    command.args(["infer", "--json", "--role", role, "--plan"]).arg(plan);
    more(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    app.cleanup.spawn(&mut command)
}

/// Where the server listens, as it says.
fn address(messages: Option<&mut BufReader<ChildStderr>>) -> Outcome<String> {
    let mut heard = String::new();
    for line in messages.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        if let Some(address) = line.strip_prefix(LISTENING) {
            return Ok(address.to_owned());
        }
        heard += &line;
    }
    Err(Failure::internal(format_args!("the server did not start: {heard}")))
}

fn ended(kept: Kept, party: &str, messages: &str) -> Outcome<()> {
    let status = kept.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::internal(format_args!("the {party} ended with {status}: {}", messages.trim_end())))
}

/// Everything that a child writes.
fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before a pipe broke still says what happened.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Compares with the plaintext network.
fn verify(folder: &Path, data: &Dataset, inference: &mut Inference) -> Outcome<()> {
    let network = Network::open(folder.join("net"))?;
    let (plan, count) = (network.plan(), inference.ledger.cost.images);
    let input = plan.encode(&images::batch(plan, data, 0..count)?.data)?;
    let plain = plan.decode(&fusion::ideal(plan, network.weights(), &input)?, count);
    let plain: Option<Vec<Vec<i64>>> =
        plain.into_iter().map(|answer| answer.logits.map(|logits| logits.integers)).collect();
    inference.verified = Some(inference.logits_int == plain);
    Ok(())
}

impl Demo {
    fn text(&self, plan: &Plan, data: &Dataset) -> String {
        let predictions = self.inference.predictions.as_deref().unwrap_or_default();
        let labels = data.labels().unwrap_or_default();
        let mut text = picture::rows(data, predictions, labels);
        text += &self.search.text(plan);
        text += "\n";
        text += &self.inference.ledger_text();
        text
    }
}

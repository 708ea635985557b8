//! Both parties in one process.

use pq::Network;

use super::args::LocalOptions;
use super::input::Input;
use super::memory::Parties;
use super::report::{Inference, is_there};
use crate::context::App;
use crate::exit::Outcome;
use crate::net;
use crate::progress::{Progress, show};

pub(super) fn run(app: &App, options: &LocalOptions<'_>) -> Outcome<()> {
    let network = open(options)?;
    if is_there(app, &options.images, network.plan())? {
        return Ok(());
    }
    infer_on(&network, options)?.finish(app, &options.images, network.plan())
}

/// The result of a run.
pub(super) fn infer(options: &LocalOptions<'_>) -> Outcome<Inference> {
    infer_on(&open(options)?, options)
}

fn open(options: &LocalOptions<'_>) -> Outcome<Network> {
    options.common.revealing(Network::open(options.folder)?)
}

fn infer_on(network: &Network, options: &LocalOptions<'_>) -> Outcome<Inference> {
    let input = Input::open(network.plan(), &options.images, Parties::Both, options.common.budget)?;
    let hints = net::hints_of_client(options.folder, network.plan())?;
    // Both together were held against the budget before.
    let both = pq::LocalOptions { load: input.load.with(hints), limits: options.common.limits };
    let progress = Progress::new();
    let (found, report) = network.run_locally(&input.integers, &both, &mut show(&progress))?;
    drop(progress);
    let weights = options.verify.then_some(&**network.weights());
    input.inference(network.plan(), (found, &[&report]), weights, &options.common.profile)
}

//! The offline part: OTs, masks, and every product with a mask. Nothing here needs the input.

use std::sync::Arc;

use super::report::{Measured, timed};
use super::{Event, Observe, PartySession, budget};
use crate::linear::{Layer, LayerWeights, Secrets, State};
use crate::ot::{Demand, Draws, Set};
use crate::plan::Plan;
use crate::steps::{CORRELATIONS, KEYS, Offline, Prepared, draw};
use crate::{Cost, Error, Operator, Phases, Role, Session, Share};

/// What one inference consumes. Used once: running it takes it.
pub(super) struct Stock {
    pub(super) images: usize,
    /// The client's mask of every wire that has one: its share, before the input is known.
    pub(super) masks: Vec<Option<Share>>,
    /// What every step left, by step index.
    pub(super) steps: Vec<Prepared>,
    /// What the online part will draw.
    pub(super) pads: Set,
}

/// Prepares some inferences: one extension for all of them, then one after the other.
pub(super) async fn prepare(
    run: &mut PartySession,
    inferences: usize,
    observe: &mut Observe<'_>,
) -> Result<Vec<Stock>, Error> {
    let plan = Arc::clone(&run.plan);
    let steps = plan.steps.len();
    let count = inferences * steps + 1;
    observe(Event { phase: "offline", step: CORRELATIONS, index: 0, count });
    let first = run.begun;
    run.begun += inferences;
    let extend = plan.preparation(run.load, run.load.group_of(first, inferences));
    budget::enter(&mut run.session, 10, CORRELATIONS, budget::of_supply(&extend));
    let images = (first..first + inferences).map(|inference| run.load.images_of(inference));
    let draws = draws(&plan, images);
    // Both parties order the same: what is made depends on the plan and the load alone.
    run.session.order(extend.cots(), &in_order(&draws));
    let ((), measured) = timed(&mut run.session, CORRELATIONS, extend.cost(), async |session| {
        session.run(&extend, ()).await
    })
    .await?;
    run.report.add_offline(CORRELATIONS, measured);
    let mut stock = Vec::with_capacity(inferences);
    for inference in 0..inferences {
        let images = run.load.images_of(first + inference);
        stock.push(
            prepare_one(run, images, &mut |step: &str, at: usize| {
                observe(Event { phase: "offline", step, index: inference * steps + at + 1, count })
            })
            .await?,
        );
    }
    // All that is left is of the online parts, in the order of the inferences.
    for (stock, draws) in stock.iter_mut().zip(&draws) {
        stock.pads = run.session.set_aside(&draws.online)?;
    }
    run.session.settle_pads()?;
    Ok(stock)
}

/// What inferences of so many images each draw.
fn draws(plan: &Plan, images: impl Iterator<Item = usize>) -> Vec<Draws> {
    let mut all: Vec<(usize, Draws)> = Vec::new();
    for images in images {
        // Only the last may have fewer images than the others.
        let alike = all.last().filter(|(of, _)| *of == images);
        all.push(alike.cloned().unwrap_or_else(|| (images, plan.draws(images))));
    }
    all.into_iter().map(|(_, draws)| draws).collect()
}

/// What some inferences draw, in the order in which they do.
fn in_order(draws: &[Draws]) -> Vec<Demand> {
    let offline = draws.iter().flat_map(|draws| &draws.offline);
    offline.chain(draws.iter().flat_map(|draws| &draws.online)).copied().collect()
}

async fn prepare_one(
    run: &mut PartySession,
    images: usize,
    event: &mut (dyn FnMut(&str, usize) + Send),
) -> Result<Stock, Error> {
    let plan = &*Arc::clone(&run.plan);
    let drawn = plan.masks();
    let context = plan.context(&drawn);
    let mut masks: Vec<Option<Share>> = plan.wires.iter().map(|_| None).collect();
    let mut steps = Vec::with_capacity(plan.steps.len());
    let secrets = draw_secrets(run, images).await?;
    let (own, client) = (run.weights.clone(), run.session.role() == Role::Client);
    for (index, step) in plan.steps.iter().enumerate() {
        event(&step.name, index);
        budget::enter(&mut run.session, step_number(index), &step.name, run.budgets.offline[index]);
        let draws = client && step.op.step().draws_mask();
        if let Some(output) = step.op.output().filter(|wire| draws && !drawn.by_layer[*wire]) {
            masks[output] = Some(draw(&mut run.session, &plan.wires[output], images));
        }
        let weights = own.as_ref().and_then(|own| own.layers.get(&step.name));
        let cost = step.op.step().cost(&context, images);
        if plan.streamed && step.op.layer().is_some() {
            let needed = plan.placed(&step.op, cost).offline;
            let demands = step.op.step().draws(&context, images).offline;
            let supplied = supply(plan, &mut run.session, index, (needed, &demands)).await?;
            run.report.add_offline(CORRELATIONS, supplied);
        }
        let fresh = match step.op.layer().filter(|layer| !plan.keeps(layer)) {
            Some(layer) => Some(make_state(run, index, &layer, cost, weights).await?),
            None => None,
        };
        let state = run.ready.states[index].as_ref().or(fresh.as_ref());
        let secrets = secrets.as_ref();
        let offline = Offline { context, images, masks: &mut masks, weights, state, secrets };
        let (prepared, measured) =
            timed(&mut run.session, "offline", cost.offline, async |session| {
                step.op.step().offline(session, offline).await
            })
            .await?;
        run.report.add_offline(&step.name, measured);
        steps.push(prepared);
    }
    // Of what the client knows beforehand, only the masks that it draws are needed later.
    for step in &plan.steps {
        if let Some(output) = step.op.output().filter(|_| !step.op.step().draws_mask()) {
            masks[output] = None;
        }
    }
    Ok(Stock { images, masks, steps, pads: Set::default() })
}

/// Draws the secrets that serve all layers of one inference, where any needs them.
async fn draw_secrets(run: &mut PartySession, images: usize) -> Result<Option<Secrets>, Error> {
    let Some(needed) = run.plan.secrets() else { return Ok(None) };
    let cost = needed.cost(images);
    budget::enter(&mut run.session, 11, KEYS, (cost, 0.0));
    let (secrets, measured) =
        timed(&mut run.session, KEYS, cost, async |session| needed.make(session, images).await)
            .await?;
    run.report.add_offline(KEYS, measured);
    let readers = run.plan.readers().into_iter().map(|(host, steps)| (host, steps.len()));
    Ok(Some(secrets.with_readers(readers.collect())))
}

/// Makes the state of a layer, for one inference.
async fn make_state(
    run: &mut PartySession,
    index: usize,
    layer: &Layer,
    cost: Phases,
    weights: Option<&LayerWeights>,
) -> Result<State, Error> {
    let plan = Arc::clone(&run.plan);
    let step = &plan.steps[index];
    let weights = weights.map(|own| own.weights.as_slice());
    let (state, measured) = timed(&mut run.session, "layer", cost.setup, async |session| {
        layer.prepare(session, weights).await
    })
    .await?;
    run.report.add_offline(&step.name, measured);
    Ok(state)
}

/// Makes the OTs that a part of a step consumes, where the plan is streamed.
pub(super) async fn supply(
    plan: &Plan,
    session: &mut Session,
    index: usize,
    (needed, demands): (Cost, &[Demand]),
) -> Result<Measured, Error> {
    let supply = plan.supply(needed);
    session.order(needed, demands);
    let (cost, work) = budget::of_supply(&supply);
    session.channel.extend_step(10, CORRELATIONS, cost, work);
    let ((), measured) =
        timed(session, CORRELATIONS, cost, async |session| session.run(&supply, ()).await).await?;
    session.channel.rename_step(step_number(index), &plan.steps[index].name);
    Ok(measured)
}

/// The number that frames of a plan's step carry; smaller ones belong to set-up.
pub(super) const fn step_number(index: usize) -> usize {
    index + 100
}

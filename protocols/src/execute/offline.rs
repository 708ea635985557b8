//! The offline part: transfers, masks, and every product with a mask. Nothing here needs the input.

use std::sync::Arc;

use rand::RngExt;

use super::report::{Measured, timed};
use super::{Event, Observe, PartySession, budget, local};
use crate::linear::{ClientHeld, Layer, Planted, Products};
use crate::ops::Asked;
use crate::plan::{CORRELATIONS, Op, Plan, Step};
use crate::{Cost, Error, Operator, Role, Session, Share};

/// What one inference consumes. Used once: running it takes it.
pub(super) struct Prepared {
    pub(super) images: usize,
    /// The client's mask of every wire that has one: its share, before the input is known.
    pub(super) masks: Vec<Option<Share>>,
    /// Shares of weights times mask, by step index.
    pub(super) products: Vec<Option<Share>>,
    /// Requantizations whose choices are made, by step index.
    pub(super) asked: Vec<Option<Asked>>,
}

/// Prepares some inferences: one extension for all of them, then one after the other.
pub(super) async fn prepare(
    run: &mut PartySession,
    inferences: usize,
    observe: &mut Observe<'_>,
) -> Result<Vec<Prepared>, Error> {
    let plan = Arc::clone(&run.plan);
    let steps = plan.steps.len();
    let count = inferences * steps + 1;
    observe(Event { phase: "offline", step: CORRELATIONS, index: 0, count });
    let first = run.begun;
    run.begun += inferences;
    let extend = plan.preparation(run.load, run.load.group_of(first, inferences));
    budget::enter(&mut run.session, 10, CORRELATIONS, budget::of_supply(&extend));
    let part = async |session: &mut Session| session.run(&extend, ()).await;
    let ((), measured) = timed(&mut run.session, CORRELATIONS, extend.cost(), part).await?;
    if let Some(line) = run.report.line(CORRELATIONS) {
        line.offline += measured;
    }
    let mut stock = Vec::with_capacity(inferences);
    for inference in 0..inferences {
        let mut event = |step: &str, at: usize| {
            observe(Event { phase: "offline", step, index: inference * steps + at + 1, count })
        };
        let images = run.load.images_of(first + inference);
        stock.push(prepare_one(run, images, &mut event).await?);
    }
    Ok(stock)
}

async fn prepare_one(
    run: &mut PartySession,
    images: usize,
    event: &mut (dyn FnMut(&str, usize) + Send),
) -> Result<Prepared, Error> {
    let plan = &*Arc::clone(&run.plan);
    let mut prepared = Prepared {
        images,
        masks: plan.wires.iter().map(|_| None).collect(),
        products: plan.steps.iter().map(|_| None).collect(),
        asked: plan.steps.iter().map(|_| None).collect(),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        event(&step.name, index);
        budget::enter(&mut run.session, step_number(index), &step.name, run.budgets.offline[index]);
        prepared.draw_mask(plan, &mut run.session, &step.op);
        let measured = match &step.op {
            Op::Linear { .. } => prepared.multiply(run, index).await?,
            Op::Requant { .. } if plan.asks_early(&step.op) => {
                prepared.ask(plan, &mut run.session, index).await?
            }
            Op::Input { .. }
            | Op::Requant { .. }
            | Op::MaxPool { .. }
            | Op::Lookup { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Argmax { .. }
            | Op::Output { .. } => continue,
        };
        if let Some(line) = run.report.line(&step.name) {
            line.offline += measured;
        }
    }
    prepared.forget_products(plan);
    Ok(prepared)
}

/// Makes the transfers of a layer's offline part and plants its trees, for one inference.
async fn plant(
    run: &mut PartySession,
    index: usize,
    layer: &Layer,
    images: usize,
    weights: Option<&[i8]>,
) -> Result<Planted, Error> {
    let plan = Arc::clone(&run.plan);
    let step = &plan.steps[index];
    let needed = plan.step_cost(&step.op, images).offline;
    let supplied = supply(&plan, &mut run.session, index, needed).await?;
    if let Some(line) = run.report.line(CORRELATIONS) {
        line.offline += supplied;
    }
    let part = async |session: &mut Session| Planted::plant(session, layer, weights).await;
    let (planted, measured) =
        timed(&mut run.session, "weight trees", layer.setup_cost(), part).await?;
    if let Some(line) = run.report.line(&step.name) {
        line.offline += measured;
    }
    Ok(planted)
}

/// Makes the transfers that a part of a step consumes, where the plan is streamed.
pub(super) async fn supply(
    plan: &Plan,
    session: &mut Session,
    index: usize,
    needed: Cost,
) -> Result<Measured, Error> {
    let supply = plan.supply(needed);
    let (cost, work) = budget::of_supply(&supply);
    session.channel.extend_step(10, CORRELATIONS, cost, work);
    let part = async |session: &mut Session| session.run(&supply, ()).await;
    let ((), measured) = timed(session, CORRELATIONS, cost, part).await?;
    session.channel.rename_step(step_number(index), &plan.steps[index].name);
    Ok(measured)
}

/// The number that frames of a plan's step carry; smaller ones belong to set-up.
pub(super) const fn step_number(index: usize) -> usize {
    index + 100
}

impl Prepared {
    /// The products of a linear layer with the mask of its input: the client's are its share of the
    /// output.
    async fn multiply(&mut self, run: &mut PartySession, index: usize) -> Result<Measured, Error> {
        let (plan, own) = (Arc::clone(&run.plan), run.weights.clone());
        let Step { name, op } = &plan.steps[index];
        let Op::Linear { input, output, .. } = *op else {
            unreachable!("invariant: the caller has matched the step")
        };
        let layer = op.layer().expect("invariant: a linear step has a layer");
        let weights = own.as_ref().map(|own| own.layers[name].weights.as_slice());
        let fresh = match plan.streamed {
            true => Some(plant(run, index, &layer, self.images, weights).await?),
            false => None,
        };
        let planted = run.ready.planted[index].as_ref().or(fresh.as_ref());
        let planted = planted.expect("invariant: a layer's trees are kept or fresh");
        let products = Products { layer: &layer, images: self.images, planted, weights };
        let input = ClientHeld(self.masks[input].clone());
        let part = async |session: &mut Session| session.run(&products, input).await;
        let (share, measured) =
            timed(&mut run.session, Products::NAME, products.cost(), part).await?;
        if run.session.role() == Role::Client {
            // Its share of the products is the client's whole share of the output: online it adds
            // nothing.
            self.masks[output] = Some(share.clone());
        }
        self.products[index] = Some(share);
        Ok(measured)
    }

    /// Of what the client knows beforehand, only the masks that it draws are needed later, and its
    /// products once.
    fn forget_products(&mut self, plan: &Plan) {
        for step in &plan.steps {
            if let Op::Linear { output, .. }
            | Op::View { output, .. }
            | Op::SumPool { output, .. } = step.op
            {
                self.masks[output] = None;
            }
        }
    }

    /// The choices of a requantization, for the client's share of its sum.
    async fn ask(
        &mut self,
        plan: &Plan,
        session: &mut Session,
        index: usize,
    ) -> Result<Measured, Error> {
        let Op::Requant { terms, ring, .. } = &plan.steps[index].op else {
            unreachable!("invariant: the caller has matched the step")
        };
        let Some(operator) = plan.requant(&plan.steps[index].op, self.images) else {
            return Ok(Measured::default());
        };
        // The client's share of the sum is known already: sums of masks and products, without the
        // input.
        let own = match session.role() {
            Role::Server => Share::zeros(*ring, 0),
            Role::Client => local::sum_terms(plan, &self.masks, terms, *ring),
        };
        let predicted = operator.phases(true, false).offline;
        let run = async |session: &mut Session| operator.ask(session, own.values()).await;
        let (asked, measured) = timed(session, "choices", predicted, run).await?;
        self.asked[index] = Some(asked);
        Ok(measured)
    }

    /// The client draws the mask of a wire where the plan says, and follows it through local steps.
    fn draw_mask(&mut self, plan: &Plan, session: &mut Session, op: &Op) {
        if session.role() == Role::Server {
            return;
        }
        let images = self.images;
        match op {
            Op::Input { output } => {
                self.masks[*output] = Some(draw(plan, session, *output, images))
            }
            Op::Requant { output, remask: true, .. }
            | Op::MaxPool { output, remask: true, .. }
            | Op::Lookup { output, remask: true, .. } => {
                self.masks[*output] = Some(draw(plan, session, *output, images));
            }
            Op::View { input, output, view } => {
                let follow = |mask: &Share| {
                    let values = local::view(view, &plan.wires[*input], images, mask.values());
                    Share::new(mask.ring(), values)
                };
                self.masks[*output] = self.masks[*input].as_ref().map(follow);
            }
            Op::SumPool { input, output, window } => {
                let follow = |mask: &Share| {
                    let values =
                        local::sum_pool(window, &plan.wires[*input], images, mask.values());
                    Share::new(mask.ring(), values)
                };
                self.masks[*output] = self.masks[*input].as_ref().map(follow);
            }
            Op::Linear { .. }
            | Op::Requant { .. }
            | Op::MaxPool { .. }
            | Op::Lookup { .. }
            | Op::Argmax { .. }
            | Op::Output { .. } => {}
        }
    }
}

/// A fresh uniform mask for a wire.
fn draw(plan: &Plan, session: &mut Session, wire: usize, images: usize) -> Share {
    let wire = &plan.wires[wire];
    let values = (0..wire.elements() * images).map(|_| session.rng().random()).collect();
    Share::new(wire.ring, values)
}

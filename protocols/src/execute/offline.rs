//! The offline part: transfers, masks, and every product with a mask. Nothing here needs the input.

use rand::RngExt;

use super::report::timed;
use super::{Conversation, Event, local};
use crate::linear::{ClientHeld, Products};
use crate::plan::{CORRELATIONS, Load, Op, Plan};
use crate::{Error, Operator, Role, Session, Share};

/// What one inference consumes. Used once: running it takes it.
pub(super) struct Prepared {
    pub(super) images: usize,
    /// The client's mask of every wire that has one: its share, before the input is known.
    pub(super) masks: Vec<Option<Share>>,
    /// Shares of weights times mask, by step index.
    pub(super) products: Vec<Option<Share>>,
}

/// Prepares some inferences: one extension for all of them, then one after the other.
pub(super) async fn prepare(
    run: &mut Conversation<'_>,
    inferences: usize,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<Prepared>, Error> {
    let steps = run.plan.steps.len();
    let count = inferences * steps + 1;
    observe(Event { phase: "offline", step: CORRELATIONS, index: 0, count });
    run.session.channel.enter_step(10, CORRELATIONS);
    let extend = run.plan.preparation(Load { prepared: inferences, ..run.load });
    let part = async |session: &mut Session| session.run(&extend, ()).await;
    let ((), measured) = timed(run.session, CORRELATIONS, extend.cost(), part).await?;
    if let Some(line) = run.report.line(CORRELATIONS) {
        line.offline += measured;
    }
    let mut stock = Vec::with_capacity(inferences);
    for inference in 0..inferences {
        let mut event = |step: &str, at: usize| {
            observe(Event { phase: "offline", step, index: inference * steps + at + 1, count })
        };
        stock.push(prepare_one(run, &mut event).await?);
    }
    Ok(stock)
}

async fn prepare_one(
    run: &mut Conversation<'_>,
    event: &mut dyn FnMut(&str, usize),
) -> Result<Prepared, Error> {
    let (plan, images) = (run.plan, run.load.images);
    let mut prepared = Prepared {
        images,
        masks: plan.wires.iter().map(|_| None).collect(),
        products: plan.steps.iter().map(|_| None).collect(),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        event(&step.name, index);
        run.session.channel.enter_step(step_number(index), &step.name);
        prepared.draw_mask(plan, run.session, &step.op);
        let (Some(layer), Some(planted)) = (step.op.layer(), &run.ready.planted[index]) else { continue };
        let weights = run.weights.and_then(|weights| weights.layers.get(&step.name));
        let weights = weights.map(|layer| layer.weights.as_slice());
        let products = Products { layer: &layer, images, planted, weights };
        let input = ClientHeld(step.op.inputs().first().and_then(|&input| prepared.masks[input].clone()));
        let part = async |session: &mut Session| session.run(&products, input).await;
        let (output, measured) = timed(run.session, Products::NAME, products.cost(), part).await?;
        prepared.products[index] = Some(output);
        if let Some(line) = run.report.line(&step.name) {
            line.offline += measured;
        }
    }
    Ok(prepared)
}

/// The number that frames of a plan's step carry; smaller ones belong to set-up.
pub(super) const fn step_number(index: usize) -> usize {
    index + 100
}

impl Prepared {
    /// The client draws the mask of a wire where the plan says, and follows it through local steps.
    fn draw_mask(&mut self, plan: &Plan, session: &mut Session, op: &Op) {
        if session.role() == Role::Server {
            return;
        }
        let images = self.images;
        match op {
            Op::Input { output } => self.masks[*output] = Some(draw(plan, session, *output, images)),
            Op::Linear { input, remask: true, .. } => {
                self.masks[*input] = Some(draw(plan, session, *input, images));
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
                    let values = local::sum_pool(window, &plan.wires[*input], images, mask.values());
                    Share::new(mask.ring(), values)
                };
                self.masks[*output] = self.masks[*input].as_ref().map(follow);
            }
            Op::Linear { .. } | Op::Requant { .. } | Op::MaxPool { .. } | Op::Output { .. } => {}
        }
    }
}

/// A fresh uniform mask for a wire.
fn draw(plan: &Plan, session: &mut Session, wire: usize, images: usize) -> Share {
    let wire = &plan.wires[wire];
    let values = (0..wire.elements() * images).map(|_| session.rng().random()).collect();
    Share::new(wire.ring, values)
}

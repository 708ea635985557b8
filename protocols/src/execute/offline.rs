//! The offline part of a batch: transfers, masks, and every product with a mask. Nothing here needs the input.

use rand::RngExt;

use super::report::{Measured, timed};
use super::setup::Ready;
use super::{Event, Report, Side, local};
use crate::linear::{ClientHeld, Products};
use crate::ops::Asked;
use crate::plan::{CORRELATIONS, Op, Plan, Step};
use crate::{Cost, Error, Operator, Role, Session, Share};

/// What one batch consumes. Used once: running it takes it.
pub struct Prepared {
    pub(super) images: usize,
    /// The client's mask of every wire that has one: its share, before the input is known.
    pub(super) masks: Vec<Option<Share>>,
    /// Shares of weights times mask, by step index.
    pub(super) products: Vec<Option<Share>>,
    /// Requantisations whose choices are made, by step index.
    pub(super) asked: Vec<Option<Asked>>,
}

pub(super) async fn prepare(
    plan: &Plan,
    session: &mut Session,
    side: Side<'_>,
    ready: &Ready,
    report: &mut Report,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Prepared, Error> {
    let images = report.images;
    let needed: Cost =
        report.steps.iter().map(|line| line.predicted.cost.offline + line.predicted.cost.online).sum();
    let extend = plan.extension(needed.server_cots, needed.client_cots);
    let count = plan.steps.len() + 1;
    observe(Event { phase: "offline", step: CORRELATIONS, index: 0, count });
    session.channel.enter_step(10, CORRELATIONS);
    let run = async |session: &mut Session| session.run(&extend, ()).await;
    let ((), measured) = timed(session, CORRELATIONS, extend.cost(), run).await?;
    if let Some(line) = report.line(CORRELATIONS) {
        line.offline = measured;
    }
    let mut prepared = Prepared {
        images,
        masks: plan.wires.iter().map(|_| None).collect(),
        products: plan.steps.iter().map(|_| None).collect(),
        asked: plan.steps.iter().map(|_| None).collect(),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        observe(Event { phase: "offline", step: &step.name, index: index + 1, count });
        session.channel.enter_step(step_number(index), &step.name);
        prepared.draw_mask(plan, session, &step.op);
        let measured = match &step.op {
            Op::Linear { .. } => prepared.multiply(plan, session, side, ready, index).await?,
            Op::Requant { .. } if plan.asks_early(&step.op) => prepared.ask(plan, session, index).await?,
            Op::Input { .. }
            | Op::Requant { .. }
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Output { .. } => continue,
        };
        if let Some(line) = report.line(&step.name) {
            line.offline = measured;
        }
    }
    Ok(prepared)
}

/// The number that frames of a plan's step carry; smaller ones belong to set-up.
pub(super) const fn step_number(index: usize) -> usize {
    index + 100
}

impl Prepared {
    /// The products of a linear layer with the mask of its input: the client's are its share of the output.
    async fn multiply(
        &mut self,
        plan: &Plan,
        session: &mut Session,
        side: Side<'_>,
        ready: &Ready,
        index: usize,
    ) -> Result<Measured, Error> {
        let Step { name, op } = &plan.steps[index];
        let Op::Linear { input, output, .. } = *op else {
            unreachable!("invariant: the caller has matched the step")
        };
        let layer = op.layer().expect("invariant: a linear step has a layer");
        let planted = ready.planted[index].as_ref().expect("invariant: a linear step was set up");
        let weights = match side {
            Side::Server(weights) => weights.layers.get(name).map(|layer| layer.weights.as_slice()),
            Side::Client(_) => None,
        };
        let products = Products { layer: &layer, images: self.images, planted, weights };
        let input = ClientHeld(self.masks[input].clone());
        let run = async |session: &mut Session| session.run(&products, input).await;
        let (share, measured) = timed(session, Products::NAME, products.cost(), run).await?;
        if session.role() == Role::Client {
            self.masks[output] = Some(share.clone());
        }
        self.products[index] = Some(share);
        Ok(measured)
    }

    /// The choices of a requantisation, for the client's share of its sum.
    async fn ask(&mut self, plan: &Plan, session: &mut Session, index: usize) -> Result<Measured, Error> {
        let Op::Requant { terms, ring, .. } = &plan.steps[index].op else {
            unreachable!("invariant: the caller has matched the step")
        };
        let Some(operator) = plan.requant(&plan.steps[index].op, self.images) else {
            return Ok(Measured::default());
        };
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
            Op::Input { output } => self.masks[*output] = Some(draw(plan, session, *output, images)),
            Op::Requant { output, remask: true, .. } | Op::MaxPool { output, remask: true, .. } => {
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

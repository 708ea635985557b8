//! Running a plan: set-up once, then for every batch an offline part and an online part, each step held to its price.

mod local;
mod offline;
mod online;
mod report;
mod setup;

use crate::plan::Plan;
use crate::weights::Weights;
use crate::{Error, Session};

pub use offline::Prepared;
pub use report::{Event, Measured, Report, StepReport};
pub use setup::Ready;

/// What this party brings to a run.
#[derive(Clone, Copy)]
pub enum Side<'a> {
    /// The server's weights.
    Server(&'a Weights),
    /// The client's input, `[channels][images][rows][columns]`, within the input wire's width.
    Client(&'a [i64]),
}

/// The client's result: logits `[classes][images]`; the server has none.
pub type Logits = Option<Vec<i64>>;

/// Runs one batch of `images` from set-up to logits.
///
/// # Errors
/// Where the peer is lost or violates the protocol, where the input or the weights do not fit, or where a step does not cost what was
/// predicted.
pub async fn execute(
    plan: &Plan,
    session: &mut Session,
    side: Side<'_>,
    images: usize,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(Logits, Report), Error> {
    check_batch(plan, images)?;
    match side {
        Side::Client(input) => check_input(plan, input, images)?,
        Side::Server(weights) => weights.check_shapes(plan)?,
    }
    let mut report = Report::new(plan, images);
    let ready = setup::set_up(plan, session, side, &mut report, observe).await?;
    let prepared = offline::prepare(plan, session, side, &ready, &mut report, observe).await?;
    let logits = online::infer(plan, session, side, prepared, &mut report, observe).await?;
    session.channel.finish().await;
    Ok((logits, report))
}

/// Local steps number the elements of a wire, over the whole batch, with 32 bits.
fn check_batch(plan: &Plan, images: usize) -> Result<(), Error> {
    let largest = plan.wires.iter().map(|wire| wire.elements()).max().unwrap_or(1).max(1);
    let most = u32::MAX as usize / largest;
    if (1..=most).contains(&images) {
        return Ok(());
    }
    Err(Error::invalid("batch", format!("1 to {most} images"), images))
}

fn check_input(plan: &Plan, input: &[i64], images: usize) -> Result<(), Error> {
    let wire = plan.input_wire();
    let expected = wire.elements() * images;
    if input.len() != expected {
        return Err(Error::invalid("input", format!("{expected} elements"), input.len()));
    }
    let (low, high) = wire.range();
    match input.iter().find(|v| !(low..=high).contains(*v)) {
        Some(_) => Err(Error::invalid("input", format!("values within {low}..={high}"), "a value outside")),
        None => Ok(()),
    }
}

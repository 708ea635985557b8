//! Set-up, once per session: base transfers, the extension's bootstrap, and the weight trees.

use super::report::timed;
use super::{Event, Observe, Report, budget};
use crate::linear::Planted;
use crate::plan::Plan;
use crate::weights::Weights;
use crate::{Error, Operator, Session, handshake};

/// What set-up leaves behind, for all inferences.
pub(super) struct Ready {
    /// The trees of every linear step, by step index; none where the plan is streamed.
    pub(super) planted: Vec<Option<Planted>>,
}

pub(super) async fn set_up(
    plan: &Plan,
    session: &mut Session,
    weights: Option<&Weights>,
    report: &mut Report,
    observe: &mut Observe<'_>,
) -> Result<Ready, Error> {
    let layers = plan.layers().filter(|_| !plan.streamed).count();
    let mut event =
        |step: &str, index| observe(Event { phase: "set-up", step, index, count: layers + 1 });
    let setup = plan.start();
    let trees = plan.kept_trees();
    let extend = plan.supply(trees);
    let predicted = setup.cost() + extend.cost() + trees;
    let (ready, measured) = timed(session, "set-up", predicted, async |session| {
        event("base transfers", 0);
        budget::enter(session, 1, "set-up: base transfers", budget::of_start(plan));
        session.run(&setup, ()).await?;
        budget::enter(session, 2, "set-up: extension", budget::of_supply(&extend));
        session.run(&extend, ()).await?;
        let mut planted: Vec<Option<Planted>> = plan.steps.iter().map(|_| None).collect();
        for (at, (index, name, layer)) in plan.layers().filter(|_| !plan.streamed).enumerate() {
            event(name, at + 1);
            let trees = format!("set-up: trees of {name}");
            budget::enter(session, 3, &trees, budget::of_trees(&layer));
            let weights = weights.map(|weights| weights.layers[name].weights.as_slice());
            planted[index] = Some(Planted::plant(session, &layer, weights).await?);
        }
        Ok(Ready { planted })
    })
    .await?;
    report.setup = measured;
    report.setup.cost += handshake::cost();
    Ok(ready)
}

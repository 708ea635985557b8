//! Set-up, once per session: base transfers, the extension's bootstrap, and the weight trees.

use super::report::timed;
use super::{Event, Report};
use crate::linear::Planted;
use crate::ot::Setup;
use crate::plan::Plan;
use crate::weights::Weights;
use crate::{Cost, Error, Operator, Session, handshake};

/// What set-up leaves behind, for all inferences.
pub(super) struct Ready {
    /// The trees of every linear step, by step index.
    pub(super) planted: Vec<Option<Planted>>,
}

pub(super) async fn set_up(
    plan: &Plan,
    session: &mut Session,
    weights: Option<&Weights>,
    report: &mut Report,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Ready, Error> {
    let layers = plan.layers().count();
    let mut event = |step: &str, index| observe(Event { phase: "set-up", step, index, count: layers + 1 });
    let setup = Setup { depth: plan.softspoken };
    let trees: Cost = plan.layers().map(|(_, _, layer)| layer.setup_cost()).sum();
    let extend = plan.extension(0, trees.client_cots);
    let predicted = setup.cost() + extend.cost() + trees;
    let (ready, measured) = timed(session, "set-up", predicted, async |session| {
        event("base transfers", 0);
        session.channel.enter_step(1, "set-up: base transfers");
        session.run(&setup, ()).await?;
        session.channel.enter_step(2, "set-up: extension");
        session.run(&extend, ()).await?;
        let mut planted: Vec<Option<Planted>> = plan.steps.iter().map(|_| None).collect();
        for (at, (index, name, layer)) in plan.layers().enumerate() {
            event(name, at + 1);
            session.channel.enter_step(3, &format!("set-up: trees of {name}"));
            let weights = weights.and_then(|weights| weights.layers.get(name));
            let weights = weights.map(|layer| layer.weights.as_slice());
            planted[index] = Some(Planted::plant(session, &layer, weights).await?);
        }
        Ok(Ready { planted })
    })
    .await?;
    report.setup = measured;
    report.setup.cost += handshake::cost();
    Ok(ready)
}

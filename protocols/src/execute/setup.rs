//! Set-up, once per session: base OTs, the extension's bootstrap, and the state of every
//! layer.

use super::report::timed;
use super::{Event, Observe, Report, budget};
use crate::hints::Delivery;
use crate::linear::State;
use crate::plan::Plan;
use crate::weights::Weights;
use crate::{Error, Operator, Session, handshake};

/// What set-up leaves behind, for all inferences.
pub(super) struct Ready {
    /// The state of every layer, by step index; none where the plan is streamed.
    pub(super) states: Vec<Option<State>>,
}

pub(super) async fn set_up(
    plan: &Plan,
    session: &mut Session,
    (weights, mut hints): (Option<&Weights>, Delivery),
    report: &mut Report,
    observe: &mut Observe<'_>,
) -> Result<Ready, Error> {
    let count = plan.kept_layers().count() + 1;
    let setup = plan.start();
    let kept = plan.kept_states(report.load.hints);
    let extend = plan.supply(kept);
    let predicted = setup.cost() + extend.cost() + kept;
    let (ready, measured) = timed(session, "set-up", predicted, async |session| {
        observe(Event { phase: "set-up", step: "base OTs", index: 0, count });
        budget::enter(session, 1, "set-up: base OTs", budget::of_start(plan));
        session.run(&setup, ()).await?;
        budget::enter(session, 2, "set-up: extension", budget::of_supply(&extend));
        session.run(&extend, ()).await?;
        let sent = (hints.outline.delivery_cost(report.load.hints), 0.0);
        budget::enter(session, 3, "set-up: hints", sent);
        hints.deliver(session).await?;
        let mut states: Vec<Option<State>> = plan.steps.iter().map(|_| None).collect();
        for (at, (index, name, layer)) in plan.kept_layers().enumerate() {
            observe(Event { phase: "set-up", step: name, index: at + 1, count });
            let part = format!("set-up: {name}");
            let cost = hints.outline.state_cost(index, &layer);
            budget::enter(session, 3, &part, (cost, layer.seconds(1).setup));
            let weights = weights.map(|weights| weights.layers[name].weights.as_slice());
            states[index] = Some(match hints.state(index, &layer) {
                Some(state) => state,
                None => layer.prepare(session, weights).await?,
            });
        }
        Ok(Ready { states })
    })
    .await?;
    report.setup = measured;
    report.setup.cost += handshake::cost();
    Ok(ready)
}

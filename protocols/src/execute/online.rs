//! The online part of an inference: from the input to the logits.

use super::offline::{Stock, step_number, supply};
use super::report::timed;
use super::{Event, Logits, Observe, PartySession, budget};
use crate::steps::{CORRELATIONS, Online};
use crate::{Error, Share};

pub(super) async fn infer(
    party: &mut PartySession,
    input: &[i64],
    stock: Stock,
    observe: &mut Observe<'_>,
) -> Result<Logits, Error> {
    let PartySession { plan, session, weights, report, budgets, .. } = party;
    let plan = &**plan;
    let drawn = plan.masks();
    let context = plan.context(&drawn);
    let last_use = plan.last_uses();
    let Stock { images, mut masks, steps, pads } = stock;
    // An inference draws its own pads, whatever else is prepared.
    session.bring(pads)?;
    let mut shares: Vec<Option<Share>> = plan.wires.iter().map(|_| None).collect();
    let mut result = None;
    for ((index, step), prepared) in plan.steps.iter().enumerate().zip(steps) {
        observe(Event { phase: "online", step: &step.name, index, count: plan.steps.len() });
        budget::enter(session, step_number(index), &step.name, budgets.online[index]);
        let predicted = step.op.step().cost(&context, images).online;
        if plan.streamed {
            let demands = step.op.step().draws(&context, images).online;
            let supplied = supply(plan, session, index, (predicted, &demands)).await?;
            report.add_online(CORRELATIONS, supplied);
        }
        let output = step.op.output();
        let online = Online {
            context,
            images,
            input,
            shares: &shares,
            mask: output.and_then(|wire| masks[wire].take()),
            weights: weights.as_ref().and_then(|own| own.layers.get(&step.name)),
            prepared,
            result: &mut result,
        };
        let (written, measured) = timed(session, "step", predicted, async |session| {
            step.op.step().online(session, online).await
        })
        .await?;
        report.add_online(&step.name, measured);
        if let Some(output) = output {
            shares[output] = written;
        }
        // A share is dropped, and wiped, behind the last step that reads its wire.
        for (share, last) in shares.iter_mut().zip(&last_use) {
            if *last == index {
                *share = None;
            }
        }
    }
    session.settle_pads()?;
    Ok(result)
}

//! The time that every part of a run may take, from its price and its predicted work. See
//! [`crate::Limits`].

use crate::Cost;
use crate::ot::{OtExtend, OtExtension};
use crate::plan::Plan;
use crate::price::ot_seconds;
use crate::{Operator, Session};

/// What a part moves, and seconds of work.
pub(super) type Budget = (Cost, f64);

/// The budgets of a plan's steps, by index.
pub(super) struct Budgets {
    pub(super) offline: Vec<Budget>,
    pub(super) online: Vec<Budget>,
}

impl Budgets {
    pub(super) fn new(plan: &Plan, images: usize) -> Self {
        let masks = plan.masks();
        let context = plan.context(&masks);
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|step| {
                let body = step.op.step();
                (plan.placed(&step.op, body.cost(&context, images)), body.seconds(&context, images))
            })
            .collect();
        // The part of a step's online work that may be done offline is a part of both.
        let offline = steps.iter().map(|(cost, work)| (cost.offline, work.offline + work.online));
        let online = steps.iter().map(|(cost, work)| (cost.online, work.online));
        Self { offline: offline.collect(), online: online.collect() }
    }
}

/// The budget of the start of a source: base OTs, and of Ferret the OTs that it lives
/// from.
pub(super) fn of_start(plan: &Plan) -> Budget {
    let ots = match plan.extension {
        OtExtension::Softspoken(_) => 0.0,
        OtExtension::Ferret(parameters) => {
            4.0 * parameters.secret() as f64 * ot_seconds(plan.extension)
        }
    };
    (plan.start().cost(), BASE_SECONDS + ots)
}

/// The budget of a supply of OTs.
pub(super) fn of_supply(supply: &OtExtend) -> Budget {
    let ots = (supply.server + supply.client) as f64;
    (supply.cost(), ots * ot_seconds(supply.extension))
}

/// Begins a step that has a budget.
pub(super) fn enter(session: &mut Session, number: usize, name: &str, (cost, work): Budget) {
    session.channel.enter_step(number, name, cost, work);
}

/// Seconds of the base OTs.
const BASE_SECONDS: f64 = 0.03;

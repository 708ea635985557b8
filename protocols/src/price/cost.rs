//! The price of a plan, step by step: the sum of its operators' costs.

use serde::Serialize;

use crate::channel::STATEMENT;
use crate::handshake;
use crate::hints::Outline;
use crate::linear::Layer;
use crate::load::{Group, Hints, Load};
use crate::ot::{Draws, OtExtend};
use crate::plan::{Plan, Reveal};
use crate::rates::Seconds;
use crate::steps::{CORRELATIONS, Context, KEYS, Kind, Masks, Op};
use crate::{Block, Cost, Operator, Phases, Role};

/// The price of one step, for a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepCost {
    /// The step's name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How it is done.
    pub protocol: String,
    /// What it moves.
    pub cost: Phases,
}

impl Plan {
    /// The price of set-up, once per session: handshake, base OTs, bootstrap and weight
    /// trees; and of the session's end, the client's statement. Hints that the plan names are part
    /// of it where the client does not know them; those that it does not name always are.
    pub fn setup_cost(&self, hints: Hints) -> Cost {
        let kept = self.kept_states(hints);
        let once = handshake::cost() + Self::end_cost();
        once + self.start().cost() + self.supply(kept).cost() + kept
    }

    /// The price of the session's end: the client says what it has seen.
    pub(crate) const fn end_cost() -> Cost {
        Cost::message(Role::Client, STATEMENT)
    }

    /// The price of what is kept of all layers for the session.
    pub(crate) fn kept_states(&self, hints: Hints) -> Cost {
        let outline = Outline::named(self);
        let layers = self.kept_layers();
        let states: Cost = layers.map(|(step, _, layer)| outline.state_cost(step, &layer)).sum();
        outline.delivery_cost(hints) + states
    }

    /// Bytes that a party holds from one step to the next at the least, unless the plan is
    /// streamed: weight trees, and the OTs of set-up or what is made of those of one inference.
    pub fn held_bytes(&self, images: usize) -> u64 {
        let layers = self.layers();
        let levels: u64 = layers.map(|(_, _, layer)| layer.setup_cost().consumed()).sum();
        let levels = Block::BYTES as u64 * levels;
        let Draws { offline, online } = Self { streamed: false, ..self.clone() }.draws(images);
        let whole = self.consumed_by_steps(images).consumed();
        let drawn = || offline.iter().chain(&online);
        let whole = whole - drawn().map(|demand| demand.cots() as u64).sum::<u64>();
        let pads = |role| drawn().map(|demand| demand.bytes(role)).sum::<u64>();
        let pads = pads(Role::Server).max(pads(Role::Client));
        levels + levels.max(Block::BYTES as u64 * whole + pads)
    }

    /// The price of every step for one inference of `images`: the extension first, then the plan's
    /// own steps but for views.
    pub fn step_costs(&self, images: usize) -> Vec<StepCost> {
        self.load_costs(Load::one(images))
    }

    /// The price of every step for several inferences, likewise.
    pub fn load_costs(&self, load: Load) -> Vec<StepCost> {
        let prices = self.prices();
        let outline = Outline::named(self);
        let steps = self.steps.iter().enumerate().filter_map(|(index, step)| {
            let kind = step.op.kind()?;
            let setup = match outline.part(index) {
                Some(part) => part.cost(load.hints),
                None => prices.step_cost(&step.op, load.images).setup,
            };
            let run = over(load, |images| prices.step_cost(&step.op, images));
            Some(StepCost {
                name: step.name.clone(),
                kind,
                protocol: step.op.protocol(),
                cost: Phases { setup, ..run },
            })
        });
        let correlations = StepCost {
            name: CORRELATIONS.into(),
            kind: Kind::Ot,
            protocol: self.extension.to_string(),
            cost: self.supplies(load),
        };
        let keys = self.secrets().map(|secrets| StepCost {
            name: KEYS.into(),
            kind: Kind::Linear,
            protocol: "hint".into(),
            cost: over(load, |images| Phases {
                offline: secrets.cost(images),
                ..Phases::default()
            }),
        });
        std::iter::once(correlations).chain(keys).chain(steps).collect()
    }

    /// The price of the whole plan for a batch of `images`, to a client that knows no hints.
    pub fn cost(&self, images: usize) -> Phases {
        let steps = self.step_costs(images).iter().map(|step| step.cost).sum::<Phases>();
        Phases { setup: self.setup_cost(Hints::Sent), ..steps }
    }

    /// The price of all supplies of OTs after set-up.
    fn supplies(&self, load: Load) -> Phases {
        if !self.streamed {
            let groups = load.groups().into_iter();
            let offline =
                groups.map(|(group, times)| self.preparation(load, group).cost() * times).sum();
            return Phases { offline, ..Phases::default() };
        }
        let prices = self.prices();
        let steps = self.steps.iter();
        steps.map(|step| over(load, |images| prices.supplies(&step.op, images))).sum()
    }

    /// The supply of the OTs of inferences that are prepared together; nothing where the plan
    /// is streamed.
    pub(crate) fn preparation(&self, load: Load, group: Group) -> OtExtend {
        let last = usize::from(group.has_last);
        let others = self.consumed(load.images) * (group.inferences - last) as u64;
        self.supply(others + self.consumed(load.last) * last as u64)
    }

    /// What the steps of one inference move, of which its OTs are of interest; nothing where
    /// the plan is streamed.
    fn consumed(&self, images: usize) -> Cost {
        if self.streamed { Cost::ZERO } else { self.consumed_by_steps(images) }
    }

    /// What all steps of one inference move.
    fn consumed_by_steps(&self, images: usize) -> Cost {
        let prices = self.prices();
        let steps = self.steps.iter().map(|step| {
            let Phases { offline, online, .. } = prices.step_cost(&step.op, images);
            offline + online
        });
        steps.sum()
    }

    /// What all steps of one inference draw; nothing where the plan is streamed, and each step's
    /// OTs are made for it.
    pub(crate) fn draws(&self, images: usize) -> Draws {
        let mut all = Draws::default();
        if self.streamed {
            return all;
        }
        let masks = self.masks();
        let context = self.context(&masks);
        for step in &self.steps {
            let Draws { offline, online } = step.op.step().draws(&context, images);
            all.offline.extend(offline);
            all.online.extend(online);
        }
        all
    }

    /// The price of one step: see [`Prices::step_cost`].
    pub fn step_cost(&self, op: &Op, images: usize) -> Phases {
        self.prices().step_cost(op, images)
    }

    /// What prices of many steps have in common.
    pub fn prices(&self) -> Prices<'_> {
        let (reveals, revealed) = (self.reveals(), self.revealed_range());
        Prices { plan: self, masks: self.masks(), reveals, revealed }
    }
}

/// A plan that steps are priced over, also such that are not (yet) the plan's.
pub struct Prices<'a> {
    plan: &'a Plan,
    masks: Masks,
    reveals: Reveal,
    revealed: (i64, i64),
}

impl Prices<'_> {
    /// What every step sees, found once: looking at all steps for each would be quadratic.
    fn context(&self) -> Context<'_> {
        let (Self { masks, reveals, revealed, .. }, plan) = (self, self.plan);
        let (wires, streamed) = (&plan.wires[..], plan.streamed);
        Context { wires, masks, streamed, reveals: *reveals, revealed: *revealed }
    }

    /// The price of one step for a batch of `images`. OTs of its set-up are counted, their
    /// extension is not.
    pub fn step_cost(&self, op: &Op, images: usize) -> Phases {
        self.plan.placed(op, op.step().cost(&self.context(), images))
    }

    /// The price of the supplies of OTs of one step, where the plan is streamed.
    fn supplies(&self, op: &Op, images: usize) -> Phases {
        let Phases { offline, online, .. } = self.step_cost(op, images);
        let (offline, online) = (self.plan.supply(offline), self.plan.supply(online));
        Phases { offline: offline.cost(), online: online.cost(), ..Phases::default() }
    }

    /// Seconds of work of a step, without the wire.
    pub fn step_work(&self, op: &Op, images: usize) -> Seconds {
        op.step().seconds(&self.context(), images)
    }

    /// The same step in every way that makes the same integers, also such that leave a carry in
    /// wires that say nothing of one.
    pub fn variants(&self, op: &Op) -> Vec<Op> {
        let variants = op.step().variants(&self.context());
        if variants.is_empty() { vec![op.clone()] } else { variants }
    }

    /// Whether a layer's state is kept for the session, and not made when a step needs it.
    pub fn keeps(&self, layer: &Layer) -> bool {
        self.plan.keeps(layer)
    }
}

/// The sum over all inferences of a load, given the price of one of so many images: offline of
/// those that are prepared, online of those that are run.
fn over(load: Load, one: impl Fn(usize) -> Phases) -> Phases {
    let (each, last) = (one(load.images), one(load.last));
    Phases {
        offline: each.offline * load.prepared_in_all().saturating_sub(1) as u64 + last.offline,
        online: each.online * load.inferences.saturating_sub(1) as u64 + last.online,
        ..Phases::default()
    }
}

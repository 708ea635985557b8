//! The online part of an inference: from the input to the logits.

use super::offline::{Prepared, step_number, supply};
use super::report::timed;
use super::{Event, Logits, Observe, PartySession, budget, local};
use crate::linear::multiply;
use crate::plan::{CORRELATIONS, Op, Plan, Step, pooling_ring};
use crate::weights::Weights;
use crate::{Bits, Error, Role, Session, Share};

/// One party's run of the online part.
struct Run<'a> {
    plan: &'a Plan,
    weights: Option<&'a Weights>,
    /// The client's.
    input: &'a [i64],
    prepared: Prepared,
    /// This party's share of every wire that has been written.
    wires: Vec<Option<Share>>,
    logits: Logits,
}

pub(super) async fn infer(
    party: &mut PartySession,
    input: &[i64],
    prepared: Prepared,
    observe: &mut Observe<'_>,
) -> Result<Logits, Error> {
    let PartySession { plan, session, weights, report, budgets, .. } = party;
    let plan = &**plan;
    let wires = plan.wires.iter().map(|_| None).collect();
    let mut run = Run { plan, weights: weights.as_deref(), input, prepared, wires, logits: None };
    let last_use = plan.last_uses();
    for (index, step) in plan.steps.iter().enumerate() {
        observe(Event { phase: "online", step: &step.name, index, count: plan.steps.len() });
        budget::enter(session, step_number(index), &step.name, budgets.online[index]);
        let predicted = plan.step_cost(&step.op, run.prepared.images).online;
        if plan.streamed {
            let supplied = supply(plan, session, index, predicted).await?;
            if let Some(line) = report.line(CORRELATIONS) {
                line.online += supplied;
            }
        }
        let part = async |session: &mut Session| run.step(session, index, step).await;
        let ((), measured) = timed(session, "step", predicted, part).await?;
        if let Some(line) = report.line(&step.name) {
            line.online += measured;
        }
        // A share is dropped, and wiped, behind the last step that reads its wire.
        for (wire, last) in run.wires.iter_mut().zip(&last_use) {
            if *last == index {
                *wire = None;
            }
        }
    }
    Ok(run.logits)
}

impl Run<'_> {
    async fn step(
        &mut self,
        session: &mut Session,
        index: usize,
        step: &Step,
    ) -> Result<(), Error> {
        let images = self.prepared.images;
        let plan = self.plan;
        let written = match &step.op {
            Op::Input { output } => self.share_input(session, *output).await?,
            Op::Output { input } => return self.reveal(session, *input).await,
            Op::Linear { input, .. } => self.linear(index, step, *input),
            Op::Requant { terms, ring, .. } => {
                let sum = local::sum_terms(plan, &self.wires, terms, *ring);
                self.requantize(session, index, &step.op, sum).await?
            }
            Op::MaxPool { input, window, .. } => {
                let (from, share) = (&plan.wires[*input], local::wire(&self.wires, *input));
                let operands = local::windows(window, from, images, share.values());
                let operands = Share::new(pooling_ring(from.bits), operands);
                match plan.max_pool(&step.op, images) {
                    Some(operator) => session.run(&operator, operands).await?,
                    None => operands,
                }
            }
            Op::Lookup { input, .. } => {
                let narrow = self.narrowed(*input, Bits::of(u32::from(plan.wires[*input].bits)));
                let operator =
                    plan.lookup(&step.op, images).expect("invariant: a lookup has its operator");
                session.run(&operator, narrow).await?
            }
            Op::Argmax { input, .. } => {
                let narrow = self.narrowed(*input, pooling_ring(plan.wires[*input].bits));
                let operator =
                    plan.argmax(&step.op, images).expect("invariant: a label has its operator");
                session.run(&operator, narrow).await?
            }
            Op::SumPool { input, window, .. } => {
                let share = local::wire(&self.wires, *input);
                let sums = local::sum_pool(window, &plan.wires[*input], images, share.values());
                Share::new(share.ring(), sums)
            }
            Op::View { input, view, .. } => {
                let share = local::wire(&self.wires, *input);
                Share::new(
                    share.ring(),
                    local::view(view, &plan.wires[*input], images, share.values()),
                )
            }
        };
        if let Some(output) = step.op.output() {
            let remask = matches!(
                step.op,
                Op::Requant { remask: true, .. }
                    | Op::MaxPool { remask: true, .. }
                    | Op::Lookup { remask: true, .. }
            );
            let written =
                if remask { self.remask(session, output, written).await? } else { written };
            self.wires[output] = Some(written);
        }
        Ok(())
    }

    /// A sum at the width of its output: its choices may have been made before the input was known.
    async fn requantize(
        &mut self,
        session: &mut Session,
        index: usize,
        op: &Op,
        sum: Share,
    ) -> Result<Share, Error> {
        let Some(operator) = self.plan.requant(op, self.prepared.images) else { return Ok(sum) };
        let asked = match self.prepared.asked[index].take() {
            Some(asked) => asked,
            None => operator.ask(session, sum.values()).await?,
        };
        operator.answer(session, asked, sum).await
    }

    /// A wire in a ring that is no larger than its own.
    fn narrowed(&self, wire: usize, ring: Bits) -> Share {
        Share::new(ring, local::wire(&self.wires, wire).values().to_vec())
    }

    /// The client sends its input less the wire's mask, and keeps the mask.
    async fn share_input(&mut self, session: &mut Session, output: usize) -> Result<Share, Error> {
        let wire = &self.plan.wires[output];
        let len = wire.elements() * self.prepared.images;
        match self.prepared.masks[output].clone() {
            // The client's share is the mask itself, as it was when the products with it were made.
            // The server's is the rest, uniform.
            Some(mask) if session.role() == Role::Client => {
                let masked =
                    self.input.iter().zip(mask.values()).map(|(x, r)| (*x as u64).wrapping_sub(*r));
                session.channel.send(&wire.ring.pack_from(len, masked))?;
                Ok(mask)
            }
            _ => {
                let message = session.channel.receive(wire.ring.packed_len(len)).await?;
                Ok(Share::new(wire.ring, wire.ring.unpack(&message, len)))
            }
        }
    }

    /// The client replaces its share by the wire's mask and sends the difference, which the server
    /// adds: uniform, since the mask is.
    async fn remask(
        &mut self,
        session: &mut Session,
        wire: usize,
        share: Share,
    ) -> Result<Share, Error> {
        let (ring, len) = (share.ring(), share.len());
        match self.prepared.masks[wire].clone() {
            Some(mask) if session.role() == Role::Client => {
                let moved =
                    share.values().iter().zip(mask.values()).map(|(c, r)| c.wrapping_sub(*r));
                session.channel.send(&ring.pack_from(len, moved))?;
                Ok(mask)
            }
            _ => {
                let message = session.channel.receive(ring.packed_len(len)).await?;
                let moved = ring.unpack(&message, len);
                let sums =
                    share.values().iter().zip(moved).map(|(s, m)| s.wrapping_add(m)).collect();
                Ok(Share::new(ring, sums))
            }
        }
    }

    /// The offline product with the mask, and at the server weights times its own share, and the
    /// bias.
    fn linear(&mut self, index: usize, step: &Step, input: usize) -> Share {
        let product = self.prepared.products[index]
            .take()
            .expect("invariant: every linear step was prepared, once");
        let Some(weights) = self.weights else { return product };
        let layer = step.op.layer().expect("invariant: a linear step has a layer");
        let own = &weights.layers[&step.name];
        let images = self.prepared.images;
        let values =
            multiply(&layer, &own.weights, images, local::wire(&self.wires, input).values());
        let columns = images * layer.geometry.positions();
        // `W x = W (x - r) + W r`: the first product is the server's own, of the second it has a
        // share.
        let sums = product.values().iter().zip(values).enumerate();
        let sums =
            sums.map(|(at, (a, b))| a.wrapping_add(b).wrapping_add(own.bias[at / columns] as u64));
        Share::new(layer.ring, sums.collect())
    }

    /// The server sends its share of the logits, or of the label, and what it says of the
    /// conversation up to there; the client adds. It has no result before it knows that both have
    /// seen the same, nor one that cannot be.
    async fn reveal(&mut self, session: &mut Session, input: usize) -> Result<(), Error> {
        let (wire, share) = (&self.plan.wires[input], local::wire(&self.wires, input));
        let ring = share.ring();
        if session.role() == Role::Server {
            session.channel.send(&ring.pack(share.values()))?;
            return session.channel.send_statement();
        }
        let message = session.channel.receive(ring.packed_len(share.len())).await?;
        // A share that was altered on its way is a result that nobody computed: the comparison
        // comes before the sum.
        session.channel.check_statement().await?;
        let sums = share.values().iter().zip(ring.unpack(&message, share.len()));
        let sums = sums.map(|(a, b)| ring.reduce(a.wrapping_add(b)));
        let found: Vec<i64> =
            sums.map(|v| if wire.signed { ring.decode(v) } else { v as i64 }).collect();
        let (low, high) = self.plan.revealed_range();
        if !found.iter().all(|value| (low..=high).contains(value)) {
            let what = self.plan.reveals().name();
            // The value itself is the client's alone.
            return Err(session
                .channel
                .violation(format!("{what} within {low}..={high}"), "a value outside"));
        }
        self.logits = Some(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ot::{Source, TreeDepth};
    use crate::plan::{FORMAT, InputSpec, OutputSpec, Preprocess, Wire};
    use crate::testing;

    /// The end of a plan: logits of six bits in a ring of seven, or the label of ten of them.
    fn plan(label: bool) -> Plan {
        let logits = Wire { shape: [10, 1, 1], bits: 6, signed: true, ring: Bits::of(7) };
        let index = Wire { shape: [1, 1, 1], bits: 4, signed: false, ring: Bits::of(4) };
        let step = |name: &str, op| Step { name: name.into(), op };
        let mut steps = vec![step("output", Op::Output { input: usize::from(label) })];
        if label {
            steps.insert(0, step("label", Op::Argmax { input: 0, output: 1, digit: 1 }));
        }
        Plan {
            format: FORMAT,
            name: "end".into(),
            input: InputSpec { preprocess: Preprocess::Unit, scale: 1.0 },
            output: OutputSpec { scale: 1.0 },
            transfers: Source::Softspoken(TreeDepth::new(2).unwrap()),
            streamed: false,
            wires: vec![logits, index],
            steps,
            weights: String::new(),
        }
    }

    /// What the client makes of shares of the wire that is revealed: its own are zero.
    fn reveal(plan: &Plan, shares: Vec<u64>) -> Result<Logits, Error> {
        let wire = usize::from(plan.wires.len() > 1 && plan.steps.len() > 1);
        let ring = plan.wires[wire].ring;
        let run = |values: Vec<u64>| {
            let prepared = Prepared { images: 1, masks: vec![], products: vec![], asked: vec![] };
            let mut wires = vec![None, None];
            wires[wire] = Some(Share::new(ring, values));
            Run { plan, weights: None, input: &[], prepared, wires, logits: None }
        };
        let (mut ours, mut theirs) = (run(vec![0; shares.len()]), run(shares));
        testing::runtime().block_on(async {
            let (mut server, mut client) = testing::sessions(1);
            let (sent, found) =
                tokio::join!(theirs.reveal(&mut server, wire), ours.reveal(&mut client, wire));
            sent.unwrap();
            found.map(|()| ours.logits)
        })
    }

    #[test]
    fn what_cannot_be_revealed_is_a_violation_by_the_server() {
        let (logits, label) = (plan(false), plan(true));
        assert_eq!(reveal(&label, vec![9]).unwrap(), Some(vec![9]));
        let row = |last| [vec![0; 9], vec![last]].concat();
        let least = Bits::of(7).encode(-32);
        assert_eq!(reveal(&logits, row(least)).unwrap().unwrap()[9], -32);
        assert_eq!(reveal(&logits, row(31)).unwrap().unwrap()[9], 31);
        for (plan, shares, expected) in [
            (&label, vec![10], "label within 0..=9"),
            (&label, vec![15], "label within 0..=9"),
            (&logits, row(32), "logits within -32..=31"),
            (&logits, row(least - 1), "logits within -32..=31"),
        ] {
            match reveal(plan, shares) {
                Err(Error::Violation { expected: said, found, .. }) => {
                    assert_eq!((said.as_str(), found.as_str()), (expected, "a value outside"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

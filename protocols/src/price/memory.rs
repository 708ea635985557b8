//! The memory of a party, predicted from the plan: a session is followed step by step, with what is
//! held and what is at work.
//!
//! Those OTs that are taken as they are take 16 bytes each at either party. Of all others, a few
//! bits of pads are made at once, for all inferences that are prepared together; they are used up
//! step by step, at the latest by the online part. A requantization whose choices are made early
//! keeps its pads until then. Beside them: the trees of the layers, the reserve of Ferret, masks
//! and products of prepared inferences, the wires that are alive, and the largest step's working
//! set. The large terms are exact; buffers of the connection are counted full.

use std::ops::RangeInclusive;

use crate::hints::Outline;
use crate::load::Load;
use crate::ot::{Demand, OtExtension};
use crate::plan::Plan;
use crate::steps::{Context, Step, Wire};
use crate::{Block, Cost, Phases, Role};

/// Bytes of a process that has yet to do anything: code, threads with their stacks and heaps, and a
/// plan.
pub const PROCESS: u64 = 13 << 20;
/// Bytes of an element of a share.
const ELEMENT: u64 = 8;
const BLOCK: u64 = Block::BYTES as u64;
/// Emptied pieces of the pools that are kept.
const SPARE: u64 = 8 << 20;
/// Bytes that wait to be sent.
const SEND_AHEAD: u64 = 8 << 20;
/// Frames that are received ahead, with one under way and one in use, and the most bytes of one.
const FRAMES_AHEAD: u64 = 34;
const FRAME: u64 = 1 << 20;

impl Plan {
    /// The bytes that a party's process holds at the most in a session, beside its files: at least
    /// what it will be, and little more. Many images at a time are told as several times fewer, so
    /// that nobody can ask for a prediction that takes long.
    pub fn memory(&self, role: Role, load: Load) -> u64 {
        let mut tally = Tally::new(self, role, load);
        tally.set_up();
        tally.extend();
        tally.offline();
        tally.online();
        // What the allocator cannot give back.
        tally.peak + (tally.peak - PROCESS) / 24
    }

    /// Of [`Plan::memory`] of a server, the part that all its sessions share: weights and hints.
    pub fn shared_memory(&self) -> u64 {
        files(self)
    }

    /// Of [`Plan::memory`] of a server, what one more session takes.
    pub fn session_memory(&self, load: Load) -> u64 {
        self.memory(Role::Server, load) - PROCESS - files(self)
    }
}

/// Bytes of a server's files, as it holds them.
fn files(plan: &Plan) -> u64 {
    let weights: u64 = plan.layers().map(|(_, _, layer)| layer.weights() as u64).sum();
    2 * weights + plan.hints_len().unwrap_or(0) as u64
}

/// The most images of which steps are priced.
const PRICED: usize = 16;

/// What one step is in an inference.
#[derive(Clone, Copy)]
struct Priced {
    phases: Phases,
    /// Bytes of its OTs, or of what is made of them, until it takes them.
    before: u64,
    from_input: u64,
    /// Bytes that the offline part leaves.
    held: u64,
    /// Bytes at work in either part.
    offline: u64,
    online: u64,
    /// Frames of the offline part's stream, of a layer.
    frames: u64,
}

impl Priced {
    /// Of a step for `times` as many images.
    fn new(
        plan: &Plan,
        context: &Context<'_>,
        step: &Step,
        role: Role,
        (images, times): (usize, u64),
    ) -> Self {
        let (body, layer) = (step.op.step(), step.op.layer());
        let Phases { setup, offline, online } = plan.placed(&step.op, body.cost(context, images));
        let draws = body.draws(context, images);
        Self {
            phases: Phases { setup, offline: offline * times, online: online * times },
            before: ots_bytes(offline, &draws.offline, role) * times,
            from_input: ots_bytes(online, &draws.online, role) * times,
            held: body.held_bytes(context, role, images) * times,
            offline: body.offline_bytes(context, role, images) * times,
            online: body.online_bytes(context, role, images) * times,
            frames: layer.map_or(0, |layer| layer.memory(role, images).frames) * times,
        }
    }
}

/// Bytes of the OTs of some cost: of those that are drawn, of what is made of them.
fn ots_bytes(cost: Cost, demands: &[Demand], role: Role) -> u64 {
    let drawn: u64 = demands.iter().map(|demand| demand.cots() as u64).sum();
    let pads: u64 = demands.iter().map(|demand| demand.bytes(role)).sum();
    BLOCK * (cost.consumed() - drawn) + pads
}

/// Encryptions that are kept from the step that receives them to the last that reads them.
struct Encryptions {
    steps: RangeInclusive<usize>,
    bytes: u64,
}

/// A party's memory as its session goes on.
struct Tally<'a> {
    plan: &'a Plan,
    role: Role,
    load: Load,
    /// The images of one inference are as many times so many, rounded up.
    times: u64,
    images: usize,
    steps: Vec<Priced>,
    /// Bytes held throughout.
    kept: u64,
    /// Bytes of emptied pieces.
    spare: u64,
    /// Bytes of OTs and pads in both pools.
    pool: u64,
    /// Bytes that one prepared inference holds.
    prepared: u64,
    /// The most so far.
    peak: u64,
}

impl<'a> Tally<'a> {
    fn new(plan: &'a Plan, role: Role, load: Load) -> Self {
        // `images times` is at least what is asked for: a prediction errs upwards.
        let times = load.images.div_ceil(PRICED).max(1);
        let (images, times) = (load.images.div_ceil(times), times as u64);
        let input = ELEMENT * (plan.input_wire().elements() * load.total()) as u64;
        let files = if role == Role::Server { files(plan) } else { input };
        // Of both directions, and where the next one of either is made.
        let reserve = match plan.extension {
            OtExtension::Ferret(parameters) => 3 * (BLOCK * parameters.reserve() as u64 + HUGE),
            OtExtension::Softspoken(depth) => 2 * STREAM * ((depth.trees() as u64) << depth.get()),
        };
        let kept = PROCESS + files + reserve;
        let masks = plan.masks();
        let context = plan.context(&masks);
        let steps = plan
            .steps
            .iter()
            .map(|step| Priced::new(plan, &context, step, role, (images, times)))
            .collect();
        Self {
            plan,
            role,
            load,
            times,
            images,
            steps,
            kept,
            pool: 0,
            spare: 0,
            prepared: 0,
            peak: kept,
        }
    }

    /// Base OTs, the first reserve, and the trees of all layers, one after the other.
    fn set_up(&mut self) {
        self.bootstrap();
        let trees = self.plan.kept_states(self.load.hints);
        self.supply(BLOCK * trees.consumed());
        let outline = Outline::named(self.plan);
        for (step, _, layer) in self.plan.kept_layers() {
            // A file of hints is made for the widest ring.
            let made = outline.part(step).map_or(&layer, |part| &part.layer);
            let memory = made.memory(self.role, 1);
            self.consume(BLOCK * outline.state_cost(step, &layer).consumed());
            self.note(memory.state + memory.preparing + SEND_AHEAD);
            self.kept += memory.state;
        }
    }

    /// Ferret's first reserve: the pieces that it is made in and a copy of them, beside the reserve
    /// that is kept and the one that it was made from.
    fn bootstrap(&mut self) {
        let OtExtension::Ferret(parameters) = self.plan.extension else { return };
        let pieces = 2 * BLOCK * (parameters.reserve() as u64).next_multiple_of(PIECE);
        self.note(2 * (pieces + HUGE));
        self.spare = pieces.min(SPARE);
    }

    /// The OTs of all inferences that are prepared together.
    fn extend(&mut self) {
        if !self.plan.streamed {
            let each = self.all(|step| step.before + step.from_input);
            self.supply(each * self.load.prepared as u64);
        }
    }

    /// The offline part of the first inference, and of the last that is prepared with it.
    fn offline(&mut self) {
        let others = self.load.prepared.saturating_sub(1) as u64;
        // The first inference finds the fullest pool, the last one the most that is prepared.
        let before = self.pool;
        let prepared = self.prepare_one(0);
        // Between the two everything grows or falls evenly.
        self.pool = before;
        if !self.plan.streamed {
            self.consume(self.all(|step| step.before) * others);
        }
        self.prepare_one(prepared * others);
        self.prepared = prepared * (others + 1);
    }

    /// Notes the offline part of an inference beside what others hold; the bytes that it leaves.
    fn prepare_one(&mut self, others: u64) -> u64 {
        let plan = self.plan;
        let secrets = plan.secrets().map_or(0, |secrets| secrets.bytes(self.images) * self.times);
        let (mut held, mut masks) = (others, 0);
        let encryptions = self.encryptions();
        for (index, step) in plan.steps.iter().enumerate() {
            let Priced { before, held: left, offline, .. } = self.steps[index];
            let buffers = self.buffers(index, |phases| phases.offline);
            let layer = step.op.layer().filter(|_| plan.streamed);
            if layer.is_some() {
                self.supply(before);
            }
            let fresh = layer.filter(|layer| !plan.keeps(layer)).map_or(0, |layer| {
                let memory = layer.memory(self.role, 1);
                memory.state + memory.preparing
            });
            self.consume(before);
            held += left;
            let at_work = offline + fresh;
            let output = step.op.output().map_or(0, |wire| self.wire_bytes(wire));
            if self.role == Role::Client {
                masks += output;
            }
            let received = encryptions.iter().filter(|kept| kept.steps.contains(&index));
            let received: u64 = received.map(|kept| kept.bytes).sum();
            self.note(held + masks + secrets + received + at_work + buffers);
        }
        held + masks
    }

    /// What is kept of the server's hosts until the last layer beside each has read it.
    fn encryptions(&self) -> Vec<Encryptions> {
        if self.role == Role::Client {
            return Vec::new();
        }
        let readers = self.plan.readers();
        // In the order of steps: the last of a host's readers is the last in time.
        let hosts = self.plan.layers().filter_map(|(step, _, layer)| {
            let last = *readers.get(&layer.number)?.last()?;
            let bytes = layer.encryption_bytes(self.images) * self.times;
            Some(Encryptions { steps: step..=last, bytes })
        });
        hosts.collect()
    }

    /// The online part of the first inference: later ones find less.
    fn online(&mut self) {
        let plan = self.plan;
        let last_use = plan.last_uses();
        let mut wires: Vec<u64> = vec![0; plan.wires.len()];
        let mut held = self.prepared;
        for (index, step) in plan.steps.iter().enumerate() {
            let Priced { from_input, held: left, online, .. } = self.steps[index];
            let buffers = self.buffers(index, |phases| phases.online);
            if plan.streamed {
                self.supply(from_input);
            }
            let output = step.op.output().map_or(0, |wire| self.wire_bytes(wire));
            let alive: u64 = wires.iter().sum();
            self.note(held + alive + output + online + buffers);
            self.consume(from_input);
            // Products stay in the sum: they are the share that the step writes.
            held -= if step.op.layer().is_some() { 0 } else { left };
            if let Some(wire) = step.op.output() {
                wires[wire] = output;
            }
            for (wire, last) in wires.iter_mut().zip(&last_use) {
                if *last == index {
                    *wire = 0;
                }
            }
        }
    }

    /// OTs are made, and of them what will be drawn: with what is at work meanwhile.
    fn supply(&mut self, bytes: u64) {
        self.pool += bytes;
        // A piece for each direction.
        let making = 2 * BLOCK * PIECE;
        self.note(making);
        self.spare = self.spare.max(making.min(SPARE));
    }

    fn consume(&mut self, bytes: u64) {
        self.pool = self.pool.saturating_sub(bytes);
        self.spare = SPARE.min(self.spare + bytes);
    }

    /// Notes what is held now, with so many bytes more.
    fn note(&mut self, more: u64) {
        // The last piece of either direction is not full. Memory of OTs that were used up is kept
        // as spare pieces, up to a bound, and given back beyond it.
        let pieces = self.pool + 2 * BLOCK * PIECE + self.spare;
        self.peak = self.peak.max(self.kept + pieces + more);
    }

    /// Frames on their way in one part of an inference from a step on, at the most.
    fn buffers(&self, from: usize, part: impl Fn(Phases) -> Cost) -> u64 {
        let (mut sent, mut received, mut left) = (0, 0, FRAMES_AHEAD);
        for Priced { phases, frames, .. } in &self.steps[from..] {
            let Cost { server_bytes, client_bytes, .. } = part(*phases);
            let (to_peer, from_peer) = match self.role {
                Role::Server => (server_bytes, client_bytes),
                Role::Client => (client_bytes, server_bytes),
            };
            sent += to_peer;
            // A layer's stream is offline alone.
            let frames = if from_peer == 0 { 0 } else { (*frames).max(from_peer.div_ceil(FRAME)) };
            // A frame takes a place however short it is. What does not fit waits at the peer.
            if frames > left {
                received += (from_peer * left).div_ceil(frames);
                break;
            }
            received += from_peer;
            left -= frames;
        }
        sent.min(SEND_AHEAD) + received
    }

    /// The sum over all steps of an inference.
    fn all(&self, part: impl Fn(&Priced) -> u64) -> u64 {
        self.steps.iter().map(part).sum()
    }

    fn wire_bytes(&self, wire: usize) -> u64 {
        ELEMENT * (Wire::elements(&self.plan.wires[wire]) * self.images) as u64 * self.times
    }
}

/// OTs of one piece of a pool.
const PIECE: u64 = 1 << 16;
/// What a mapping of huge pages takes beyond its content, at the most.
const HUGE: u64 = 2 << 20;
/// Bytes of a stream of SoftSpoken: a key schedule.
const STREAM: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::framed_len;
    use crate::linear::{Beside, Geometry, Hint};
    use crate::plan::{FORMAT, InputSpec, Op, OutputSpec, Preprocess, Protocol};
    use crate::steps::{Input, Linear, Output};
    use crate::{Bits, ot::TreeDepth};

    #[test]
    fn what_a_host_received_is_the_servers_until_the_last_layer_beside_it_has_read_it() {
        let ring = Bits::of(16);
        let geometry = Geometry::same_size([2, 2], [6; 2], 1);
        let layer = |output: usize| {
            let beside = (output > 1).then_some(Beside { host: 1, geometry });
            let draws = output == 1;
            let hint = Hint { outputs: 1, noise: 12, cut: 2, draws, carry: false, beside };
            let (shifts, protocol) = (Vec::new(), Protocol::Hint(hint));
            let (weight_bits, algorithm) = (4, crate::linear::Algorithm::Direct);
            let input = 0;
            Linear { input, output, geometry, weight_bits, shifts, ring, algorithm, protocol }
        };
        let ops = [1, 2, 3].map(|output| Op::Linear(layer(output)));
        let ends = [Op::Input(Input { output: 0 }), Op::Output(Output { input: 3 })];
        let [first, last] = ends;
        let ops = std::iter::once(first).chain(ops).chain([last]);
        let plan = Plan {
            format: FORMAT,
            name: "beside".into(),
            input: InputSpec { preprocess: Preprocess::Unit, scale: 1.0 },
            output: OutputSpec { scale: 1.0 },
            extension: OtExtension::Softspoken(TreeDepth::new(2).unwrap()),
            streamed: false,
            wires: vec![Wire { shape: [2, 6, 6], bits: 16, low: -1 << 15, ring, carry: None }; 4],
            steps: ops.enumerate().map(|(at, op)| Step { name: format!("{at}"), op }).collect(),
            weights: "0".repeat(64),
            hints: None,
        };
        plan.check().unwrap();
        let load = Load::one(3);
        let kept = Tally::new(&plan, Role::Server, load).encryptions();
        // The host draws the mask of all 72 elements, and nothing else is sent of them, in a frame
        // an image.
        let received: Vec<_> = kept.iter().map(|kept| (kept.steps.clone(), kept.bytes)).collect();
        assert_eq!(received, [(1..=3, 3 * framed_len(72 * 12 / 8))]);
        assert!(Tally::new(&plan, Role::Client, load).encryptions().is_empty());
    }
}

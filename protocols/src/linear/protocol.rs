//! One interface for linear protocols, as the planner and the executor see them.
//!
//! A protocol computes shares of the server's weights times a value that the client alone holds,
//! before the input of the network is known. It is one folder, and one arm in
//! [`Protocol::body`](super::Protocol).

use std::any::Any;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::{Layer, Secrets, SecretsNeeded};
use crate::assumption::Assumption;
use crate::ot::Demand;
use crate::{Cost, Error, Phases, Role, Session};

/// A future that a session's thread may move.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What one party keeps of a layer for all inferences of a session, or makes for one inference
/// where the plan is streamed: a protocol's own type.
pub struct State(Box<dyn Any + Send + Sync>);

impl State {
    pub(super) fn new(state: impl Any + Send + Sync) -> Self {
        Self(Box::new(state))
    }

    /// The protocol's own type.
    pub(super) fn get<T: Any>(&self) -> &T {
        self.0.downcast_ref().expect("invariant: a protocol runs with the state that it prepared")
    }
}

/// One run of a protocol: a layer's weights times a batch of values.
pub(super) struct Run<'a> {
    pub layer: &'a Layer,
    pub images: usize,
    pub state: &'a State,
    /// The server's, in the order of [`Layer::weights`].
    pub weights: Option<&'a [i8]>,
    /// Of this inference, where the protocol needs any.
    pub secrets: Option<&'a Secrets>,
    /// The client's value, laid out as the input of [`Layer::products`].
    pub value: Option<Value<'a>>,
}

/// What the client multiplies by.
pub(super) enum Value<'a> {
    /// A value that it has.
    Given(&'a [u64]),
    /// A uniform mask that the protocol draws, of a protocol that [draws](LinearProtocol::draws):
    /// elements that no output needs stay as they are.
    Drawn(&'a mut [u64]),
}

impl<'a> Value<'a> {
    /// A value that is there: of protocols that never draw.
    pub(super) fn given(self) -> &'a [u64] {
        match self {
            Self::Given(value) => value,
            Self::Drawn(_) => unreachable!("invariant: only protocols that draw are asked to"),
        }
    }
}

/// Seconds of work for a layer, by the party that works more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerSeconds {
    /// For the state, once a session.
    pub setup: f64,
    /// For the products with one batch.
    pub offline: f64,
}

/// Bytes that a layer takes of one party's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerMemory {
    /// Of the state, as long as it is kept.
    pub state: u64,
    /// That preparing the state takes besides.
    pub preparing: u64,
    /// Of the products with one batch, beside value, result and state.
    pub running: u64,
    /// Frames of the stream of those products.
    pub frames: u64,
}

/// What a protocol tells of a layer beside its price, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// AES blocks that trees are expanded to, for a batch.
    pub aes_blocks: u64,
    /// Weights whose digits share a tree, at the most.
    pub group: usize,
}

/// A way to multiply weights by what the client holds.
///
/// The law: with the state that both parties [prepared](Self::prepare), the sum of the results of
/// [`run`](Self::run) is the product modulo the layer's ring, and both move what
/// [`cost`](Self::cost) says.
pub(super) trait LinearProtocol: Send + Sync {
    /// Its name, in reports.
    fn name(&self) -> String;

    /// What is wrong with a layer for it, if anything.
    fn check(&self, layer: &Layer) -> Result<(), String>;

    /// What the state moves, as set-up, and what the products with a batch move.
    fn cost(&self, layer: &Layer, images: usize) -> Phases;

    /// What the products with a batch make of the OTs of their cost: nothing, where they take them
    /// as they are.
    fn demands(&self, _: &Layer, _: usize) -> Vec<Demand> {
        Vec::new()
    }

    /// Seconds of work.
    fn seconds(&self, layer: &Layer, images: usize) -> LayerSeconds;

    /// Bytes of memory.
    fn memory(&self, layer: &Layer, role: Role, images: usize) -> LayerMemory;

    /// What people want to know.
    fn detail(&self, layer: &Layer, images: usize) -> Detail;

    /// What its security rests on, beside that of the OTs.
    fn assumptions(&self) -> &'static [Assumption];

    /// Whether the client's mask of its input comes out of the protocol.
    fn draws(&self) -> bool {
        false
    }

    /// Whether the state is kept for the session even where the plan is streamed.
    fn lasts(&self) -> bool {
        false
    }

    /// The secrets that an inference draws for all layers together, where the protocol needs any.
    fn secrets(&self, _: &Layer) -> Option<SecretsNeeded> {
        None
    }

    /// Makes the state. The server gives its weights, in the order of [`Layer::weights`].
    fn prepare<'a>(
        &'a self,
        session: &'a mut Session,
        layer: &'a Layer,
        weights: Option<&'a [i8]>,
    ) -> Work<'a, State>;

    /// This party's share of the products of the layer that [`Layer::products`] gives,
    /// `[channel][image][position]`, not reduced.
    fn run<'a>(&'a self, session: &'a mut Session, run: Run<'a>) -> Work<'a, Vec<u64>>;
}

impl Layer {
    /// What its state moves, as set-up, and what its products with a batch move, offline.
    pub fn cost(&self, images: usize) -> Phases {
        self.protocol.body().cost(self, images)
    }

    /// What its products with a batch make of the OTs of their cost.
    pub(crate) fn demands(&self, images: usize) -> Vec<Demand> {
        self.protocol.body().demands(self, images)
    }

    /// What its state moves, once a session.
    pub fn setup_cost(&self) -> Cost {
        self.cost(1).setup
    }

    /// Seconds of work.
    pub fn seconds(&self, images: usize) -> LayerSeconds {
        let mut seconds = self.protocol.body().seconds(self, images);
        seconds.offline += self.transformed(images) as f64 * crate::rates::TRANSFORMED;
        seconds
    }

    /// Whether the client's mask of its input comes out of the protocol.
    pub(crate) fn draws(&self) -> bool {
        self.protocol.body().draws()
    }

    /// Whether its state is kept for the session even where the plan is streamed.
    pub fn lasts(&self) -> bool {
        self.protocol.body().lasts()
    }

    /// Whether its state is kept for the session, given whether the plan is streamed.
    pub(crate) fn kept(&self, streamed: bool) -> bool {
        !streamed || self.lasts()
    }

    /// What it needs of the secrets of an inference, which serve all layers.
    pub fn secrets(&self) -> Option<SecretsNeeded> {
        self.protocol.body().secrets(self)
    }

    /// What people want to know.
    pub fn detail(&self, images: usize) -> Detail {
        self.protocol.body().detail(self, images)
    }

    /// Bytes of a party's memory: of the products, with the value and the result.
    pub(crate) fn memory(&self, role: Role, images: usize) -> LayerMemory {
        let mut memory = self.protocol.body().memory(self, role, images);
        memory.running += self.operand_bytes(role, images);
        memory
    }

    /// Makes the layer's state. The server gives its weights, in the order of [`Layer::weights`],
    /// the client none.
    ///
    /// # Errors
    /// Where the peer is lost, violates the protocol, or the pool is dry.
    pub async fn prepare(
        &self,
        session: &mut Session,
        weights: Option<&[i8]>,
    ) -> Result<State, Error> {
        let protocol = self.protocol.body();
        let cost = self.setup_cost();
        session.hold("layer", cost, async |s| protocol.prepare(s, self, weights).await).await
    }
}

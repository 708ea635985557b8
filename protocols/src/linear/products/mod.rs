//! The operator of a linear layer: the server's weights times what the client holds.

use super::protocol::{Run, State, Value};
use super::{Algorithm, Layer, Secrets, multiply, winograd};
use rand::RngExt;

use crate::ot::Demand;
use crate::{Bits, Clear, Cost, Error, Operator, Role, Session, Share, Shared};

/// The products of a prepared layer with a value that the client holds.
pub struct Products<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// Images.
    pub images: usize,
    /// What this party has prepared.
    pub state: &'a State,
    /// The server's weights, in the order of [`Layer::weights`]: the ideal is computed where they
    /// are, and some protocols need them.
    pub weights: Option<&'a [i8]>,
    /// The secrets of this inference, where the layer's protocol needs any.
    pub secrets: Option<&'a Secrets>,
}

impl<'a> Products<'a> {
    /// Of a layer whose protocol needs no secrets of the inference.
    pub const fn new(
        layer: &'a Layer,
        images: usize,
        state: &'a State,
        weights: Option<&'a [i8]>,
    ) -> Self {
        Self { layer, images, state, weights, secrets: None }
    }
}

/// A value that the client alone holds, laid out `[channels][images][rows][columns]`; the server
/// holds nothing.
#[derive(Clone, Debug)]
pub struct ClientHeld(pub Option<Share>);

impl Shared for ClientHeld {
    type Clear = Clear;

    fn share(clear: &Clear, _: &mut impl rand::Rng) -> (Self, Self) {
        (Self(None), Self(Some(Share::new(clear.ring, clear.values.clone()))))
    }

    fn reveal(_: &Self, client: &Self) -> Clear {
        let share = client.0.as_ref().expect("invariant: the client holds the value");
        Clear { ring: share.ring(), values: share.values().to_vec() }
    }
}

impl Operator for Products<'_> {
    type Input = ClientHeld;
    type Output = Share;

    const NAME: &'static str = "products";

    fn ideal(&self, input: &Clear) -> Clear {
        let weights = self.weights.expect("invariant: the ideal is computed where the weights are");
        let values = multiply(self.layer, weights, self.images, &input.values);
        Clear { ring: self.layer.ring, values }
    }

    fn cost(&self) -> Cost {
        self.layer.cost(self.images).offline
    }

    fn demands(&self) -> Vec<Demand> {
        self.layer.demands(self.images)
    }

    async fn run(&self, session: &mut Session, input: ClientHeld) -> Result<Share, Error> {
        let geometry = &self.layer.geometry;
        let given = input.0.as_ref().map(Share::values);
        let values = match self.layer.algorithm {
            Algorithm::Direct => self.multiply(session, given.map(Value::Given)).await?,
            Algorithm::Winograd | Algorithm::WinogradExact => {
                let tiles = given.map(|x| winograd::transform_input(geometry, self.images, x));
                let products = self.multiply(session, tiles.as_deref().map(Value::Given)).await?;
                winograd::transform_output(geometry, self.images, &products)
            }
        };
        if self.layer.algorithm != Algorithm::WinogradExact {
            return Ok(Share::new(self.layer.share_ring(), values));
        }
        let (role, ring) = (session.role(), self.layer.products().ring);
        let quarters = values.into_iter().map(|value| winograd::quarter(role, ring, value));
        Ok(Share::new(self.layer.ring, quarters.collect()))
    }
}

impl Products<'_> {
    /// The products with a fresh mask that the protocol draws: this party's share of them, and the
    /// client's mask, in a ring that is at least the layer's.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub(crate) async fn draw(
        &self,
        session: &mut Session,
        ring: Bits,
    ) -> Result<(Share, Option<Share>), Error> {
        let len = self.layer.geometry.in_shape().iter().product::<usize>() * self.images;
        let mut mask = None;
        if session.role() == Role::Client {
            // Drawn whole: what the protocol draws are the low bits of what outputs need.
            mask = Some((0..len).map(|_| session.rng().random()).collect::<Vec<u64>>());
        }
        let products = session
            .hold(Self::NAME, self.cost(), async |session| {
                let drawn = mask.as_deref_mut().map(Value::Drawn);
                self.multiply(session, drawn).await
            })
            .await?;
        Ok((Share::new(self.layer.share_ring(), products), mask.map(|mask| Share::new(ring, mask))))
    }

    /// This party's share of the products of the layer's protocol.
    async fn multiply(
        &self,
        session: &mut Session,
        value: Option<Value<'_>>,
    ) -> Result<Vec<u64>, Error> {
        let Self { layer, images, state, weights, secrets } = *self;
        let run = Run { layer, images, state, weights, secrets, value };
        layer.protocol.body().run(session, run).await
    }
}

#[cfg(test)]
pub(in crate::linear) mod tests;

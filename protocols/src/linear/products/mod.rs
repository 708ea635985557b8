//! The operator of a linear layer: the server's weights times what the client holds.

use super::protocol::{Run, State};
use super::{Algorithm, Layer, multiply, winograd};
use crate::{Clear, Cost, Error, Operator, Session, Share, Shared};

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

    async fn run(&self, session: &mut Session, input: ClientHeld) -> Result<Share, Error> {
        let geometry = &self.layer.geometry;
        let given = input.0.as_ref().map(Share::values);
        let values = match self.layer.algorithm {
            Algorithm::Direct => self.multiply(session, given).await?,
            Algorithm::Winograd | Algorithm::WinogradExact => {
                let tiles = given.map(|x| winograd::transform_input(geometry, self.images, x));
                let products = self.multiply(session, tiles.as_deref()).await?;
                winograd::transform_output(geometry, self.images, &products)
            }
        };
        if self.layer.algorithm != Algorithm::WinogradExact {
            return Ok(Share::new(self.layer.ring, values));
        }
        let (role, ring) = (session.role(), self.layer.products().ring);
        let quarters = values.into_iter().map(|value| winograd::quarter(role, ring, value));
        Ok(Share::new(self.layer.ring, quarters.collect()))
    }
}

impl Products<'_> {
    /// This party's share of the products of the layer's protocol.
    async fn multiply(
        &self,
        session: &mut Session,
        value: Option<&[u64]>,
    ) -> Result<Vec<u64>, Error> {
        let Self { layer, images, state, weights } = *self;
        let run = Run { layer, images, state, weights, value };
        layer.protocol.body().run(session, run).await
    }
}

#[cfg(test)]
pub(in crate::linear) mod tests;

//! The hints of a network in files: made once, public, the same for every client and session.
//!
//! `hints.bin` holds the hints of all layers that have any, in the plan's order, and the plan names
//! its digest. A client that has the file beside its plan says so in the handshake; any other gets
//! the hints in set-up, and holds them against the digest.
//!
//! The server keeps a seed of 32 bytes of the operating system, from which all secrets of the hints
//! come. **A seed makes one file.** Two files under the same secrets would differ by what they
//! hide: the weights would be found from them. So:
//!
//! - [`ServerHints::make`] draws a seed, always, and nothing else publishes hints;
//! - [`ServerHints::restore`] makes them again from the seed for the server alone, and refuses
//!   whatever has not the digest of what was published;
//! - secrets are derived from the seed *and* from all that enters the hints (`outline.rs`):
//!   a seed that comes together with another plan or other weights gives unrelated secrets.
//!
//! The logits and the label are revealed by two plans of one network, which differ in the rings of
//! the last layers. One file serves both: it is made for the wider rings.
//!
//! The file, integers in little-endian order: `pq-hints`, the version in 4 bytes, the recipe in 32,
//! then for every layer the polynomials of its outputs, packed, each in whole bytes.

mod delivery;
mod outline;
mod secret;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bits::hex;
use crate::plan::Plan;
use crate::weights::Weights;
use crate::{Error, entropy};
pub(crate) use delivery::Delivery;
pub(crate) use outline::{Outline, Part};
pub use secret::HintsSecret;

const MAGIC: [u8; 8] = *b"pq-hints";
const VERSION: u32 = 1;
/// Bytes before the hints.
const HEADER: usize = 8 + 4 + 32;

/// The public hints of a network: what `hints.bin` holds.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicHints {
    /// The whole file.
    bytes: Arc<Vec<u8>>,
    digest: [u8; 32],
}

impl PublicHints {
    /// Reads a file and holds it against a plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no file of hints, or not the one that the plan names.
    pub fn from_bytes(bytes: Vec<u8>, plan: &Plan) -> Result<Self, Error> {
        let hints = Self::of(bytes);
        hints.check(plan)?;
        Ok(hints)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let digest = blake3::hash(&bytes).into();
        Self { bytes: Arc::new(bytes), digest }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the whole file, in hexadecimal: what a plan names.
    pub fn digest(&self) -> String {
        hex(&self.digest)
    }

    /// The same digest in bytes.
    pub const fn digest_bytes(&self) -> [u8; 32] {
        self.digest
    }

    /// Holds the hints against a plan, which may reveal the logits or the label.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they are of another network, cut short, or changed.
    pub fn check(&self, plan: &Plan) -> Result<(), Error> {
        let outline = named(plan)?;
        let wrong = |what: &str, expected: String, found: String| {
            Err(Error::invalid(format!("hints: {what}"), format!("{expected}{ADVICE}"), found))
        };
        let Some((header, _)) = self.bytes.split_at_checked(HEADER) else {
            let found = format!("{} bytes", self.bytes.len());
            return wrong("length", format!("{} bytes", outline.len()), found);
        };
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            let found = format!("{magic:02x?}");
            return wrong("start", format!("{MAGIC:02x?}, as a file of hints has it"), found);
        }
        let (version, recipe) = rest.split_at(4);
        if version != VERSION.to_le_bytes() {
            return wrong("version", VERSION.to_string(), format!("{version:?}"));
        }
        if recipe != outline.recipe {
            let expected = format!("{}, of this plan", hex(&outline.recipe));
            return wrong("what they are made of", expected, hex(recipe));
        }
        if self.bytes.len() != outline.len() {
            let found = format!("{} bytes", self.bytes.len());
            return wrong("length", format!("{} bytes", outline.len()), found);
        }
        if plan.hints.as_ref() != Some(&self.digest()) {
            let expected = plan.hints.clone().unwrap_or_default();
            return wrong("digest", format!("{expected} as the plan says"), self.digest());
        }
        Ok(())
    }
}

/// What to do about hints that are not the plan's.
const ADVICE: &str = "; take hints.bin and plan.json from the same `pq hints`";

/// The outline of the hints that a plan names.
fn named(plan: &Plan) -> Result<Outline, Error> {
    if plan.hints.is_some() {
        return Ok(Outline::of(plan));
    }
    Err(Error::invalid("hints", "none, since the plan names none", "some"))
}

/// The bytes before the hints.
fn header(recipe: &[u8; 32]) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), recipe].concat()
}

impl fmt::Debug for PublicHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicHints({}, {} bytes)", self.digest(), self.bytes.len())
    }
}

/// The hints of a network, with what only its server has: the seed of their secrets.
pub struct ServerHints {
    public: Arc<PublicHints>,
    secret: HintsSecret,
}

impl ServerHints {
    /// Makes the hints of a plan, under a seed that is drawn for it, and the plan that names them;
    /// none where no layer has a hint. The plan that is given may name others: these serve no more.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the weights are not the plan's, a layer's noise is too small for
    /// them, or the system has no random bytes.
    pub fn make(plan: &Plan, weights: &Weights) -> Result<(Plan, Option<Self>), Error> {
        let mut plan = Plan { hints: None, ..plan.clone() };
        if !plan.has_hint_layers() {
            return Ok((plan, None));
        }
        let seed = entropy::fresh("hints: seed")?;
        let public = compute(&plan, weights, &seed)?;
        plan.hints = Some(public.digest());
        let secret = HintsSecret::new(seed, public.digest);
        Ok((plan, Some(Self { public: Arc::new(public), secret })))
    }

    /// The hints that were made of a seed before, from it and the weights.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they are not those that the plan names: the seed is of other hints,
    /// or the plan, the weights or the seed were changed since.
    pub fn restore(plan: &Plan, weights: &Weights, secret: HintsSecret) -> Result<Self, Error> {
        named(plan)?;
        let expected = plan.hints.clone().unwrap_or_default();
        let wrong = |what: &str, found: String| {
            let expected = format!("{expected} as the plan says; make them anew with `pq hints`");
            Err(Error::invalid(format!("hints.secret: {what}"), expected, found))
        };
        if secret.digest() != expected {
            return wrong("digest", secret.digest());
        }
        let public = compute(plan, weights, secret.seed())?;
        if public.digest() != expected {
            return wrong("digest of the hints of this seed and these weights", public.digest());
        }
        Ok(Self { public: Arc::new(public), secret })
    }

    /// The public half.
    pub const fn public(&self) -> &Arc<PublicHints> {
        &self.public
    }

    /// The secret half: what `hints.secret` holds.
    pub const fn secret(&self) -> &HintsSecret {
        &self.secret
    }

    /// The seed of a layer's secrets, of those that an outline has.
    fn seed(&self, outline: &Outline, part: &Part) -> Zeroizing<[u8; 32]> {
        outline.seed(self.secret.seed(), part)
    }
}

impl fmt::Debug for ServerHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerHints({:?})", self.public)
    }
}

/// The hints of a plan under a seed. Whoever publishes them has drawn the seed for them.
fn compute(plan: &Plan, weights: &Weights, seed: &[u8; 32]) -> Result<PublicHints, Error> {
    weights.check_shapes(plan)?;
    let found = weights.digest();
    if found != plan.weights {
        let expected = format!("{} as the plan says", plan.weights);
        return Err(Error::invalid("weights: digest", expected, found));
    }
    let outline = Outline::of(plan);
    let mut bytes = header(&outline.recipe);
    for part in outline.parts() {
        let weights = &weights.layers[&plan.steps[part.step].name].weights;
        bytes.extend(part.layer.make_hint(weights, &outline.seed(seed, part))?);
    }
    Ok(PublicHints::of(bytes))
}

#[cfg(test)]
mod tests;

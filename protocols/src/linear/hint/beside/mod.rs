//! One encryption for several layers that read a wire: a layer beside another one, its *host*,
//! reads the ciphertexts that the server received for that, and moves nothing but its rounding.
//!
//! The layer's hint is made under the host's public polynomials, in the host's layout, with as many
//! outputs a polynomial and as many bits of noise, in a ring that is at most the host's: then `b_c`
//! modulo its own `2^q` is an encryption of the wire as its own would be. Of the host's kernel it
//! takes the taps that are its own, of the host's outputs every so many: see
//! [`Layout::read_by`](super::layout::Layout::read_by).
//!
//! *Exactness.* The noise is a linear form in the same `s` and `e`, with the layer's own weights,
//! `r` and `e1`: its bound is the layer's own. Failures of all outputs add up, whether or not they
//! share variables. *Security.* The server gets nothing that it did not have: what it makes of
//! ciphertexts tells it no more than they do. The client gets one more hint, an RLWE sample of a
//! fresh secret, as every layer's is. A client that sends wrong ciphertexts spoils its own result.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::{Hint, client};
use crate::Bits;
use crate::linear::{Algorithm, Geometry, Layer};

/// The layer whose encryptions another one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The wire that it writes.
    pub host: usize,
    /// Its convolution.
    pub geometry: Geometry,
}

impl Beside {
    /// The layout of a layer beside it; `None` where that needs what is not encrypted.
    pub(super) fn layout(&self, own: &Geometry, outputs: usize) -> Option<Layout> {
        Layout::read_by(&self.geometry, own, outputs)
    }

    /// What is wrong with a layer beside it, if anything.
    pub(super) fn check(&self, layer: &Layer, hint: &Hint) -> Result<(), String> {
        self.geometry.check().map_err(|wrong| format!("beside a layer of {wrong}"))?;
        if layer.algorithm != Algorithm::Direct || hint.draws {
            let found = (layer.algorithm, hint.draws);
            return Err(format!(
                "a direct convolution beside another one, whose mask that draws, found {found:?}"
            ));
        }
        match self.layout(&layer.geometry, hint.outputs.into()) {
            Some(_) => Ok(()),
            None => Err(format!(
                "taps and outputs that are some of those of {:?}, beside which it is, found {:?}",
                self.geometry, layer.geometry
            )),
        }
    }
}

impl Layer {
    /// The number of the layer whose encryptions it reads: its own, or that of its host.
    pub(super) fn encrypted_as(&self) -> usize {
        self.host().unwrap_or(self.number)
    }

    /// The layer that it is beside, if it is.
    pub(crate) fn host(&self) -> Option<usize> {
        Some(self.protocol.hint()?.beside?.host)
    }

    /// Bytes of the encryptions that it receives, which layers beside it read.
    pub(crate) fn encryption_bytes(&self, images: usize) -> u64 {
        let own = self.protocol.hint().filter(|hint| hint.beside.is_none());
        let cost = own.map(|hint| client::cost(hint, self, &hint.layout(self), images));
        cost.map_or(0, |cost| cost.client_bytes)
    }
}

/// What the server received of a host, packed as it came.
pub(super) struct Encryptions {
    /// The ring of coefficients that are masks, and of all others.
    pub(super) rings: [Bits; 2],
    /// Whether coefficients that are first are masks.
    pub(super) draws: bool,
    /// `[image][tile]`.
    pub(super) messages: Vec<Arc<Vec<u8>>>,
}

/// Encryptions of one inference that are still to be read, by host.
#[derive(Default)]
pub(super) struct Kept {
    /// Layers beside each host.
    readers: BTreeMap<usize, usize>,
    /// What was received, and how many are still to read it.
    received: Mutex<BTreeMap<usize, (usize, Arc<Encryptions>)>>,
}

impl Kept {
    pub(super) fn new(readers: BTreeMap<usize, usize>) -> Self {
        Self { readers, received: Mutex::default() }
    }

    /// Whether a layer has others beside it.
    pub(super) fn is_host(&self, layer: usize) -> bool {
        self.readers.contains_key(&layer)
    }

    /// Whether nothing is to be read.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Keeps what a host received.
    pub(super) fn keep(&self, host: usize, encryptions: Encryptions) {
        let Some(&readers) = self.readers.get(&host) else { return };
        // Nothing panics while it is locked, so what is behind a poisoned lock is whole.
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.insert(host, (readers, Arc::new(encryptions)));
    }

    /// What a host received. Behind its last reader it is gone.
    pub(super) fn read(&self, host: usize) -> Arc<Encryptions> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, encryptions) = received
            .get_mut(&host)
            .map(|(left, encryptions)| {
                *left -= 1;
                (*left, Arc::clone(encryptions))
            })
            .expect("invariant: a host runs before the layers beside it, each once");
        // Each reads once, in the order of the plan: behind the last nobody asks again.
        if left == 0 {
            received.remove(&host);
        }
        encryptions
    }
}

#[cfg(test)]
mod tests;

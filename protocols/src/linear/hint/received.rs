//! What the server has of the client's encryptions: received for the layer itself, or for the one
//! that it is beside.

use std::sync::Arc;

use super::beside::Encryptions;
use super::direct::Kernels;
use super::layout::Sent;
use super::{Hint, Secrets};
use crate::bits::Word;
use crate::linear::Layer;
use crate::{Bits, Error, Session};

/// Where the messages of a layer come from, in the order `[image][tile]`.
pub(super) enum Source {
    /// From the client.
    Client { received: Encryptions, host: Option<usize> },
    /// From what the layer's host received, those before `next` being read.
    Host { received: Arc<Encryptions>, next: usize },
}

impl Source {
    pub(super) fn new(hint: &Hint, layer: &Layer, secrets: &Secrets) -> Self {
        if let Some(host) = layer.host() {
            return Self::Host { received: secrets.read(host), next: 0 };
        }
        let rings = [hint.noise_ring(), hint.coefficients(layer)];
        let received = Encryptions { rings, draws: hint.draws, messages: Vec::new() };
        Self::Client { received, host: secrets.is_host(layer.number).then_some(layer.number) }
    }

    fn encryptions(&self) -> &Encryptions {
        match self {
            Self::Client { received, .. } => received,
            Self::Host { received, .. } => received,
        }
    }

    /// The ring that holds all coefficients.
    pub(super) fn widest(&self) -> Bits {
        self.encryptions().rings[1]
    }

    /// The message of the next tile, of so many bytes where it is still to be received.
    pub(super) async fn next(
        &mut self,
        session: &mut Session,
        len: usize,
    ) -> Result<Arc<Vec<u8>>, Error> {
        match self {
            Self::Client { received, host } => {
                let message = Arc::new(session.channel.receive(len).await?);
                // As it came: packed, a fifth of what its coefficients take as words.
                if host.is_some() {
                    received.messages.push(Arc::clone(&message));
                }
                Ok(message)
            }
            Self::Host { received, next } => {
                *next += 1;
                Ok(Arc::clone(&received.messages[*next - 1]))
            }
        }
    }

    /// A message of so many coefficients that hold an element for the first time, and others.
    pub(super) fn received<'a>(
        &self,
        message: &'a [u8],
        [first, other]: [usize; 2],
        sent: Vec<Sent>,
    ) -> Received<'a> {
        let &Encryptions { rings: [noise, ring], draws, .. } = self.encryptions();
        let [first, other] = if draws { [first, other] } else { [0, first + other] };
        let (masks, others) = message.split_at(noise.packed_len(first));
        Received { masks: (noise, first, masks), others: (ring, other, others), sent, draws }
    }

    /// Leaves what was received to the layers that are beside this one.
    pub(super) fn finish(self, secrets: &Secrets) {
        if let Self::Client { received, host: Some(host) } = self {
            secrets.keep(host, received);
        }
    }
}

/// The coefficients of a tile, as they were received: their rings, their numbers and the bytes.
pub(super) struct Received<'a> {
    masks: (Bits, usize, &'a [u8]),
    others: (Bits, usize, &'a [u8]),
    sent: Vec<Sent>,
    /// Whether coefficients that are first are masks.
    draws: bool,
}

impl Received<'_> {
    /// Windows of the polynomials, `[group][chunk]`.
    pub(super) fn windows<W: Word>(&self, kernels: &Kernels) -> Vec<Vec<W>> {
        let unpack = |(ring, count, bytes): (Bits, usize, &[u8])| {
            let mut values = vec![W::zero(); count];
            ring.unpack_into(bytes, &mut values);
            values
        };
        let (masks, others) = (unpack(self.masks), unpack(self.others));
        let (mut masks, mut others) = (&masks[..], &others[..]);
        let mut fill = |sent: &Sent, window: &mut [W]| {
            for run in sent.runs.iter() {
                let is_mask = self.draws && run.held.is_some_and(|held| held.first);
                let from = if is_mask { &mut masks } else { &mut others };
                let values = from.split_off(..run.len).expect("invariant: as many as were counted");
                window[run.at..][..run.len].copy_from_slice(values);
            }
        };
        self.sent.iter().map(|sent| kernels.window(|window| fill(sent, window))).collect()
    }
}

//! Domain separation, in one place: no two uses of a key derivation share a label.

/// What a derived key or generator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Domain {
    /// Keys of the base OTs.
    BaseOt = 1,
    /// Inner nodes of GGM trees.
    Tree = 2,
    /// Leaves of the trees of the extension, and their streams.
    SoftSpoken = 3,
    /// Pads of ring-correlated OTs.
    Correlated = 4,
    /// Pads of random OTs.
    Random = 5,
    /// Pads of 1-of-N OTs.
    OneOfN = 6,
    /// Keys of vectors of correlated elements.
    Key = 23,
    /// Leaves of weight trees, expanded anew for every inference.
    Weights = 7,
    /// The masks of wires.
    Mask = 8,
    /// The session's own generator.
    Session = 9,
    /// Roots of trees.
    Root = 10,
    /// Trees of Ferret.
    Ferret = 16,
    /// The public codes of Ferret.
    Code = 17,
    /// Leaves of trees that are punctured at the digits of a mask.
    MaskDigits = 20,
    /// Secrets of a layer's hint in a file.
    Hint = 21,
    /// The session's number, of both hellos.
    Number = 32,
    /// What was asked and answered before the handshake.
    Ask = 36,
    /// That a party has the session's number.
    Confirmation = 33,
    /// The running hash of a direction of the conversation.
    Direction = 34,
    /// What a party says of the whole conversation so far.
    Statement = 35,
}

impl Domain {
    /// Derives 32 bytes from `key` for this domain, bound to a sequence of public numbers.
    pub fn derive(self, key: &[u8; 32], bound_to: &[u64]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&[self as u8]);
        hasher.update(&(bound_to.len() as u64).to_le_bytes());
        for number in bound_to {
            hasher.update(&number.to_le_bytes());
        }
        hasher.finalize().into()
    }

    /// The same, bound to a sequence of public strings. A domain uses either this or
    /// [`Domain::derive`].
    pub(crate) fn bind(self, key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&[self as u8]);
        hasher.update(&(parts.len() as u64).to_le_bytes());
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize().into()
    }
}

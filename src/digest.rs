//! SHA-256, and how it is written: 64 hexadecimal digits in lower case.

use ring::digest::{SHA256, digest};

/// Bytes of a digest.
pub(crate) const LEN: usize = 32;

/// The SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; LEN] {
    digest(&SHA256, bytes).as_ref().try_into().expect("invariant: SHA-256 has 32 bytes")
}

/// A digest of its digits.
pub(crate) fn of_hex(digits: &str) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    // One form alone: two that are spelled differently must not be one.
    let plain = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if digits.len() != 2 * LEN || !digits.bytes().all(plain) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

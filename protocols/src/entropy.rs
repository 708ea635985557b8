//! Random bytes of the operating system.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::Error;

/// 32 random bytes of the operating system, for `what`.
///
/// # Errors
/// [`Error::Invalid`] where the system has none.
pub(crate) fn fresh(what: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng
        .try_fill_bytes(&mut bytes[..])
        .map_err(|source| Error::invalid(what, "random bytes of the operating system", source))?;
    Ok(bytes)
}

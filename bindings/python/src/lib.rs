//! pq for Python: the module `pq._pq`, which `pq` names in full.
//!
//! Work runs without the interpreter's lock, and ends at Ctrl-C ([`watch`]). Images are arrays or
//! files ([`images`]), answers are arrays ([`answers`]), and faults are Python's exceptions
//! ([`errors`]).

// PyO3's functions take what they are given.
#![allow(clippy::too_many_arguments)]

mod answers;
mod client;
mod cost;
mod credentials;
mod errors;
mod images;
mod network;
mod search;
mod watch;

use pyo3::prelude::*;

/// The module.
#[pymodule]
mod _pq {
    #[pymodule_export]
    use crate::answers::{Answers, Inference};
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::cost::{Amount, Cost, Step};
    #[pymodule_export]
    use crate::errors::{BusyError, DisagreementError, ViolationError};
    #[pymodule_export]
    use crate::network::Network;
    #[pymodule_export]
    use crate::search::{Found, Layer, search};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

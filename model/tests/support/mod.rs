//! What several of the test programs need.

use model::{ReferenceRuntime, ReferenceRuntimeError};

/// `None` where no onnxruntime is installed, unless `PQ_REQUIRE_ORT` says that there must be one.
pub(crate) fn reference_runtime() -> Option<ReferenceRuntime> {
    match ReferenceRuntime::find(None) {
        Ok(reference_runtime) => Some(reference_runtime),
        Err(error @ ReferenceRuntimeError::NotFound { .. })
            if std::env::var_os("PQ_REQUIRE_ORT").is_none() =>
        {
            println!("not judged: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

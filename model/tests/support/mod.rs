//! What several of the test programs need.

use model::{Judge, JudgeError};

/// `None` where no onnxruntime is installed, unless `PQ_REQUIRE_ORT` says that there must be one.
pub(crate) fn judge() -> Option<Judge> {
    match Judge::find(None) {
        Ok(judge) => Some(judge),
        Err(error @ JudgeError::NotFound { .. })
            if std::env::var_os("PQ_REQUIRE_ORT").is_none() =>
        {
            println!("not judged: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

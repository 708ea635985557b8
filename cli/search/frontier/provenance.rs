//! What a frontier was made from, so that it can be made again.

use std::path::Path;

use serde::Serialize;

use crate::search::args::Args;

/// Files by their names alone: where they were is nobody's business.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Provenance {
    /// The version of `pq`.
    version: &'static str,
    model: String,
    calibration: String,
    /// Of other images that accuracies are measured on.
    test: Option<String>,
    /// Calibration images, at the most.
    samples: Option<u32>,
    /// Of the network, all images and the options.
    fingerprint: String,
}

impl Provenance {
    pub(super) fn of(args: &Args, fingerprint: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: name(&args.model),
            calibration: name(&args.calib),
            test: args.test.as_deref().map(name),
            samples: args.samples,
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// As a sentence.
    pub(super) fn text(&self) -> String {
        let Self { version, model, calibration, test, samples, fingerprint } = self;
        let samples = samples.map_or_else(String::new, |count| format!("{count} images of "));
        let test = test.as_ref().map_or_else(String::new, |test| format!(", tested on {test}"));
        format!(
            "Made by pq {version} from {model}, calibrated on {samples}{calibration}{test}. \
             Fingerprint of the network, the images and the options: {fingerprint}."
        )
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

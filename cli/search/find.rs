//! The search itself, and the files that it writes.

use protocols::plan::Plan;
use quant::search::{self, Measure, SearchError};

use super::args::Args;
use super::resume::{known, remember};
use super::summary::Summary;
use crate::context::App;
use crate::exit::{Code, Failure, Outcome};
use crate::net::{self, Net};
use crate::out::Writer;
use crate::progress::Progress;

/// Searches, and writes what was found.
pub(crate) fn find(app: &App, args: &Args) -> Outcome<(Summary, Plan)> {
    let _kept = args.folder(app, Writer::Search)?;
    let input = args.input(&app.console)?;
    let options = args.options();
    let model = input.equalized(app).map_err(|error| args.failure(error))?;
    let images = input.images();
    let progress = Progress::new();
    let fingerprint = search::fingerprint(&model, &input.preprocess, &images, &options);
    let stored = known(app, args, &fingerprint)?;
    let prepared =
        search::Prepared::new(&model, &input.preprocess, &images, &options, stored, &mut |at| {
            progress.search(at)
        });
    let prepared = prepared.map_err(|error| args.failure(error))?;
    // Before anything is chosen: a search that is interrupted from here on goes on from it.
    remember(app, args, &fingerprint, prepared.known())?;
    let mut found = prepared
        .find(&options, &mut |at| progress.search(at))
        .map_err(|error| args.failure(error))?;
    let hints = found.make_hints()?;
    let mut summary = Summary { off_scale: input.off_scale.clone(), ..Summary::new(&found) };
    if args.explain {
        summary.activations =
            prepared.names().into_iter().map(|(_, activation)| activation).collect();
        for measure in Measure::ALL {
            let sensitivity = prepared
                .sensitivity(measure, &mut |at| progress.search(at))
                .map_err(|error| args.failure(error))?;
            summary.sensitivities.insert(measure.name(), sensitivity);
        }
    }
    drop(progress);
    summary.warn(&app.console);
    if let Some(folder) = &args.out {
        let (plan, weights, hints) = (&found.plan, &found.weights, hints.as_ref());
        net::write(app, folder, Net { plan, weights, hints }, &summary)?;
    }
    Ok((summary, found.plan))
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        Self::from(&error)
    }
}

impl From<&SearchError> for Failure {
    fn from(error: &SearchError) -> Self {
        let code = match error {
            SearchError::Nothing => Code::Usage,
            SearchError::Impossible { .. }
            | SearchError::ImpossibleOnline { .. }
            | SearchError::ImpossibleSeconds { .. }
            | SearchError::Inaccurate { .. }
            | SearchError::Quantize(_)
            | SearchError::Lower(_)
            | SearchError::Float(_)
            | SearchError::Protocol(_)
            | SearchError::Tune(_)
            | SearchError::Widths(_)
            | SearchError::NoLayers => Code::Input,
        };
        Self::new(code, error)
    }
}

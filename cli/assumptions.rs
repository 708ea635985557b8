//! What a plan's security rests on, as users see it.

use std::fmt::Write;

use protocols::plan::{Assumption, Plan};
use serde::Serialize;

/// One assumption.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Assumed {
    name: Assumption,
    meaning: &'static str,
}

/// All assumptions of a plan.
pub(crate) fn of(plan: &Plan) -> Vec<Assumed> {
    plan.assumptions().into_iter().map(|name| Assumed { name, meaning: name.meaning() }).collect()
}

/// A line each.
pub(crate) fn text(assumptions: &[Assumed]) -> String {
    let mut text = String::from("the security of this plan assumes, for 128 bits, that\n");
    for Assumed { meaning, .. } in assumptions {
        let _ = writeln!(text, "  - {meaning}");
    }
    text
}

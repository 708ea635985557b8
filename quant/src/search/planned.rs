//! The plan of an integer network that meets all budgets.

use fusion::Graph;
use fusion::planner::{cheapest, fastest, inference_bits};
use protocols::plan::Plan;
use protocols::weights::Weights;

use super::{SearchError, SearchOptions};

/// The fastest plan that meets all budgets; or the cheapest one, if that is asked for or that alone
/// does.
pub(super) fn planned(
    (graph, weights): &(Graph, Weights),
    options: &SearchOptions,
) -> Result<Option<Plan>, SearchError> {
    let digest = weights.digest();
    if !options.cheapest {
        let Some(plan) = fastest(graph, &digest, &options.purpose())? else { return Ok(None) };
        if within(&plan, options) {
            return Ok(Some(plan));
        }
    }
    Ok(Some(smallest(graph, weights, options)?).filter(|plan| within(plan, options)))
}

/// The plan of a network that moves the fewest bits.
pub(super) fn smallest(
    graph: &Graph,
    weights: &Weights,
    options: &SearchOptions,
) -> Result<Plan, SearchError> {
    Ok(cheapest(graph, &weights.digest(), options.extensions, options.protocols)?)
}

/// Whether a plan meets all budgets.
fn within(plan: &Plan, options: &SearchOptions) -> bool {
    options.budget_bits.is_none_or(|most| inference_bits(plan) <= most)
        && options.budget_online_bits.is_none_or(|most| plan.cost(1).online.bits() <= most)
        && options.budget_seconds.is_none_or(|most| options.seconds(plan) <= most)
}

/// Why no plan of a network meets the budgets.
pub(super) fn impossible(
    (graph, weights): &(Graph, Weights),
    options: &SearchOptions,
) -> Result<SearchError, SearchError> {
    let plan = smallest(graph, weights, options)?;
    let (bits, online) = (inference_bits(&plan), plan.cost(1).online.bits());
    if let Some(budget) = options.budget_bits.filter(|&budget| bits > budget) {
        return Ok(SearchError::Impossible { budget, smallest: bits });
    }
    if let Some(budget) = options.budget_online_bits.filter(|&budget| online > budget) {
        return Ok(SearchError::ImpossibleOnline { budget, smallest: online });
    }
    let budget = options.budget_seconds.unwrap_or(0.0);
    Ok(SearchError::ImpossibleSeconds { budget, smallest: options.seconds(&plan) })
}

//! Passes: rewritings of a graph that do not change what it computes.
//!
//! A pass finds a place and returns a [`Patch`]; the driver applies it, drops what nothing reads any more, and checks the
//! whole graph again, until no pass finds anything. The law of every pass: `eval(before) == eval(after)`.

mod idle_nodes;
mod legalise;
mod max_pool_behind_requant;
mod patch;
mod relu_behind_shift;
mod relu_into_requant;
mod residual_into_accumulator;
mod sums_outward;
mod views_compose;

pub use patch::Patch;

use crate::{Error, Graph};

/// A rewriting that keeps the meaning.
pub trait Pass {
    /// Its name, for errors.
    fn name(&self) -> &'static str;

    /// The first place where it applies, and what to put there.
    fn find(&self, graph: &Graph) -> Option<Patch>;
}

/// The passes that make a graph cheaper, in the order in which they are tried.
pub fn simplifying() -> Vec<Box<dyn Pass>> {
    vec![
        Box::new(idle_nodes::IdleNodes),
        Box::new(relu_behind_shift::ReluBehindShift),
        Box::new(relu_into_requant::ReluIntoRequant),
        Box::new(max_pool_behind_requant::MaxPoolBehindRequant),
        Box::new(residual_into_accumulator::ResidualIntoAccumulator),
        Box::new(sums_outward::SumsOutward),
        Box::new(views_compose::ViewsCompose),
    ]
}

/// The passes that express the nodes left over by those that a plan has steps for.
pub fn legalising() -> Vec<Box<dyn Pass>> {
    vec![Box::new(legalise::ReluAlone), Box::new(legalise::SumAlone)]
}

/// Applies passes until none finds a place. The result holds no node that the output does not depend on.
pub fn rewrite(graph: &Graph, passes: &[Box<dyn Pass>]) -> Result<Graph, Error> {
    let mut graph = patch::prune(graph)?;
    // Every patch removes, narrows, or moves a node towards the output: far fewer than this.
    let limit = 64 + graph.nodes().len().pow(2);
    for _ in 0..limit {
        let found = passes.iter().find_map(|pass| Some((pass.name(), pass.find(&graph)?)));
        let Some((pass, patch)) = found else { return Ok(graph) };
        let node = graph.node(patch.node).name.clone();
        graph = patch.apply(&graph).map_err(|source| Error::Pass { pass, node, source: Box::new(source) })?;
    }
    unreachable!("invariant: passes come to an end")
}

#[cfg(test)]
mod testing;

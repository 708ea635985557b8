//! Passes: rewritings of a graph that do not change what it computes.
//!
//! A pass finds a place and returns a [`Patch`]; the driver applies it, drops what nothing reads
//! any more, and checks the whole graph again, until no pass finds anything. The law of every pass:
//! `eval(before) == eval(after)`.

mod idle_nodes;
mod legalize;
mod max_pool_behind_requant;
mod patch;
mod relu_behind_shift;
mod relu_into_requant;
mod residual_into_accumulator;
mod sums_outward;
mod views_compose;

use std::collections::BTreeSet;

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
pub fn legalizing() -> Vec<Box<dyn Pass>> {
    vec![Box::new(legalize::ReluAlone), Box::new(legalize::SumAlone)]
}

/// What a pass made of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The pass.
    pub pass: &'static str,
    /// Places that it found.
    pub places: usize,
    /// The graph after it.
    pub graph: Graph,
}

/// Applies every pass until it finds no place, and all again until none does. The result holds no
/// node that the output does not depend on.
pub fn rewrite(graph: &Graph, passes: &[Box<dyn Pass>]) -> Result<Graph, Error> {
    let mut last = patch::prune(graph)?;
    drive(&mut last, passes, &mut |_, _, _| ())?;
    Ok(last)
}

/// The graph after every pass that finds a place, up to what becomes the steps of a plan: the
/// simplifying passes but for those left out, then the legalizing ones.
///
/// # Errors
/// A pass of that name does not exist, or a patch breaks the graph.
pub fn stages(graph: &Graph, without: &BTreeSet<String>) -> Result<Vec<Stage>, Error> {
    let pruned = patch::prune(graph)?;
    let dead = graph.nodes().len() - pruned.nodes().len();
    let mut stages = Vec::new();
    if dead > 0 {
        stages.push(Stage { pass: "dead_code", places: dead, graph: pruned.clone() });
    }
    let mut last = pruned;
    for passes in [simplifying_without(without)?, legalizing()] {
        drive(&mut last, &passes, &mut |pass, places, graph| {
            stages.push(Stage { pass, places, graph: graph.clone() });
        })?;
    }
    Ok(stages)
}

/// The simplifying passes but for those left out.
pub(crate) fn simplifying_without(without: &BTreeSet<String>) -> Result<Vec<Box<dyn Pass>>, Error> {
    let mut passes = simplifying();
    if let Some(pass) = without.iter().find(|name| passes.iter().all(|pass| pass.name() != *name)) {
        let known = passes.iter().map(|pass| pass.name()).collect();
        return Err(Error::UnknownPass { pass: pass.clone(), known });
    }
    passes.retain(|pass| !without.contains(pass.name()));
    Ok(passes)
}

/// Applies passes, and tells of each the places that it found in one go and the graph after them.
fn drive(
    graph: &mut Graph,
    passes: &[Box<dyn Pass>],
    tell: &mut dyn FnMut(&'static str, usize, &Graph),
) -> Result<(), Error> {
    // Every patch removes, narrows, or moves a node towards the output: far fewer than this.
    let limit = 64 + graph.nodes().len().pow(2);
    let mut total = 0;
    loop {
        let before = total;
        for pass in passes {
            let mut places = 0;
            // One patch at a time: node ids of a place found are of no use after another was
            // changed.
            while let Some(patch) = pass.find(graph) {
                let (pass, node) = (pass.name(), graph.node(patch.node).name.clone());
                *graph = patch.apply(graph).map_err(|source| Error::Pass {
                    pass,
                    node,
                    source: Box::new(source),
                })?;
                places += 1;
                assert!(total + places <= limit, "invariant: passes come to an end");
            }
            if places > 0 {
                tell(pass.name(), places, graph);
                total += places;
            }
        }
        if total == before {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod testing;

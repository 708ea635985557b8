//! What can be wrong with a graph, its weights, or the options of a lowering. Every error names the
//! node.

use crate::Interval;

/// A fault of the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two nodes of one name: names are the keys of weights and steps.
    #[error("node '{node}': another node has this name")]
    DuplicateName {
        /// The name.
        node: String,
    },
    /// A node refers to a wire that does not come before it, or that carries nothing.
    #[error("node '{node}': no wire {wire} comes before it")]
    UnknownWire {
        /// The node.
        node: String,
        /// The wire it refers to.
        wire: usize,
    },
    /// A parameter out of its range.
    #[error("node '{node}': {what}: expected {expected}, found {found}")]
    Parameter {
        /// The node.
        node: String,
        /// The parameter.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The wires that meet in a node differ in shape.
    #[error("node '{node}': expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The node.
        node: String,
        /// The shape that the node needs.
        expected: [usize; 3],
        /// The shape of the wire.
        found: [usize; 3],
    },
    /// The wires that meet in a node differ in scale.
    #[error("node '{node}': expected scale {expected:e}, found {found:e}")]
    Scale {
        /// The node.
        node: String,
        /// The scale of the first term.
        expected: f64,
        /// The scale of the term that differs.
        found: f64,
    },
    /// A wire that would need more bits than a wire can have.
    #[error("node '{node}': values in [{lo}, {hi}] need more than {limit} bits")]
    TooWide {
        /// The node.
        node: String,
        /// Least value.
        lo: i128,
        /// Largest value.
        hi: i128,
        /// The widest wire.
        limit: u8,
    },
    /// A graph has one input and one output.
    #[error("graph '{graph}': expected one {what} node, found {found}")]
    Count {
        /// The graph.
        graph: String,
        /// Input or output.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A linear node without weights.
    #[error("weights: expected a layer for each linear node, found none for '{node}'")]
    MissingWeights {
        /// The node.
        node: String,
    },
    /// Weights that do not fit their node.
    #[error("weights of '{node}': {what}: expected {expected}, found {found}")]
    Weights {
        /// The node.
        node: String,
        /// What does not fit.
        what: &'static str,
        /// What the node says.
        expected: i64,
        /// What the weights say.
        found: i64,
    },
    /// Weights whose accumulators leave the interval that the wire declares.
    #[error("weights of '{node}': accumulators within {declared}, found {found}")]
    Accumulator {
        /// The node.
        node: String,
        /// The wire's interval.
        declared: Interval,
        /// The weights' exact interval.
        found: Interval,
    },
    /// An input that is no whole number of images.
    #[error("input: expected a multiple of {expected} integers, found {found}")]
    InputLength {
        /// Elements of one image.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// An input value that the input's width cannot hold.
    #[error("input: expected integers within {expected}, found {found}")]
    InputRange {
        /// The input wire's interval.
        expected: Interval,
        /// The value.
        found: i64,
    },
    /// A pass produced a graph that does not check.
    #[error("pass {pass} at node '{node}': {source}")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// The node that it replaced.
        node: String,
        /// What does not check.
        source: Box<Self>,
    },
    /// A node that no step can express.
    #[error("node '{node}': no step computes it: {why}")]
    Lowering {
        /// The node.
        node: String,
        /// What stands in the way.
        why: &'static str,
    },
    /// A step whose ring would be wider than 64 bits, or wider than the ring that its input lives
    /// in.
    #[error("step '{step}': expected a ring of at most {limit} bits, found {bits}")]
    Ring {
        /// The step.
        step: String,
        /// The width available.
        limit: u32,
        /// The width needed.
        bits: u32,
    },
    /// Options for a step that the plan does not have.
    #[error("options: no step '{step}' of this kind")]
    UnknownStep {
        /// The name.
        step: String,
    },
    /// A pass is to be left out that there is not.
    #[error("there is no pass '{pass}'; there are {}", known.join(", "))]
    UnknownPass {
        /// The name.
        pass: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
}

//! What is done at each node, settled once for all images.

use model::Function;

use crate::layer::Layer;
use crate::layout::{Layout, Place};
use crate::network::{Network, Op, Rounding, Table};
use crate::product::Product;
use crate::windows::Windows;

/// One node, forward and backward.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) work: Work,
    pub(crate) inputs: Vec<Operand>,
    /// The result's memory.
    pub(crate) memory: usize,
    pub(crate) place: Place,
    /// Whether the loss depends on it.
    pub(crate) is_live: bool,
}

/// A value that a node reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(crate) memory: usize,
    pub(crate) place: Place,
    /// Whether the result takes its memory over.
    pub(crate) in_place: bool,
    pub(crate) back: Back,
}

/// What becomes of an operand's cotangent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// Nobody asks for it: the input's.
    No,
    /// This node is the first to have a part in it: what the memory holds is of another image.
    Set,
    /// Others had their part before.
    Add,
}

/// What a node computes.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Linear(Layer),
    Relu(Option<f32>),
    /// Whether its slopes have gradients.
    PRelu(bool),
    Add(Vec<f64>),
    Product(Product),
    Round(Rounding),
    RoundEach(Rounding),
    Max(Windows),
    /// For each operand its part of the result, times a factor.
    Sum(Vec<Windows>, f64),
    Function(Function),
    Table(Table),
}

impl Step {
    /// Its layer, if it is one.
    pub(crate) const fn layer(&self) -> Option<&Layer> {
        if let Work::Linear(layer) = &self.work { Some(layer) } else { None }
    }

    /// Whether it has slopes that are learned.
    pub(crate) const fn has_slopes(&self) -> bool {
        matches!(self.work, Work::PRelu(true))
    }
}

/// The steps of a network.
pub(crate) fn steps(network: &Network, layout: &Layout) -> Vec<Step> {
    let mut steps: Vec<Step> =
        (0..network.nodes.len()).map(|index| step(network, layout, index)).collect();
    // By memory: whether a node behind has had its part in the cotangent there.
    let mut is_set = vec![false; layout.memory.len()];
    is_set[layout.memory[network.output]] = true;
    for step in steps.iter_mut().rev() {
        // Nobody behind it leads to the loss: its memory holds no cotangent.
        step.is_live = is_set[step.memory];
        if !step.is_live {
            continue;
        }
        for operand in step.inputs.iter_mut().filter(|operand| !operand.in_place) {
            operand.back = match operand.memory {
                0 => Back::No,
                memory if is_set[memory] => Back::Add,
                _ => Back::Set,
            };
            is_set[operand.memory] = true;
        }
    }
    steps
}

fn step(network: &Network, layout: &Layout, index: usize) -> Step {
    let node = &network.nodes[index];
    let (place, memory) = (layout.places[index + 1], layout.memory[index + 1]);
    let inputs: Vec<Operand> = node
        .inputs
        .iter()
        .map(|&value| Operand {
            memory: layout.memory[value],
            place: layout.places[value],
            in_place: layout.memory[value] == memory,
            back: Back::No,
        })
        .collect();
    let first = inputs[0].place;
    let work = match &node.op {
        Op::Linear(geometry) => Work::Linear(Layer::plain(geometry, [&first, &place])),
        Op::Winograd(geometry) => Work::Linear(Layer::winograd(geometry, [&first, &place])),
        Op::Relu { max } => Work::Relu(*max),
        Op::PRelu { learned, .. } => Work::PRelu(*learned),
        Op::Add { factors } => Work::Add(factors.clone()),
        Op::Product => Work::Product(Product::new([first, inputs[1].place], place)),
        Op::Round(rounding) => Work::Round(*rounding),
        Op::RoundEach { rounding, .. } => Work::RoundEach(*rounding),
        Op::MaxPool(window) => Work::Max(Windows::pool(window, &first, &place)),
        Op::SumPool { window, factor } => {
            Work::Sum(vec![Windows::pool(window, &first, &place)], *factor)
        }
        Op::View(view) => Work::Sum(vec![Windows::view(view, &first, &place)], 1.0),
        Op::Reorder(order) => Work::Sum(vec![Windows::reorder(order, &first, &place)], 1.0),
        Op::Concat => Work::Sum(parts(&inputs, &place), 1.0),
        Op::Function(function) => Work::Function(*function),
        Op::Table(table) => Work::Table(table.clone()),
    };
    Step { work, inputs, memory, place, is_live: false }
}

fn parts(inputs: &[Operand], place: &Place) -> Vec<Windows> {
    let mut first = 0;
    let mut parts = Vec::with_capacity(inputs.len());
    for operand in inputs {
        parts.push(Windows::part(&operand.place, place, first));
        first += operand.place.shape.iter().product::<usize>();
    }
    parts
}

//! What a network takes in, and what it gives.

use std::collections::{HashMap, HashSet};

use super::error::ImportError;
use super::layout::Layout;
use super::proto::{GraphProto, ValueInfoProto};
use crate::model::check_shape;

/// What the graph says of the network's input.
pub(super) struct Input {
    pub(super) name: String,
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
    /// The shape that is stored.
    pub(super) shape: [usize; 3],
    pub(super) layout: Layout,
}

/// The only input of the graph that is no constant.
///
/// # Errors
/// There is another number of them, or it is no batch of a fixed shape.
pub(super) fn input(graph: &GraphProto) -> Result<Input, ImportError> {
    let [input] = &graph.input[..] else {
        let names: Vec<String> = graph
            .input
            .iter()
            .map(|input| format!("{:?}", super::name::shown(&input.name)))
            .collect();
        let found = match names.len() {
            0 => "none that the output depends on".to_owned(),
            _ => names.join(", "),
        };
        return Err(ImportError::field("graph.input", "one input", found));
    };
    let field = format!("graph.input {:?}", input.name);
    let expected = "[N, C, H, W], [N, H, W], [N, C, L] or [N, C], all but N fixed and of a sane \
                    size: export with fixed sizes";
    let dims =
        dims(input).ok_or_else(|| ImportError::field(&*field, "a tensor with a shape", "none"))?;
    let sizes: Option<Vec<usize>> = dims
        .iter()
        .skip(1)
        .map(|d| d.and_then(|d| usize::try_from(d).ok()).filter(|&d| d > 0))
        .collect();
    let shown: Vec<String> =
        dims.iter().map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string())).collect();
    let found = format!("[{}]", shown.join(", "));
    let sizes = sizes.ok_or_else(|| ImportError::field(&*field, expected, &*found))?;
    let shape = match sizes[..] {
        [c, h, w] => [c, h, w],
        // Gray images have no axis of channels; what a one-dimensional layer reads has no rows.
        [c, length] if is_line(graph, &input.name) => [c, 1, length],
        [h, w] => [1, h, w],
        [c] => [c, 1, 1],
        _ => return Err(ImportError::field(&*field, expected, found)),
    };
    check_shape("input", shape)?;
    let batch = dims[0].filter(|&d| d > 0);
    Ok(Input { name: input.name.clone(), batch, shape, layout: Layout::natural(&sizes) })
}

/// The lengths of all axes that a value is said to have; `None` for those that are not fixed.
pub(super) fn dims(value: &ValueInfoProto) -> Option<Vec<Option<i64>>> {
    let tensor = value.r#type.as_ref()?.tensor_type.as_ref()?;
    Some(tensor.shape.as_ref()?.dim.iter().map(|dim| dim.dim_value).collect())
}

/// Whether a one-dimensional layer reads the input, itself or behind what works on elements.
fn is_line(graph: &GraphProto, input: &str) -> bool {
    let weights: HashMap<&str, usize> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.dims.len())).collect();
    let mut lines = HashSet::from([input]);
    for node in &graph.node {
        let Some(first) = node.input.first().filter(|name| lines.contains(name.as_str())) else {
            continue;
        };
        match node.op_type.as_str() {
            "Conv" => {
                let rank = node.input.get(1).and_then(|name| weights.get(name.as_str()));
                return rank == Some(&3) && first == &node.input[0];
            }
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => return true,
            "BatchNormalization" | "Relu" | "Add" | "Sub" | "Mul" | "Div" | "Identity" | "Cast"
            | "QuantizeLinear" | "DequantizeLinear" | "Pad" => {
                lines.extend(node.output.first().map(String::as_str));
            }
            _ => {}
        }
    }
    false
}

/// The nodes at the end of the network that only turn logits into probabilities: by the name of
/// their result.
pub(super) fn softmax_at_the_end(graph: &GraphProto, output: &str) -> HashSet<String> {
    let mut producer = HashMap::new();
    let mut readers: HashMap<&str, usize> = HashMap::new();
    for node in &graph.node {
        producer.extend(node.output.iter().map(|name| (name.as_str(), node)));
        node.input.iter().for_each(|name| *readers.entry(name).or_default() += 1);
    }
    let (mut name, mut found) = (output, HashSet::new());
    while let Some(node) = producer.get(name).filter(|node| node.domain.is_empty()) {
        match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" => {
                found.insert(name.to_owned());
            }
            "Identity" | "Cast" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {}
            _ => break,
        }
        // What something else reads is not the end.
        let Some(before) = node.input.first().filter(|name| readers[name.as_str()] == 1) else {
            break;
        };
        name = before;
    }
    found
}

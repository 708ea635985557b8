//! Adaptive average pooling whose windows are of different sizes, as PyTorch's exporter writes it:
//! a GatherND of every pixel of every window, zeros in place of those that a window lacks, their
//! sum, and a division by how many there are. Of windows of one size, their mean.
//!
//! It becomes two Gathers, of rows and of columns, and an AveragePool: in every window each pixel
//! is repeated until all windows have the same size. Of two rows made seven, 0 0 0 and 1 1 1 are
//! rows themselves, the fourth is the mean of both: rows 00 00 00 01 11 11 11, in windows of two.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::constant::{Constant, Data};
use super::gather::greatest_common_divisor;
use super::proto::{GraphProto, NodeProto, TensorProto};

/// Pixels along an axis of a window, repeated.
const MAX_WINDOW: usize = 16;

/// The graph with such a pooling in the place of its nodes.
pub(super) fn pool(mut graph: GraphProto) -> GraphProto {
    let gathers = graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "GatherND");
    let seen = Seen::of(&graph);
    let found: Vec<Pooling> = gathers.filter_map(|(at, _)| seen.pooling(at)).collect();
    // A pooling stands where the last of its nodes stood: all that it reads is there by then.
    let (mut last, mut gone) = (HashMap::new(), HashSet::<usize>::new());
    for pooling in found {
        gone.extend(&pooling.nodes);
        let (constants, nodes) = pooling.written();
        graph.initializer.extend(constants);
        last.insert(pooling.nodes.iter().copied().max(), nodes);
    }
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (at, node) in graph.node.into_iter().enumerate() {
        match last.remove(&Some(at)) {
            Some(pooling) => nodes.extend(pooling),
            None if gone.contains(&at) => {}
            None => nodes.push(node),
        }
    }
    GraphProto { node: nodes, ..graph }
}

/// A pooling that was found.
struct Pooling {
    input: String,
    output: String,
    /// For each row of the result, the rows of its window; for each column likewise.
    windows: [Vec<Vec<i64>>; 2],
    /// The nodes that it replaces.
    nodes: Vec<usize>,
}

impl Pooling {
    /// Its constants and nodes.
    fn written(&self) -> (Vec<TensorProto>, Vec<NodeProto>) {
        let (mut constants, mut nodes) = (Vec::new(), Vec::new());
        let (mut input, mut kernel) = (self.input.clone(), [1; 2]);
        for (at, windows) in self.windows.iter().enumerate() {
            kernel[at] = common_size(windows) as i64;
            let places: Vec<i64> = windows
                .iter()
                .flat_map(|window| {
                    // Window sizes divide the common one.
                    let repeats = kernel[at] as usize / window.len();
                    window.iter().flat_map(move |&place| std::iter::repeat_n(place, repeats))
                })
                .collect();
            let [name, output] = ["of", "by"].map(|part| format!("{}.{part}.{at}", self.output));
            constants.push(TensorProto::ints(&name, &[places.len() as i64], &places));
            let gather = NodeProto::new("Gather", &output, &[&input, &name], &[&output]);
            nodes.push(gather.int("axis", 2 + at as i64));
            input = output;
        }
        let pool = NodeProto::new("AveragePool", &self.output, &[&input], &[&self.output]);
        nodes.push(pool.ints("kernel_shape", &kernel).ints("strides", &kernel));
        (constants, nodes)
    }
}

/// The least size that is a multiple of all windows'.
fn common_size(windows: &[Vec<i64>]) -> usize {
    windows.iter().map(Vec::len).fold(1, |all, len| all / greatest_common_divisor(all, len) * len)
}

/// What of all pixels of all windows, `[N, C, rows, taps, columns, taps]`, a value is.
enum Part {
    /// All.
    All,
    /// Those of one tap along rows, `[N, C, rows, columns, taps]`.
    Row(usize),
    /// The sum of some taps, `[N, C, rows, columns]`.
    Sum(Vec<[usize; 2]>),
}

/// A graph with what computes each name and what reads it.
struct Seen<'a> {
    nodes: &'a [NodeProto],
    producer: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    constants: HashMap<&'a str, &'a TensorProto>,
    outputs: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut producer = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|name| readers.entry(name).or_default().push(at));
            producer.extend(node.output.iter().map(|name| (name.as_str(), at)));
        }
        let constants =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let outputs = graph.output.iter().map(|output| output.name.as_str()).collect();
        Self { nodes: &graph.node, producer, readers, constants, outputs }
    }

    fn constant(&self, name: &str) -> Option<Constant> {
        Constant::read(self.constants.get(name)?).ok()
    }

    /// The only reader of a name.
    fn sole(&self, name: &str) -> Option<(usize, &'a NodeProto)> {
        let [at] = self.readers.get(name)?[..] else { return None };
        (!self.outputs.contains(name)).then(|| (at, &self.nodes[at]))
    }

    /// The pooling around a GatherND.
    fn pooling(&self, gather: usize) -> Option<Pooling> {
        let node = &self.nodes[gather];
        let [pixels, places] = &node.input[..] else { return None };
        let before = *self.producer.get(pixels.as_str())?;
        let turned = &self.nodes[before];
        let (after, back) = self.sole(node.output.first()?)?;
        // Rows and columns first, so that a pair of indices takes a pixel of all channels.
        let moved = turned.op_type == "Transpose"
            && turned.ints_of("perm") == Some(&[2, 3, 0, 1])
            && back.op_type == "Transpose"
            && back.ints_of("perm") == Some(&[4, 5, 0, 1, 2, 3])
            && self.sole(pixels).is_some()
            && node.int_or("batch_dims", 0).is_ok_and(|dims| dims == 0);
        if !moved {
            return None;
        }
        let mut windows = Windows::of(&self.constant(places)?)?;
        let mut nodes = vec![before, gather, after];
        let output = self.averaged(back.output.first()?, &mut windows, &mut nodes)?;
        let windows = windows.kept()?;
        let small = windows.iter().all(|windows| common_size(windows) <= MAX_WINDOW);
        let input = turned.input.first()?.clone();
        small.then_some(Pooling { input, output, windows, nodes })
    }

    /// The result of what averages all windows, in either way.
    fn averaged(
        &self,
        pixels: &str,
        windows: &mut Windows,
        nodes: &mut Vec<usize>,
    ) -> Option<String> {
        let mut pixels = pixels;
        while let Some((at, node)) = self.sole(pixels).filter(|(_, node)| node.op_type == "Where") {
            windows.without(node, pixels, &|name| self.constant(name))?;
            nodes.push(at);
            pixels = node.output.first()?;
        }
        let mean = self.sole(pixels).filter(|(_, node)| node.op_type == "ReduceMean");
        if let Some((at, mean)) = mean {
            let axes = mean.input.get(1).and_then(|axes| self.constant(axes)?.known_ints().ok());
            let axes = axes.or_else(|| mean.ints_of("axes").map(<[i64]>::to_vec))?;
            let both = [[-3, -1], [3, 5], [-1, -3], [5, 3]].iter().any(|both| axes == *both);
            // A mean counts every pixel: none may be lacking.
            let whole = windows.lacks.iter().all(|&lacks| !lacks);
            nodes.push(at);
            let dropped = mean.int_or("keepdims", 1).is_ok_and(|keep| keep == 0);
            return (both && whole && dropped).then(|| mean.output.first().cloned())?;
        }
        self.divided(pixels, windows, nodes)
    }

    /// The result of a division of the sum of all taps by how many there are.
    fn divided(&self, pixels: &str, windows: &Windows, nodes: &mut Vec<usize>) -> Option<String> {
        let mut parts = HashMap::from([(pixels, Part::All)]);
        let mut ahead: BTreeSet<usize> = self.readers.get(pixels)?.iter().copied().collect();
        // Nodes are in order, so that the parts of a sum are known before it is.
        while let Some(at) = ahead.pop_first() {
            let node = &self.nodes[at];
            nodes.push(at);
            let first = parts.get(node.input.first()?.as_str())?;
            let part = match node.op_type.as_str() {
                "Gather" => self.tap(node, first)?,
                "Add" => sum(first, parts.get(node.input.get(1)?.as_str())?)?,
                "Div" => {
                    let counts = self.constant(node.input.get(1)?)?;
                    let Part::Sum(taps) = first else { return None };
                    // Each tap once, or the sum is another one.
                    let all = windows.taps[0] * windows.taps[1];
                    let distinct: HashSet<&[usize; 2]> = taps.iter().collect();
                    let whole = taps.len() == all && distinct.len() == all && ahead.is_empty();
                    let found = whole && windows.counts(&counts);
                    return found.then(|| node.output.first().cloned())?;
                }
                _ => return None,
            };
            let output = node.output.first()?.as_str();
            let readers = self.readers.get(output).filter(|_| !self.outputs.contains(output))?;
            ahead.extend(readers);
            parts.insert(output, part);
        }
        None
    }

    /// One tap along rows, or along columns of those.
    fn tap(&self, node: &NodeProto, part: &Part) -> Option<Part> {
        let tap = self.constant(node.input.get(1)?)?;
        let (true, [tap]) = (tap.shape.is_empty(), &tap.known_ints().ok()?[..]) else {
            return None;
        };
        let (tap, axis) = (usize::try_from(*tap).ok()?, node.int_or("axis", 0).ok()?);
        match part {
            Part::All if axis == 3 => Some(Part::Row(tap)),
            Part::Row(row) if axis == 4 => Some(Part::Sum(vec![[*row, tap]])),
            Part::All | Part::Row(_) | Part::Sum(_) => None,
        }
    }
}

fn sum(a: &Part, b: &Part) -> Option<Part> {
    let (Part::Sum(a), Part::Sum(b)) = (a, b) else { return None };
    Some(Part::Sum([&a[..], &b[..]].concat()))
}

/// The windows, as the graph has them.
struct Windows {
    /// Rows and columns of the result.
    lengths: [usize; 2],
    /// Pixels along an axis that are gathered for a window.
    taps: [usize; 2],
    /// Which they are, `[lengths, taps]`.
    places: [Vec<i64>; 2],
    /// Whether a window lacks one, `[rows, taps, columns, taps]`.
    lacks: Vec<bool>,
}

impl Windows {
    /// Those of the constant `[rows, taps, columns, taps, 2]`, if rows and columns are apart in it.
    fn of(constant: &Constant) -> Option<Self> {
        let [h, a, w, b, 2] = constant.shape[..] else { return None };
        let pairs = constant.known_ints().ok()?;
        let pairs = pairs.as_chunks::<2>().0;
        if pairs.is_empty() {
            return None;
        }
        let rows: Vec<i64> = pairs.iter().step_by(w * b).map(|[row, _]| *row).collect();
        let columns: Vec<i64> = pairs[..w * b].iter().map(|[_, column]| *column).collect();
        let apart = pairs
            .iter()
            .enumerate()
            .all(|(at, pair)| *pair == [rows[at / (w * b)], columns[at % (w * b)]]);
        let lacks = vec![false; pairs.len()];
        apart.then_some(Self { lengths: [h, w], taps: [a, b], places: [rows, columns], lacks })
    }

    /// Takes out what a Where puts zeros in place of.
    fn without(
        &mut self,
        node: &NodeProto,
        pixels: &str,
        constant: &impl Fn(&str) -> Option<Constant>,
    ) -> Option<()> {
        let [mask, zero, rest] = &node.input[..] else { return None };
        let (mask, zero) = (constant(mask)?, constant(zero)?);
        if rest != pixels || zero.scalar().ok() != Some(0.0) || mask.shape.len() > 4 {
            return None;
        }
        let ([h, w], [a, b]) = (self.lengths, self.taps);
        let mut shape = vec![1; 4 - mask.shape.len()];
        shape.extend(&mask.shape);
        let fits = shape.iter().zip([h, a, w, b]).all(|(&n, length)| n == 1 || n == length);
        let known =
            mask.known_ints().ok().filter(|_| fits && matches!(mask.data, Data::Ints(_)))?;
        for (at, lacks) in self.lacks.iter_mut().enumerate() {
            let index = [at / (a * w * b), at / (w * b) % a, at / b % w, at % b];
            let place = index.iter().zip(&shape).fold(0, |place, (&i, &n)| place * n + i % n);
            *lacks |= known[place] != 0;
        }
        Some(())
    }

    /// Whether a constant says how many pixels each window has.
    fn counts(&self, counts: &Constant) -> bool {
        let [h, w] = self.lengths;
        // Checked before any is counted: a window of no pixel has no mean.
        let Ok(found) = counts.as_floats() else { return false };
        if counts.shape != [h, w] {
            return false;
        }
        found.iter().enumerate().all(|(at, &n)| n == self.count(at) as f32)
    }

    /// How many pixels a window has.
    fn count(&self, at: usize) -> usize {
        let ([_, w], [a, b]) = (self.lengths, self.taps);
        let (row, column) = (at / w, at % w);
        let taps = 0..a * b;
        // `lacks` is `[rows, taps, columns, taps]`.
        taps.filter(|tap| !self.lacks[((row * a + tap / b) * w + column) * b + tap % b]).count()
    }

    /// The pixels of every window along both axes, if a window is the product of these.
    fn kept(&self) -> Option<[Vec<Vec<i64>>; 2]> {
        let ([h, w], [a, b]) = (self.lengths, self.taps);
        // A tap along rows is there where any pixel of its row is.
        let (mut rows, mut columns) = (vec![false; h * a], vec![false; w * b]);
        for (at, _) in self.lacks.iter().enumerate().filter(|(_, lacks)| !**lacks) {
            rows[at / (w * b)] = true;
            columns[at % (w * b)] = true;
        }
        let product = self
            .lacks
            .iter()
            .enumerate()
            .all(|(at, lacks)| *lacks != (rows[at / (w * b)] && columns[at % (w * b)]));
        let [rows, columns] = [(0, rows), (1, columns)].map(|(axis, there)| {
            let taps = there.chunks(self.taps[axis]).zip(self.places[axis].chunks(self.taps[axis]));
            let kept = taps.map(|(there, places)| {
                there.iter().zip(places).filter(|(there, _)| **there).map(|(_, place)| *place)
            });
            kept.map(Iterator::collect).collect::<Vec<Vec<i64>>>()
        });
        let full = rows.iter().chain(&columns).all(|window| !window.is_empty());
        (product && full).then_some([rows, columns])
    }
}

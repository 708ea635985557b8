use super::*;
use crate::model::{Node, Window};
use protocols::linear::Geometry;

/// conv 2 -> 3 (3x3, padded), ReLU, add of the ReLU to itself, global mean.
fn model() -> Model {
    let geometry = Geometry::same_size([2, 3], [4, 5], 3);
    let weight = (0..54).map(|i| ((i * 29) % 23) as f32 / 11.0 - 1.0).collect();
    let conv = Conv { geometry, weight, bias: vec![0.5, -0.25, 0.0] };
    let ops = [
        (Op::Conv(conv), vec![0], [3, 4, 5]),
        (Op::Relu { max: None }, vec![1], [3, 4, 5]),
        (Op::Add, vec![2, 2], [3, 4, 5]),
        (Op::AvgPool(Window::global([4, 5])), vec![3], [3, 1, 1]),
    ];
    let nodes = ops.into_iter().enumerate().map(|(i, (op, inputs, shape))| Node {
        name: i.to_string(),
        op,
        inputs: inputs.into_iter().map(ValueId).collect(),
        output: ValueId(i + 1),
        shape,
    });
    let model = Model {
        name: "small".into(),
        input: [2, 4, 5],
        nodes: nodes.collect(),
        output: ValueId(4),
    };
    model.check().unwrap();
    model
}

fn batch(images: usize) -> Tensor {
    let data = (0..images * 40).map(|i| ((i * 31) % 17) as f32 / 8.0 - 1.0).collect();
    Tensor::new([images, 2, 4, 5], data).unwrap()
}

#[test]
fn the_result_does_not_depend_on_the_number_of_cores() {
    let (model, batch) = (model(), batch(70));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (evaluate(&model, &batch).unwrap(), activations(&model, &batch).unwrap()))
    };
    let (one, many) = (on(1), on(5));
    assert_eq!(one.0, many.0);
    for id in (0..=4).map(ValueId) {
        assert_eq!(one.1.value(id), many.1.value(id));
    }
    // And every image is evaluated as if it were alone.
    let single = Tensor::new([1, 2, 4, 5], batch.image(69).to_vec()).unwrap();
    assert_eq!(evaluate(&model, &single).unwrap().data, one.0.image(69));
}

#[test]
fn visits_see_every_value_once_and_in_order() {
    let (model, batch) = (model(), batch(3));
    let all = activations(&model, &batch).unwrap();
    let mut seen = Vec::new();
    visit_values(&model, &batch, |id, images| {
        assert_eq!(images.concat(), all.value(id).unwrap().data);
        seen.push(id);
    })
    .unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4].map(ValueId));
    assert!(visit_values(&model, &Tensor::zeros([3, 2, 5, 4]), |_, _| {}).is_err());
}

#[test]
fn edited_weights_are_those_of_an_edited_model() {
    let (mut model, batch) = (model(), batch(3));
    let kept = activations_of(&model, &batch, &[ValueId::INPUT]).unwrap();
    let weight: Vec<f32> = (0..54).map(|i| i as f32 / 50.0 - 0.5).collect();
    let edit = Edit::Weights { node: 0, weight: &weight, bias: &[1.0, 0.0, -1.0] };
    let logits = reevaluate(&model, &kept, &[edit]).unwrap();
    if let Op::Conv(conv) = &mut model.nodes[0].op {
        conv.weight = weight.clone();
        conv.bias = vec![1.0, 0.0, -1.0];
    }
    assert_eq!(logits, evaluate(&model, &batch).unwrap());
}

#[test]
fn an_edited_value_replaces_what_its_node_computes() {
    let (model, batch) = (model(), batch(3));
    let kept = activations_of(&model, &batch, &[]).unwrap();
    let tensor = Tensor { data: vec![2.0; 180], ..Tensor::zeros([3, 3, 4, 5]) };
    let edit = Edit::Value { id: ValueId(2), tensor: &tensor };
    assert_eq!(reevaluate(&model, &kept, &[edit]).unwrap().data, [4.0; 9]);
    let mapped = evaluate_mapped(&model, &batch, |id, value| {
        if id == ValueId(2) {
            value.fill(2.0);
        }
    });
    assert_eq!(mapped.unwrap().data, [4.0; 9]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (model, batch) = (model(), batch(3));
    let other = Tensor::zeros([3, 2, 5, 4]);
    let shape = FloatError::Shape { value: 0, expected: [2, 4, 5], found: [2, 5, 4] };
    assert_eq!(evaluate(&model, &other).unwrap_err(), shape);
    let kept = activations_of(&model, &batch, &[ValueId(2)]).unwrap();
    let weights = Edit::Weights { node: 0, weight: &[0.0; 54], bias: &[0.0; 3] };
    assert_eq!(
        reevaluate(&model, &kept, &[weights]).unwrap_err(),
        FloatError::NotKept { value: 0 }
    );
    let short = Edit::Weights { node: 0, weight: &[0.0; 53], bias: &[0.0; 3] };
    assert_eq!(
        reevaluate(&model, &kept, &[short]).unwrap_err(),
        FloatError::Weights { node: 0, expected: 57, found: 56 }
    );
    let tensor = Tensor::zeros([2, 3, 4, 5]);
    let fewer = Edit::Value { id: ValueId(2), tensor: &tensor };
    assert_eq!(
        reevaluate(&model, &kept, &[fewer]).unwrap_err(),
        FloatError::Images { value: 2, expected: 3, found: 2 }
    );
    let unknown = activations_of(&model, &batch, &[ValueId(9)]).unwrap_err();
    assert_eq!(unknown, FloatError::Unknown { what: "value", index: 9 });
}

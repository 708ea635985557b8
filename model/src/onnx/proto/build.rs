//! Writing graphs by hand.

use super::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const INT64: i32 = 7;
/// The file format of the operator sets 13 and 14, which later readers take too.
const IR_VERSION: i64 = 7;

impl ModelProto {
    /// A model of a graph in an operator set.
    #[must_use]
    pub fn new(opset: i64, graph: GraphProto) -> Self {
        Self {
            ir_version: IR_VERSION,
            producer_name: "pq".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        }
    }
}

impl NodeProto {
    /// A node without attributes.
    #[must_use]
    pub fn new(op_type: &str, name: &str, input: &[&str], output: &[&str]) -> Self {
        Self {
            input: input.iter().map(|&name| name.to_owned()).collect(),
            output: output.iter().map(|&name| name.to_owned()).collect(),
            name: name.into(),
            op_type: op_type.into(),
            ..Self::default()
        }
    }

    /// Adds a float attribute.
    #[must_use]
    pub fn float(self, name: &str, f: f32) -> Self {
        self.with(AttributeProto { f: Some(f), r#type: 1, ..AttributeProto::named(name) })
    }

    /// Adds an integer attribute.
    #[must_use]
    pub fn int(self, name: &str, i: i64) -> Self {
        self.with(AttributeProto { i: Some(i), r#type: 2, ..AttributeProto::named(name) })
    }

    /// Adds a string attribute.
    #[must_use]
    pub fn string(self, name: &str, s: &str) -> Self {
        self.with(AttributeProto { s: Some(s.into()), r#type: 3, ..AttributeProto::named(name) })
    }

    /// Adds a tensor attribute.
    #[must_use]
    pub fn tensor(self, name: &str, t: TensorProto) -> Self {
        self.with(AttributeProto { t: Some(t), r#type: 4, ..AttributeProto::named(name) })
    }

    /// Adds an attribute of integers.
    #[must_use]
    pub fn ints(self, name: &str, ints: &[i64]) -> Self {
        self.with(AttributeProto { ints: ints.into(), r#type: 7, ..AttributeProto::named(name) })
    }

    fn with(mut self, attribute: AttributeProto) -> Self {
        self.attribute.push(attribute);
        self
    }
}

impl AttributeProto {
    fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl TensorProto {
    /// A constant of floats.
    #[must_use]
    pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> Self {
        Self {
            dims: dims.into(),
            data_type: FLOAT,
            name: name.into(),
            raw_data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ..Self::default()
        }
    }

    /// A constant of integers.
    #[must_use]
    pub fn ints(name: &str, dims: &[i64], data: &[i64]) -> Self {
        Self {
            dims: dims.into(),
            data_type: INT64,
            name: name.into(),
            raw_data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ..Self::default()
        }
    }
}

impl TensorProto {
    /// A constant of 32-bit integers.
    #[must_use]
    pub fn int32s(name: &str, dims: &[i64], data: &[i32]) -> Self {
        let raw_data = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { dims: dims.into(), data_type: INT32, name: name.into(), raw_data, ..Self::default() }
    }

    /// A constant of signed bytes.
    #[must_use]
    pub fn int8s(name: &str, dims: &[i64], data: &[i8]) -> Self {
        let raw_data = data.iter().map(|&x| x as u8).collect();
        Self { dims: dims.into(), data_type: INT8, name: name.into(), raw_data, ..Self::default() }
    }

    /// A single byte, signed or not.
    #[must_use]
    pub fn byte(name: &str, value: i16, signed: bool) -> Self {
        let data_type = if signed { INT8 } else { UINT8 };
        Self { data_type, name: name.into(), raw_data: vec![value as u8], ..Self::default() }
    }
}

impl ValueInfoProto {
    /// A float tensor with a batch axis of any length before these.
    #[must_use]
    pub fn batch(name: &str, dims: &[usize]) -> Self {
        let mut dim = vec![DimensionProto { dim_value: None, dim_param: Some("N".into()) }];
        dim.extend(
            dims.iter().map(|&d| DimensionProto { dim_value: Some(d as i64), dim_param: None }),
        );
        let shape = Some(TensorShapeProto { dim });
        let tensor_type = Some(TensorTypeProto { elem_type: FLOAT, shape });
        Self { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
    }
}

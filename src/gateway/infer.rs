//! Requests and answers of the Open Inference Protocol: tensors in JSON, and inputs also in binary
//! behind it.

use std::fmt;

use hyper::StatusCode;
use protocols::plan::{Answer, Plan, Reveal};
use protocols::{Error as ProtocolError, Reason};
use quant::Interface;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::{Error, Images};

/// The name of the input.
const INPUT: &str = "input";

/// What a program asks for. Parameters that mean nothing here are passed over.
#[derive(Deserialize)]
pub(super) struct Request {
    id: Option<String>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Requested>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Flat>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct Requested {
    name: String,
}

/// The elements of an array of any depth, row by row.
struct Flat(Vec<f64>);

/// An answer.
#[derive(Serialize)]
pub(super) struct Response {
    model_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    outputs: Vec<Value>,
}

/// What the network takes and gives.
pub(super) fn metadata(model: &str, plan: &Plan) -> Value {
    let shape: Vec<i64> = shape(plan).to_vec();
    let outputs: Vec<Value> = outputs(plan)
        .map(|(name, datatype)| {
            let shape = if name == "label" { vec![-1] } else { vec![-1, plan.classes() as i64] };
            json!({"name": name, "datatype": datatype, "shape": shape})
        })
        .collect();
    json!({
        "name": model,
        "platform": "pq",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": shape}],
        "outputs": outputs,
    })
}

/// `[-1, C, H, W]`.
fn shape(plan: &Plan) -> [i64; 4] {
    let [channels, rows, columns] = plan.input_wire().shape.map(|axis| axis as i64);
    [-1, channels, rows, columns]
}

/// What the client learns, and as what.
fn outputs(plan: &Plan) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [("label", "INT64"), ("logits", "FP64"), ("integers", "INT64")];
    all.into_iter().take(if plan.reveals() == Reveal::Label { 1 } else { 3 })
}

impl Request {
    /// A request whose JSON ends after so many bytes of its body.
    pub(super) fn parse(body: &[u8], json: usize, plan: &Plan) -> Result<(Self, Images), String> {
        let (json, binary) = body
            .split_at_checked(json)
            .ok_or_else(|| format!("the body has {} bytes, and its JSON {json}", body.len()))?;
        let request: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        for output in &request.outputs {
            if !outputs(plan).any(|(name, _)| name == output.name) {
                let known: Vec<_> = outputs(plan).map(|(name, _)| name).collect();
                return Err(format!("outputs: expected {known:?}, found {:?}", output.name));
            }
        }
        let [input] = &request.inputs[..] else {
            return Err(format!("inputs: expected one, found {}", request.inputs.len()));
        };
        let images = input.images(binary, plan)?;
        Ok((request, images))
    }

    /// The answer to it.
    pub(super) fn answer(
        self,
        model: &str,
        (answers, plan): (&[Answer], &Plan),
        warning: Option<String>,
    ) -> Response {
        let wanted = |name: &str| {
            self.outputs.is_empty() || self.outputs.iter().any(|output| output.name == name)
        };
        let outputs = outputs(plan)
            .filter(|(name, _)| wanted(name))
            .map(|(name, datatype)| {
                let (data, each) = elements(name, answers);
                let rows = answers.len();
                let shape = each.map_or_else(|| vec![rows], |each| vec![rows, each]);
                json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
            })
            .collect();
        let parameters = warning.map(|text| ("warning".to_owned(), text.into()));
        let parameters = parameters.into_iter().collect();
        Response { model_name: model.to_owned(), id: self.id, parameters, outputs }
    }
}

/// The elements of an output, and how many there are of each image where it is not one.
fn elements(name: &str, answers: &[Answer]) -> (Vec<Value>, Option<usize>) {
    let logits = || answers.iter().filter_map(|answer| answer.logits.as_ref());
    let each = logits().next().map(|logits| logits.integers.len());
    match name {
        "logits" => (logits().flat_map(|all| &all.values).map(|&v| v.into()).collect(), each),
        "integers" => (logits().flat_map(|all| &all.integers).map(|&v| v.into()).collect(), each),
        _ => (answers.iter().map(|answer| answer.label.into()).collect(), None),
    }
}

impl Input {
    fn images(&self, binary: &[u8], plan: &Plan) -> Result<Images, String> {
        if self.name != INPUT {
            return Err(format!("inputs: expected {INPUT:?}, found {:?}", self.name));
        }
        let bytes = match (&self.data, self.parameters.binary_data_size) {
            (Some(Flat(values)), None) if binary.is_empty() => self.bytes(values)?,
            (None, Some(size)) if size == binary.len() => binary.to_vec(),
            (data, size) => {
                return Err(format!(
                    "{INPUT}: expected data, or binary_data_size of the {} bytes behind the JSON; \
                     found {} and {size:?}",
                    binary.len(),
                    if data.is_some() { "data" } else { "no data" }
                ));
            }
        };
        // What files are checked for, requests are too, by the same code.
        let content = self.npy(&bytes)?;
        let images = Images::from_bytes(INPUT, &content, None, Interface::from(plan));
        let images = images.map_err(|error| error.to_string())?;
        Ok(images.preprocessed(plan.input.preprocess.clone()))
    }

    /// Elements as the datatype has them.
    fn bytes(&self, values: &[f64]) -> Result<Vec<u8>, String> {
        if self.datatype != "UINT8" {
            return Ok(values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect());
        }
        let bytes = values.iter().map(|&v| {
            // Rounded and held within a byte: what was none is another number afterwards.
            let byte = v as u8;
            (f64::from(byte) == v).then_some(byte).ok_or(v)
        });
        let bytes: Result<_, f64> = bytes.collect();
        bytes.map_err(|found| format!("{INPUT}: expected whole numbers of 0..255, found {found}"))
    }

    /// The `.npy` file of the tensor: files and requests are held to one and the same.
    fn npy(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (descr, width) = match self.datatype.as_str() {
            "FP32" => ("<f4", 4),
            "UINT8" => ("|u1", 1),
            other => {
                return Err(format!("{INPUT}: datatype: expected FP32 or UINT8, found {other:?}"));
            }
        };
        let elements = self.shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
        if elements.and_then(|n| n.checked_mul(width)) != Some(bytes.len()) {
            let found = bytes.len() / width;
            return Err(format!(
                "{INPUT}: expected as many elements as its shape {:?} says, found {found}",
                self.shape
            ));
        }
        let axes: String = self.shape.iter().map(|axis| format!("{axis},")).collect();
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}\n");
        let len = u16::try_from(header.len()).map_err(|_| format!("{INPUT}: too many axes"))?;
        Ok([b"\x93NUMPY\x01\x00", &len.to_le_bytes()[..], header.as_bytes(), bytes].concat())
    }
}

/// What a program is told of an error, and the status that goes with it.
pub(super) const fn status(error: &Error) -> StatusCode {
    let quota = matches!(
        error,
        Error::Quota { .. }
            | Error::Protocol(ProtocolError::Dismissed { reason: Reason::Quota, .. })
    );
    if is_of_images(error) {
        StatusCode::BAD_REQUEST
    } else if quota {
        StatusCode::TOO_MANY_REQUESTS
    } else if matches!(error, Error::Internal(_)) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        // The server, or the way to it: another time it may do.
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Whether the images are at fault, and the session goes on.
pub(super) const fn is_of_images(error: &Error) -> bool {
    matches!(error, Error::Data(_) | Error::Protocol(ProtocolError::Invalid { .. }))
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Vec::new();
        Elements(&mut all).deserialize(deserializer)?;
        Ok(Self(all))
    }
}

/// Appends the elements of an array, or one.
struct Elements<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, in arrays of any depth")
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.push(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push(value as f64);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push(value as f64);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Elements(self.0))?.is_some() {}
        Ok(())
    }
}

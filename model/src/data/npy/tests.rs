use proptest::prelude::*;

use super::*;

const KINDS: [(&str, Kind); 12] = [
    ("b1", Kind::Bool),
    ("u1", Kind::U8),
    ("i1", Kind::I8),
    ("u2", Kind::U16),
    ("i2", Kind::I16),
    ("u4", Kind::U32),
    ("i4", Kind::I32),
    ("u8", Kind::U64),
    ("i8", Kind::I64),
    ("f2", Kind::F16),
    ("f4", Kind::F32),
    ("f8", Kind::F64),
];

/// An element of a type, little-endian.
fn encoded(kind: Kind, value: f64) -> Vec<u8> {
    match kind {
        Kind::F16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        Kind::F32 => (value as f32).to_le_bytes().to_vec(),
        Kind::F64 => value.to_le_bytes().to_vec(),
        Kind::Bool => vec![u8::from(value != 0.0)],
        Kind::U8
        | Kind::I8
        | Kind::U16
        | Kind::I16
        | Kind::U32
        | Kind::I32
        | Kind::U64
        | Kind::I64 => (value as i64).to_le_bytes()[..kind.bytes()].to_vec(),
    }
}

/// An .npy file of values given in row-major order.
fn file(
    code: &str,
    kind: Kind,
    [big, fortran]: [bool; 2],
    shape: &[usize],
    values: &[f64],
) -> Vec<u8> {
    let order = if kind.bytes() == 1 {
        '|'
    } else if big {
        '>'
    } else {
        '<'
    };
    let python = if fortran { "True" } else { "False" };
    let lengths: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let header =
        format!("{{'descr': '{order}{code}', 'fortran_order': {python}, 'shape': ({lengths}), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes()].concat();
    bytes.extend(header.as_bytes());
    for at in 0..values.len() {
        let mut element = encoded(kind, values[if fortran { row_major(shape, at) } else { at }]);
        if big {
            element.reverse();
        }
        bytes.extend(element);
    }
    bytes
}

/// The row-major index of an element by its column-major one: by its coordinates, one after the
/// other.
fn row_major(shape: &[usize], mut at: usize) -> usize {
    let mut coordinates = Vec::new();
    for &length in shape {
        coordinates.push(at % length);
        at /= length;
    }
    shape
        .iter()
        .zip(coordinates)
        .fold(0, |index, (&length, coordinate)| index * length + coordinate)
}

proptest! {
    #[test]
    fn every_type_and_order_is_read_as_the_same_images(
        which in 0..KINDS.len(), orders: [bool; 2], shape in prop::array::uniform4(1usize..5),
        integers in prop::collection::vec(0u8..128, 256)) {
        let ((code, kind), [_, c, h, w]) = (KINDS[which], shape);
        let boolean = |v: &u8| if kind == Kind::Bool { f64::from(v % 2) } else { f64::from(*v) };
        let values: Vec<f64> = integers[..shape.iter().product()].iter().map(boolean).collect();
        let bytes = file(code, kind, orders, &shape, &values);
        let found = images(&mut &bytes[..], [c, h, w]).unwrap();
        prop_assert_eq!(found.shape, [c, h, w]);
        prop_assert_eq!(
            matches!(found.pixels, Pixels::Floats(_)),
            kind.is_float() || kind == Kind::Bool
        );
        let read: Vec<f64> = match found.pixels {
            Pixels::Bytes(bytes) => bytes.into_iter().map(f64::from).collect(),
            Pixels::Floats(floats) => floats.into_iter().map(f64::from).collect(),
        };
        prop_assert_eq!(read, values);
    }

    #[test]
    fn every_integer_type_is_read_as_the_same_labels(
        which in 0usize..9, orders: [bool; 2], labels in prop::collection::vec(0u8..128, 0..40)) {
        let (code, kind) = KINDS[which];
        let boolean = |v: &u8| if kind == Kind::Bool { v % 2 } else { *v };
        let labels: Vec<u8> = labels.iter().map(boolean).collect();
        let values: Vec<f64> = labels.iter().copied().map(f64::from).collect();
        let bytes = file(code, kind, orders, &[values.len()], &values);
        let expected: Vec<usize> = labels.into_iter().map(usize::from).collect();
        prop_assert_eq!(super::labels(&mut &bytes[..], 128).unwrap(), expected);
    }

    #[test]
    fn the_first_pixel_that_is_none_is_named(
        which in 0..KINDS.len(), orders: [bool; 2], shape in prop::array::uniform4(1usize..5),
        places in prop::array::uniform2(0usize..256)) {
        let ((code, kind), [_, c, h, w]) = (KINDS[which], shape);
        let wrong = match kind {
            Kind::Bool | Kind::U8 => return Ok(()),
            Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => -1.0,
            Kind::U16 | Kind::U32 | Kind::U64 => 256.0,
            Kind::F16 | Kind::F32 => f64::NAN,
            // Finite, but not in single precision.
            Kind::F64 => 1e300,
        };
        let mut values = vec![1.0; shape.iter().product()];
        let places = places.map(|place| place % values.len());
        places.iter().for_each(|&place| values[place] = wrong);
        let bytes = file(code, kind, orders, &shape, &values);
        match images(&mut &bytes[..], [c, h, w]).err() {
            Some(Fault::Pixel { at, .. }) => prop_assert_eq!(at, *places.iter().min().unwrap()),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn labels_that_are_no_classes_are_named() {
    let cases =
        [("u1", Kind::U8, 200.0), ("i8", Kind::I64, i64::MAX as f64), ("i4", Kind::I32, -1.0)];
    for (code, kind, wrong) in cases {
        let bytes = file(code, kind, [true, false], &[3], &[9.0, 0.0, wrong]);
        let message = labels(&mut &bytes[..], 10).unwrap_err().at("y.npy".as_ref()).to_string();
        let found = if wrong == 200.0 { "200" } else { &(wrong as i64).to_string() };
        for part in ["y.npy", "image 2", found, "10 classes"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }
}

#[test]
fn the_extremes_of_every_type_are_what_they_are() {
    let cases: [(Kind, &[u8], Number); 10] = [
        (Kind::I8, &[0x80], Number::Integer(-128)),
        (Kind::U16, &[0xff; 2], Number::Integer(0xffff)),
        (Kind::I16, &[0xff, 0x7f], Number::Integer(0x7fff)),
        (Kind::U32, &[0xff; 4], Number::Integer(0xffff_ffff)),
        (Kind::I32, &[0, 0, 0, 0x80], Number::Integer(-0x8000_0000)),
        (Kind::U64, &[0xff; 8], Number::Integer(0xffff_ffff_ffff_ffff)),
        (Kind::I64, &[0xff; 8], Number::Integer(-1)),
        (Kind::F16, &[0x00, 0x3e], Number::Float(1.5)),
        (Kind::F32, &[0, 0, 0xc0, 0xbf], Number::Float(-1.5)),
        (Kind::F64, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], Number::Float(1.5)),
    ];
    for (kind, little, number) in cases {
        let big: Vec<u8> = little.iter().rev().copied().collect();
        assert_eq!(kind.number(little, false), number);
        assert_eq!(kind.number(&big, true), number);
    }
}

/// A header with elements that never end.
fn endless(descr: &str, shape: &str) -> impl Read {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let start = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    Cursor::new(start).chain(std::io::repeat(0))
}

#[test]
fn a_stream_is_read_as_far_as_its_header_says() {
    for (descr, shape, said) in [
        ("|u1", "(2, 1, 1, 2)", "4 bytes"),
        (">f2", "(3, 1, 1, 2)", "12 bytes"),
        // More than is read of any file: told before anything is.
        ("<f4", "(268435456, 1, 1, 2)", "at most 1073741824 bytes"),
        ("|u1", "(18446744073709551615, 18446744073709551615, 1, 2)", "1x2"),
    ] {
        let fault = images(&mut endless(descr, shape), [1, 1, 2]).err().unwrap();
        let message = fault.at("x.npy".as_ref()).to_string();
        assert!(message.contains(said), "{message}");
    }
    let fault = labels(&mut endless("<i8", "(100000000,)"), 10).err().unwrap();
    assert!(fault.at("y.npy".as_ref()).to_string().contains("33554432"));
}

use std::io::Write;

use super::*;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

fn idx(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

const CIFAR: Interface = of([3, 32, 32]);

/// A network of a hundred classes.
const fn of(input: [usize; 3]) -> Interface {
    Interface { input, classes: 100 }
}

#[test]
fn cifar_records_are_told_apart_by_length() {
    let mut ten = vec![7; 2 * 3073];
    ten[0] = 3;
    ten[3073] = 9;
    let (_folder, path) = file("ten.bin", &ten);
    let ten = Dataset::open(&path, None, CIFAR).unwrap();
    assert_eq!(ten.labels(), Some(&[3, 9][..]));

    let mut hundred = vec![7; 3 * 3074];
    hundred[0] = 19;
    hundred[1] = 99;
    let (_folder, path) = file("hundred.bin.gz", &gzip(&hundred));
    let hundred = Dataset::open(&path, None, CIFAR).unwrap();
    assert_eq!((hundred.len(), hundred.labels().unwrap()[0]), (3, 99));

    for length in [3073 * 3074, 3072, 0] {
        let (_folder, path) = file("odd.bin", &vec![0; length]);
        let error = Dataset::open(&path, None, CIFAR).unwrap_err().to_string();
        assert!(error.contains("3073") && error.contains("3074"), "{error}");
    }
}

#[test]
fn idx_labels_are_found_beside_the_images() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("t10k-images-idx3-ubyte.gz");
    std::fs::write(&images, gzip(&idx(&[2, 2, 3], &[1; 12]))).unwrap();
    let input = of([1, 2, 3]);
    assert_eq!(Dataset::open(&images, None, input).unwrap().labels(), None);
    std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(&[2], &[4, 5])).unwrap();
    assert_eq!(Dataset::open(&images, None, input).unwrap().labels(), Some(&[4, 5][..]));

    let text = folder.path().join("labels.txt");
    std::fs::write(&text, "8\n9\n").unwrap();
    let explicit = Dataset::open(&images, Some(&text), input).unwrap();
    assert_eq!(explicit.labels(), Some(&[8, 9][..]));
    std::fs::write(&text, "8\n").unwrap();
    let error = Dataset::open(&images, Some(&text), input).unwrap_err();
    assert!(matches!(error, DataError::LabelCount { images: 2, labels: 1, .. }));
}

#[test]
fn idx_that_claims_more_than_it_holds_is_an_error() {
    let (_folder, path) = file("x-images-idx3", &idx(&[u32::MAX, 2, 3], &[1; 12]));
    let error = Dataset::open(&path, None, of([1, 2, 3])).unwrap_err();
    assert!(
        matches!(error, DataError::Malformed { format: "IDX", field: "elements", .. }),
        "{error}"
    );
}

#[test]
fn npy_arrays_fit_in_every_documented_shape() {
    let floats: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let bytes: Vec<u8> = (0..12).collect();
    let cases = [
        ("|u1", "(2, 1, 2, 3)", &bytes[..], [1, 2, 3], 2),
        ("<f4", "(2, 2, 3)", &floats[..], [1, 2, 3], 2),
        ("|u1", "(2, 2, 3)", &bytes[..], [2, 2, 3], 1),
        ("|u1", "(3, 4)", &bytes[..], [1, 3, 4], 1),
        ("<f4", "(3, 4)", &floats[..], [4, 1, 1], 3),
        ("<f4", "(12,)", &floats[..], [12, 1, 1], 1),
    ];
    for (descr, shape, elements, input, images) in cases {
        let (_folder, path) = file("x.npy", &npy(descr, shape, elements));
        let data = Dataset::open(&path, None, of(input)).unwrap();
        assert_eq!(data.len(), images, "{shape} for {input:?}");
        let batch = data.batch(0..images, &Preprocess::Raw).unwrap();
        assert_eq!(batch.data, (0..12).map(|i| i as f32).collect::<Vec<_>>());
    }
}

#[test]
fn npz_members_are_found_by_their_keys() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let labels: Vec<u8> = [5_i64, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    archive.start_file("images.npy", options).unwrap();
    archive.write_all(&npy("|u1", "(2, 1, 1, 2)", &[1, 2, 3, 4])).unwrap();
    archive.start_file("y.npy", options).unwrap();
    archive.write_all(&npy("<i8", "(2,)", &labels)).unwrap();
    let (_folder, path) = file("x.npz", &archive.finish().unwrap().into_inner());
    let data = Dataset::open(&path, None, of([1, 1, 2])).unwrap();
    assert_eq!((data.labels(), data.bytes(1)), (Some(&[5, 6][..]), Some(&[3, 4][..])));
}

#[test]
fn hostile_npy_headers_are_errors() {
    let cases = [
        npy("|u1", "(18446744073709551615, 1, 1, 2)", &[0; 8]),
        npy("|u1", "(9, 1, 1, 2)", &[0; 8]),
        npy("|u1", "(-1, 1, 1, 2)", &[0; 8]),
        npy("<c8", "(1, 1, 1, 2)", &[0; 16]),
        npy("|f4", "(1, 1, 1, 2)", &[0; 8]),
        npy("|u1", "(1, 1, 1, 2)", &[0; 2])[..9].to_vec(),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
    ];
    for bytes in cases {
        let (_folder, path) = file("x.npy", &bytes);
        let error = Dataset::open(&path, None, of([1, 1, 2])).unwrap_err();
        assert!(matches!(error, DataError::Malformed { format: ".npy", .. }), "{error}");
    }
}

#[test]
fn pictures_are_taken_as_they_are_or_not_at_all() {
    let picture = image::RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 9]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.png");
    picture.save(&path).unwrap();
    let data = Dataset::open(&path, None, of([3, 2, 3])).unwrap();
    let planes = [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 9, 9, 9, 9, 9, 9];
    assert_eq!((data.len(), data.bytes(0)), (1, Some(&planes[..])));
    for other in [[1, 2, 3], [3, 3, 2]] {
        let error = Dataset::open(&path, None, of(other)).unwrap_err();
        assert!(error.to_string().contains("3x2x3"), "{error}");
    }
    let jpeg = folder.path().join("x.jpg");
    image::GrayImage::from_pixel(8, 4, image::Luma([77])).save(&jpeg).unwrap();
    let gray = Dataset::open(&jpeg, None, of([1, 4, 8])).unwrap();
    assert!(gray.bytes(0).unwrap().iter().all(|x| x.abs_diff(77) < 3));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(Dataset::open(&path, None, of([3, 2, 3])), Err(DataError::Malformed { .. })));
}

#[test]
fn preprocessing_is_what_it_says() {
    let (_folder, path) = file("x.npy", &npy("|u1", "(1, 2, 1, 1)", &[51, 255]));
    let data = Dataset::open(&path, None, of([2, 1, 1])).unwrap();
    let batch = |preprocess: &Preprocess| data.batch(0..1, preprocess).unwrap().data;
    assert_eq!(batch(&Preprocess::Unit), [0.2, 1.0]);
    assert_eq!(batch(&Preprocess::Raw), [51.0, 255.0]);
    let normalize = Preprocess::Normalize { mean: vec![0.0, 0.5], std: vec![0.5, 0.25] };
    assert_eq!(batch(&normalize), [0.4, 2.0]);
    assert!(matches!(
        data.batch(0..1, &Preprocess::Normalize { mean: vec![0.0], std: vec![1.0] }),
        Err(DataError::Preprocess(PreprocessError::Channels { expected: 2, found: 1, .. }))
    ));
    assert!(matches!(data.batch(0..2, &Preprocess::Unit), Err(DataError::Range { images: 1, .. })));
    let json = serde_json::to_string(&normalize).unwrap();
    assert_eq!(serde_json::from_str::<Preprocess>(&json).unwrap(), normalize);
}

#[test]
fn pixels_that_are_none_are_named_by_file_image_and_place() {
    let floats: Vec<u8> = [0.0, 1.0, 2.0, 3.0, 4.0, f32::NEG_INFINITY, f32::NAN, 0.5]
        .iter()
        .flat_map(|x: &f32| x.to_le_bytes())
        .collect();
    let bytes = npy("<f4", "(2, 2, 1, 2)", &floats);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&bytes).unwrap();
    for (name, content) in [
        ("x.npy", bytes.clone()),
        ("x.npy.gz", gzip(&bytes)),
        ("x.npz", archive.finish().unwrap().into_inner()),
    ] {
        let (_folder, path) = file(name, &content);
        let message = Dataset::open(&path, None, of([2, 1, 2])).unwrap_err().to_string();
        for part in [name, "image 1, channel 0, row 0, column 1", "finite", "-inf"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }
}

#[test]
fn labels_of_another_data_set_are_named_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let ten = Interface { input: [1, 1, 2], classes: 10 };
    let images = folder.path().join("images-idx3");
    std::fs::write(&images, idx(&[2, 1, 2], &[1; 4])).unwrap();
    let labels = folder.path().join("labels.txt");
    for (text, found) in
        [("3\n200\n", "200"), ("3\n9223372036854775807\n", "9223372036854775807"), ("3\n-1", "-1")]
    {
        std::fs::write(&labels, text).unwrap();
        let message = Dataset::open(&images, Some(&labels), ten).unwrap_err().to_string();
        for part in ["labels.txt", "image 1", found, "10 classes"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }
    std::fs::write(folder.path().join("labels-idx1"), idx(&[2], &[9, 10])).unwrap();
    let message = Dataset::open(&images, None, ten).unwrap_err().to_string();
    assert!(message.contains("labels-idx1") && message.contains("image 1"), "{message}");
    let mut records = vec![7; 2 * 3073];
    records[3073] = 10;
    let (_folder, path) = file("ten.bin", &records);
    let message =
        Dataset::open(&path, None, Interface { classes: 10, ..CIFAR }).unwrap_err().to_string();
    assert!(message.contains("ten.bin") && message.contains("image 1 is 10"), "{message}");
}

/// Gzip of gigabytes of zeros after some bytes: members one after the other, each of a mebibyte.
fn bomb(start: &[u8], mebibytes: usize) -> Vec<u8> {
    let zeros = gzip(&vec![0; 1 << 20]);
    [gzip(start), zeros.repeat(mebibytes)].concat()
}

#[test]
fn what_unpacks_to_more_than_its_header_says_is_stopped_there() {
    // Each would unpack to 4 GiB: to unpack them all would take a minute.
    let header = npy("<f4", "(3, 1, 1, 2)", &[]);
    for (start, part) in [
        (&header[..], "24 bytes for shape [3, 1, 1, 2]"),
        (&npy("<f4", "(3000000000, 1, 1, 2)", &[]), "at most 1073741824 bytes"),
        (&npy("<f4", "(3, 1, 5, 2)", &[]), "1x5x2"),
        (&idx(&[3, 1, 2], &[]), "6 for axes [3, 1, 2]"),
        (&idx(&[u32::MAX, 1, 2], &[]), "at most 1073741824 bytes"),
        (b"\x89PNG\r\n\x1a\n", "67108864 bytes"),
        (b"PK\x03\x04", "268435456 bytes"),
        (b"nothing", "268435456 bytes"),
    ] {
        let message =
            Dataset::from_bytes(Path::new("x.gz"), &bomb(start, 1 << 12), None, of([1, 1, 2]));
        let message = message.unwrap_err().to_string();
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    let labels = bomb(b"1\n2\n", 1 << 12);
    let images = idx(&[2, 1, 2], &[1; 4]);
    let found = Dataset::from_bytes(
        Path::new("x"),
        &images,
        Some((Path::new("labels.gz"), &labels)),
        of([1, 1, 2]),
    );
    let message = found.unwrap_err().to_string();
    assert!(message.contains("labels.gz") && message.contains("33554432"), "{message}");
}

#[test]
fn a_member_of_an_archive_is_unpacked_as_far_as_its_header_says() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&npy("|u1", "(1, 1, 1, 2)", &[])).unwrap();
    for _ in 0..64 {
        archive.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (_folder, path) = file("x.npz", &archive.finish().unwrap().into_inner());
    let message = Dataset::open(&path, None, of([1, 1, 2])).unwrap_err().to_string();
    assert!(message.contains("2 bytes for shape") && message.contains("found more"), "{message}");
}

#[test]
fn a_picture_of_another_size_is_never_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.png");
    image::RgbImage::new(3, 2).save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The width and the height of the header, and its checksum.
    bytes[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
    let sum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let message = Dataset::open(&path, None, of([3, 2, 3])).unwrap_err().to_string();
    assert!(message.contains("3x8192x8192"), "{message}");
}

/// PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

//! Images, labels and options that make no sense: told by name, at once, and in little memory.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::search::{asset, search_args, searches_are_fast};
use crate::support::{finished, json, pq, run, stderr};

/// An .npy file of float images `[N, 1, 8, 8]`.
fn npy(images: usize, pixel: impl Fn(usize) -> f32) -> Vec<u8> {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({images}, 1, 8, 8), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..images * 64).flat_map(|at| pixel(at).to_le_bytes()));
    bytes
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The digits network, quantized, in a folder of its own.
fn net() -> TempDir {
    let (out, model, images) = (
        tempfile::tempdir().unwrap(),
        asset("digits.onnx"),
        asset("digits-calib-images-idx3-ubyte"),
    );
    let folder = out.path().to_str().unwrap();
    json(&run(&search_args(&model, &images, &["--fixed", "w4a4", "--out", folder])));
    out
}

fn assert_is_3(args: &[&str], parts: &[&str]) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(3), "{args:?}: {}", stderr(&output));
    for part in parts {
        assert!(stderr(&output).contains(part), "{part} is missing in: {}", stderr(&output));
    }
}

#[test]
fn pixels_and_labels_that_are_none_are_3_wherever_they_are_read() {
    let (net, folder, model) = (net(), tempfile::tempdir().unwrap(), asset("digits.onnx"));
    let net = net.path().to_str().unwrap();
    let images =
        file(&folder, "nan.npy", &npy(4, |at| if at == 2 * 64 + 9 { f32::NAN } else { 0.5 }));
    let parts = ["nan.npy", "image 2, channel 0, row 1, column 1", "NaN"];
    assert_is_3(&["infer", "--local", net, "--input", &images], &parts);
    assert_is_3(&["eval", net, "--data", &images], &parts);
    assert_is_3(&search_args(&model, &images, &["--fixed", "w4a4"]), &parts);
    let images = asset("digits-test-images-idx3-ubyte");
    for wrong in ["200", "9223372036854775807", "-1"] {
        let text = format!("3\n{wrong}\n{}", "1\n".repeat(62));
        let labels = file(&folder, "labels.txt", text.as_bytes());
        let parts = ["labels.txt", "image 1", wrong, "10 classes"];
        assert_is_3(&["eval", net, "--data", &images, "--labels", &labels], &parts);
        assert_is_3(&["infer", "--local", net, "--input", &images, "--labels", &labels], &parts);
    }
}

#[test]
fn floats_on_another_scale_are_warned_about() {
    let (net, folder, model) = (net(), tempfile::tempdir().unwrap(), asset("digits.onnx"));
    let net = net.path().to_str().unwrap();
    let bytes = file(&folder, "bytes.npy", &npy(32, |at| (at * 7 % 256) as f32));
    let unit = file(&folder, "unit.npy", &npy(32, |at| (at * 7 % 256) as f32 / 255.0));
    let labels = file(&folder, "labels.txt", "1\n".repeat(32).as_bytes());
    for (images, off) in [(&bytes, true), (&unit, false)] {
        for args in [
            vec!["infer", "--local", net, "--input", images, "--json"],
            vec!["eval", net, "--data", images, "--labels", &labels, "--json"],
            search_args(&model, images, &["--fixed", "w4a4"]),
        ] {
            let output = run(&args);
            let result = json(&output);
            assert_eq!(stderr(&output).contains("warning"), off, "{args:?}: {}", stderr(&output));
            assert_eq!(!result["off_scale"].is_null(), off, "{result}");
            if off {
                assert!(stderr(&output).contains("--raw"), "{}", stderr(&output));
                assert!(result["off_scale"]["seen"][1].as_f64().unwrap() > 200.0);
                assert!(result["off_scale"]["outside"].as_f64().unwrap() > 0.9);
            }
        }
    }
}

#[test]
fn bombs_end_in_little_memory() {
    let (net, folder) = (net(), tempfile::tempdir().unwrap());
    let net = net.path().to_str().unwrap();
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Two gibibytes of zeros, a mebibyte in each of gzip's members.
    let zeros = packed(&vec![0; 1 << 20]).repeat(2048);
    for (name, start) in [
        ("nothing.gz", vec![]),
        ("images.npy.gz", packed(&npy(1, |_| 0.5))),
        ("images-idx3.gz", packed(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8])),
    ] {
        let bomb = file(&folder, name, &[start, zeros.clone()].concat());
        // A gibibyte of address space, of which threads reserve some.
        let program = env!("CARGO_BIN_EXE_pq");
        let shell = format!("ulimit -v 1048576; exec {program} eval {net} --data {bomb}");
        let mut command = Command::new("sh");
        let child = command.args(["-c", &shell]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = finished(child.spawn().unwrap(), Duration::from_secs(60));
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn absurd_numbers_are_refused_at_once() {
    let (net, folder) = (net(), tempfile::tempdir().unwrap());
    let net = net.path().to_str().unwrap();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let search = |more: &'static [&'static str]| (search_args(&model, &images, more), 2);
    let infer = ["infer", "--local", net, "--input", &images];
    let server =
        ["infer", "--role", "server", "--plan", "p", "--weights", "w", "--listen", "127.0.0.1:0"];
    let black = file(&folder, "black.npy", &npy(9, |_| 0.0));
    for (args, code) in [
        search(&["--fixed", "w4a4", "--batch", "1000000000"]),
        search(&["--fixed", "w4a4", "--inferences", "18446744073709551615"]),
        search(&["--budget-bits", "3M", "--swaps", "4294967295"]),
        search(&["--fixed", "w4a4", "--reconstruct", "4294967295"]),
        search(&["--frontier", "65535", "--out", "net"]),
        (vec!["cost", net, "--batch", "1000000000"], 2),
        (vec!["cost", net, "--why", "fc", "--inferences", "18446744073709551615"], 2),
        ([&infer[..], &["--offline", "4294967295"]].concat(), 2),
        ([&infer[..], &["--index", "0..1000000000000"]].concat(), 3),
        ([&infer[..], &["--index", "0..60000"]].concat(), 3),
        ([&server[..], &["--max-batch", "4294967295"]].concat(), 2),
        (search_args(&model, &black, &["--fixed", "w4a4"]), 3),
    ] {
        let started = Instant::now();
        let output = finished(pq(&args).spawn().unwrap(), Duration::from_secs(60));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(started.elapsed() < Duration::from_secs(20), "{args:?}");
    }
    let told = stderr(&run(&search_args(&model, &black, &["--fixed", "w4a4"])));
    for part in ["9 calibration images", "one and the same color", "--calib"] {
        assert!(told.contains(part), "{part} is missing in: {told}");
    }
    // What is large and makes sense is not.
    json(&run(&["cost", net, "--batch", "65536", "--json"]));
}

#[test]
fn ranges_hold_as_few_percent_as_documented() {
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    for percent in ["percentile:50", "percentile:60", "percentile:100"] {
        json(&run(&search_args(&model, &images, &["--fixed", "w4a4", "--ranges", percent])));
    }
}

#[test]
fn a_search_goes_on_from_what_it_wrote_and_from_nothing_else() {
    if !searches_are_fast() {
        return;
    }
    let (out, model) = (tempfile::tempdir().unwrap(), asset("digits.onnx"));
    let images = asset("digits-calib-images-idx3-ubyte");
    let folder = out.path().to_str().unwrap();
    // Few images: what is searched for is of no matter.
    let args = ["search", &model, "--calib", &images, "--samples", "4", "--budget-bits", "3M"];
    let args = [&args[..], &["--swaps", "0", "--json", "--out", folder]].concat();
    let resumed = [&args[..], &["--resume"]].concat();
    let found = json(&run(&args));
    assert_eq!(json(&run(&resumed)), found);
    let path = out.path().join("sensitivity.json");
    let written = std::fs::read_to_string(&path).unwrap();
    let digit = written.find("0.").unwrap() + 4;
    let other = if &written[digit..=digit] == "7" { "8" } else { "7" };
    let edited = format!("{}{other}{}", &written[..digit], &written[digit + 1..]);
    for wrong in [&edited, &written[..written.len() / 2], ""] {
        std::fs::write(&path, wrong).unwrap();
        assert_is_3(
            &resumed,
            &["sensitivity.json", "not as the search has written it", "--resume"],
        );
    }
    std::fs::write(&path, &written).unwrap();
    let others = [&resumed[..], &["--seed", "7"]].concat();
    assert!(stderr(&run(&others)).contains("of other arguments"));
}

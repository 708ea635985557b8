//! Memory: what is predicted holds, what does not fit runs a few images at a time, and what cannot
//! fit is refused by name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::net::shared;
use crate::support::{Net, Server, finished, json, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;

fn memory(result: &Value, field: &str) -> u64 {
    result["memory"][field].as_u64().unwrap()
}

/// The prediction holds, and is no more than three quarters above what was needed where that is
/// much: the working sets of operators are counted as if all of their parts were alive at once, and
/// two parties in one process as if both held the most at the same time.
fn assert_predicted(result: &Value, what: &str) {
    let [predicted, peak] = ["predicted_bytes", "peak_bytes"].map(|field| memory(result, field));
    println!("{what}: {} MiB of {} predicted", peak / MIB, predicted / MIB);
    assert!(peak <= predicted, "{what}: {peak} of {predicted}");
    assert!(peak < 100 * MIB || predicted <= peak + peak / 4 * 3, "{what}: {peak} of {predicted}");
}

#[test]
fn images_that_do_not_fit_run_a_few_at_a_time() {
    let images = 2000;
    let net = Net::random(3, images);
    let input = net.file("images.npy");
    let args = ["infer", "--local", net.folder(), "--input", &input, "--verify", "--json"];
    let run = |more: &[&str]| run(&[&args[..], more].concat());
    let one = json(&run(&["--index", "0..1"]));
    let most = json(&run(&["--index", "0..2000"]));
    assert_eq!(most["cost"]["inferences"], 1);
    let [least, all] = [&one, &most].map(|result| memory(result, "predicted_bytes"));
    let budget = least + (all - least) / 4;
    let result = json(&run(&["--index", "0..2000", "--max-memory", &budget.to_string()]));
    let cost = &result["cost"];
    assert!((2..2000).contains(&cost["inferences"].as_u64().unwrap()), "{least} {all} {cost}");
    assert_eq!((&result["verified"], &cost["images"]), (&true.into(), &images.into()));
    assert_eq!(result["predictions"], most["predictions"]);
    for result in [&one, &most, &result] {
        assert_predicted(result, "2000 small images");
    }
    assert!(memory(&result, "peak_bytes") <= budget);
}

#[test]
fn a_run_that_cannot_fit_is_refused_at_its_start_with_what_to_do() {
    let net = Net::random(1, 3);
    let (plan, weights, images) =
        (net.file("plan.json"), net.file("weights.safetensors"), net.file("images.npy"));
    let local = ["infer", "--local", net.folder(), "--input", &images, "--index", "0..3"];
    let server = [
        "infer",
        "--role",
        "server",
        "--plan",
        &plan,
        "--weights",
        &weights,
        "--listen",
        "127.0.0.1:0",
    ];
    let client = [
        "infer",
        "--role",
        "client",
        "--plan",
        &plan,
        "--input",
        &images,
        "--connect",
        "127.0.0.1:9",
    ];
    for (args, who) in
        [(&local[..], "both parties"), (&server, "the server"), (&client, "the client")]
    {
        let refused = run(&[args, &["--max-memory", "1M"]].concat());
        let message = stderr(&refused);
        assert_eq!(refused.status.code(), Some(3), "{message}");
        for part in [who, "1 MiB", "not even one image fits", "--max-memory"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let wrong = run(&[&local[..], &["--max-memory", "much"]].concat());
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
}

#[test]
fn a_client_that_asks_for_more_than_the_servers_memory_is_told_what_fits() {
    let net = Net::random(2, 400);
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let cost = |images: &str| json(&run(&["cost", net.folder(), "--batch", images, "--json"]));
    let [one, most] =
        ["1", "400"].map(|images| cost(images)["memory"]["server_bytes"].as_u64().unwrap());
    // Of a debug build's process more is held than is counted: enough for one image, not for all.
    let budget = one.midpoint(most);
    let options = ["--max-memory", &budget.to_string()];
    let mut server = Server::start(&plan, &net.file("weights.safetensors"), &options);
    let address = server.address.clone();
    let args =
        ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--index", "0..400"];
    let ask = |more: &[&str]| {
        let client = pq(&args).args(["--connect", &address, "--json"]).args(more).spawn().unwrap();
        finished(client, PATIENCE)
    };
    let refused = ask(&["--batch", "400"]);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    for message in [stderr(&refused), server.says("no session with")] {
        let budget = format!("{} MiB for a session", budget.div_ceil(MIB));
        for part in ["400 images", &budget, "at most", "--batch", "--max-memory"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    // The server waits on, and runs what fits, one batch after the other.
    let client = json(&ask(&["--batch", "100"]));
    let server = json(&server.finished(PATIENCE));
    for result in [&client, &server] {
        assert_eq!(
            (&result["cost"]["images"], &result["cost"]["inferences"]),
            (&400.into(), &4.into())
        );
        assert_predicted(result, "four batches of 100");
    }
}

/// A real network in a folder, of 4 bits everywhere.
fn real(data: &Path, model: &str, calibration: &str, more: &[&str]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let file = |folder: &str, name: &str| data.join(folder).join(name).to_str().unwrap().to_owned();
    let (model, calibration) = (file("networks", model), file("images", calibration));
    let args =
        ["search", &model, "--calib", &calibration, "--samples", "64", "--fixed", "w4a4", "--json"];
    json(&run(&[&args[..], &["--out", out.path().to_str().unwrap()], more].concat()));
    out
}

/// What a server and its client say after a session of their own processes.
fn two_processes(net: &Path, images: &str, index: &str, more: &[&str]) -> [Value; 2] {
    let file = |name: &str| net.join(name).to_str().unwrap().to_owned();
    let server =
        Server::start(&file("plan.json"), &file("weights.safetensors"), &["--max-memory", "4G"]);
    let plan = file("plan.json");
    let args = ["infer", "--role", "client", "--plan", &plan, "--input", images, "--index", index];
    let options = ["--connect", &server.address, "--json", "--max-memory", "4G"];
    let client = pq(&args).args(options).args(more).spawn().unwrap();
    [json(&server.finished(4 * PATIENCE)), json(&finished(client, 4 * PATIENCE))]
}

#[test]
fn predictions_hold_for_real_networks_and_are_close() {
    if cfg!(debug_assertions) {
        return;
    }
    let Some(data) = shared() else { return };
    let images = |name: &str| data.join("images").join(name).to_str().unwrap().to_owned();
    let lenet = real(&data, "lenet3x3_mnist.onnx", "mnist-train10k-images-idx3-ubyte.gz", &[]);
    let imagenet = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"];
    let resnet = real(&data, "resnet20_cifar10_bn.onnx", "cifar10_train_10k.bin.gz", &imagenet);
    let streamed = [&imagenet[..], &["--inferences", "1", "--batch", "1024"]].concat();
    let streamed = real(&data, "resnet20_cifar10_bn.onnx", "cifar10_train_10k.bin.gz", &streamed);
    let text = fs::read_to_string(streamed.path().join("plan.json")).unwrap();
    assert!(text.contains("\"streamed\": true"));
    let (digits, pictures) =
        (images("mnist-t10k-images-idx3-ubyte.gz"), images("cifar10_test_5k.bin.gz"));
    for (net, images, index, more) in [
        (&lenet, &digits, "0..16", &[][..]),
        (&lenet, &digits, "0..16", &["--offline", "16"]),
        (&resnet, &pictures, "0..1", &[]),
        (&resnet, &pictures, "0..4", &["--offline", "2"]),
        (&streamed, &pictures, "0..4", &[]),
    ] {
        for (who, result) in
            ["server", "client"].iter().zip(two_processes(net.path(), images, index, more))
        {
            assert_predicted(&result, &format!("{who} of {index} {more:?}"));
        }
    }
}

#[test]
fn sixteen_images_of_a_real_network_run_within_a_fifth_of_a_gigabyte() {
    if cfg!(debug_assertions) {
        return;
    }
    let Some(data) = shared() else { return };
    let imagenet = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"];
    let net = real(&data, "resnet20_cifar10_bn.onnx", "cifar10_train_10k.bin.gz", &imagenet);
    let images = data.join("images/cifar10_test_5k.bin.gz");
    let (net, images) = (net.path().to_str().unwrap(), images.to_str().unwrap());
    let args =
        ["infer", "--local", net, "--input", images, "--index", "0..16", "--verify", "--json"];
    let result = json(&run(&[&args[..], &["--max-memory", "200M"]].concat()));
    assert_eq!(result["verified"], true);
    assert!(result["cost"]["inferences"].as_u64().unwrap() > 1);
    assert!(memory(&result, "peak_bytes") <= 200_000_000);
    assert_predicted(&result, "16 images at 200 MB");
}

/// Most of what a small network takes is Ferret's set-up.
#[test]
fn predictions_hold_for_a_small_network_under_ferret() {
    if cfg!(debug_assertions) {
        return;
    }
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let asset = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, calibration) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let images = asset("digits-test-images-idx3-ubyte");
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let args = ["search", &model, "--calib", &calibration, "--samples", "64", "--out", folder];
    json(&run(&[&args[..], &["--fixed", "w4a4", "--ot", "ferret", "--json"]].concat()));
    for (who, result) in
        ["server", "client"].iter().zip(two_processes(out.path(), &images, "0..4", &[]))
    {
        assert_predicted(&result, &format!("{who} of digits under Ferret"));
    }
    let args = ["infer", "--local", folder, "--input", &images, "--index", "0..4", "--json"];
    for _ in 0..3 {
        assert_predicted(&json(&run(&args)), "both parties of digits under Ferret");
    }
}

//! What is the server's secret stays its own: salts that nobody can guess, files that nobody else
//! can read.

use std::fs;
use std::path::Path;

use protocols::plan::Plan;
use protocols::weights::Weights;

use crate::search::{asset, search_args, searches_are_fast};
use crate::support::{json, run};

fn net(folder: &Path) -> (Plan, Weights) {
    let plan = Plan::from_json(&fs::read(folder.join("plan.json")).unwrap()).unwrap();
    let weights =
        Weights::from_safetensors(&fs::read(folder.join("weights.safetensors")).unwrap()).unwrap();
    weights.check(&plan).unwrap();
    (plan, weights)
}

#[test]
fn the_same_network_twice_has_two_salts_and_two_digests() {
    let out = tempfile::tempdir().unwrap();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let [once, again, imported, twice, onnx] =
        ["once", "again", "imported", "twice", "net.onnx"].map(|name| out.path().join(name));
    let written = |command: &[&str], folder: &Path| {
        json(&run(&[command, &["--out", folder.to_str().unwrap()]].concat()));
        net(folder)
    };
    let differ = |(plan, weights): (Plan, Weights), (other_plan, other): (Plan, Weights)| {
        assert!(weights.layers == other.layers, "the weights depend on the arguments alone");
        assert_ne!(*weights.salt, *other.salt);
        assert_ne!(plan.weights, other_plan.weights);
        assert_eq!(
            Plan { weights: String::new(), hints: None, ..plan },
            Plan { weights: String::new(), hints: None, ..other_plan }
        );
    };
    let search = search_args(&model, &images, &["--fixed", "w4a4", "--seed", "7"]);
    differ(written(&search, &once), written(&search, &again));
    json(&run(&["export", once.to_str().unwrap(), "--out", onnx.to_str().unwrap(), "--json"]));
    let import = ["import", onnx.to_str().unwrap(), "--json"];
    differ(written(&import, &imported), written(&import, &twice));
}

/// The rights of everything in a folder, by name.
#[cfg(unix)]
fn rights(folder: &Path) -> std::collections::BTreeMap<String, u32> {
    use std::os::unix::fs::PermissionsExt;
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let entry = |entry: fs::DirEntry| {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), mode)
    };
    entries.map(entry).collect()
}

/// Runs the binary under a umask.
#[cfg(unix)]
fn run_under(umask: &str, args: &[&str]) {
    let script = r#"umask "$0"; exec "$@""#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, umask, env!("CARGO_BIN_EXE_pq")]).args(args);
    json(&command.output().unwrap());
}

#[cfg(unix)]
#[test]
fn secret_files_are_their_owners_alone_under_any_umask() {
    use std::os::unix::fs::PermissionsExt;
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    for umask in ["000", "022"] {
        let out = tempfile::tempdir().unwrap();
        let [net, onnx, imported] =
            ["net", "net.onnx", "imported"].map(|name| out.path().join(name));
        let [net, onnx, imported] = [&net, &onnx, &imported].map(|path| path.to_str().unwrap());
        // What is written over does not pass its rights on.
        fs::create_dir(net).unwrap();
        let weights = format!("{net}/weights.safetensors");
        fs::write(&weights, "old").unwrap();
        fs::set_permissions(&weights, fs::Permissions::from_mode(0o666)).unwrap();
        run_under(
            umask,
            &search_args(&model, &images, &["--fixed", "w4a4", "--out", net, "--force"]),
        );
        run_under(umask, &["export", net, "--out", onnx, "--json"]);
        run_under(umask, &["import", onnx, "--out", imported, "--json"]);
        for folder in [net, imported] {
            let found = rights(Path::new(folder));
            for (name, mode) in &found {
                let public = ["plan.json", "hints.bin"].contains(&name.as_str());
                assert_eq!(*mode, if public { 0o644 } else { 0o600 }, "umask {umask}: {name}");
            }
            for name in ["plan.json", "search.json", "weights.safetensors"] {
                assert!(found.contains_key(name), "{name}");
            }
            let plan = Plan::from_json(&fs::read(format!("{folder}/plan.json")).unwrap()).unwrap();
            for name in ["hints.bin", "hints.secret"] {
                assert_eq!(found.contains_key(name), plan.hints.is_some(), "{name}");
            }
        }
        assert_eq!(rights(out.path())["net.onnx"], 0o600, "umask {umask}");
    }
}

#[cfg(unix)]
#[test]
fn files_of_a_search_and_of_a_frontier_are_their_owners_alone() {
    if !searches_are_fast() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let (model, images) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let more = ["--frontier", "2", "--swaps", "1", "--limit", "16", "--out", folder];
    run_under("000", &search_args(&model, &images, &more));
    let point = out.path().join("points/searched-1");
    for folder in [out.path(), &point] {
        for (name, mode) in rights(folder) {
            let path = folder.join(&name);
            let public = ["plan.json", "hints.bin"].contains(&name.as_str());
            let expected = if public { 0o644 } else { 0o600 };
            assert!(path.is_dir() || mode == expected, "{}: {mode:o}", path.display());
        }
    }
    assert!(rights(out.path()).contains_key("sensitivity.json"));
    assert!(rights(&point).contains_key("point.json"));
}

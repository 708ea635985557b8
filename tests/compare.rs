//! The comparison with published systems.

use serde_json::Value;

use crate::search::asset;
use crate::support::{json, run};

#[test]
fn compare_shows_every_system_beside_what_ours_measures() {
    let out = tempfile::tempdir().unwrap();
    let (net, model) = (out.path().to_str().unwrap(), asset("digits.onnx"));
    let calibration = asset("digits-calib-images-idx3-ubyte");
    let search = ["search", &model, "--calib", &calibration, "--samples", "32", "--fixed", "w4a4"];
    let found = json(&run(&[&search[..], &["--out", net, "--json"]].concat()));
    let plain = json(&run(&["compare", net, "--json"]));
    assert_eq!(plain["measured_bytes"], Value::Null);
    let images = asset("digits-test-images-idx3-ubyte");
    let result = json(&run(&["compare", net, "--input", &images, "--json"]));
    assert_eq!(result["predicted_bytes"], result["measured_bytes"]);
    assert_eq!(
        8 * result["predicted_bytes"].as_u64().unwrap(),
        found["predicted_bits"].as_u64().unwrap()
    );
    let steps = result["steps"].as_array().unwrap();
    let sum = |of: &dyn Fn(&Value) -> u64| steps.iter().map(of).sum::<u64>();
    assert_eq!(result["measured_bytes"], sum(&|step| step["measured_bytes"].as_u64().unwrap()));
    let systems = result["systems"].as_array().unwrap();
    assert_eq!(systems.len(), 7);
    for (at, system) in systems.iter().enumerate() {
        for field in ["iknp_bytes", "silent_bytes"] {
            let total = system[field].as_u64().unwrap();
            assert!(total > result["predicted_bytes"].as_u64().unwrap(), "{system}");
            // Bytes of single steps are rounded up.
            let steps_total = sum(&|step| step["systems"][at][field].as_u64().unwrap());
            assert!(
                (total..total + steps.len() as u64).contains(&steps_total),
                "{field} of {system}"
            );
        }
    }
    let text = run(&["compare", net]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in ["CrypTFlow2", "CoPriv", "SiRNN", "PrivQuant", "COINN", "total", "times pq"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

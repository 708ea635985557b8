//! How the command line reads and speaks: help, quiet and verbose, completions, manual pages.

use crate::search::{asset, search_args};
use crate::support::{Net, run, stderr};

const COMMANDS: [&str; 12] = [
    "inspect",
    "search",
    "import",
    "hints",
    "eval",
    "export",
    "cost",
    "compare",
    "infer",
    "demo",
    "completions",
    "man",
];

fn stdout(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_line_of_any_help_is_wider_than_100_columns() {
    let whole = stdout(&["--help"]);
    for command in COMMANDS {
        assert!(whole.contains(&format!("\n  {command} ")), "{command} is missing in\n{whole}");
        for help in ["--help", "-h"] {
            for line in stdout(&[command, help]).lines().chain(whole.lines()) {
                assert!(line.chars().count() <= 100, "{command}: {line}");
            }
        }
    }
}

#[test]
fn a_search_without_a_goal_names_all_that_there_are() {
    let output = run(&["search", "model.onnx", "--calib", "images"]);
    assert_eq!(output.status.code(), Some(2));
    for goal in [
        "--budget-bits",
        "--budget-online-bits",
        "--budget-seconds",
        "--min-accuracy",
        "--fixed",
        "--frontier",
    ] {
        assert!(stderr(&output).contains(goal), "{goal} is missing in\n{}", stderr(&output));
    }
}

#[test]
fn completions_are_scripts_and_pages_are_manual_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(script.contains("budget-bits"), "{shell}");
        assert!(!script.contains("\\u{"), "a script is printed as it is: {shell}");
    }
    let checked = std::process::Command::new("bash")
        .args(["-n", "-c", &stdout(&["completions", "bash"])])
        .status();
    assert!(checked.is_ok_and(|status| status.success()));
    assert!(stdout(&["man"]).contains(".TH pq 1"));
    for command in COMMANDS {
        let page = stdout(&["man", command]);
        assert!(
            page.contains(&format!(".TH pq-{command} 1")) && page.contains(".SH OPTIONS"),
            "{page}"
        );
    }
    let unknown = run(&["man", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("inspect"), "{}", stderr(&unknown));
}

#[test]
fn quiet_leaves_stderr_empty_and_verbose_names_every_step() {
    let net = Net::random(3, 1);
    let images = net.file("images.npy");
    let local = |more: &[&str]| {
        run(&[&["infer", "--local", net.folder(), "--input", &images], more].concat())
    };
    let (usual, quiet, verbose) = (local(&[]), local(&["-q"]), local(&["-v"]));
    let lines = |output: &std::process::Output| stderr(output).lines().count();
    assert_eq!((lines(&usual), lines(&quiet)), (0, 0), "{}", stderr(&usual));
    for step in &net.plan.steps {
        assert!(
            stderr(&verbose).contains(&step.name),
            "{} is missing in\n{}",
            step.name,
            stderr(&verbose)
        );
    }
    let (model, calibration) = (asset("digits.onnx"), asset("digits-calib-images-idx3-ubyte"));
    let search = |more: &[&str]| {
        run(&search_args(&model, &calibration, &[&["--fixed", "w4a4"], more].concat()))
    };
    assert!(stderr(&search(&[])).contains("nothing was written"));
    assert_eq!(stderr(&search(&["--quiet"])), "");
    // Warnings and errors are said nevertheless.
    let failed = run(&["cost", "missing", "--quiet"]);
    assert!(stderr(&failed).starts_with("error: "), "{}", stderr(&failed));
    assert_eq!(run(&["cost", net.folder(), "-q", "-v"]).status.code(), Some(2));
}

#[test]
fn verbose_tells_nothing_that_a_plan_does_not() {
    // The same network with other images and other weights' masks: the lines are the same, but for
    // their times.
    let (net, other) = (Net::random(3, 1), Net::random(3, 1));
    let said = |net: &Net| {
        let images = net.file("images.npy");
        let output = run(&["infer", "--local", net.folder(), "--input", &images, "-v"]);
        let lines = stderr(&output);
        lines.lines().map(|line| line.split_once(" s  ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let zeros = other.integers.iter().map(|_| 0).collect();
    let other = other.with_integers(zeros);
    assert_eq!(said(&net), said(&other));
}

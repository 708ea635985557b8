//! Small random networks on the disk.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusion::testing::{random_input, random_network};
use fusion::{Options, fuse};
use protocols::plan::Plan;
use protocols::weights::Weights;

/// A folder with `plan.json`, `weights.safetensors` and images.
pub(crate) struct Net {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) plan: Plan,
    pub(crate) weights: Arc<Weights>,
    /// What the client feeds in for the images of `images.npy`.
    pub(crate) integers: Vec<i64>,
    pub(crate) images: usize,
}

impl Net {
    /// A random network with so many images; the seed says which.
    pub(crate) fn random(seed: u64, images: usize) -> Self {
        let (graph, weights) = random_network(seed);
        let options = Options { weights: weights.digest(), ..Options::default() };
        let plan = fuse(&graph, &options).unwrap();
        weights.check(&plan).unwrap();
        let integers = random_input(&graph, images, seed);
        let weights = Arc::new(weights);
        let net = Self { folder: tempfile::tempdir().unwrap(), plan, weights, integers, images };
        fs::write(net.path("plan.json"), net.plan.to_json()).unwrap();
        fs::write(net.path("weights.safetensors"), net.weights.to_safetensors()).unwrap();
        fs::write(net.path("images.npy"), net.npy()).unwrap();
        let labels: String = (0..images).map(|image| format!("{}\n", image % 3)).collect();
        fs::write(net.path("labels.txt"), labels).unwrap();
        net
    }

    /// The same network with a hint for every layer that can have one, made anew for every session
    /// until `pq hints` makes their file.
    pub(crate) fn hinted(mut self) -> Self {
        for index in 0..self.plan.steps.len() {
            let ways = self.plan.variants(&self.plan.steps[index].op).into_iter();
            let mut ways = ways.filter(|op| op.layer().is_some_and(|layer| layer.has_hint()));
            if let Some(op) = ways.next() {
                self.plan.steps[index].op = op;
            }
        }
        assert!(self.plan.has_hint_layers());
        fs::write(self.path("plan.json"), self.plan.to_json()).unwrap();
        self
    }

    /// The same network with other images.
    pub(crate) fn with_integers(mut self, integers: Vec<i64>) -> Self {
        self.integers = integers;
        fs::write(self.path("images.npy"), self.npy()).unwrap();
        self
    }

    pub(crate) fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The images as an .npy file, `[N, C, H, W]`, whose values are the integers times their scale.
    fn npy(&self) -> Vec<u8> {
        let [c, h, w] = self.plan.input_wire().shape;
        let n = self.images;
        let shape = format!("({n}, {c}, {h}, {w})");
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        for image in 0..n {
            for channel in 0..c {
                let start = (channel * n + image) * h * w;
                for value in &self.integers[start..start + h * w] {
                    bytes.extend(((*value as f64 * self.plan.input.scale) as f32).to_le_bytes());
                }
            }
        }
        bytes
    }
}

/// The real networks and images, which live beside the repository. Without them, a test that needs
/// them says that it was skipped, on a line that no test harness hides; with `PQ_REQUIRE_DATA` it
/// fails.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("PQ_REQUIRE_DATA").is_some();
    assert!(!required, "PQ_REQUIRE_DATA is set, and there is no {}", folder.display());
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs real networks, which are not here");
    None
}

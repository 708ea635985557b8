//! A quantized network: a public plan and secret weights.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use protocols::hints::{HintsSecret, ServerHints};
use protocols::plan::{Answer, Plan, Reveal};
use protocols::price::StepCost;
use protocols::weights::Weights;
use quant::Interface;

use crate::secret::read;
use crate::whole::{Access, write};
use crate::{Error, Images};

/// The public half's name within a folder.
pub const PLAN: &str = "plan.json";
/// The secret half's name within a folder.
pub const WEIGHTS: &str = "weights.safetensors";
/// The public hints' name within a folder, beside the plan that names their digest.
pub const HINTS: &str = "hints.bin";
/// The name of their seed, which is as secret as the weights beside it.
pub const HINTS_SECRET: &str = "hints.secret";

/// A quantized network: what two parties run.
///
/// The plan is public: shapes, widths, scales, protocols. The weights are the server's secret. They
/// are wiped where they are dropped. Where the plan names hints, these are public too, and their
/// seed is the server's secret.
#[derive(Clone)]
pub struct Network {
    pub(crate) plan: Arc<Plan>,
    pub(crate) weights: Arc<Weights>,
    /// The seed of the plan's hints, where it is there.
    pub(crate) secret: Option<HintsSecret>,
    /// The hints, once they were needed.
    pub(crate) hints: Arc<OnceLock<Arc<ServerHints>>>,
}

impl Network {
    /// Puts both halves together.
    ///
    /// # Errors
    /// The plan is not valid, or the weights are not those that it names.
    pub fn new(plan: Plan, weights: Weights) -> Result<Self, Error> {
        plan.check()?;
        weights.check(&plan)?;
        Ok(Self::of(plan, weights, None))
    }

    fn of(plan: Plan, weights: Weights, secret: Option<HintsSecret>) -> Self {
        let (plan, weights) = (Arc::new(plan), Arc::new(weights));
        Self { plan, weights, secret, hints: Arc::default() }
    }

    /// Opens a folder that [`Network::save`] or `pq search` has written. Hints that the plan names
    /// are held against it when they are needed: see [`Network::hints`].
    ///
    /// # Errors
    /// A file cannot be read, or is not what the other one needs.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let plan = Self::open_plan(folder)?;
        let weights = Self::open_weights(folder.join(WEIGHTS), &plan)?;
        let secret = Self::hints_secret_beside(folder.join(WEIGHTS), &plan)?;
        Ok(Self::of(plan, weights, secret))
    }

    /// Opens the public half alone, all that a client needs: a plan's file, or the folder that
    /// holds it.
    ///
    /// # Errors
    /// The file cannot be read, or is no valid plan.
    pub fn open_plan(path: impl AsRef<Path>) -> Result<Plan, Error> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join(PLAN) } else { path.to_owned() };
        Plan::from_json(&read(&path)?).map_err(Error::of_file(&path))
    }

    /// Opens the secret half, and holds it against its plan.
    ///
    /// # Errors
    /// The file cannot be read, or is not what the plan names.
    pub fn open_weights(path: impl AsRef<Path>, plan: &Plan) -> Result<Weights, Error> {
        let path = path.as_ref();
        let weights = Weights::from_safetensors(&read(path)?).map_err(Error::of_file(path))?;
        weights.check(plan).map_err(Error::of_file(path))?;
        Ok(weights)
    }

    /// Writes both halves into a folder, which is made where there is none, with the hints that the
    /// plan names. Each file is there whole or not at all, and what is secret is its owner's alone
    /// to read.
    ///
    /// # Errors
    /// [`Error::Write`] with the system's reason; where the plan names hints, those of
    /// [`Network::hints`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        let hints = self.hints()?;
        fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        if let Some(hints) = hints {
            write(&folder.join(HINTS_SECRET), &hints.secret().to_bytes(), Access::Owner)?;
            write(&folder.join(HINTS), hints.public().bytes(), Access::All)?;
        }
        write(&folder.join(WEIGHTS), &self.weights.to_safetensors(), Access::Owner)?;
        write(&folder.join(PLAN), &self.plan.to_json(), Access::All)
    }

    /// The public half.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The secret half.
    pub const fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// The same network, of which the client learns the label alone, or the logits.
    ///
    /// # Errors
    /// The network's output cannot be turned into that.
    pub fn revealing(&self, reveal: Reveal) -> Result<Self, Error> {
        let plan = self.plan.revealing(reveal)?;
        Ok(Self { plan: Arc::new(plan), ..self.clone() })
    }

    /// Opens a file of images, preprocessed as the network was calibrated.
    ///
    /// # Errors
    /// The file cannot be read, or its images are of another shape.
    pub fn images(&self, path: impl AsRef<Path>) -> Result<Images, Error> {
        Images::of_plan(path, &self.plan)
    }

    /// What one private inference of so many images moves, step by step.
    pub fn cost(&self, images: usize) -> Vec<StepCost> {
        self.plan.step_costs(images)
    }

    /// Runs the plaintext network, which a private run equals integer for integer.
    ///
    /// # Errors
    /// The images are not the network's.
    pub fn evaluate(&self, images: &Images) -> Result<Vec<Answer>, Error> {
        let input = self.plan.encode(&images.tensor()?.data)?;
        let found = fusion::ideal(&self.plan, &self.weights, &input)?;
        Ok(self.plan.decode(&found, images.len()))
    }

    /// The share of images whose label the plaintext network tells.
    ///
    /// # Errors
    /// The images are not the network's, or have no labels.
    pub fn accuracy(&self, images: &Images) -> Result<f64, Error> {
        let labels = images.labels().ok_or_else(|| {
            protocols::Error::invalid("images", "labels in their file or beside it", "none")
        })?;
        let answers = self.evaluate(images)?;
        let hits = answers.iter().zip(labels).filter(|(answer, label)| answer.label == **label);
        Ok(hits.count() as f64 / labels.len().max(1) as f64)
    }
}

impl From<&Network> for Interface {
    fn from(network: &Network) -> Self {
        (&*network.plan).into()
    }
}

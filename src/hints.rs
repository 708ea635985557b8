//! The hints of a network: their files, and when they are made.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use protocols::Error as ProtocolError;
use protocols::execute::Holdings;
use protocols::hints::{HintsSecret, PublicHints, ServerHints};
use protocols::plan::Plan;

use crate::Error;
use crate::network::{HINTS, HINTS_SECRET, Network, PLAN};
use crate::secret::read;

impl Network {
    /// The same network, with hints under a seed that is drawn for them, where its layers have any.
    /// Its plan names these: what was made before serves no more.
    ///
    /// # Errors
    /// The system has no random bytes, or a layer's weights are too large for its noise.
    pub fn with_new_hints(&self) -> Result<Self, Error> {
        let (plan, hints) = ServerHints::make(&self.plan, &self.weights)?;
        let secret = hints.as_ref().map(|hints| hints.secret().clone());
        let made = OnceLock::new();
        if let Some(hints) = hints {
            let _ = made.set(Arc::new(hints));
        }
        let weights = Arc::clone(&self.weights);
        Ok(Self { plan: Arc::new(plan), weights, secret, hints: Arc::new(made) })
    }

    /// The hints that the plan names, where it names any: made again from their seed and the
    /// weights when they are first asked for, and held against the plan.
    ///
    /// # Errors
    /// Their seed is not there, or is that of others; the plan or the weights were changed since.
    pub fn hints(&self) -> Result<Option<Arc<ServerHints>>, Error> {
        if self.plan.hints.is_none() {
            return Ok(None);
        }
        if let Some(hints) = self.hints.get() {
            return Ok(Some(Arc::clone(hints)));
        }
        let secret = self.secret.clone().ok_or_else(|| {
            let expected =
                "the seed of the hints that the plan names; make them anew with `pq hints`";
            ProtocolError::invalid(HINTS_SECRET, expected, "no such file beside the weights")
        })?;
        let restored = Arc::new(ServerHints::restore(&self.plan, &self.weights, secret)?);
        Ok(Some(Arc::clone(self.hints.get_or_init(|| restored))))
    }

    /// The same network, with the seed of its hints.
    #[must_use]
    pub fn with_hints_secret(self, secret: Option<HintsSecret>) -> Self {
        Self { secret, hints: Arc::default(), ..self }
    }

    /// Opens the public hints of a plan, all that a client needs of them.
    ///
    /// # Errors
    /// The file cannot be read, or is not what the plan names.
    pub fn open_hints(path: impl AsRef<Path>, plan: &Plan) -> Result<PublicHints, Error> {
        let path = path.as_ref();
        let bytes = std::mem::take(&mut *read(path)?);
        PublicHints::from_bytes(bytes, plan).map_err(Error::of_file(path))
    }

    /// Opens the public hints beside a plan's file, or in the folder that holds it; none where the
    /// plan names none, or there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is not what the plan names.
    pub fn hints_beside(path: impl AsRef<Path>, plan: &Plan) -> Result<Option<PublicHints>, Error> {
        let path = path.as_ref();
        let file = if path.is_dir() { path.join(PLAN) } else { path.to_owned() };
        let file = file.with_file_name(HINTS);
        if plan.hints.is_none() || !file.exists() {
            return Ok(None);
        }
        Self::open_hints(file, plan).map(Some)
    }

    /// Opens the seed of hints.
    ///
    /// # Errors
    /// The file cannot be read, or is no such file.
    pub fn open_hints_secret(path: impl AsRef<Path>) -> Result<HintsSecret, Error> {
        let path = path.as_ref();
        HintsSecret::from_bytes(&read(path)?).map_err(Error::of_file(path))
    }

    /// Opens the seed of a plan's hints beside the weights' file; none where the plan names none,
    /// or there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is no such file.
    pub fn hints_secret_beside(
        weights: impl AsRef<Path>,
        plan: &Plan,
    ) -> Result<Option<HintsSecret>, Error> {
        let file = weights.as_ref().with_file_name(HINTS_SECRET);
        if plan.hints.is_none() || !file.exists() {
            return Ok(None);
        }
        Self::open_hints_secret(file).map(Some)
    }

    /// What its server brings to a session.
    pub(crate) fn holdings(&self) -> Result<Holdings, Error> {
        Ok(Holdings::of_server(Arc::clone(&self.weights), self.hints()?))
    }
}

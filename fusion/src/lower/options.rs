//! The choices that a plan needs beyond its graph; the planner makes them.

use std::collections::{BTreeMap, BTreeSet};

use protocols::ops::Form;
use protocols::ot::{OtExtension, TreeDepth};
use protocols::plan::{Algorithm, Op, Protocol, Step};
use protocols::steps::{Linear as LinearStep, MaxPool, Product, Requant};

use crate::{Error, Kernel, Linear};

/// Protocol choices, by step where they differ from the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where correlated OTs come from.
    pub extension: OtExtension,
    /// How linear layers are computed.
    pub protocol: Protocol,
    /// Linear layers that differ.
    pub protocols: BTreeMap<String, Protocol>,
    /// Linear layers that are computed by exact Winograd.
    pub winograd: BTreeSet<String>,
    /// Widest digit of max pooling and of products.
    pub digit: u8,
    /// Max poolings and products that differ.
    pub digits: BTreeMap<String, u8>,
    /// Levels of ANDs of requantizations.
    pub and_depth: u8,
    /// Requantizations that differ.
    pub and_depths: BTreeMap<String, u8>,
    /// Whether requantizations move few bits or take few rounds.
    pub form: Form,
    /// Requantizations that differ.
    pub forms: BTreeMap<String, Form>,
    /// Simplifying passes that are left out, by name: the same integers at a higher price.
    pub without: BTreeSet<String>,
    /// Whether trees and OTs are made when they are needed: see
    /// [`Plan::streamed`](protocols::plan::Plan::streamed).
    pub streamed: bool,
    /// Digest of the salted weights, in hexadecimal.
    pub weights: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            extension: OtExtension::Softspoken(TreeDepth::new(4).expect("invariant: 4 is a depth")),
            protocol: Protocol::Vole { k: 4 },
            protocols: BTreeMap::new(),
            winograd: BTreeSet::new(),
            digit: 3,
            digits: BTreeMap::new(),
            and_depth: 6,
            and_depths: BTreeMap::new(),
            form: Form::Narrow,
            forms: BTreeMap::new(),
            without: BTreeSet::new(),
            streamed: false,
            weights: "0".repeat(64),
        }
    }
}

impl Options {
    /// How a layer becomes products.
    pub(super) fn algorithm(&self, step: &str, linear: &Linear) -> Algorithm {
        match linear.kernel {
            Kernel::Winograd => Algorithm::Winograd,
            Kernel::Spatial if self.winograd.contains(step) => Algorithm::WinogradExact,
            Kernel::Spatial => Algorithm::Direct,
        }
    }

    pub(super) fn digit(&self, step: &str) -> u8 {
        self.digits.get(step).copied().unwrap_or(self.digit)
    }

    pub(super) fn and_depth(&self, step: &str) -> u8 {
        self.and_depths.get(step).copied().unwrap_or(self.and_depth)
    }

    pub(super) fn form(&self, step: &str) -> Form {
        self.forms.get(step).copied().unwrap_or(self.form)
    }

    /// Runs a step as this one is run, whatever its wires are.
    pub fn like(&mut self, step: &str, op: &Op) {
        if let Some(LinearStep { algorithm, protocol, .. }) = op.get() {
            self.protocols.insert(step.to_owned(), *protocol);
            if *algorithm == Algorithm::WinogradExact {
                self.winograd.insert(step.to_owned());
            }
        }
        if let Some(Requant { and_depth, form, .. }) = op.get() {
            self.and_depths.insert(step.to_owned(), *and_depth);
            self.forms.insert(step.to_owned(), *form);
        }
        if let Some(MaxPool { digit, .. }) = op.get() {
            self.digits.insert(step.to_owned(), *digit);
        }
        if let Some(Product { digit, .. }) = op.get() {
            self.digits.insert(step.to_owned(), *digit);
        }
    }

    /// An option for a step that does not exist is a misspelling.
    pub(super) fn check_names(&self, steps: &[Step]) -> Result<(), Error> {
        let linear = self.protocols.keys().chain(&self.winograd);
        let linear = { linear }.find(|name| !has::<LinearStep>(steps, name));
        let requants = self.forms.keys().chain(self.and_depths.keys());
        let requants = { requants }.find(|name| !has::<Requant>(steps, name));
        let digits = self.digits.keys();
        let digits =
            { digits }.find(|name| !has::<MaxPool>(steps, name) && !has::<Product>(steps, name));
        match linear.or(requants).or(digits) {
            Some(step) => Err(Error::UnknownStep { step: step.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether there is a step of this name and kind.
fn has<T: 'static>(steps: &[Step], name: &str) -> bool {
    steps.iter().any(|step| step.name == name && step.op.get::<T>().is_some())
}

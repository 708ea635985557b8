//! The networks of a service, each with what the client learns: its logits, or its label alone.

use std::path::PathBuf;
use std::sync::Arc;

use protocols::Limits;
use protocols::ask::{Named, Offer, check_name};
use protocols::hints::PublicHints;
use protocols::plan::{Load, Plan, Reveal};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::admission::Admission;
use crate::party::Introduction;
use crate::{Clients, Error, Network, Rights, ServerOptions};
use protocols::hex;

/// All networks.
pub(super) struct Models(Vec<Arc<Model>>);

/// One of them.
pub(super) struct Model {
    pub(super) name: String,
    /// As its plan says; then, where that can be, with the label alone.
    variants: Vec<Variant>,
    /// Its memory, as long as anybody uses it.
    _memory: OwnedSemaphorePermit,
}

/// A network with one plan.
pub(super) struct Variant {
    pub(super) plan: Arc<Plan>,
    pub(super) json: Vec<u8>,
    pub(super) hints: Option<Arc<PublicHints>>,
    pub(super) offer: Offer,
    pub(super) introduction: Introduction,
}

/// A network, for the operator.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    plan: String,
    weights: String,
    memory_bytes: u64,
    session_bytes: u64,
    plans: Vec<String>,
}

impl Models {
    pub(super) fn open(
        folders: &[(String, PathBuf)],
        clients: &Clients,
        admission: &Admission,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut all: Vec<Arc<Model>> = Vec::new();
        for (name, folder) in folders {
            check_name(name)?;
            if all.iter().any(|model| model.name == *name) {
                let expected = "names that differ, NAME=FOLDER where folders are named alike";
                return Err(protocols::Error::invalid("networks", expected, name).into());
            }
            let network = Network::open(folder)?;
            all.push(Arc::new(Model::new(name, &network, admission, limits)?));
        }
        let models = Self(all);
        // A right that means nothing is a mistake: better found now than by its client.
        for client in clients.all() {
            models.check(&client.name, &client.rights)?;
        }
        Ok(models)
    }

    /// A client's rights name networks that are there, and that reveal no more than they say.
    fn check(&self, client: &str, rights: &Rights) -> Result<(), Error> {
        for name in rights.models.iter().flatten() {
            if self.named(name).is_none() {
                let what = format!("models of client {client}");
                return Err(protocols::Error::invalid(what, "names of networks", name).into());
            }
        }
        for model in self.0.iter().filter(|model| rights.has(&model.name)) {
            if model.variant(rights).is_none() {
                let what = format!("reveal of client {client}");
                let expected = format!(
                    "a network of which labels can be revealed; leave {} out \
                                        of its models",
                    model.name
                );
                return Err(protocols::Error::invalid(what, expected, "one without").into());
            }
        }
        Ok(())
    }

    /// Bytes of memory of all of them.
    pub(super) fn shared_memory(&self) -> u64 {
        self.0.iter().map(|model| model.at(0).plan.shared_memory()).sum()
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    fn named(&self, name: &str) -> Option<&Arc<Model>> {
        self.0.iter().find(|model| model.name == name)
    }

    /// What a client means, where it is there for it: the network, and the place of its plan.
    pub(super) fn find(&self, named: &Named, rights: &Rights) -> Option<(Arc<Model>, usize)> {
        let mut own = self.0.iter().filter(|model| rights.has(&model.name));
        // Plans of two names may be one: by its hash the first is found that is the client's.
        match named {
            Named::Name(name) => {
                let model = own.find(|model| model.name == *name)?;
                Some((Arc::clone(model), model.variant(rights)?))
            }
            Named::Hash(hash) => own.find_map(|model| {
                let place = model
                    .variants
                    .iter()
                    .position(|variant| variant.offer.plan == *hash && variant.is_for(rights))?;
                Some((Arc::clone(model), place))
            }),
        }
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.0.iter().map(|model| model.row()).collect()
    }
}

impl Model {
    fn new(
        name: &str,
        network: &Network,
        admission: &Admission,
        limits: Limits,
    ) -> Result<Self, Error> {
        let plan = network.plan();
        let memory = admission.network(plan.shared_memory(), plan.session_memory(Load::one(1)))?;
        let mut variants = vec![Variant::new(network, limits)?];
        // Both plans share the weights and the file of hints: the second one takes little.
        if plan.reveals() == Reveal::Logits
            && let Ok(label) = network.revealing(Reveal::Label)
        {
            variants.push(Variant::new(&label, limits)?);
        }
        Ok(Self { name: name.into(), variants, _memory: memory })
    }

    /// The place of the plan that a client gets.
    fn variant(&self, rights: &Rights) -> Option<usize> {
        self.variants.iter().position(|variant| variant.is_for(rights))
    }

    pub(super) fn at(&self, place: usize) -> &Variant {
        &self.variants[place]
    }

    fn row(&self) -> Row {
        let plan = &self.variants[0].plan;
        Row {
            name: self.name.clone(),
            plan: plan.name.clone(),
            weights: plan.weights.clone(),
            memory_bytes: plan.shared_memory(),
            session_bytes: plan.session_memory(Load::one(1)),
            plans: self.variants.iter().map(|variant| hex(&variant.offer.plan)).collect(),
        }
    }
}

impl Variant {
    fn new(network: &Network, limits: Limits) -> Result<Self, Error> {
        let plan = Arc::clone(network.plan());
        let own = network.hints()?;
        let options = ServerOptions { limits, ..ServerOptions::default() };
        let introduction =
            Introduction::of_server(Arc::clone(&plan), network.holdings()?, &options);
        let (json, hints) = (plan.to_json(), own.map(|hints| Arc::clone(hints.public())));
        let offer = Offer {
            plan: plan.hash(),
            plan_len: json.len() as u64,
            hints: hints.as_ref().map_or([0; 32], |hints| hints.digest_bytes()),
            hints_len: hints.as_ref().map_or(0, |hints| hints.bytes().len() as u64),
        };
        Ok(Self { plan, json, hints, offer, introduction })
    }

    fn is_for(&self, rights: &Rights) -> bool {
        rights.reveal.is_none_or(|reveal| self.plan.reveals() == reveal)
    }
}

//! Which ReLUs become polynomials, which poolings the other kind, and what they become.

use model::float::activations_of;
use model::{Model, Node, Op, Preprocess, Tensor};
use serde::{Deserialize, Serialize};

use super::gates::{GateOptions, opened};
use super::mixture::{Other, mix};
use super::parabola::{Moments, Parabola, Vertex};
use super::place::{Place, Replacement};
use super::pooling;
use super::surgery::{Form, between, spelled_out};
use super::{PolynomialOptions, PolynomialPrices, PolynomialStart, ReluSelection};
use crate::reshape::fit::{bounded, channel};
use crate::reshape::judge::Judge;
use crate::reshape::{ReshapeError, ReshapePrice, Saving, split};
use crate::search::Progress;
use crate::tune::Source;

/// A node of ReLUs or a pooling, and what something else in its place alone is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolynomialReport {
    /// The node's name.
    pub name: String,
    /// What can stand in its place.
    pub becomes: Replacement,
    /// Its ReLUs, or what the windows of a pooling read.
    pub elements: usize,
    /// Layers of one weight a channel that its polynomials take: 0 between two layers, 1 behind a
    /// layer that not layers alone read, else 2. A pooling takes none.
    pub layers: usize,
    /// The divergence of the network's answers from the first one's, without any training, in nats.
    pub loss: f64,
    /// What one inference saves by the prices of the options; below zero where it takes more.
    pub saved: f64,
    /// How far its gate has opened, from 0 to 1, where gates were trained.
    pub gate: Option<f64>,
    /// Whether it has become that.
    pub chosen: bool,
}

impl PolynomialReport {
    fn is_of_relus(&self) -> bool {
        self.becomes == Replacement::Polynomial
    }

    /// Whether it is of a node. What stands in a node's place may have its name.
    fn is_of(&self, node: &Node) -> bool {
        let becomes = Place::of(node).map(|place| place.becomes);
        self.name == node.name && becomes == Some(self.becomes)
    }

    /// What is lost for what is saved.
    fn rate(&self) -> f64 {
        self.loss / self.saved
    }
}

/// What a network has become before any training.
pub(super) struct Chosen {
    pub(super) model: Model,
    pub(super) relus: Vec<PolynomialReport>,
    /// The divergence of its answers from the first network's, in nats.
    pub(super) loss: f64,
}

/// `c2 x^2 + c1 x + c0` at PolyMPCNet's start: nearly x. (Peng et al., 2022: 0.005, 1 and 0.)
const NEAR_IDENTITY: Parabola = Parabola { square: 0.005, linear: 1.0, constant: 0.0 };

/// Makes the ReLUs that the options say polynomials, and the poolings the other kind.
pub(super) fn choose(
    model: &Model,
    (preprocess, images): (&Preprocess, &Tensor),
    source: &Source<'_>,
    options: &PolynomialOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Chosen, ReshapeError> {
    options.saving.check()?;
    let found = candidates(model, &options.relus)?;
    let (fitted, others) = split(images);
    let judge = Judge::new(model, &others);
    let chooser = Chooser { preprocess, fitted: &fitted, source, options };
    let before = chooser.price(model)?;
    let mut relus = Vec::with_capacity(found.len());
    for (done, &(node, place)) in found.iter().enumerate() {
        progress(Progress { phase: "ReLUs", done, of: found.len() });
        let changed = chooser.changed(model, node)?;
        let name = model.nodes[node].name.clone();
        let layers = chooser.layers(model, node, place.becomes);
        let saved = match options.saving.saved(&place) {
            Some(saved) => saved,
            // Of whole plans: what reads it may take other rings.
            None => before - chooser.price(&changed)?,
        };
        let loss = judge.loss(&changed);
        let Place { becomes, elements, .. } = place;
        relus.push(PolynomialReport {
            name,
            becomes,
            elements,
            layers,
            loss,
            saved,
            gate: None,
            chosen: false,
        });
    }
    progress(Progress { phase: "polynomials", done: 0, of: 1 });
    chooser.pick(model, &judge, &mut relus, progress)?;
    let changed = chooser.all(model, &relus)?;
    let loss = judge.loss(&changed);
    Ok(Chosen { model: changed, relus, loss })
}

/// The nodes that may become something else, in the network's order. Of a number of ReLUs,
/// poolings are none.
fn candidates(model: &Model, wanted: &ReluSelection) -> Result<Vec<(usize, Place)>, ReshapeError> {
    let nodes = model.nodes.iter().enumerate();
    let places = nodes.filter_map(|(at, node)| Some((at, Place::of(node)?)));
    let mut places: Vec<(usize, Place)> = places.collect();
    match wanted {
        ReluSelection::Count(count) => {
            places.retain(|(_, place)| place.becomes == Replacement::Polynomial);
            if *count > places.len() {
                return Err(ReshapeError::Polynomials { wanted: *count, found: places.len() });
            }
        }
        // Prices say which.
        ReluSelection::Saving(_) => {}
        ReluSelection::Named(names) => {
            let known: Vec<&str> =
                places.iter().map(|(at, _)| model.nodes[*at].name.as_str()).collect();
            if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
                let (name, known) = (name.clone(), known.join(", "));
                return Err(ReshapeError::NoSuchRelu { name, known });
            }
            places.retain(|(at, _)| names.contains(&model.nodes[*at].name));
        }
    }
    Ok(places)
}

/// Those that save, in the order of what they lose for it.
fn saving(
    relus: &[PolynomialReport],
    prices: &PolynomialPrices,
) -> Result<Vec<usize>, ReshapeError> {
    let mut saving: Vec<usize> = (0..relus.len()).filter(|&at| relus[at].saved > 0.0).collect();
    if saving.is_empty() {
        // ReLUs are what most ask about: poolings are told of where there are no others.
        let nearest = relus
            .iter()
            .max_by(|a, b| a.is_of_relus().cmp(&b.is_of_relus()).then(a.saved.total_cmp(&b.saved)));
        let none = ReshapeError::Polynomials { wanted: 1, found: 0 };
        let PolynomialReport { name, becomes, saved, .. } = nearest.ok_or(none)?;
        let (more, reason) = (prices.told(0.0 - saved), prices.reason(*becomes));
        let (name, prices) = (name.clone(), prices.to_string());
        return Err(ReshapeError::NothingSaved { prices, name, more, reason });
    }
    saving.sort_by(|&a, &b| relus[a].rate().total_cmp(&relus[b].rate()));
    Ok(saving)
}

struct Chooser<'a> {
    preprocess: &'a Preprocess,
    fitted: &'a Tensor,
    source: &'a Source<'a>,
    options: &'a PolynomialOptions,
}

impl Chooser<'_> {
    /// Chooses what loses least, all that was named, or what saves.
    fn pick(
        &self,
        model: &Model,
        judge: &Judge<'_>,
        relus: &mut [PolynomialReport],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ReshapeError> {
        let mut order: Vec<usize> = (0..relus.len()).collect();
        match self.options.relus {
            ReluSelection::Count(count) => {
                order.sort_by(|&a, &b| relus[a].loss.total_cmp(&relus[b].loss));
                order.truncate(count);
            }
            ReluSelection::Named(_) => {}
            ReluSelection::Saving(most) => {
                let mut order = saving(relus, &self.options.saving)?;
                if let Some(gates) = self.options.gates {
                    order = self.open(model, (relus, &order), gates, progress)?;
                }
                return self.take_bearable(model, judge, (relus, &order), most, progress);
            }
        }
        order.into_iter().for_each(|at| relus[at].chosen = true);
        Ok(())
    }

    /// Those whose gates open, the widest first.
    fn open(
        &self,
        model: &Model,
        (relus, order): (&mut [PolynomialReport], &[usize]),
        options: GateOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<usize>, ReshapeError> {
        let (mut mixed, mut weighed) = (model.clone(), Vec::new());
        for &at in order {
            // Fitted to what the first network makes: gates start nearly closed.
            let of_model = model.nodes.iter().position(|node| relus[at].is_of(node));
            let node = mixed.nodes.iter().position(|node| relus[at].is_of(node));
            let (of_model, node) =
                of_model.zip(node).expect("invariant: what was not mixed yet is there");
            weighed.push(mix(&mut mixed, node, &self.other(model, of_model)?));
        }
        mixed.check()?;
        let saved: Vec<f64> = order.iter().map(|&at| relus[at].saved).collect();
        let PolynomialOptions { training, rate, .. } = self.options;
        let (source, gates) = (self.source.clone(), (weighed.as_slice(), saved.as_slice()));
        let trained = (options, training, *rate);
        let opened = opened((model, mixed), gates, source, trained, progress)?;
        for (&at, open) in order.iter().zip(&opened) {
            relus[at].gate = Some(f64::from(*open));
        }
        let gate = |at: usize| relus[at].gate.unwrap_or(0.0);
        let mut wide = order.to_vec();
        // The order of what is lost for what is saved stays where two are equally open.
        wide.sort_by(|&a, &b| gate(b).total_cmp(&gate(a)));
        let (widest, open) = (wide[0], gate(wide[0]));
        wide.retain(|&at| gate(at) > 0.5);
        if wide.is_empty() {
            let (worth, name) = (options.worth, relus[widest].name.clone());
            return Err(ReshapeError::AllClosed { worth, name, open });
        }
        Ok(wide)
    }

    /// What a gate leads to at a node.
    fn other(&self, model: &Model, node: usize) -> Result<Other, ReshapeError> {
        if let Op::MaxPool(_) | Op::AvgPool(_) = model.nodes[node].op {
            return Ok(Other::Lines(pooling::lines(model, node, self.fitted)?));
        }
        let moments = self.moments(model, node)?;
        let parabolas = moments.iter().map(|moments| match self.options.start {
            PolynomialStart::LeastSquares => moments.parabola(),
            PolynomialStart::NearIdentity => NEAR_IDENTITY,
        });
        Ok(Other::Parabolas(parabolas.collect()))
    }

    /// Chooses, in an order, each that leaves the loss of all chosen ones together below so many
    /// nats: squares behind each other lose far more than each does by itself.
    fn take_bearable(
        &self,
        model: &Model,
        judge: &Judge<'_>,
        (relus, order): (&mut [PolynomialReport], &[usize]),
        most: f64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ReshapeError> {
        for (done, &at) in order.iter().enumerate() {
            progress(Progress { phase: "polynomials", done, of: order.len() });
            relus[at].chosen = true;
            let loss = match self.all(model, relus) {
                Ok(changed) => judge.loss(&changed),
                // Values beyond all numbers.
                Err(ReshapeError::Model(_)) => f64::INFINITY,
                Err(error) => return Err(error),
            };
            // No number is too much, too.
            relus[at].chosen = loss <= most;
        }
        if relus.iter().any(|report| report.chosen) {
            return Ok(());
        }
        let PolynomialReport { name, loss, .. } = &relus[order[0]];
        Err(ReshapeError::AllLost { most, name: name.clone(), loss: *loss })
    }

    /// The network with all that was chosen, in its order: each is fitted to what those before it
    /// make of images.
    fn all(&self, model: &Model, relus: &[PolynomialReport]) -> Result<Model, ReshapeError> {
        let mut changed = model.clone();
        for report in relus.iter().filter(|report| report.chosen) {
            let node = changed.nodes.iter().position(|node| report.is_of(node));
            let node = node.expect("invariant: what was not changed yet is there");
            changed = self.changed(&changed, node)?;
        }
        Ok(changed)
    }

    /// The price of a network's plan: bits of that which moves the fewest, where nothing else is
    /// asked for.
    fn price(&self, model: &Model) -> Result<f64, ReshapeError> {
        let Self { preprocess, fitted, options, .. } = self;
        let saving = match options.saving {
            PolynomialPrices::Plans(saving) => saving,
            PolynomialPrices::System(_) | PolynomialPrices::Table(_) => Saving::Bits,
        };
        Ok(ReshapePrice::of_saving(model, preprocess, fitted, (&options.prices, saving))?)
    }

    /// Layers that what a node becomes takes.
    fn layers(&self, model: &Model, node: usize, becomes: Replacement) -> usize {
        match becomes {
            Replacement::Polynomial => self.form(model, node).layers(),
            Replacement::Average | Replacement::Maximum => 0,
        }
    }

    /// What polynomials in the place of a node's ReLUs are made of.
    fn form(&self, model: &Model, node: usize) -> Form {
        match self.options.start {
            PolynomialStart::LeastSquares => Form::of(model, node),
            // Its vertex is at -100: integers around it would say nothing of x.
            PolynomialStart::NearIdentity => Form::Sum,
        }
    }

    /// The network with something else in a node's place.
    fn changed(&self, model: &Model, node: usize) -> Result<Model, ReshapeError> {
        if let Op::MaxPool(_) | Op::AvgPool(_) = model.nodes[node].op {
            let changed = pooling::changed(model, node, self.fitted)?;
            changed.check()?;
            return Ok(changed);
        }
        let form = self.form(model, node);
        let changed = match (self.options.start, form) {
            (PolynomialStart::LeastSquares, Form::Between { writer, readers }) => {
                let moments = self.moments(model, node)?;
                let vertices: Vec<Vertex> = moments.iter().map(Moments::vertex).collect();
                between(model, node, (writer, readers.as_deref()), &vertices)
            }
            (PolynomialStart::LeastSquares, Form::Sum) => {
                let moments = self.moments(model, node)?;
                let parabolas: Vec<Parabola> = moments.iter().map(Moments::parabola).collect();
                spelled_out(model, node, &parabolas)
            }
            (PolynomialStart::NearIdentity, _) => {
                let channels = model.nodes[node].shape[0];
                spelled_out(model, node, &vec![NEAR_IDENTITY; channels])
            }
        };
        changed.check()?;
        Ok(changed)
    }

    /// Of every channel that the ReLUs of a node read.
    fn moments(&self, model: &Model, node: usize) -> Result<Vec<Moments>, ReshapeError> {
        let Op::Relu { max } = model.nodes[node].op else {
            unreachable!("invariant: candidates are ReLUs")
        };
        let most = max.map_or(f64::INFINITY, f64::from);
        let input = model.nodes[node].inputs[0];
        let images = bounded(self.fitted, model.nodes[node].elements());
        let activations = activations_of(model, &images, &[input])?;
        let values = activations.value(input).expect("invariant: the value is kept");
        let channels = 0..model.nodes[node].shape[0];
        let moments = channels.map(|at| Moments::of(channel(values, at), |x| x.clamp(0.0, most)));
        Ok(moments.collect())
    }
}

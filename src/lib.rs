//! Private neural-network inference between two parties.
//!
//! A server has a trained network, a client has an image. Together they compute the answer: the
//! server never sees the image, and the client never sees the weights.
//!
//! - [`Model`] is a trained network, from an ONNX file; [`Images`] are pictures for it.
//! - [`distill`] trains a model, with another one as its teacher.
//! - [`reshape`] replaces blocks of it by single convolutions, and trains it again; [`linearize`]
//!   does with fewer ReLUs, [`polynomials`] with squares in their place.
//! - [`search`] quantizes the model, layer by layer, within a budget of communication: the result
//!   is a [`Network`], a public plan and secret weights.
//! - [`tune`] trains the integers of such a network, with the model as their teacher.
//! - [`Network::infer_locally`] runs both parties in this process; [`Server`] and [`Client`] run
//!   one each, over TCP. A [`Service`] has several networks, and many clients at once.
//! - Browsers are clients of a [`Service`] too, over WebSocket: see [`WebOptions`].
//! - A [`Gateway`] is such a client for programs that speak the Open Inference Protocol.
//! - [`Network::cost`] predicts what a run moves, to the byte; every run is held to it.
//!
//! ```no_run
//! # fn main() -> Result<(), pq::Error> {
//! let model = pq::Model::open("digits.onnx")?;
//! let images = pq::Images::open("digits-idx3-ubyte", &model)?;
//! let options = pq::SearchOptions { budget_bits: Some(20_000_000), ..Default::default() };
//! let network = pq::search(&model, &images.take(256), &options)?.network;
//! let inference = network.infer_locally(&images.take(1))?;
//! println!("a {}, in {} bytes", inference.answers[0].label, inference.bytes());
//! # Ok(())
//! # }
//! ```
//!
//! # What is stable
//!
//! What this crate exports by name is its interface. The crates below it (`protocols`, `fusion`,
//! `quant`) change as they need to; what is re-exported from them here may gain fields and methods.

mod certificate_name;
mod client;
mod credential;
mod digest;
mod distill;
mod error;
mod fetch;
mod gateway;
mod granted;
mod handshakes;
mod hints;
mod images;
mod inference;
mod key;
mod local;
mod model;
mod network;
mod origin;
mod party;
mod reshape;
mod search;
mod secret;
mod serve;
mod server;
mod tls;
mod token;
mod transport;
mod tune;
mod user;
mod web;
mod whole;

pub use certificate_name::CertificateName;
pub use client::{Client, ClientOptions};
pub use credential::Credential;
pub use distill::distill;
pub use error::Error;
pub use fetch::{Cache, PublicNetwork};
pub use fusion::relus::ReluSystem;
pub use gateway::{Gateway, GatewayEvent, GatewayLog, GatewayOptions};
pub use granted::ServerOptions;
pub use images::Images;
pub use inference::Inference;
pub use key::PublicKey;
pub use local::LocalOptions;
pub use model::Model;
pub use network::{HINTS, HINTS_SECRET, Network, PLAN, WEIGHTS};
pub use protocols::execute::{Event, Measured, Observe, Report};
pub use protocols::hints::{HintsSecret, PublicHints, ServerHints};
pub use protocols::plan::{Answer, Hints, Load, Logits, Plan, Preprocess, Reveal};
pub use protocols::profile::Profile;
pub use protocols::weights::Weights;
pub use protocols::{Cost, Error as ProtocolError, Limits, Reason, Role};
pub use quant::Interface;
pub use quant::data::OffScale;
pub use quant::distill::{DistillOptions, Start};
pub use quant::reshape::{
    ActivationPrices, Alternative, BlockReport, GateOptions, Granularity, LinearizeOptions,
    PolynomialOptions, PolynomialPrices, PolynomialReport, PolynomialStart, ReluReport,
    ReluSelection, Replacement, ReshapeOptions, ReshapePrice, Saving,
};
pub use quant::search::{
    LayerReport, LayerWidths, Progress as SearchProgress, SearchOptions, Uniform,
};
pub use quant::tune::{TuneOptions, TuneProgress};
pub use reshape::{Linearized, Reshaped, WithPolynomials, linearize, polynomials, reshape};
pub use search::{Found, search, search_observed};
pub use secret::read as read_secret;
pub use serve::{Log, Service, ServiceControl, ServiceEvent, ServiceOptions, SessionEnd};
pub use server::{Refused, Server, ServerSession};
pub use tls::{
    Authority, Certificate, ClientIdentity, ClientTls, Clients, Identity, KnownClient,
    KnownServers, NamedServer, Rights, Security, ServerIdentity, ServerTls, ServerTrust,
};
pub use token::{Token, TokenDigest};
pub use transport::runtime;
pub use tune::{CALIBRATION, tune};
pub use web::{WebFile, WebOptions};

/// What an operation of this crate comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

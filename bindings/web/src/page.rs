//! The face of a session towards JavaScript: a class `Client` whose methods are promises.

use std::time::Duration;

use protocols::Limits;
use serde::Serialize;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;
use wasmtimer::std::Instant;
use ws_stream_wasm::WsMeta;

use crate::session::{Inference, Ledger, Session};

/// The protocol of the WebSocket, and what comes before a token among protocols.
const PROTOCOL: &str = "pq";
const TOKEN: &str = "pq-token.";

/// A client of one network, in a browser.
#[wasm_bindgen]
pub struct Client {
    session: Session,
    /// Seconds that connecting and set-up took, then preparing.
    begun: f64,
    prepared: f64,
}

/// What JavaScript gets of a network, as JSON.
#[derive(Serialize)]
struct Network<'a> {
    name: &'a str,
    channels: usize,
    rows: usize,
    columns: usize,
    ledger: Ledger,
    setup_seconds: f64,
}

/// What it gets of an inference, as JSON.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    inference: Inference,
    setup_seconds: f64,
    offline_seconds: f64,
    online_seconds: f64,
}

#[wasm_bindgen]
impl Client {
    /// Connects to a server's WebSocket, such as `ws://127.0.0.1:7001/pq`, with a token, and sets a
    /// session up for the network of this name.
    ///
    /// # Errors
    /// An `Error` of JavaScript that says why.
    pub async fn connect(address: String, token: String, model: String) -> Result<Self, JsError> {
        let started = Instant::now();
        let shown = format!("{TOKEN}{token}");
        let protocols = vec![PROTOCOL, shown.as_str()];
        let (_, socket) = WsMeta::connect(&address, protocols).await.map_err(|_| {
            JsError::new("no connection to the server: it is not there, or it refuses the token")
        })?;
        let session =
            Session::open(socket.into_io(), &model, Limits::new(Duration::from_secs(30))).await?;
        Ok(Self { session, begun: started.elapsed().as_secs_f64(), prepared: 0.0 })
    }

    /// The network, as JSON: its name, its input's `channels`, `rows` and `columns`, and the ledger
    /// so far.
    pub fn network(&self) -> String {
        let plan = self.session.plan();
        let [channels, rows, columns] = plan.input_wire().shape;
        let (name, ledger) = (plan.name.as_str(), self.session.ledger());
        json(&Network { name, channels, rows, columns, ledger, setup_seconds: self.begun })
    }

    /// Does all that needs no image, for the next inference.
    ///
    /// # Errors
    /// An `Error` of JavaScript that says why.
    pub async fn prepare(&mut self) -> Result<(), JsError> {
        let started = Instant::now();
        self.session.prepare().await?;
        self.prepared += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Infers an image of bytes, `[channels][rows][columns]`. The answer is JSON: `label`,
    /// `logits`, the session's `ledger` so far, and seconds of this inference.
    ///
    /// # Errors
    /// An `Error` of JavaScript that says why.
    pub async fn infer(&mut self, pixels: Vec<u8>) -> Result<String, JsError> {
        self.prepare().await?;
        let started = Instant::now();
        let inference = self.session.infer(&pixels).await?;
        let offline_seconds = std::mem::take(&mut self.prepared);
        Ok(json(&Found {
            inference,
            setup_seconds: self.begun,
            offline_seconds,
            online_seconds: started.elapsed().as_secs_f64(),
        }))
    }
}

fn json(of: &impl Serialize) -> String {
    serde_json::to_string(of).expect("invariant: numbers and names can be written")
}

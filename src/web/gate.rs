//! The gate: HTTP up to the WebSocket of a client whose token is known.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::stream::{bytes, config};
use super::{PATH, PROTOCOL, TOKEN, WebFile, WebOptions};
use crate::tls::{Clients, KnownClient, Stream};
use crate::{Error, Token, origin};

/// The longest head of a request.
const HEAD: usize = 16 << 10;
/// What pages of ours may do: nothing that is not of this server, and no page around them.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
    style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Who may come in, and what there is for those who ask for a page.
pub(crate) struct Gate {
    clients: Clients,
    origins: Vec<String>,
    files: Vec<WebFile>,
}

/// A browser that has shown the token of a client, and its stream.
pub(crate) struct Visitor {
    pub(crate) client: KnownClient,
    pub(crate) stream: Box<dyn Stream>,
}

/// A client, and the connection that becomes its WebSocket.
type Seat = (KnownClient, OnUpgrade);

impl Gate {
    /// Of a service's clients.
    pub(crate) fn new(clients: Clients, options: &WebOptions) -> Self {
        Self { clients, origins: options.origins.clone(), files: options.files.clone() }
    }

    /// Speaks HTTP on a connection, until it is a client's WebSocket: none where it was for pages
    /// alone. A head that takes longer than `patience` ends it. `local` is whether the connection
    /// is one within this machine: then its pages may connect.
    ///
    /// # Errors
    /// [`Error::Web`] with why it was refused, [`Error::Connection`] where it was lost.
    pub(crate) async fn meet(
        self: Arc<Self>,
        (stream, local): (Box<dyn Stream>, bool),
        patience: Duration,
    ) -> Result<Option<Visitor>, Error> {
        // What the answers to requests have found; it outlives the connection's own future.
        let (found, mut seats) = mpsc::channel::<Result<Seat, Error>>(1);
        let answer = service_fn(move |request| {
            let (gate, found) = (Arc::clone(&self), found.clone());
            async move { Ok::<_, Infallible>(gate.answer(request, local, &found)) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades()
            .await;
        // What was found says more than how the connection has ended.
        let (client, upgrade) = match seats.try_recv() {
            Ok(found) => found?,
            Err(_) => return served.map(|()| None).map_err(lost),
        };
        // Bytes that came behind the request's head are still in it.
        let upgraded = upgrade.await.map_err(lost)?;
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config()));
        Ok(Some(Visitor { client, stream: bytes(socket.await) }))
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        local: bool,
        found: &mpsc::Sender<Result<Seat, Error>>,
    ) -> Response<Full<Bytes>> {
        // A page of ours needs no token to be seen: what it says is public.
        if request.uri().path() != PATH {
            return self.page(&request);
        }
        let refused = match self.admit(request.headers(), local) {
            Ok(client) => match create_response_with_body(&request, Full::default) {
                Ok(mut response) => {
                    let spoken = HeaderValue::from_static(PROTOCOL);
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, spoken);
                    // The first one stands: a connection is upgraded once.
                    let _ = found.try_send(Ok((client, on(&mut request))));
                    return response;
                }
                Err(error) => (StatusCode::BAD_REQUEST, "http", error.to_string()),
            },
            Err(refused) => refused,
        };
        let (status, reason, why) = refused;
        let answer = text(status, format!("{why}\n"));
        let _ = found.try_send(Err(Error::Web { reason, why }));
        answer
    }

    /// The client that a WebSocket is to be of, if its page may connect.
    fn admit(
        &self,
        headers: &HeaderMap,
        local: bool,
    ) -> Result<KnownClient, (StatusCode, &'static str, String)> {
        if !self.is_welcome(headers, local) {
            let why = format!(
                "pages of {:?} may not connect here; name their origin to the server",
                headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default()
            );
            return Err((StatusCode::FORBIDDEN, "origin", why));
        }
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        // A browser writes them into one line; others may use several.
        let offered: Vec<&str> = offered
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            .collect();
        if !offered.contains(&PROTOCOL) {
            let why = format!("expected the protocol {PROTOCOL} among those of the WebSocket");
            return Err((StatusCode::BAD_REQUEST, "http", why));
        }
        // Whatever is wrong with a token sounds alike.
        let token = offered.iter().find_map(|offer| offer.strip_prefix(TOKEN));
        let token = token.and_then(|token| token.parse::<Token>().ok());
        let client = token.and_then(|token| self.clients.of_token(&token).cloned());
        client.ok_or_else(|| {
            let why = "expected the token of a client, found none or another";
            (StatusCode::UNAUTHORIZED, "token", why.into())
        })
    }

    /// Whether the page that a request is of may connect. A program that is no browser names none:
    /// its token is enough.
    fn is_welcome(&self, headers: &HeaderMap, local: bool) -> bool {
        let Some(page) = headers.get(ORIGIN) else { return true };
        // Compared as a whole: a suffix of a name is another name.
        self.origins.iter().any(|origin| origin.as_bytes() == page.as_bytes())
            || local && origin::is_local(headers)
    }

    fn page(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(file) = self.files.iter().find(|file| file.path == request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "there is nothing here\n".into());
        };
        if !matches!(request.method(), &Method::GET | &Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        response(StatusCode::OK, file.kind, file.bytes.clone())
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.into())
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A page and its module go together: neither is kept.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn lost(error: hyper::Error) -> Error {
    Error::Connection(std::io::Error::other(error))
}

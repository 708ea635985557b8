//! HTTP: connections, bounded bodies, and which path means what.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::keeper::Job;
use super::{GatewayEvent, Shared, infer};
use crate::handshakes::PAUSE;
use crate::origin;

/// Connections at a time.
const AT_A_TIME: usize = 64;
/// How long a head, or a body, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of JSON beside the elements, and the longest that an element is written as.
const AROUND: usize = 64 << 10;
const ELEMENT: usize = 32;
/// What the log has of a request that is not as it should be.
const MALFORMED: &str = "the request is not as it should be; its sender was told what";
/// How long the JSON is, where binary tensors follow it.
const JSON_LEN: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A page: its status and its JSON.
type Page = (StatusCode, Value);

/// Answers for as long as it is polled.
pub(super) async fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            converse(stream, shared).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // Whoever breaks a connection is not told.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (status, body) = page(request, shared).await;
    if let Some(why) = body["error"].as_str() {
        // What is wrong with an image may quote it: its sender hears that, and no log does.
        let why = if status == StatusCode::BAD_REQUEST { MALFORMED } else { why };
        shared.tell(&GatewayEvent::Refused { status: status.as_u16(), why });
    }
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers are as private as the images are.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

async fn page(request: Request<Incoming>, shared: &Shared) -> Page {
    // A page of any site, open in a browser on this machine, could ask otherwise.
    if shared.guarded && !origin::is_local(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, "this gateway is for this machine alone");
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let rest = match path.strip_prefix("/v2/models/") {
        Some(rest) => rest,
        None => return of_gateway(request.method(), &path, shared),
    };
    let (model, what) = rest.split_once('/').unwrap_or((rest, ""));
    if model != shared.model {
        let why = format!("there is no model {model:?}, but {:?}", shared.model);
        return refusal(StatusCode::NOT_FOUND, why);
    }
    match (request.method(), what) {
        (&Method::GET, "") => {
            (StatusCode::OK, infer::metadata(&shared.model, &shared.plan.borrow()))
        }
        (&Method::GET, "ready") => readiness(shared),
        (&Method::POST, "infer") => inference(request, shared).await,
        (_, "" | "ready" | "infer") => wrong_method(),
        (_, other) => refusal(
            StatusCode::NOT_FOUND,
            format!("expected ready or infer behind the model's name, found {other:?}"),
        ),
    }
}

fn of_gateway(method: &Method, path: &str, shared: &Shared) -> Page {
    match (method, path) {
        (&Method::GET, "/v2") => {
            let version = env!("CARGO_PKG_VERSION");
            (StatusCode::OK, json!({"name": "pq", "version": version, "extensions": []}))
        }
        (&Method::GET, "/v2/health/live") => (StatusCode::OK, json!({"live": true})),
        (&Method::GET, "/v2/health/ready") => readiness(shared),
        (_, "/v2" | "/v2/health/live" | "/v2/health/ready") => wrong_method(),
        _ => refusal(
            StatusCode::NOT_FOUND,
            "expected /v2, /v2/health/live, /v2/health/ready or /v2/models/NAME",
        ),
    }
}

fn readiness(shared: &Shared) -> Page {
    let ready = shared.ready.load(Ordering::Relaxed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json!({"name": shared.model, "ready": ready}))
}

fn wrong_method() -> Page {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "infer is for POST, and everything else for GET")
}

fn refusal(status: StatusCode, why: impl Into<String>) -> Page {
    (status, json!({"error": why.into()}))
}

async fn inference(request: Request<Incoming>, shared: &Shared) -> Page {
    let started = Instant::now();
    match infer(request, shared).await {
        Ok((images, body)) => {
            let seconds = started.elapsed().as_secs_f64();
            shared.tell(&GatewayEvent::Served { images, seconds });
            (StatusCode::OK, body)
        }
        Err(page) => page,
    }
}

/// The images of a request, and its answer; or why there is none.
async fn infer(request: Request<Incoming>, shared: &Shared) -> Result<(usize, Value), Page> {
    let plan = Arc::clone(&shared.plan.borrow());
    let longest = AROUND + shared.images * plan.input_wire().elements() * ELEMENT;
    let json_len = json_len(&request)?;
    let body = collected(request, longest).await?;
    let (asked, images) = infer::Request::parse(&body, json_len.unwrap_or(body.len()), &plan)
        .map_err(|why| refusal(StatusCode::BAD_REQUEST, why))?;
    drop(body);
    let count = images.len();
    if !(1..=shared.images).contains(&count) {
        let why = format!("expected 1 to {} images, found {count}", shared.images);
        return Err(refusal(StatusCode::BAD_REQUEST, why));
    }
    let warning = images.off_scale(Some(&plan)).map(|found| found.to_string());
    let (reply, answered) = oneshot::channel();
    shared.jobs.try_send(Job::Infer { images, reply }).map_err(|error| {
        let why = match error {
            mpsc::error::TrySendError::Full(_) => "too many requests are waiting; try again",
            mpsc::error::TrySendError::Closed(_) => "the gateway is about to end",
        };
        refusal(StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    match answered.await {
        Ok(Ok((answers, plan))) => {
            let answer = asked.answer(&shared.model, (&answers, &plan), warning);
            let body = serde_json::to_value(answer)
                .map_err(|error| refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            Ok((count, body))
        }
        Ok(Err(error)) => Err(refusal(infer::status(&error), error.to_string())),
        Err(_) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "the gateway is about to end")),
    }
}

/// How long the JSON of a body is, where the request says so.
fn json_len(request: &Request<Incoming>) -> Result<Option<usize>, Page> {
    let Some(value) = request.headers().get(JSON_LEN) else { return Ok(None) };
    let len = value.to_str().ok().and_then(|text| text.parse().ok());
    len.map(Some).ok_or_else(|| {
        refusal(StatusCode::BAD_REQUEST, format!("{JSON_LEN}: expected a number of bytes"))
    })
}

/// The body, if it is no longer than this and comes in time.
async fn collected(request: Request<Incoming>, longest: usize) -> Result<Bytes, Page> {
    let too_long = || {
        let why = format!("expected {longest} bytes at the most; send fewer images at a time");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    // What says that it is too long is not waited for.
    if request.body().size_hint().lower() > longest as u64 {
        return Err(too_long());
    }
    let body = Limited::new(request.into_body(), longest).collect();
    match timeout(PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(error)) => Err(refusal(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

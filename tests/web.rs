//! Browsers' connections: the client of `bindings/web` over WebSocket, against the real service.

use std::future::ready;
use std::io::Error as IoError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pq::Token;
use protocols::{Error as ProtocolError, Limits, Reason};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use web::Session;

use crate::support::certificates::Ca;
use crate::support::service::{Keys, Service};
use crate::support::{Net, json, run, stderr};

const LIMITS: Limits = Limits::new(Duration::from_secs(60));
const WEB: [&str; 2] = ["--listen-web", "127.0.0.1:0"];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// Keys of a service that also knows tokens, one for each of these rights.
fn with_tokens(rights: &[&str]) -> (Keys, Vec<Token>) {
    let keys = Keys::new(&[]);
    let (mut text, mut tokens) = (String::new(), Vec::new());
    for (at, rights) in rights.iter().enumerate() {
        let file = keys.file(&format!("token-{at}"));
        let made = json(&run(&["keygen", "--token", "--out", &file, "--json"]));
        text += &format!("page-{at} {} {rights}\n", made["token_digest"].as_str().unwrap());
        tokens.push(std::fs::read_to_string(&file).unwrap().trim().parse().unwrap());
    }
    std::fs::write(keys.file("clients.txt"), text).unwrap();
    (keys, tokens)
}

/// Opens a WebSocket on a connection, as a page of `origin` does.
async fn upgrade<S>(
    stream: S,
    host: &str,
    (offered, origin): (&str, Option<&str>),
) -> Result<WebSocketStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("ws://{host}/pq").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", offered.parse().unwrap());
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    let (socket, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "pq");
    Ok(socket)
}

async fn connected(
    service: &Service,
    offer: (&str, Option<&str>),
) -> Result<WebSocketStream<TcpStream>, Error> {
    let address = service.web.as_ref().unwrap();
    upgrade(TcpStream::connect(address).await.unwrap(), address, offer).await
}

/// What the messages of a WebSocket carry, as a browser's library has it.
fn bytes<S>(socket: WebSocketStream<S>) -> impl AsyncRead + AsyncWrite + Send + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, messages) = socket.split();
    let payloads = messages.filter_map(|message| {
        ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) | Err(Error::ConnectionClosed) => None,
            Err(error) => Some(Err(IoError::other(error))),
        })
    });
    let binary = sink.with(|bytes: Bytes| ready(Ok::<_, Error>(Message::Binary(bytes))));
    let writer = SinkWriter::new(CopyToBytes::new(binary.sink_map_err(IoError::other)));
    tokio::io::join(StreamReader::new(payloads), writer)
}

fn offer(token: &Token) -> String {
    format!("pq, pq-token.{}", token.expose())
}

async fn session(service: &Service, token: &Token, model: &str) -> Result<Session, web::Error> {
    let socket = connected(service, (&offer(token), Some("http://localhost:1"))).await.unwrap();
    Box::pin(Session::open(bytes(socket), model, LIMITS)).await
}

fn pixels(session: &Session, seed: usize) -> Vec<u8> {
    let elements = session.plan().input_wire().elements();
    (0..elements).map(|at| ((at + seed) * 37 % 256) as u8).collect()
}

#[test]
fn a_client_with_a_token_agrees_with_the_plaintext_and_its_ledger_with_the_metrics() {
    let (a, b) = (Net::random(5, 1), Net::random(6, 1).hinted());
    let hinted = pq::Network::open(b.folder()).unwrap().with_new_hints().unwrap();
    hinted.save(b.folder()).unwrap();
    let (keys, tokens) = with_tokens(&[""]);
    let nets = [format!("a={}", a.folder()), format!("b={}", b.folder())];
    let service = Service::start(&keys, &nets, &WEB);
    let mut moved = [0, 0];
    block_on(async {
        for (name, net) in [("a", &a), ("b", &b)] {
            let mut session = session(&service, &tokens[0], name).await.unwrap();
            let mut ledger = session.ledger();
            for seed in [1, 2] {
                let pixels = pixels(&session, seed);
                session.prepare().await.unwrap();
                let found = session.infer(&pixels).await.unwrap();
                let input = session.plan().encode_bytes(&pixels).unwrap();
                let plain = fusion::ideal(session.plan(), &net.weights, &input).unwrap();
                let plain = session.plan().decode(&plain, 1).pop().unwrap();
                assert_eq!(found.label, plain.label);
                assert_eq!(found.logits, plain.logits.map(|logits| logits.integers));
                ledger = found.ledger;
            }
            let parts = [ledger.setup, ledger.offline, ledger.online];
            moved[0] += parts.iter().map(|part| part.sent).sum::<u64>();
            moved[1] += parts.iter().map(|part| part.received).sum::<u64>();
            session.close().await.unwrap();
        }
    });
    service.await_metric("pq_sessions_total", "outcome=\"complete\"", 2);
    assert_eq!(service.metric("pq_ledger_mismatch_total", ""), 0);
    // What ends a session, its goodbye and what the client has seen of it, came after the last
    // look: two frames.
    let end = 2 * ((12 + 8) + (12 + 32));
    assert_eq!(service.metric("pq_bytes_total", "by=\"client\""), moved[0] + end);
    assert_eq!(service.metric("pq_bytes_total", "by=\"server\""), moved[1]);
    let log = format!("{:?}", service.log());
    assert!(log.contains("page-0") && !log.contains(tokens[0].expose()), "{log}");
    assert!(service.drained().status.success());
}

#[test]
fn rights_and_quotas_are_those_of_the_token() {
    let net = Net::random(5, 1);
    let (keys, tokens) = with_tokens(&["images_per_day=1", "models=net reveal=label"]);
    let nets = [format!("net={}", net.folder()), format!("other={}", net.folder())];
    let service = Service::start(&keys, &nets, &WEB);
    block_on(async {
        let mut first = session(&service, &tokens[0], "net").await.unwrap();
        let image = pixels(&first, 3);
        first.infer(&image).await.unwrap();
        let over = first.infer(&image).await.unwrap_err();
        let quota = matches!(
            over,
            web::Error::Protocol(ProtocolError::Dismissed { reason: Reason::Quota, .. })
        );
        assert!(quota, "{over}");
        let again = session(&service, &tokens[0], "net").await.err().unwrap();
        assert!(matches!(again, web::Error::Quota { .. }), "{again}");
        let mut label = session(&service, &tokens[1], "net").await.unwrap();
        assert_eq!(label.infer(&image).await.unwrap().logits, None);
        let other = session(&service, &tokens[1], "other").await.err().unwrap();
        assert!(matches!(other, web::Error::UnknownNetwork { .. }), "{other}");
    });
    let used = std::fs::read_to_string(keys.file("clients.txt.used")).unwrap();
    assert!(used.starts_with(&tokens[0].digest().to_string()), "{used}");
    assert!(service.drained().status.success());
}

#[test]
fn strangers_pages_of_elsewhere_and_garbage_do_not_come_in() {
    let net = Net::random(5, 1);
    let (keys, tokens) = with_tokens(&[""]);
    let nets = [format!("net={}", net.folder())];
    let more = [&WEB[..], &["--web-origin", "https://example.org"]].concat();
    let service = Service::start(&keys, &nets, &more);
    let own = offer(&tokens[0]);
    let other = offer(&Token::generate().unwrap());
    let elsewhere = Some("https://example.net");
    block_on(async {
        for (offered, origin, status) in [
            (own.as_str(), None, 101),
            (&own, Some("https://example.org"), 101),
            (&own, Some("http://127.0.0.1:9"), 101),
            (&own, elsewhere, 403),
            (&own, Some("null"), 403),
            (&own, Some("http://127.0.0.1.example.net"), 403),
            (&other, None, 401),
            ("pq", None, 401),
            ("pq, pq-token.short", None, 401),
            (&own[4..], None, 400),
        ] {
            let found = match connected(&service, (offered, origin)).await {
                Ok(_) => 101,
                Err(Error::Http(response)) => response.status().as_u16(),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, status, "{offered} {origin:?}");
        }
        // A message that is text, one that is no frame of the protocol, one that is too long.
        let long = Bytes::from(vec![0; (2 << 20) + 1]);
        for message in [Message::text("pq"), Message::binary(vec![7; 40]), Message::Binary(long)] {
            let mut socket = connected(&service, (&own, None)).await.unwrap();
            let _ = socket.send(message).await;
            while let Some(Ok(_)) = socket.next().await {}
        }
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("GET /pq HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
            ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("\x16\x03\x01\x02\r\n\r\n", "400"),
        ] {
            let mut stream = TcpStream::connect(service.web.as_ref().unwrap()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(&head[9..], status.as_bytes(), "{request:?}");
        }
        let found = session(&service, &tokens[0], "net").await;
        assert!(found.is_ok(), "what others do is nobody's trouble: {:?}", found.err());
    });
    assert_eq!(service.metric("pq_refused_total", "\"token\""), 3);
    assert_eq!(service.metric("pq_refused_total", "\"origin\""), 3);
    assert!(service.drained().status.success());
}

#[test]
fn a_certificate_protects_the_connection() {
    let net = Net::random(5, 1);
    let (keys, tokens) = with_tokens(&[""]);
    let ca = Ca::new("for browsers");
    let issued = ca.issue("web", &["dns:pq.example"], |_| ());
    let more = [&WEB[..], &["--web-cert", &issued.chain, "--web-key", &issued.key]].concat();
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &more);
    block_on(async {
        let trusted = CertificateDer::from_pem_file(ca.file()).unwrap();
        let stream = encrypted(&service, trusted).await;
        let socket = upgrade(stream, "pq.example", (&offer(&tokens[0]), None)).await.unwrap();
        let mut session = Box::pin(Session::open(bytes(socket), "net", LIMITS)).await.unwrap();
        let image = pixels(&session, 4);
        session.infer(&image).await.unwrap();
        // In the clear there is nothing to be had.
        assert!(connected(&service, (&offer(&tokens[0]), None)).await.is_err());
    });
    assert!(service.drained().status.success());
}

async fn encrypted(
    service: &Service,
    trusted: CertificateDer<'static>,
) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(service.web.as_ref().unwrap()).await.unwrap();
    let name = ServerName::try_from("pq.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[test]
fn what_would_cross_the_network_in_the_clear_is_refused_with_what_to_do() {
    let net = Net::random(5, 1);
    let (keys, _) = with_tokens(&[""]);
    let (key, clients) = (keys.file("server"), keys.file("clients.txt"));
    let folder = format!("net={}", net.folder());
    let serve = |more: &[&str]| {
        let args = ["serve", &folder, "--listen", "127.0.0.1:0", "--key", &key];
        run(&[&args, &["--clients", &clients][..], more].concat())
    };
    let refused = serve(&["--listen-web", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--web-cert"), "{}", stderr(&refused));
    let web = ["--listen-web", "127.0.0.1:0", "--web-cert", &clients, "--web-key", &key];
    let refused = serve(&web);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("clients.txt: expected certificates"), "{refused:?}");
    // The other server of the program knows keys alone.
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let server = ["infer", "--role", "server", "--plan", &plan, "--weights", &weights];
    let more = ["--listen", "127.0.0.1:0", "--key", &key, "--clients", &clients];
    let refused = run(&[&server[..], &more].concat());
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("pq serve"), "{}", stderr(&refused));
}

#[test]
fn a_page_without_its_client_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    let client = ["demo", "--web", "--web-client", nothing.to_str().unwrap()];
    let refused = run(&client);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("bindings/web/build.sh"), "{}", stderr(&refused));
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings/web/build.sh").is_file());
}

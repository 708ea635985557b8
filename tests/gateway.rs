//! `pq gateway`: plain HTTP to a real gateway, of a real `pq serve` that also ends and comes back.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::schema::assert_valid;
use crate::support::service::{Keys, Service, apart};
use crate::support::{Net, finished, json as object, pq, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that listens.
struct Gateway {
    child: Child,
    address: String,
    /// Every line that it has logged, at the finest level.
    log: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn start(keys: &Keys, server: &str, more: &[&str]) -> Self {
        let args = ["gateway", "--connect", server, "--model", "net", "--listen", "127.0.0.1:0"];
        let mut args: Vec<String> = args.map(str::to_owned).into();
        args.extend(keys.client("client"));
        args.push("--json".into());
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let mut child = pq(&args).env("PQ_LOG", "trace").spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the gateway ended: {:?}: {said:?}", child.wait());
            };
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event["event"] == "listening" => {
                    break event["address"].as_str().unwrap().to_owned();
                }
                _ => said.push(line),
            }
        };
        let log = Arc::new(Mutex::new(said));
        let own = Arc::clone(&log);
        apart(move || lines.map_while(Result::ok).for_each(|line| own.lock().unwrap().push(line)));
        Self { child, address, log }
    }

    /// Sends bytes, and reads the answer to its end.
    fn send(&self, request: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let len = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {len}\r\n\
             Connection: close\r\n\r\n{body}"
        ))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "", "")
    }

    fn infer(&self, body: &Value) -> (u16, Value) {
        self.ask("POST", "/v2/models/net/infer", "", &body.to_string())
    }

    /// Waits until it has a session.
    fn await_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/v2/health/ready").0 != 200 {
            assert!(Instant::now() < deadline, "the gateway does not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ended(self) -> Output {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.unwrap().success());
        finished(self.child, PATIENCE)
    }
}

/// Images of the network's own file, as a request has them.
fn request(net: &Net, images: usize) -> Value {
    let [channels, rows, columns] = net.plan.input_wire().shape;
    let elements = net.plan.input_wire().elements();
    let file = fs::read(net.path("images.npy")).unwrap();
    // The head of an .npy file is a line.
    let start = file.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let data: Vec<f32> = file[start..]
        .chunks_exact(4)
        .take(images * elements)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let shape = [images, channels, rows, columns];
    json!({
        "id": "7",
        "inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": data}],
    })
}

/// What the plaintext network says of the first images.
fn expected(net: &Net, images: usize) -> Vec<i64> {
    let pixels = pq::Images::of_plan(net.path("images.npy"), &net.plan).unwrap().take(images);
    let network = pq::Network::open(net.folder()).unwrap();
    let answers = network.evaluate(&pixels).unwrap();
    answers.into_iter().flat_map(|answer| answer.logits.unwrap().integers).collect()
}

#[test]
fn a_gateway_answers_with_the_plaintext_networks_integers_also_when_its_server_comes_back() {
    let net = Net::random(5, 4);
    let keys = Keys::new(&[("client", "")]);
    let nets = [format!("net={}", net.folder())];
    let service = Service::start(&keys, &nets, &[]);
    let address = service.address.clone();
    let gateway = Gateway::start(&keys, &address, &["--prepare", "2", "--connect-timeout", "1"]);
    gateway.await_ready();
    assert_eq!(gateway.get("/v2/health/live").0, 200);
    assert_eq!(gateway.get("/v2").1["name"], "pq");
    assert_eq!(gateway.get("/v2/models/net/ready").0, 200);
    let (status, found) = gateway.infer(&request(&net, 3));
    assert_eq!(status, 200, "{found}");
    assert_eq!((&found["id"], &found["model_name"]), (&"7".into(), &"net".into()));
    assert_eq!(found["outputs"][2]["name"], "integers");
    assert_eq!(found["outputs"][2]["shape"][0], 3);
    assert_eq!(found["outputs"][2]["data"], json!(expected(&net, 3)));
    let mut labels_alone = request(&net, 1);
    labels_alone["outputs"] = json!([{"name": "label"}]);
    let (_, found) = gateway.infer(&labels_alone);
    assert_eq!(found["outputs"].as_array().unwrap().len(), 1, "{found}");
    // The server ends: the gateway says so, and goes on when there is one again.
    assert!(service.drained().status.success());
    assert_eq!(gateway.infer(&request(&net, 1)).0, 503);
    assert_eq!(gateway.get("/v2/health/ready").0, 503);
    let service = Service::start_at(&address, &keys, &nets, &[]);
    gateway.await_ready();
    let (status, found) = gateway.infer(&request(&net, 2));
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["outputs"][2]["data"], json!(expected(&net, 2)));
    let ended = gateway.ended();
    assert_valid("gateway", &object(&ended));
    assert_eq!(object(&ended)["images"], 6);
    service.await_metric("pq_sessions_total", "complete", 1);
    assert!(service.drained().status.success());
}

#[test]
fn requests_that_cannot_be_answered_are_told_why() {
    let net = Net::random(5, 3);
    let keys = Keys::new(&[("client", "images_per_day=1")]);
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &[]);
    let gateway = Gateway::start(&keys, &service.address, &["--max-images", "2"]);
    let told = |(status, answer): (u16, Value), expected: u16, part: &str| {
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == expected && why.contains(part), "{expected} {part}: {status} {answer}");
    };
    told(gateway.get("/v2/models/other"), 404, "net");
    told(gateway.get("/metrics"), 404, "/v2/health/live");
    told(gateway.get("/v2/models/net/infer"), 405, "POST");
    let infer = "/v2/models/net/infer";
    told(gateway.ask("POST", infer, "", "{"), 400, "EOF");
    told(gateway.infer(&request(&net, 3)), 400, "1 to 2 images");
    for (field, value, part) in [
        ("shape", json!([1, 3]), "shape"),
        ("datatype", json!("INT64"), "UINT8"),
        ("name", json!("image"), "input"),
        ("data", json!(null), "no data"),
    ] {
        let mut wrong = request(&net, 1);
        wrong["inputs"][0][field] = value;
        told(gateway.infer(&wrong), 400, part);
    }
    let mut wrong = request(&net, 1);
    wrong["inputs"][0]["datatype"] = "UINT8".into();
    wrong["inputs"][0]["data"] = json!(vec![300.0625; net.plan.input_wire().elements()]);
    told(gateway.infer(&wrong), 400, "300.0625");
    let mut wrong = request(&net, 1);
    wrong["outputs"] = json!([{"name": "softmax"}]);
    told(gateway.infer(&wrong), 400, "softmax");
    // Another machine's page, and another machine's name.
    let page = "Origin: https://example.org\r\n";
    told(gateway.ask("GET", "/v2", page, ""), 403, "this machine");
    let name = "Host: rebound.example.org\r\n";
    told(gateway.ask("GET", "/v2", name, ""), 403, "this machine");
    // A body is refused by its declared length, before it is sent.
    let long = format!(
        "POST {infer} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        1_u64 << 40
    );
    told(gateway.send(&long), 413, "fewer images");
    // Two images are one more than the client may have today.
    told(gateway.infer(&request(&net, 2)), 429, "all images");
    let log = Arc::clone(&gateway.log);
    assert_eq!(gateway.ended().status.code(), Some(0));
    // Whoever has sent an image hears what is wrong with it; the log does not have it.
    let log = log.lock().unwrap().join("\n");
    assert!(log.contains("\"status\":400") && log.contains("not as it should be"), "{log}");
    assert!(!log.contains("300.0625") && !log.contains("softmax"), "{log}");
    assert!(service.drained().status.success());
}

#[test]
fn a_gateway_is_for_this_machine_unless_it_is_told_otherwise() {
    let net = Net::random(5, 1);
    let keys = Keys::new(&[("client", "")]);
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &[]);
    let mut args = vec!["gateway", "--connect", &service.address, "--listen", "0.0.0.0:0"];
    let own = keys.client("client");
    args.extend(own.iter().map(String::as_str));
    let exposed = run(&[&args[..], &["--model", "net"]].concat());
    assert_eq!(exposed.status.code(), Some(2), "{}", stderr(&exposed));
    assert!(stderr(&exposed).contains("--expose"), "{}", stderr(&exposed));
    // What cannot work is known at the start.
    let unknown = run(&[&args[..], &["--model", "other", "--expose"]].concat());
    assert_eq!(unknown.status.code(), Some(5), "{}", stderr(&unknown));
    assert!(service.drained().status.success());
}

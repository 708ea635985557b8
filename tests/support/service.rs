//! A `pq serve` process with its clients' keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pq::{ClientTls, Identity, Security};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{finished, pq, run};

/// Only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs something beside the test, to whatever end.
pub(crate) fn apart(run: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().spawn(run).unwrap());
}

/// Keys of a server and of clients, in files.
pub(crate) struct Keys {
    folder: TempDir,
}

impl Keys {
    /// Of a server and of clients of these names, each with its rights behind it.
    pub(crate) fn new(clients: &[(&str, &str)]) -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        keys.make("server");
        clients.iter().for_each(|(name, _)| keys.make(name));
        keys.write(clients);
        keys
    }

    fn make(&self, name: &str) {
        Identity::generate().unwrap().save(&self.folder.path().join(name)).unwrap();
    }

    /// Writes the file of clients, with keys that are there or are made now.
    pub(crate) fn write(&self, clients: &[(&str, &str)]) {
        let mut text = String::new();
        for (name, rights) in clients {
            if !self.folder.path().join(name).exists() {
                self.make(name);
            }
            text += &format!("{name} {} {rights}\n", self.identity(name).public());
        }
        std::fs::write(self.folder.path().join("clients.txt"), text).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity::open(self.file(name).as_ref()).unwrap()
    }

    /// The options of a client's command.
    pub(crate) fn client(&self, name: &str) -> Vec<String> {
        let server = self.identity("server").public().to_string();
        ["--key", &self.file(name), "--server-key", &server, "--cache", &self.file("cache")]
            .map(str::to_owned)
            .into()
    }

    /// What the library takes of a client.
    pub(crate) fn security(&self, name: &str) -> Security<ClientTls> {
        let (identity, server) = (self.identity(name), self.identity("server").public());
        let tls = ClientTls { identity: identity.into(), server: server.into() };
        Security::Tls(Arc::new(tls))
    }
}

/// A page of an admin port: its status and its body.
pub(crate) fn page(admin: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The sum of a metric over all lines of a page whose labels contain this.
pub(crate) fn sum(page: &str, name: &str, label: &str) -> u64 {
    let own = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    });
    own.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// A service that listens. It ends with the test, however that ends.
pub(crate) struct Service {
    /// None once it is waited for.
    child: Option<Child>,
    pub(crate) address: String,
    pub(crate) admin: String,
    /// Where browsers connect, if anywhere.
    pub(crate) web: Option<String>,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    /// Starts one for these networks, `NAME=FOLDER`.
    pub(crate) fn start(keys: &Keys, nets: &[String], more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", keys, nets, more)
    }

    /// The same, at an address.
    pub(crate) fn start_at(address: &str, keys: &Keys, nets: &[String], more: &[&str]) -> Self {
        Self::spawn(&[], address, keys, nets, more)
    }

    /// The same, with variables of the environment.
    pub(crate) fn start_under(variables: &[(&str, &str)], keys: &Keys, nets: &[String]) -> Self {
        Self::spawn(variables, "127.0.0.1:0", keys, nets, &[])
    }

    fn spawn(
        variables: &[(&str, &str)],
        address: &str,
        keys: &Keys,
        nets: &[String],
        more: &[&str],
    ) -> Self {
        let (key, clients) = (keys.file("server"), keys.file("clients.txt"));
        let mut args = vec!["serve", "--json", "--listen", address];
        args.extend(["--admin", "127.0.0.1:0", "--key", &key, "--clients", &clients]);
        args.extend(more);
        args.extend(nets.iter().map(String::as_str));
        let mut child = pq(&args).envs(variables.iter().copied()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let first: Value = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the service ended: {:?}: {said:?}", child.wait());
            };
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event["event"] == "listening" => break event,
                Ok(_) | Err(_) => said.push(line),
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&log);
        apart(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line);
                own.lock().unwrap().push(event.unwrap_or(Value::String(line)));
            }
        });
        let said = |name: &str| first[name].as_str().map(str::to_owned);
        let text = |name: &str| said(name).unwrap();
        let (address, admin, web) = (text("address"), text("admin"), said("web"));
        Self { child: Some(child), address, admin, web, log }
    }

    /// The arguments of a client's command for a network's first images.
    pub(crate) fn infer(
        &self,
        keys: &Keys,
        client: &str,
        model: &str,
        images: &str,
    ) -> Vec<String> {
        let mut args = ["infer", "--connect", &self.address, "--model", model, "--input", images]
            .map(str::to_owned)
            .to_vec();
        args.extend(keys.client(client));
        args.push("--json".into());
        args
    }

    /// Runs a client to its end.
    pub(crate) fn client(&self, args: &[String], more: &[&str]) -> Output {
        let all: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(&all)
    }

    /// A page of the admin port: its status and its body.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        page(&self.admin, path)
    }

    /// The sum of a metric over all its lines whose labels contain this.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        sum(&self.page("/metrics").1, name, label)
    }

    /// Waits until a metric has reached a value.
    pub(crate) fn await_metric(&self, name: &str, label: &str, least: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name, label) < least {
            assert!(Instant::now() < deadline, "{name} {label}: {}", self.page("/metrics").1);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for an event of this name, and returns it.
    pub(crate) fn event(&self, name: &str) -> Value {
        self.event_of(name, ("event", &name.into()))
    }

    /// Waits for an event of this name whose field has this value, and returns it. A metric counts
    /// before a line that tells of the same is read.
    pub(crate) fn event_of(&self, name: &str, (field, value): (&str, &Value)) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut log = self.log().into_iter();
            if let Some(event) = log.find(|e| e["event"] == name && e[field] == *value) {
                return event;
            }
            assert!(Instant::now() < deadline, "no {name}, {field} {value}, in {:?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Bytes of memory that it holds now (`VmRSS`), or has held at the most (`VmHWM`).
    pub(crate) fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        let line = line.trim_start_matches(':');
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end, after a signal.
    pub(crate) fn ended(mut self) -> Output {
        finished(self.child.take().unwrap(), PATIENCE)
    }

    fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn drained(self) -> Output {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

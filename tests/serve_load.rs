//! `pq serve` under load: many sessions at once among faults, and one that does not end. Release
//! builds only: real networks are slow in others.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pq::{Client, ClientOptions, Error, Images, Load, Network};
use protocols::price::PROCESS;
use tempfile::TempDir;

use crate::search::{asset, search_args, searches_are_fast};
use crate::support::net::shared;
use crate::support::relay::{Relay, Then};
use crate::support::service::{Keys, Service};
use crate::support::{json, pq, run};

const PATIENCE: Duration = Duration::from_secs(120);
/// Sessions at a time that have to be right, and those after them, one after the other.
const SESSIONS: usize = 64;
const LATER: usize = 40;
/// Inferences of each.
const EACH: usize = 2;
/// Connections of every kind of fault.
const FAULTS: usize = 6;
/// What threads of 64 sessions at a time may leave with the allocator, once, beside a fifth.
const KEPT: u64 = 4 << 20;
/// What each of the later ones may leave behind: one that is not freed holds a megabyte or more.
const LEFT: u64 = 32 << 10;

/// A network, searched, and images for it.
struct Searched {
    _folder: TempDir,
    network: Network,
    images: Images,
    file: String,
    net: String,
}

impl Searched {
    /// None in a debug build.
    fn new(model: &str, calibration: &str, file: String) -> Option<Self> {
        if !searches_are_fast() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap().to_owned();
        json(&run(&search_args(model, calibration, &["--fixed", "w4a4", "--out", &out])));
        let network = Network::open(&out).unwrap();
        let images = network.images(&file).unwrap();
        Some(Self { _folder: folder, network, images, file, net: format!("net={out}") })
    }

    /// The network that the package comes with.
    fn digits() -> Option<Self> {
        let [model, calibration, images] =
            ["digits.onnx", "digits-calib-images-idx3-ubyte", "digits-test-images-idx3-ubyte"]
                .map(asset);
        Self::new(&model, &calibration, images)
    }

    /// LeNet, where the real networks are.
    fn lenet() -> Option<Self> {
        let data = shared().filter(|_| searches_are_fast())?;
        let [model, calibration, images] = [
            "networks/lenet3x3_mnist.onnx",
            "images/mnist-train10k-images-idx3-ubyte.gz",
            "images/mnist-t10k-images-idx3-ubyte.gz",
        ]
        .map(|name| data.join(name).to_str().unwrap().to_owned());
        Self::new(&model, &calibration, images)
    }

    async fn connect(
        &self,
        address: &str,
        (keys, name): (&Keys, &str),
        load: Load,
    ) -> Result<Client, Error> {
        let options = ClientOptions { load, security: keys.security(name), ..<_>::default() };
        Client::connect(address, self.network.plan().clone(), &options).await
    }

    /// Runs a session from an image on, once all others are set up, and compares all logits.
    async fn session(
        &self,
        address: &str,
        keys: &Keys,
        (at, all): (usize, &Meeting),
    ) -> Result<(), Error> {
        let name = ["a", "b", "c"][at % 3];
        let mut client = self.connect(address, (keys, name), Load::new(1, 1, EACH)).await?;
        client.prepare(&mut |_| ()).await?;
        all.wait().await;
        for image in at..at + EACH {
            let image = self.images.skip(image).take(1);
            let answer = client.infer(&image).await?;
            let found = &answer[0].logits.as_ref().unwrap().integers;
            assert_eq!(*found, self.plain(&image), "session {at}");
        }
        client.close().await.map(drop)
    }

    /// The plaintext network's logits.
    fn plain(&self, image: &Images) -> Vec<i64> {
        let (plan, weights) = (self.network.plan(), self.network.weights());
        let input = plan.encode(&image.tensor().unwrap().data).unwrap();
        fusion::ideal(plan, weights, &input).unwrap()
    }

    /// So many sessions at the same time, each on a thread of its own: what became of them.
    fn round(&self, address: &str, keys: &Keys, sessions: usize) -> Result<(), Error> {
        let (runtime, all) = (pq::runtime().unwrap(), Meeting::of(sessions));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..sessions)
                .map(|at| {
                    let (handle, session) = (runtime.handle(), (at, &all));
                    scope.spawn(move || handle.block_on(self.session(address, keys, session)))
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap())
        })
    }
}

/// Sessions that wait for each other, unless one does not come.
struct Meeting {
    of: usize,
    there: AtomicUsize,
}

impl Meeting {
    const fn of(of: usize) -> Self {
        Self { of, there: AtomicUsize::new(0) }
    }

    async fn wait(&self) {
        self.there.fetch_add(1, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        while self.there.load(Ordering::SeqCst) < self.of && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Everything in a service's log that is no success, beside an error.
fn why(service: &Service, error: &Error) -> String {
    let mut log = service.log();
    log.retain(|event| event["event"] == "refused" || !event["why"].is_null());
    format!("{error}: {log:?}")
}

/// Connections that come to nothing, and clients that end amid their session.
struct Faults {
    _strangers: Vec<TcpStream>,
    relays: Vec<Relay>,
    killed: Vec<std::process::Child>,
}

impl Faults {
    /// `whole`: what a session sends to its client.
    fn start(service: &Service, keys: &Keys, net: &Searched, whole: u64) -> Self {
        let mut strangers = Vec::new();
        for at in 0..2 * FAULTS {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            if at % 2 == 0 {
                let _ = stream.write_all(&[at as u8; 999]);
            }
            strangers.push(stream);
        }
        let relay = |at: usize| {
            let limit = whole * (at as u64 + 1) / (FAULTS as u64 + 2);
            Relay::to(&service.address, limit, Then::Stall)
        };
        let args = service.infer(keys, "killed", "net", &net.file);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let killed = (0..FAULTS).map(|_| pq(&args).args(["--index", "0..40"]).spawn().unwrap());
        let killed = killed.collect();
        Self { _strangers: strangers, relays: (0..FAULTS).map(relay).collect(), killed }
    }

    /// Strangers with keys, sessions that fall silent, and processes that are killed one by one.
    fn go_on(&mut self, address: &str, keys: &Keys, net: &Searched) {
        let runtime = pq::runtime().unwrap();
        let others = Keys::new(&[("stranger", "")]);
        runtime.block_on(async {
            let mut silent = Vec::new();
            for relay in &self.relays {
                let load = Load::new(1, 1, EACH);
                let client = net.connect(&relay.address, (keys, "silent"), load).await;
                // Some fall silent before their session begins.
                let Ok(mut client) = client else { continue };
                let image = net.images.take(1);
                silent
                    .push(tokio::spawn(async move { while client.infer(&image).await.is_ok() {} }));
            }
            for _ in 0..FAULTS {
                let tls = pq::ClientTls {
                    identity: others.identity("stranger").into(),
                    server: keys.identity("server").public().into(),
                };
                let security = pq::Security::Tls(tls.into());
                let options = ClientOptions { security, ..ClientOptions::default() };
                let plan = net.network.plan().clone();
                let refused = Client::connect(address, plan, &options).await;
                assert!(refused.is_err(), "a stranger is let in");
            }
            for child in &mut self.killed {
                tokio::time::sleep(Duration::from_millis(60)).await;
                child.kill().unwrap();
                child.wait().unwrap();
            }
            for client in silent {
                client.await.unwrap();
            }
        });
    }
}

/// Waits until no session is left: what the process holds then.
fn settled(service: &Service, networks: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    while service.metric("pq_sessions", "") > 0
        || service.metric("pq_memory_bytes", "charged") > networks
    {
        assert!(Instant::now() < deadline, "{}", service.page("/metrics").1);
        std::thread::sleep(Duration::from_millis(20));
    }
    service.memory("VmRSS")
}

/// The most memory that is charged, until it is told to end.
fn most_charged(service: &Service, end: &AtomicBool) -> u64 {
    let mut most = 0;
    while !end.load(Ordering::SeqCst) {
        most = most.max(service.metric("pq_memory_bytes", "charged"));
        std::thread::sleep(Duration::from_millis(10));
    }
    most
}

#[test]
fn many_sessions_among_faults_are_all_right_and_within_the_memory_that_is_predicted() {
    let Some(net) = Searched::lenet().or_else(Searched::digits) else { return };
    let names = ["a", "b", "c", "killed", "silent"];
    let keys = Keys::new(&names.map(|name| (name, "")));
    let plan = net.network.plan();
    let places = (SESSIONS + 3 * FAULTS) as u64;
    let room = PROCESS + plan.shared_memory() + places * plan.session_memory(Load::one(40));
    let more = ["--max-memory", &room.to_string(), "--timeout", "10", "--auth-time", "5"];
    let service = Service::start(&keys, std::slice::from_ref(&net.net), &more);
    let networks = service.metric("pq_memory_bytes", "charged");
    let whole = Relay::to(&service.address, u64::MAX, Then::Cut);
    net.round(&whole.address, &keys, 1).unwrap();
    let before = settled(&service, networks);
    let end = AtomicBool::new(false);
    let started = Instant::now();
    let mut faults = Faults::start(&service, &keys, &net, whole.sent());
    let charged = std::thread::scope(|scope| {
        let charged = scope.spawn(|| most_charged(&service, &end));
        let faulty = scope.spawn(|| faults.go_on(&service.address, &keys, &net));
        let good = net.round(&service.address, &keys, SESSIONS);
        faulty.join().unwrap();
        end.store(true, Ordering::SeqCst);
        good.unwrap_or_else(|error| panic!("{}", why(&service, &error)));
        charged.join().unwrap()
    });
    let seconds = started.elapsed().as_secs_f64();
    let loaded = settled(&service, networks);
    for _ in 0..LATER {
        net.round(&service.address, &keys, 1).unwrap();
    }
    let (after, peak) = (settled(&service, networks), service.memory("VmHWM"));
    let predicted = PROCESS + charged;
    println!(
        "{SESSIONS} sessions among faults in {seconds:.1} s; server: {peak} bytes at the most"
    );
    println!("of {predicted} predicted; {before} after one session, {loaded} after all of them,");
    println!("{after} after {LATER} more");
    assert!(peak as f64 <= 1.15 * predicted as f64, "{peak} of {predicted}");
    assert!(loaded <= before + before / 5 + KEPT, "{loaded} held, {before} before");
    let bound = (loaded + LATER as u64 * LEFT).max(before + before / 5);
    assert!(after <= bound, "{after} held, {loaded} before {LATER} sessions, {before} before all");
    let complete = service.metric("pq_sessions_total", "\"complete\"");
    assert!(complete >= (1 + SESSIONS + LATER) as u64, "{}", service.page("/metrics").1);
    let late = ["pq_sessions_total", "pq_refused_total"].map(|of| service.metric(of, "\"late\""));
    assert_eq!(late[0] + late[1], FAULTS as u64, "{}", service.page("/metrics").1);
    // On a busy machine a stranger may be out of time before its key is looked at.
    let refused = ["\"key\"", "\"tls\""].map(|why| service.metric("pq_refused_total", why));
    let expected = refused[0] > 0 && refused[1] >= FAULTS as u64;
    assert!(expected, "{refused:?}: {}", why(&service, &Error::Ended));
    for never in ["pq_ledger_mismatch_total", "pq_panics_total"] {
        assert_eq!(service.metric(never, ""), 0, "{never}");
    }
    assert!(service.drained().status.success());
}

/// Minutes: run by night, or by hand. See docs/benchmarks.md.
#[test]
#[ignore = "takes minutes: cargo test --release --test end_to_end ten_thousand -- --ignored"]
fn ten_thousand_images_in_one_session_take_no_more_memory_than_a_thousand() {
    const BATCH: usize = 8;
    const ALL: usize = 10_000 / BATCH;
    let Some(net) = Searched::digits() else { return };
    let keys = Keys::new(&[("a", "")]);
    let service = Service::start(&keys, std::slice::from_ref(&net.net), &[]);
    let (batches, started) = (net.images.len() / BATCH, Instant::now());
    let batch = |at: usize| net.images.skip(at % batches * BATCH).take(BATCH);
    let plain: Vec<Vec<i64>> =
        (0..batches * BATCH).map(|at| net.plain(&net.images.skip(at).take(1))).collect();
    let runtime = pq::runtime().unwrap();
    let held: Vec<u64> = runtime.block_on(async {
        let load = Load::new(BATCH, 4, ALL);
        let client = net.connect(&service.address, (&keys, "a"), load).await;
        let mut client = client.unwrap();
        let mut held = Vec::new();
        for at in 0..ALL {
            let answers = client.infer(&batch(at)).await.unwrap();
            let found = answers.iter().map(|answer| &answer.logits.as_ref().unwrap().integers);
            let first = at % batches * BATCH;
            assert!(found.eq(&plain[first..first + BATCH]), "{at}");
            if at % (ALL / 10) == ALL / 10 - 1 {
                held.push(service.memory("VmRSS"));
            }
        }
        client.close().await.unwrap();
        held
    });
    println!("{ALL} batches in {:.0} s; bytes {held:?}", started.elapsed().as_secs_f64());
    assert!(held.iter().all(|now| *now as f64 <= 1.05 * held[0] as f64), "{held:?}");
    service.await_metric("pq_sessions_total", "complete", 1);
    assert_eq!(service.metric("pq_images_total", ""), (ALL * BATCH) as u64);
    assert!(service.drained().status.success());
}

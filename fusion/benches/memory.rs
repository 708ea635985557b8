//! Peak memory and seconds of each party in a process of its own, over a loopback connection, one
//! inference of one image: `cargo bench -p pq-fusion --bench memory -- [resnet20|resnet18]...`

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use fusion::planner::{PlannerOptions, fastest};
use fusion::testing::{random_input, resnet18, resnet20};
use fusion::{Graph, Weights, eval};
use protocols::execute::{Side, execute};
use protocols::ot::OtExtensions;
use protocols::plan::{Load, Plan};
use protocols::profile::Profile;
use protocols::{Channel, Limits, Role, Session};
use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server", network] => serve(network),
        ["client", network, port] => ask(network, port),
        [] => ["resnet20", "resnet18"].into_iter().try_for_each(both),
        ref networks => networks.iter().try_for_each(|network| both(network)),
    }
}

fn network(name: &str) -> (Graph, Weights) {
    if name == "resnet18" { resnet18(1) } else { resnet20(1) }
}

fn plan(graph: &Graph, weights: &Weights) -> Result<Plan, Box<dyn Error>> {
    let purpose = PlannerOptions {
        protocols: protocols::plan::Protocols::All,
        profile: Profile::LAN,
        inferences: 1,
        batch: 1,
        budget_bits: None,
        extensions: OtExtensions::Any,
        lean: true,
    };
    fastest(graph, &weights.digest(), &purpose)?.ok_or_else(|| "no plan".into())
}

/// Starts both parties, and compares the client's logits with those in the clear.
fn both(name: &str) -> Result<(), Box<dyn Error>> {
    let party = |arguments: &[&str]| -> std::io::Result<Child> {
        Command::new(std::env::current_exe()?).args(arguments).stdout(Stdio::piped()).spawn()
    };
    let mut server = party(&["server", name])?;
    let mut from_server = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let port = from_server.next().ok_or("no port")??;
    let mut client = party(&["client", name, &port])?;
    let mut from_client = BufReader::new(client.stdout.take().ok_or("no output")?).lines();
    let logits = from_client.next().ok_or("no logits")??;
    for line in from_server.chain(from_client) {
        println!("{name}: {}", line?);
    }
    if !server.wait()?.success() || !client.wait()?.success() {
        return Err("a party failed".into());
    }
    let (graph, weights) = network(name);
    assert_eq!(
        logits,
        format!("{:?}", eval(&graph, &weights, &random_input(&graph, 1, 1))?),
        "logits"
    );
    Ok(())
}

fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    let (graph, weights) = network(name);
    let plan = plan(&graph, &weights)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        let (stream, _) = listener.accept().await?;
        run(Role::Server, stream, &plan, Side::Server(&Arc::new(weights))).await
    })
}

fn ask(name: &str, port: &str) -> Result<(), Box<dyn Error>> {
    let (graph, weights) = network(name);
    let plan = plan(&graph, &weights)?;
    drop(weights);
    let input = random_input(&graph, 1, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
        run(Role::Client, stream, &plan, Side::Client(&input)).await
    })
}

async fn run(
    role: Role,
    stream: TcpStream,
    plan: &Plan,
    side: Side<'_>,
) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let channel = Channel::new(stream, Limits::default());
    let own = if role == Role::Server { [2; 32] } else { [3; 32] };
    let session = Session::new(role, channel, [1; 32], own);
    let clock = Instant::now();
    let (logits, report) =
        execute(&Arc::new(plan.clone()), session, side, Load::one(1), &mut |_| ()).await?;
    let seconds = clock.elapsed().as_secs_f64();
    if let Some(logits) = logits {
        println!("{logits:?}");
    }
    let (setup, offline, online) = (report.setup, report.offline(), report.online());
    let megabytes = (setup.cost + offline.cost + online.cost).bits() as f64 / 8e6;
    let streamed = if plan.streamed { "streamed" } else { "kept" };
    println!(
        "{role:?}: {}, trees and transfers {streamed}, {megabytes:.0} MB, {seconds:.2} s \
         (set-up {:.2}, offline {:.2}, online {:.2})",
        peak(),
        setup.seconds,
        offline.seconds,
        online.seconds
    );
    Ok(())
}

/// The most memory that this process has held, as Linux tells it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or_else(|| "peak unknown".into(), |k| format!("peak {:.0} MB", k * 1024.0 / 1e6))
}

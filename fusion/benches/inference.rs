//! A whole inference of a network of the shape of ResNet-20 by two parties in one process:
//! wall-clock and processor seconds of a party, by phase. The parties share the process, so a
//! party's figure is half of what both take.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusion::testing::{random_input, resnet20};
use fusion::{Options, eval, fuse};
use protocols::execute::{Event, Side, execute};
use protocols::plan::Load;
use protocols::{Channel, Limits, Role, Session};

/// Step, wall clock and processor time at the start of each step of the client.
type Marks = Vec<(String, String, Instant, Duration)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (graph, weights) = resnet20(1);
    let plan =
        Arc::new(fuse(&graph, &Options { weights: weights.digest(), ..Options::default() })?);
    let input = random_input(&graph, 1, 1);
    let expected = eval(&graph, &weights, &input)?;
    let weights = Arc::new(weights);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let steps = std::env::args().any(|argument| argument == "--steps");
    for _ in 0..3 {
        let (left, right) = {
            let _entered = runtime.enter();
            Channel::pair(Limits::default())
        };
        let server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        let mut marks = Marks::new();
        let mut observe = |event: Event<'_>| {
            marks.push((event.phase.into(), event.step.into(), Instant::now(), processor_time()));
        };
        let (sides, plan) = ((Side::Server(&weights), Side::Client(&input)), &plan);
        let (served, found) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                runtime.block_on(async {
                    execute(plan, server, sides.0, Load::one(1), &mut |_| ()).await
                })
            });
            let found = runtime.block_on(async {
                execute(plan, client, sides.1, Load::one(1), &mut observe).await
            });
            observe(Event { phase: "end", step: "", index: 0, count: 0 });
            (other.join(), found)
        });
        served.map_err(|_| "the server panicked")??;
        assert_eq!(found?.0.as_ref(), Some(&expected), "logits");
        print(&marks, steps);
    }
    Ok(())
}

fn print(marks: &Marks, steps: bool) {
    let mut sums: Vec<(String, f64, f64)> = Vec::new();
    for pair in marks.windows(2) {
        let [(phase, step, clock, processor), next] = pair else { continue };
        let wall = (next.2 - *clock).as_secs_f64();
        let processor = next.3.saturating_sub(*processor).as_secs_f64() / 2.0;
        let name = if steps { format!("{phase}: {step}") } else { phase.clone() };
        let name = if !steps && step == "correlations" { format!("{phase}: {step}") } else { name };
        match sums.iter_mut().find(|(other, ..)| *other == name) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + wall, sum.2 + processor),
            None => sums.push((name, wall, processor)),
        }
    }
    for (name, wall, processor) in &sums {
        println!("{name:30} {wall:7.3} s wall {processor:7.3} s of a processor for each party");
    }
    let total = sums.iter().fold((0.0, 0.0), |sum, line| (sum.0 + line.1, sum.1 + line.2));
    println!(
        "{:30} {:7.3} s wall {:7.3} s of a processor for each party\n",
        "all", total.0, total.1
    );
}

/// The time that the living threads of this process have run for, as Linux tells it.
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.map(|thread| thread_time(&thread.path())).sum()
}

fn thread_time(thread: &Path) -> Duration {
    let statistics = std::fs::read_to_string(thread.join("schedstat"));
    let nanoseconds = statistics.ok().and_then(|line| line.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

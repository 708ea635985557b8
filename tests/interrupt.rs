//! Ctrl-C: the process ends at once with the code of shells, and leaves nothing behind.

use std::process::Command;
use std::time::Duration;

use crate::support::{Net, Server, finished, pq, stderr};

const PATIENCE: Duration = Duration::from_secs(30);

fn interrupt(id: u32) {
    assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupted_server_and_an_interrupted_client_end_with_130() {
    let net = Net::random(1, 1);
    let server = Server::start(&net.file("plan.json"), &net.file("weights.safetensors"), &[]);
    interrupt(server.child.id());
    let output = server.finished(PATIENCE);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (plan, images) = (net.file("plan.json"), net.file("images.npy"));
    let args = ["infer", "--role", "client", "--plan", &plan, "--input", &images, "--connect", &address];
    let client = pq(&args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    interrupt(client.id());
    assert_eq!(finished(client, PATIENCE).status.code(), Some(130));
}

//! A server and a client, each a process of its own:
//!
//!     cargo run --release --example two_processes server net/ 127.0.0.1:7000
//!     cargo run --release --example two_processes client net/plan.json 127.0.0.1:7000 images
//!
//! `pq search` writes the folder `net/`; the client needs its `plan.json` alone.

use std::sync::Arc;

use pq::{Client, ClientOptions, Images, Load, Network, Server, ServerOptions};

#[tokio::main]
async fn main() -> pq::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", folder, address] => serve(folder, address).await,
        ["client", plan, address, images] => ask(plan, address, images).await,
        _ => {
            eprintln!("server FOLDER ADDRESS, or client PLAN ADDRESS IMAGES");
            std::process::exit(2);
        }
    }
}

/// Serves one client.
async fn serve(folder: &str, address: &str) -> pq::Result<()> {
    let network = Network::open(folder)?;
    let server = Server::bind(address, &network, &ServerOptions::default()).await?;
    println!("listening on {}", server.address());
    let session = server.accept(&mut |_, why| eprintln!("no session: {why}")).await;
    let report = session.run(&mut |_| ()).await?;
    println!("served {} inferences", report.load.inferences);
    Ok(())
}

/// Asks for three images, one after the other, in one session.
async fn ask(plan: &str, address: &str, images: &str) -> pq::Result<()> {
    let plan = Arc::new(Network::open_plan(plan)?);
    let images = Images::of_plan(images, &plan)?;
    // Three inferences of one image each, of which two are prepared before the first.
    let options = ClientOptions { load: Load::new(1, 2, 3), ..Default::default() };
    let mut client = Client::connect(address, plan, &options).await?;
    client.prepare(&mut |_| ()).await?;
    for at in 0..3 {
        for answer in client.infer(&images.skip(at).take(1)).await? {
            println!("image {at}: class {}", answer.label);
        }
    }
    client.close().await?;
    Ok(())
}

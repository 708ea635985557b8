//! The front door: a server and its clients through the library, over TCP.

use std::sync::{Arc, Mutex};

use pq::{Client, ClientOptions, Error, Images, Load, Network, Server, ServerOptions};
use protocols::Error as ProtocolError;
use tokio::runtime::Runtime;

use crate::support::Net;

/// A network in a folder, saved and opened again by the library, with its images.
fn saved(seed: u64, images: usize) -> (Net, tempfile::TempDir, Network, Images) {
    let net = Net::random(seed, images);
    let folder = tempfile::tempdir().unwrap();
    Network::open(net.folder()).unwrap().save(folder.path().join("net")).unwrap();
    let network = Network::open(folder.path().join("net")).unwrap();
    assert_eq!(**network.plan(), net.plan);
    let images = network.images(net.file("images.npy")).unwrap();
    (net, folder, network, images)
}

/// The logits of all images, by the plaintext network: `[images][classes]`.
fn expected(network: &Network, images: &Images) -> Vec<Vec<i64>> {
    let (plan, len) = (network.plan(), images.len());
    let input = plan.encode(&images.tensor().unwrap().data).unwrap();
    let found = fusion::ideal(plan, network.weights(), &input).unwrap();
    plan.decode(&found, len).into_iter().map(|answer| answer.logits.unwrap().integers).collect()
}

#[test]
fn both_parties_in_this_process_answer_as_the_plaintext_network_does() {
    for seed in 0..4 {
        let (_net, _folder, network, images) = saved(seed, 3);
        let inference = network.infer_locally(&images).unwrap();
        let answers =
            inference.answers.iter().map(|answer| &answer.logits.as_ref().unwrap().integers);
        assert!(answers.eq(&expected(&network, &images)), "seed {seed}");
        let predicted: u64 =
            network.cost(3).iter().map(|s| s.cost.offline.bits() + s.cost.online.bits()).sum();
        let setup = inference.report.setup.cost;
        assert_eq!(8 * inference.bytes(), predicted + setup.bits(), "seed {seed}");
    }
}

#[test]
fn a_task_may_run_both_parties_too() {
    let (_net, _folder, network, images) = saved(1, 1);
    let inference = Runtime::new().unwrap().block_on(async { network.infer_locally(&images) });
    assert_eq!(inference.unwrap().answers.len(), 1);
}

/// One client after the other, each with several inferences of one session, prepared ahead.
#[test]
fn a_server_serves_client_after_client_and_a_bad_one_ends_nothing() {
    let (_net, _folder, network, images) = saved(5, 4);
    let other = saved(6, 4).2;
    let ended = Arc::new(Mutex::new(Vec::new()));
    Runtime::new().unwrap().block_on(async {
        let options = ServerOptions::default();
        let server = Server::bind("127.0.0.1:0", &network, &options).await.unwrap();
        let address = server.address().to_string();
        let heard = Arc::clone(&ended);
        // A server's future may move between threads.
        let serving = tokio::spawn(async move {
            server.serve(&mut |report| heard.lock().unwrap().push(report.is_ok())).await;
        });
        for client in 0..3 {
            let mut load = ClientOptions { load: Load::new(1, 2, 4), ..ClientOptions::default() };
            if client == 1 {
                load.load = Load::new(2, 1, 2);
            }
            let disagrees = Client::connect(&address, Arc::clone(other.plan()), &load).await;
            let error = disagrees.err().unwrap();
            assert!(
                matches!(error, Error::Protocol(ProtocolError::Disagreement { .. })),
                "{error}"
            );
            assert!(error.to_string().contains("plan hash"), "{error}");
            let plan = Arc::clone(network.plan());
            let mut client = Client::connect(&address, plan, &load).await.unwrap();
            client.prepare(&mut |_| ()).await.unwrap();
            let mut found = Vec::new();
            let each = load.load.images;
            for at in 0..load.load.inferences {
                let images = images.skip(at * each).take(each);
                found.extend(client.infer(&images).await.unwrap());
            }
            let more = client.infer(&images.take(each)).await;
            assert!(matches!(more, Err(Error::Exhausted { .. })), "{more:?}");
            let found = found.into_iter().map(|answer| answer.logits.unwrap().integers);
            assert!(found.eq(expected(&network, &images)));
            let report = client.close().await.unwrap();
            assert_eq!(report.load, load.load);
        }
        serving.abort();
    });
    assert!(ended.lock().unwrap().iter().all(|ended| *ended));
}

#[test]
fn what_cannot_be_opened_names_its_file() {
    let net = Net::random(1, 1);
    std::fs::write(net.path("plan.json"), "{}").unwrap();
    for (what, error) in [
        ("plan.json", Network::open(net.folder()).err().unwrap()),
        ("nowhere", Network::open(net.path("nowhere")).err().unwrap()),
        ("nowhere.onnx", pq::Model::open(net.path("nowhere.onnx")).err().unwrap()),
    ] {
        assert!(error.to_string().contains(what), "{error}");
    }
}

//! Certificates: who is let in by one, who is not and what both sides hear, and keys beside them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pq::{
    Authority, Certificate, Client, ClientIdentity, ClientOptions, ClientTls, Clients, Credential,
    Error, Identity, NamedServer, Role, Security, Server, ServerIdentity, ServerTls, ServerTrust,
};
use rcgen::CertificateParams;
use time::OffsetDateTime;

use crate::support::certificates::{CLIENT, Ca, Issued, SERVER};
use crate::support::{Net, Server as Process, client, finished, json, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);
/// The name of the server's certificates here.
const HOST: &str = "pq.example";
const ALICE: &str = "dns:alice.example";

fn plain(_: &mut CertificateParams) {}

fn opened(issued: &Issued, role: Role) -> Result<Certificate, Error> {
    Certificate::open(issued.chain.as_ref(), issued.key.as_ref(), role)
}

fn trust(ca: &Ca, name: &str) -> ServerTrust {
    NamedServer::new(Authority::open(ca.file().as_ref()).unwrap(), name).unwrap().into()
}

fn authority(ca: &Ca) -> Option<Authority> {
    Some(Authority::open(ca.file().as_ref()).unwrap())
}

fn clients(lines: &[String]) -> Clients {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.txt");
    std::fs::write(&path, lines.join("\n")).unwrap();
    Clients::open(&path).unwrap()
}

fn of_certificate(name: &str, certificate: &str) -> Clients {
    clients(&[format!("{name} x509:{certificate}")])
}

/// What came of a client that has asked for a whole inference, and what the server says of it.
struct Outcome {
    client: Result<(), Error>,
    server: String,
}

impl Outcome {
    /// A client that was refused, which hears this.
    fn refused(self, parts: &[&str]) -> (Error, String) {
        let error = self.client.expect_err(&format!("expected {parts:?}"));
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
        }
        (error, self.server)
    }
}

/// Runs a server and a client over a real connection.
async fn meet(net: &Net, server: ServerTls, client: ClientTls) -> Outcome {
    let network = pq::Network::open(net.folder()).unwrap();
    let limits = pq::Limits::new(Duration::from_secs(10));
    let security = Security::Tls(Arc::new(server));
    let options = pq::ServerOptions { limits, security, ..pq::ServerOptions::default() };
    let server = Server::bind("127.0.0.1:0", &network, &options).await.unwrap();
    let (address, told) = (server.address().to_string(), Arc::new(Mutex::new(String::new())));
    let own = Arc::clone(&told);
    let serving = tokio::spawn(async move {
        let session = server.accept(&mut |_, why| *own.lock().unwrap() = why.to_string()).await;
        session.run(&mut |_| ()).await.unwrap();
    });
    let security = Security::Tls(Arc::new(client));
    let asked = ClientOptions { limits, security, ..ClientOptions::default() };
    let inferred = async {
        let client = Client::connect(&address, Arc::clone(network.plan()), &asked).await?;
        client.run(&net.integers, &mut |_| ()).await
    };
    let client = match inferred.await {
        Ok((found, _)) => {
            assert_eq!(found, fusion::ideal(&net.plan, &net.weights, &net.integers).unwrap());
            serving.await.unwrap();
            return Outcome { client: Ok(()), server: String::new() };
        }
        Err(error) => Err(error),
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // The client may hear of it first.
    while told.lock().unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the server says nothing: {client:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    serving.abort();
    let server = told.lock().unwrap().clone();
    Outcome { client, server }
}

#[tokio::test]
async fn each_side_may_have_a_key_or_a_certificate_and_both_hear_where_that_does_not_fit() {
    let net = Net::random(3, 1);
    let ca = Ca::new("root").below("between");
    let root = &ca;
    let files = ca.issue("server", &["dns:pq.example"], |params| {
        params.extended_key_usages = vec![SERVER];
    });
    let own = ca.issue("alice", &[ALICE], |params| params.extended_key_usages = vec![CLIENT]);
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let path = folder.path().join(name);
        if !path.exists() {
            Identity::generate().unwrap().save(&path).unwrap();
        }
        Identity::open(&path).unwrap()
    };
    let known = clients(&[
        format!("keyed {}", key("client").public()),
        format!("alice x509:{ALICE} # of a certificate"),
    ]);
    let certificate = || opened(&files, Role::Server).unwrap();
    let servers: [(&str, &dyn Fn() -> ServerIdentity); 3] = [
        ("key", &|| key("server").into()),
        ("certificate", &|| certificate().into()),
        ("both", &|| ServerIdentity::Both(key("server"), certificate())),
    ];
    for (has, server) in servers {
        for by_key in [true, false] {
            for own_key in [true, false] {
                let tls = ServerTls::new(server(), known.clone(), authority(root)).unwrap();
                let client = ClientTls {
                    identity: if own_key {
                        key("client").into()
                    } else {
                        opened(&own, Role::Client).unwrap().into()
                    },
                    server: if by_key { key("server").public().into() } else { trust(root, HOST) },
                };
                let case = format!("{has}, by key {by_key}, own key {own_key}");
                let found = meet(&net, tls, client).await;
                if has == "both" || (has == "key") == by_key {
                    assert!(found.client.is_ok(), "{case}: {:?}", found.client);
                } else {
                    let shows = if by_key { "shows a key" } else { "shows a certificate" };
                    let (error, server) = found.refused(&[shows, "one that does not"]);
                    assert!(matches!(error, Error::Means { .. }), "{case}: {error:?}");
                    assert!(server.contains("a client that knows this server by"), "{server}");
                }
            }
        }
    }
    // Without an authority of clients there is no client with a certificate.
    let keyed = Clients::one("keyed", key("client").public());
    let tls = ServerTls::new(key("server"), keyed, None).unwrap();
    let identity = ClientIdentity::from(opened(&own, Role::Client).unwrap());
    let client = ClientTls { identity, server: key("server").public().into() };
    let (error, server) = meet(&net, tls, client).await.refused(&["knows this client by a cert"]);
    assert!(matches!(error, Error::Means { .. }), "{error:?}");
    assert!(server.contains("no authority"), "{server}");
    let refused = ServerTls::new(key("server"), known, None).unwrap_err().to_string();
    assert!(refused.contains("client alice") && refused.contains("authority"), "{refused}");
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_right_is_refused_with_why() {
    let net = Net::random(3, 1);
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    let own = ca.issue("alice", &[ALICE], plain);
    let authority_itself = ca.issue("itself", &["dns:pq.example"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let good = ca.issue("server", &["dns:pq.example"], plain);
    let patterned = ca.issue("pattern", &["dns:*.pq.example"], plain);
    let cases: [(&Issued, &Ca, &str, &[&str]); 5] = [
        (&good, &ca, "b.example", &["for b.example", "one for", "pq.example", "by a name"]),
        (&good, &ca, "127.0.0.1", &["for 127.0.0.1", "pq.example"]),
        (&good, &other, HOST, &["ca.pem", "another issuer", "x509:dns:pq.example"]),
        (&authority_itself, &ca, HOST, &["that of an authority", "CA:FALSE"]),
        (&patterned, &ca, "a.b.pq.example", &["for a.b.pq.example", "one for *.pq.example"]),
    ];
    for (server, trusted, name, parts) in cases {
        let clients = of_certificate("alice", ALICE);
        let tls = ServerTls::new(opened(server, Role::Server).unwrap(), clients, authority(&ca));
        let client = ClientTls {
            identity: opened(&own, Role::Client).unwrap().into(),
            server: trust(trusted, name),
        };
        let (error, _) = meet(&net, tls.unwrap(), client).await.refused(parts);
        assert!(matches!(error, Error::ServerCertificate { .. }), "{name}: {error:?}");
    }
    // A pattern of a server's certificate is as the web has it.
    let clients = of_certificate("alice", ALICE);
    let tls = ServerTls::new(opened(&patterned, Role::Server).unwrap(), clients, authority(&ca));
    let identity = opened(&own, Role::Client).unwrap().into();
    let client = ClientTls { identity, server: trust(&ca, "a.pq.example") };
    meet(&net, tls.unwrap(), client).await.client.unwrap();
}

/// Nothing, or what a client hears and its server tells.
type Heard<'a> = Result<(), (&'a [&'a str], &'a [&'a str])>;

#[tokio::test]
async fn a_client_whose_certificate_is_not_right_is_refused_and_both_sides_hear_why() {
    let net = Net::random(3, 1);
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    let good = ca.issue("server", &["dns:pq.example"], plain);
    let uri = "uri:spiffe://example/alice";
    let alice = ca.issue("alice", &[ALICE, uri], plain);
    let names = |issued: &Issued| format!("{:?}", opened(issued, Role::Client).unwrap());
    let key = names(&alice).split_once("x509:key:").unwrap().1[..64].to_owned();
    let stranger = other.issue("alice", &[ALICE], plain);
    // What names one alone is let in, however it names it; nothing matches by a part.
    let lines =
        |all: &[&str]| clients(&all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
    let by_key = format!("alice x509:key:{key}");
    let cases: [(&Issued, Clients, Heard); 8] = [
        (&alice, lines(&["alice x509:dns:Alice.Example"]), Ok(())),
        (&alice, lines(&["alice x509:uri:spiffe://example/alice"]), Ok(())),
        (&alice, lines(&[&by_key]), Ok(())),
        (
            &alice,
            lines(&[
                "a x509:dns:example",
                "b x509:uri:spiffe://example/",
                "c x509:dns:lice.example",
            ]),
            Err((&["none of its clients'", ALICE], &["nobody's", ALICE, uri, &key, "add a line"])),
        ),
        (
            &alice,
            lines(&["a x509:dns:alice.example", "b x509:uri:spiffe://example/alice"]),
            Err((&["none of its clients'"], &["one of a and b", "leave one line"])),
        ),
        (
            &stranger,
            lines(&["alice x509:dns:alice.example"]),
            Err((&["does not trust its issuer"], &["ca.pem", "another issuer", ALICE])),
        ),
        (
            &ca.issue("none", &[], plain),
            lines(&["alice x509:dns:alice.example"]),
            Err((&["none of its clients'", "x509:key:"], &["nobody's (x509:key:"])),
        ),
        (
            // A server's own certificate, presented by whoever has its key.
            &ca.issue("pattern", &["dns:*.example"], plain),
            lines(&["alice x509:dns:alice.example"]),
            Err((&["none of its clients'"], &["nobody's (x509:key:"])),
        ),
    ];
    for (own, clients, expected) in cases {
        let own = opened(own, Role::Client).unwrap();
        let tls = ServerTls::new(opened(&good, Role::Server).unwrap(), clients, authority(&ca));
        let client = ClientTls { identity: own.into(), server: trust(&ca, HOST) };
        let found = meet(&net, tls.unwrap(), client).await;
        let Err((heard, told)) = expected else {
            found.client.unwrap();
            continue;
        };
        let (error, server) = found.refused(heard);
        assert!(matches!(error, Error::CertificateNotAdmitted { .. }), "{error:?}");
        for part in told {
            assert!(server.contains(part), "{part:?} is missing in: {server}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ends_while_it_is_in_use_is_refused_from_then_on() {
    let net = Net::random(3, 1);
    let ca = Ca::new("ours");
    let end = OffsetDateTime::now_utc() + Duration::from_secs(3);
    let briefly = |params: &mut CertificateParams| params.not_after = end;
    let (server, own) = ("dns:pq.example", [ALICE]);
    let files = [
        (ca.issue("server", &[server], briefly), ca.issue("alice", &own, plain)),
        (ca.issue("lasting", &[server], plain), ca.issue("brief", &own, briefly)),
    ];
    let sides = files.map(|(server, own)| {
        let clients = of_certificate("alice", ALICE);
        let server = opened(&server, Role::Server).unwrap();
        let tls = ServerTls::new(server, clients, authority(&ca)).unwrap();
        let identity = opened(&own, Role::Client).unwrap().into();
        (tls, ClientTls { identity, server: trust(&ca, HOST) })
    });
    // Seconds are all that a certificate tells.
    while OffsetDateTime::now_utc() < end + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let [(server, client), (lasting, brief)] = sides;
    let day = end.date().to_string();
    let (error, _) =
        meet(&net, server, client).await.refused(&["valid now", &day, "renewed", "clock"]);
    assert!(matches!(error, Error::ServerCertificate { .. }), "{error:?}");
    let (error, told) = meet(&net, lasting, brief).await.refused(&["it has ended", ALICE]);
    assert!(matches!(error, Error::CertificateNotAdmitted { .. }), "{error:?}");
    assert!(told.contains("one that ended on") && told.contains(&day), "{told}");
}

#[test]
fn files_that_cannot_serve_are_named_with_what_is_wrong() {
    let ca = Ca::new("ours");
    let good = ca.issue("good", &["dns:pq.example"], plain);
    let other = ca.issue("other", &["dns:pq.example"], plain);
    let now = OffsetDateTime::now_utc();
    let day = Duration::from_secs(86_400);
    let ended = ca.issue("ended", &["dns:pq.example"], |params| params.not_after = now - day);
    let later = ca.issue("later", &["dns:pq.example"], |params| params.not_before = now + day);
    let for_clients = ca
        .issue("clients", &["dns:pq.example"], |params| params.extended_key_usages = vec![CLIENT]);
    let pair = |chain: &str, key: &str| Issued { chain: chain.into(), key: key.into() };
    let (before, after) = ((now - day).date().to_string(), (now + day).date().to_string());
    let cases: [(Issued, &[&str]); 7] = [
        (pair(&good.key, &good.key), &["good.key: expected certificates in PEM", "none"]),
        (pair(&good.chain, &good.chain), &["good.pem: expected a private key", "passphrase"]),
        (pair(&good.chain, &other.key), &["other.key", "of the certificate in", "good.pem"]),
        (ended, &["ended.pem", "valid now", "ended on", &before, "renewed"]),
        (later, &["later.pem", "begins on", &after, "clock"]),
        (for_clients.clone(), &["clients.pem", "server authentication", "client authentication"]),
        (pair("/no/such/file", &good.key), &["cannot read /no/such/file"]),
    ];
    for (files, parts) in cases {
        let error = opened(&files, Role::Server).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }
    assert!(opened(&for_clients, Role::Client).is_ok());
    let error = Authority::open(Path::new(&good.key)).unwrap_err().to_string();
    assert!(error.contains("good.key: expected certificates of authorities"), "{error}");
    let ours = Authority::open(ca.file().as_ref()).unwrap();
    let error = NamedServer::new(ours, "a b").unwrap_err().to_string();
    assert!(error.contains("a DNS name") && error.contains("a b"), "{error}");
    // Nothing of a key is ever shown.
    let shown = format!("{:?}", opened(&good, Role::Server).unwrap());
    assert!(shown.contains("pq.example") && !shown.contains("PRIVATE"), "{shown}");
    let name: Credential = "x509:dns:A.example".parse().unwrap();
    assert_eq!(name.to_string(), "x509:dns:a.example");
}

#[test]
fn two_processes_with_certificates_agree_and_a_wrong_server_ends_with_code_5() {
    let net = Net::random(5, 1);
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    let server = ca.issue("server", &["ip:127.0.0.1", "dns:pq.example"], plain);
    let own = ca.issue("alice", &[ALICE], plain);
    let clients = net.file("clients.txt");
    std::fs::write(
        &clients,
        format!(
            "alice x509:{ALICE}
"
        ),
    )
    .unwrap();
    let (root, theirs) = (ca.file(), other.file());
    let serve = || {
        let more = [&server.options()[..], &["--clients", &clients, "--client-ca", &root]].concat();
        Process::start(&net.file("plan.json"), &net.file("weights.safetensors"), &more)
    };
    let mut process = serve();
    let with = |more: &[&str]| {
        let more = [&own.options()[..], more].concat();
        finished(client(&net, &process.address, &more), PATIENCE)
    };
    // The name is the host's unless another one is given.
    let wrong: [(&[&str], &[&str]); 2] = [
        (&["--server-ca", &theirs], &["another issuer", "--server-ca"]),
        (&["--server-ca", &root, "--server-name", "b.example"], &["b.example", "--server-name"]),
    ];
    for (more, parts) in wrong {
        let refused = with(more);
        assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
        for part in parts {
            assert!(stderr(&refused).contains(part), "{part}: {}", stderr(&refused));
        }
    }
    let found = with(&["--server-ca", &root, "--json"]);
    json(&found);
    // Both refusals were told.
    process.says("no session with");
    assert!(process.finished(PATIENCE).status.success());
}

#[test]
fn options_that_do_not_belong_together_are_told_apart_from_files_that_cannot_be_used() {
    let net = Net::random(5, 1);
    let ca = Ca::new("ours");
    let server = ca.issue("server", &["ip:127.0.0.1"], plain);
    let own = ca.issue("alice", &[ALICE], plain);
    let (root, clients) = (ca.file(), net.file("clients.txt"));
    std::fs::write(&clients, format!("alice x509:{ALICE}\n")).unwrap();
    let wrong: [(Vec<&str>, i32, &str); 6] = [
        (vec!["--server-ca", &root], 2, "--tls-cert"),
        (vec!["--server-ca", &root, "--server-key", "ed25519:x"], 2, "--server-key"),
        (vec!["--tls-cert", &own.chain], 2, "--tls-key"),
        (vec!["--server-name", "a"], 2, "--server-ca"),
        ([&own.options()[..], &["--server-ca", &own.key]].concat(), 3, "alice.key"),
        ([&own.options()[..], &["--key", &own.key, "--server-ca", &root]].concat(), 3, "alice.key"),
    ];
    for (more, code, part) in wrong {
        let output = finished(client(&net, "127.0.0.1:1", &more), PATIENCE);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{more:?}: {}", stderr(&output));
    }
    // What this machine trusts is there, or it is told that nothing is.
    let system = ["--server-ca", "system", "--connect-timeout", "0.2"];
    let system = [&own.options()[..], &system].concat();
    let output = finished(client(&net, "127.0.0.1:1", &system), PATIENCE);
    let none = output.status.code() == Some(3) && stderr(&output).contains("ca-certificates");
    assert!(none || output.status.code() == Some(4), "{}", stderr(&output));
    let (plan, weights) = (net.file("plan.json"), net.file("weights.safetensors"));
    let base = ["infer", "--role", "server", "--plan", &plan, "--weights", &weights, "--listen"];
    let base = [&base[..], &["127.0.0.1:0"], &server.options()[..]].concat();
    for (more, code, part) in [
        (&["--clients", &clients][..], 3, "authority"),
        (&["--client-ca", &root][..], 2, "--clients"),
        (&["--clients", &clients, "--client-ca", &clients][..], 3, "clients.txt"),
    ] {
        let output = run(&[&base[..], more].concat());
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{more:?}: {}", stderr(&output));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_shows_each_client_what_it_knows_and_reads_its_certificates_again() {
    use crate::support::service::{Keys, Service};
    let net = Net::random(5, 3);
    let keys = Keys::new(&[("keyed", "")]);
    let (ca, next) = (Ca::new("ours"), Ca::new("next year's"));
    let server = ca.issue("server", &["ip:127.0.0.1"], plain);
    let (file, roots) = (keys.file("clients.txt"), keys.file("roots.pem"));
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines + "alice x509:dns:alice.example images_per_day=2\n").unwrap();
    std::fs::copy(ca.file(), &roots).unwrap();
    let more = [&server.options()[..], &["--client-ca", &roots]].concat();
    let service = Service::start(&keys, &[format!("net={}", net.folder())], &more);
    let (images, root, cache) = (net.file("images.npy"), ca.file(), keys.file("cache"));
    json(&service.client(&service.infer(&keys, "keyed", "net", &images), &[]));
    let with = |own: &Issued| {
        let args = ["infer", "--connect", &service.address, "--model", "net", "--input", &images];
        let trust = ["--server-ca", &root, "--cache", &cache, "--json"];
        run(&[&args[..], &own.options(), &trust].concat())
    };
    json(&with(&ca.issue("alice", &[ALICE], plain)));
    // A certificate that is renewed, with another key, is the same client's: of the same day.
    let renewed = ca.issue("renewed", &[ALICE], plain);
    json(&with(&renewed));
    let refused = with(&renewed);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("all images"), "{}", stderr(&refused));
    service.event_of("refused", ("reason", &"quota".into()));
    let used = std::fs::read_to_string(keys.file("clients.txt.used")).unwrap();
    assert!(used.starts_with("x509:dns:alice.example "), "{used}");
    let clients = |name: &str| {
        service.log().iter().filter(|e| e["event"] == "opened" && e["client"] == name).count()
    };
    assert_eq!([clients("keyed"), clients("alice")], [1, 2]);
    // What is read again counts from then on, unless it cannot be used.
    std::fs::write(&roots, "nothing").unwrap();
    service.signal("HUP");
    let why = service.event("not_reloaded")["why"].to_string();
    assert!(why.contains("roots.pem: expected certificates of authorities"), "{why}");
    std::fs::copy(next.file(), &roots).unwrap();
    service.signal("HUP");
    service.event("reloaded");
    let refused = with(&renewed);
    assert_eq!(refused.status.code(), Some(5), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("does not trust its issuer"), "{}", stderr(&refused));
    assert_eq!(service.metric("pq_refused_total", "\"certificate\""), 1);
    let known = with(&next.issue("alice", &[ALICE], plain));
    assert!(stderr(&known).contains("all images"), "{}", stderr(&known));
    assert!(service.drained().status.success());
    let gateway = ["gateway", "--connect", "127.0.0.1:1", "--model", "net", "--server-ca", &root];
    let output = run(&gateway);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--tls-cert"), "{}", stderr(&output));
}

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::key::PublicKey;
use crate::{Error, transport};

const PATIENCE: Duration = Duration::from_secs(10);

fn identities() -> (Identity, Identity) {
    (Identity::generate().unwrap(), Identity::generate().unwrap())
}

fn sides(server: Identity, client: Identity) -> (ServerTls, ClientTls) {
    let (clients, key) = (Clients::one("a client", client.public()), server.public());
    let server = ServerTls::new(server, clients, None).unwrap();
    (server, ClientTls { identity: client.into(), server: key.into() })
}

async fn meet(
    (server, client): (ServerTls, ClientTls),
) -> (Result<Connection, Error>, Result<Connection, Error>) {
    let (left, right) = transport::loopback().await.unwrap();
    let (server, client) = (Security::Tls(Arc::new(server)), Security::Tls(Arc::new(client)));
    tokio::join!(secure(&server, left, PATIENCE), secure(&client, right, PATIENCE))
}

#[tokio::test]
async fn parties_that_know_each_other_share_a_binding_that_is_fresh() {
    let mut bindings = Vec::new();
    let (server, client) = identities();
    let copy = |it: &Identity| Identity::of_pem(it.pem().as_bytes()).unwrap();
    for _ in 0..2 {
        let (server, client) = meet(sides(copy(&server), copy(&client))).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        assert_eq!(server.binding, client.binding);
        assert_ne!(server.binding, [0; 32]);
        bindings.push(server.binding);
        client.stream.write_all(b"four").await.unwrap();
        client.stream.flush().await.unwrap();
        let mut four = [0; 4];
        server.stream.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"four");
    }
    assert_ne!(bindings[0], bindings[1]);
}

#[tokio::test]
async fn a_client_refuses_a_server_with_another_key_and_names_both() {
    let (server, client) = identities();
    let other = Identity::generate().unwrap().public();
    let found_key = server.public();
    let (server, client) = sides(server, client);
    let (_, refused) = meet((server, ClientTls { server: other.into(), ..client })).await;
    match refused {
        Err(Error::UnexpectedKey { expected, found, .. }) => {
            assert_eq!((expected, found), (other, found_key));
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_server_refuses_a_client_that_it_does_not_know_and_the_client_hears_why() {
    let (server, client) = identities();
    let stranger = client.public();
    let (server, client) = sides(server, client);
    let (refused, met) = meet((ServerTls { clients: Clients::default(), ..server }, client)).await;
    match refused {
        Err(Error::UnknownClient { key }) => assert_eq!(key, stranger),
        other => panic!("{:?}", other.err()),
    }
    // The client's own part was done before the server said no.
    let heard = met.unwrap().stream.read_u8().await.unwrap_err();
    assert_eq!(heard.kind(), std::io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_apart_from_who_is_lost() {
    let (server, client) = identities();
    let (server, client) = sides(server, client);
    let (left, mut right) = transport::loopback().await.unwrap();
    right.write_all(b"pq-proto, in the clear, as long as any header is").await.unwrap();
    let refused = secure(&Security::Tls(Arc::new(server)), left, PATIENCE).await;
    assert!(matches!(refused, Err(Error::Tls { .. })), "{:?}", refused.err());
    let (left, right) = transport::loopback().await.unwrap();
    drop(left);
    let refused = secure(&Security::Tls(Arc::new(client)), right, PATIENCE).await;
    assert!(matches!(refused, Err(Error::Connection(_))), "{:?}", refused.err());
}

#[tokio::test]
async fn a_silent_peer_ends_with_the_patience() {
    let (server, client) = identities();
    let (server, _) = sides(server, client);
    let (left, _right) = transport::loopback().await.unwrap();
    let security = Security::Tls(Arc::new(server));
    let refused = secure(&security, left, Duration::from_millis(50)).await;
    assert!(matches!(refused, Err(Error::Connection(_))), "{:?}", refused.err());
}

#[test]
fn keys_are_read_as_they_are_written() {
    let identity = Identity::generate().unwrap();
    let text = identity.public().to_string();
    assert_eq!(text.parse::<PublicKey>().unwrap(), identity.public());
    for wrong in ["", "ed25519:", &text[1..], &text[..text.len() - 1], "ed25519:=", "x25519:AAAA"] {
        assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    identity.save(&path).unwrap();
    assert_eq!(Identity::open(&path).unwrap().public(), identity.public());
    assert!(matches!(identity.save(&path), Err(Error::Write { .. })), "never overwritten");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .unwrap();
    assert!(matches!(Identity::open(&path), Err(Error::Key { .. })));
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn clients_have_names_and_keys_of_their_own() {
    let (a, b) = identities();
    let (a, b) = (a.public(), b.public());
    let parse = |text: &str| Clients::parse(text, Path::new("clients.txt"));
    let clients = parse(&format!("# ours\n\nalice {a}  # the first\nbob\t{b}\n")).unwrap();
    assert_eq!((clients.name(a), clients.name(b)), (Some("alice"), Some("bob")));
    let wrong = [
        (format!("alice {a}\nalice {b}"), 2),
        (format!("alice {a}\n\nbob {a}"), 3),
        ("alice".to_owned(), 1),
        (format!("alice {a} sessions=0"), 1),
        (format!("alice {a} sessions=2 sessions=3"), 1),
        (format!("alice {a} models=a,,b"), 1),
        (format!("alice {a} reveal=logits"), 1),
        (format!("bob {b}\nalice {a} images=3"), 2),
        ("alice ed25519:AAAA".to_owned(), 1),
    ];
    for (text, at) in wrong {
        match parse(&text) {
            Err(Error::Key { line, .. }) => assert_eq!(line, Some(at), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn rights_are_read_and_kept_from_a_server_that_does_not_keep_them() {
    let key = Identity::generate().unwrap().public();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.txt");
    let line = format!("a {key} reveal=label models=x,y-2 images_per_day=10 sessions=2 # all\n");
    std::fs::write(&path, line).unwrap();
    let clients = Clients::open_with_rights(&path).unwrap();
    let rights = &clients.of(key).unwrap().rights;
    let expected = Rights {
        models: Some(vec!["x".into(), "y-2".into()]),
        sessions: Some(2),
        images_per_day: Some(10),
        reveal: Some(protocols::plan::Reveal::Label),
    };
    assert_eq!(*rights, expected);
    assert!(rights.has("x") && !rights.has("z") && Rights::default().has("z"));
    match Clients::open(&path) {
        Err(Error::Key { found, .. }) => assert!(found.contains("rights of a"), "{found}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn known_servers_are_kept_beside_what_their_user_wrote() {
    let (a, b) = identities();
    let (a, b) = (a.public(), b.public());
    let folder = tempfile::tempdir().unwrap();
    // Its folder is made when the first is added.
    let path = folder.path().join("pq").join("known");
    let mut known = KnownServers::open(&path).unwrap();
    assert_eq!(known.key("one.example:7000"), None);
    known.add("one.example:7000", a).unwrap();
    known.add("one.example:7000", a).unwrap();
    std::fs::write(&path, format!("# ours\nOne.example:7000 {a} # said by phone")).unwrap();
    let mut known = KnownServers::open(&path).unwrap();
    assert!(matches!(known.add("one.example:7000", b), Err(Error::Key { .. })));
    known.add("[::1]:7000", b).unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    let both = format!("# ours\nOne.example:7000 {a} # said by phone\n[::1]:7000 {b}\n");
    assert_eq!(text(), both);
    let mut known = KnownServers::open(&path).unwrap();
    assert_eq!(known.all().collect::<Vec<_>>(), [("One.example:7000", a), ("[::1]:7000", b)]);
    assert_eq!(known.key("one.EXAMPLE:7000"), Some(a));
    assert!(known.remove("ONE.example:7000").unwrap());
    assert!(!known.remove("one.example:7000").unwrap());
    assert_eq!(text(), format!("# ours\n[::1]:7000 {b}\n"));
}

#[test]
fn a_line_that_is_no_known_server_is_named() {
    let (key, other) = identities();
    let (key, other) = (key.public(), other.public());
    let wrong = [
        ("h:1".to_owned(), 1),
        (format!("\nh:1 {key} sessions=1"), 2),
        ("h:1 ed25519:AAAA".to_owned(), 1),
        (format!("h:1 {key}\nH:1 {other}"), 2),
    ];
    for (text, at) in wrong {
        match KnownServers::parse(&text, Path::new("known")) {
            Err(Error::Key { line, .. }) => assert_eq!(line, Some(at), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

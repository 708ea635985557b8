use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Limits;

/// The fields of a message behind its version.
fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields(&bytes[MAGIC.len() + 4..])
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Named::Hash),
        "[A-Za-z0-9][A-Za-z0-9._-]{0,63}".prop_map(Named::Name),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let other = prop_oneof![Just(Want::Description), Just(Want::Plan), Just(Want::Hints)];
    prop_oneof![
        (named(), 1u32.., 1u32..).prop_map(|(network, images, prepared)| Ask {
            want: Want::Session,
            network,
            images,
            prepared
        }),
        (other, named()).prop_map(|(want, network)| Ask { want, network, images: 0, prepared: 0 }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let offer = (any::<[u8; 32]>(), 0..=MAX_PLAN, any::<[u8; 32]>(), 0..=MAX_HINTS);
    prop_oneof![
        offer.prop_map(|(plan, plan_len, hints, hints_len)| Answer::Ok(Offer {
            plan,
            plan_len,
            hints,
            hints_len
        })),
        any::<u32>().prop_map(Answer::Busy),
        Just(Answer::Unknown),
        any::<u32>().prop_map(Answer::Quota),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(ask in ask(), answer in answer()) {
        let bytes = ask.encode().unwrap();
        prop_assert_eq!(bytes.len(), ASK);
        prop_assert_eq!(Ask::decode(&mut fields(&bytes)), Ok(ask));
        let bytes = answer.encode();
        prop_assert_eq!(bytes.len(), ANSWER);
        prop_assert_eq!(Answer::decode(&mut fields(&bytes)), Ok(answer));
    }

    /// Every message has one form: whatever is decoded is encoded as it was.
    #[test]
    fn other_bytes_are_refused_or_mean_themselves(
        ask in ask(), answer in answer(), at in 12..ANSWER, value in any::<u8>()) {
        let mut bytes = ask.encode().unwrap();
        let place = at.min(ASK - 1);
        bytes[place] = value;
        if let Ok(ask) = Ask::decode(&mut fields(&bytes)) {
            prop_assert_eq!(ask.encode().unwrap(), bytes);
        }
        let mut bytes = answer.encode();
        bytes[at] = value;
        if let Ok(answer) = Answer::decode(&mut fields(&bytes)) {
            prop_assert_eq!(answer.encode(), bytes);
        }
    }
}

fn doorsteps() -> (Doorstep, Doorstep) {
    let (server, client) = Channel::pair(Limits::new(Duration::from_millis(500)));
    (Doorstep::new(server, [7; 32]), Doorstep::new(client, [7; 32]))
}

#[tokio::test]
async fn several_asks_and_a_file_leave_both_ends_with_one_binding() {
    let (mut server, mut client) = doorsteps();
    let file: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    let offer = Offer { plan_len: file.len() as u64, ..Offer::default() };
    let serving = async {
        let first = server.hear().await.unwrap();
        server.answer(&Answer::Busy(3)).unwrap();
        let second = server.hear().await.unwrap();
        server.answer(&Answer::Ok(offer)).unwrap();
        server.send_file(&file).await.unwrap();
        (first, second)
    };
    let (a, b) = (Ask::of(Want::Description, "lenet".into()), Ask::of(Want::Plan, "lenet".into()));
    let asking = async {
        assert_eq!(client.ask(&a).await.unwrap(), Answer::Busy(3));
        let Answer::Ok(offer) = client.ask(&b).await.unwrap() else { panic!("no file") };
        client.receive_file(offer.plan_len).await.unwrap()
    };
    let (heard, received) = tokio::join!(serving, asking);
    assert_eq!(heard, (a, b));
    assert!(received == file);
    let ((_, server), (_, client)) = (server.into_parts(), client.into_parts());
    assert_eq!(server, client);
    assert_ne!(server, [7; 32]);
}

#[tokio::test]
async fn another_version_and_another_protocol_are_told_apart() {
    for (bytes, version) in [
        ([&MAGIC[..], &[1, 0, 0, 0], &[0; 80]].concat(), true),
        (vec![b'x'; ASK], false),
        ([&MAGIC[..], &VERSION.to_le_bytes(), &[0; 3]].concat(), false),
    ] {
        let (mut server, client) = doorsteps();
        let (mut channel, _) = client.into_parts();
        channel.send(&bytes).unwrap();
        // The client's end stays open: the server does not wait for it.
        match server.hear().await {
            Err(Error::Disagreement { field: "protocol version", .. }) if version => {}
            Err(Error::Violation { .. }) if !version => {}
            other => panic!("{version}: {other:?}"),
        }
    }
}

#[test]
fn names_are_plain_words() {
    for name in ["lenet", "ResNet-20_v1.2", "7", &"a".repeat(NAME)] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    for name in ["", ".hidden", "a/b", "a b", "é", "a\0b", &"a".repeat(NAME + 1)] {
        assert!(check_name(name).is_err(), "{name}");
    }
}

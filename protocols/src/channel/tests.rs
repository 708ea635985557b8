use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn short() -> Limits {
    Limits::new(Duration::from_millis(200))
}

#[tokio::test]
async fn messages_arrive_whole_and_are_counted_with_their_framing() {
    let (mut a, mut b) = Channel::pair(Limits::default());
    let long = vec![7; 2 * MAX_PAYLOAD + 5];
    a.send(&long).unwrap();
    a.send(&[]).unwrap();
    assert_eq!(b.receive(long.len()).await.unwrap(), long);
    assert!(b.receive(0).await.unwrap().is_empty());
    assert_eq!(a.meter().sent, framed_len(long.len()));
    assert_eq!(b.meter().received, long.len() as u64 + 3 * frame::HEADER as u64);
}

#[tokio::test]
async fn rounds_are_one_way_messages_on_the_critical_path() {
    let (mut a, mut b) = Channel::pair(Limits::default());
    a.send(&[1]).unwrap();
    a.send(&[2]).unwrap();
    b.send(&[3]).unwrap();
    a.receive(1).await.unwrap();
    b.receive(1).await.unwrap();
    b.receive(1).await.unwrap();
    assert_eq!((a.meter().rounds, b.meter().rounds), (1, 1));
    b.send(&[4]).unwrap();
    a.receive(1).await.unwrap();
    assert_eq!((a.meter().rounds, b.meter().rounds), (2, 2));
    a.begin_part();
    b.begin_part();
    b.send(&[5]).unwrap();
    a.receive(1).await.unwrap();
    assert_eq!((a.meter().rounds, b.meter().rounds), (3, 3));
}

#[tokio::test]
async fn a_lost_peer_is_an_error_that_names_the_step() {
    let (mut a, b) = Channel::pair(Limits::default());
    a.enter_step(3, "layer1.conv");
    drop(b);
    match a.receive(1).await {
        Err(Error::PeerLost { step, .. }) => assert_eq!(step, "layer1.conv"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_silent_peer_is_an_error_within_the_timeout() {
    let (stream, _kept) = duplex(64);
    let mut channel = Channel::new(stream, short());
    assert!(matches!(channel.receive(1).await, Err(Error::PeerSilent { .. })));
}

#[tokio::test]
async fn a_peer_that_computes_for_long_is_waited_for_and_its_frames_are_metered_apart() {
    let (mut a, mut b) = Channel::pair(short());
    let waiting =
        tokio::spawn(async move { a.receive(1).await.map(|_| (a.meter().received, a.keep_alive_bytes())) });
    tokio::time::sleep(Duration::from_millis(700)).await;
    b.send(&[1]).unwrap();
    let (received, idle) = waiting.await.unwrap().unwrap();
    assert_eq!(received, framed_len(1));
    assert!(idle >= 2 * frame::HEADER as u64 && idle.is_multiple_of(frame::HEADER as u64), "{idle}");
    assert_eq!(b.meter().sent, framed_len(1));
}

#[tokio::test]
async fn keep_alive_frames_alone_are_not_accepted_for_ever() {
    let limits = Limits { silence: Duration::from_millis(100), idle: Duration::from_millis(300) };
    let (mut a, _b) = Channel::pair(limits);
    assert!(matches!(a.receive(1).await, Err(Error::Violation { .. })));
}

#[tokio::test]
async fn nonsense_is_a_violation() {
    for bytes in [
        [0xFF; 12],
        [0xD1, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        [0xD1, 0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0],
    ] {
        let (stream, mut peer) = duplex(64);
        let mut channel = Channel::new(stream, short());
        peer.write_all(&bytes).await.unwrap();
        peer.write_all(&[0]).await.unwrap();
        assert!(matches!(channel.receive(1).await, Err(Error::Violation { .. })));
    }
}

#[tokio::test]
async fn a_stream_towards_a_peer_that_never_reads_ends_in_an_error() {
    let (stream, peer) = duplex(64);
    let mut channel = Channel::new(stream, short());
    let mut ended = false;
    for _ in 0..64 {
        if channel.send(&vec![0; MAX_PAYLOAD]).is_err() || channel.drained().await.is_err() {
            ended = true;
            break;
        }
    }
    assert!(ended);
    drop(peer);
}

#[tokio::test]
async fn finishing_delivers_what_is_queued() {
    let (stream, mut peer) = duplex(16);
    let mut channel = Channel::new(stream, Limits::default());
    channel.send(&[9; 100]).unwrap();
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.map(|_| all.len())
    });
    channel.finish().await;
    assert_eq!(reader.await.unwrap().unwrap() as u64, framed_len(100));
}

#[tokio::test]
async fn a_peer_that_never_finishes_a_frame_is_cut_off() {
    let (stream, mut peer) = duplex(64);
    let limits = Limits { silence: Duration::from_millis(200), idle: Duration::from_millis(300) };
    let mut channel = Channel::new(stream, limits);
    let mut header = frame::data(0, 1, &[0]);
    header.truncate(frame::HEADER);
    header[8..].copy_from_slice(&(MAX_PAYLOAD as u32).to_le_bytes());
    peer.write_all(&header).await.unwrap();
    let trickle = async {
        while peer.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let result =
        tokio::select! { result = channel.receive(MAX_PAYLOAD) => result, () = trickle => Ok(Vec::new()) };
    assert!(matches!(result, Err(Error::Violation { .. })));
}

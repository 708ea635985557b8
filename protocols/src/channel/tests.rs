use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

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
    a.enter_step(3, "layer1.conv", Cost::ZERO, 0.0);
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
    let waiting = tokio::spawn(async move {
        a.receive(1).await.map(|_| (a.meter().received, a.keep_alive_bytes()))
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    b.send(&[1]).unwrap();
    let (received, idle) = waiting.await.unwrap().unwrap();
    assert_eq!(received, framed_len(1));
    assert!(
        idle >= 2 * frame::HEADER as u64 && idle.is_multiple_of(frame::HEADER as u64),
        "{idle}"
    );
    assert_eq!(b.meter().sent, framed_len(1));
}

/// What a party says that has given one step 100 ms and a budget of 100 ms, of a peer that sends
/// so.
async fn against<F: Future<Output = ()>>(
    peer: impl FnOnce(DuplexStream) -> F,
) -> (Error, Duration) {
    let (stream, other) = duplex(1 << 10);
    let limits = Limits { floor: 10_000, ..Limits::new(Duration::from_millis(100)) };
    let mut channel = Channel::new(stream, limits);
    channel.enter_step(3, "layer1.conv", Cost { server_bytes: 1000, ..Cost::ZERO }, 0.0);
    let started = Instant::now();
    let all = async {
        loop {
            if let Err(error) = channel.receive(1).await {
                return error;
            }
        }
    };
    let error =
        tokio::select! { error = all => error, () = peer(other) => panic!("the peer ended first") };
    (error, started.elapsed())
}

fn assert_overdue(error: &Error, whose: &str) {
    let right = |step: &str, found: &str| (step, found) == ("layer1.conv", whose);
    let named = matches!(error, Error::Overdue { step, whose: found, .. } if right(step, found));
    assert!(named, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("nothing useful arrived in step layer1.conv"), "{text}");
    assert!(!text.contains("--"), "a library knows no command line: {text}");
}

/// Sends the same for ever, with a pause in between.
async fn repeat(mut stream: DuplexStream, bytes: &[u8], pause: Duration) {
    loop {
        let _ = stream.write_all(bytes).await;
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn keep_alive_frames_alone_last_as_long_as_the_step() {
    for pause in [5, 90].map(Duration::from_millis) {
        let (error, after) = against(|stream| async move {
            repeat(stream, &frame::keep_alive(), pause).await;
        })
        .await;
        assert_overdue(&error, "the step's");
        assert!((180..2000).contains(&after.as_millis()), "{after:?}");
    }
}

#[tokio::test]
async fn whole_frames_that_come_too_slowly_last_as_long_as_the_step() {
    let frame = frame::data(3, 1, &[7]);
    let (error, after) =
        against(|stream| async move { repeat(stream, &frame, Duration::from_millis(80)).await })
            .await;
    assert_overdue(&error, "the step's");
    assert!((180..2000).contains(&after.as_millis()), "{after:?}");
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_has_its_own_time() {
    let (error, after) = against(|stream| async move {
        repeat(stream, &[0xD1], Duration::from_millis(90)).await;
    })
    .await;
    assert_overdue(&error, "a frame's");
    assert!((90..2000).contains(&after.as_millis()), "{after:?}");
}

#[tokio::test]
async fn a_session_has_a_time_that_its_steps_share() {
    let (mut a, b) = Channel::pair(short());
    let keep = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(b);
    });
    let started = Instant::now();
    let mut steps = 0;
    let error = loop {
        a.enter_step(steps, "layer1.conv", Cost::ZERO, 0.0);
        steps += 1;
        match a.receive(1).await {
            Err(error @ Error::Overdue { whose: "the session's", .. }) => break error,
            Err(Error::Overdue { whose: "the step's", .. }) => assert!(steps < 20),
            other => panic!("{other:?}"),
        }
    };
    assert_overdue(&error, "the session's");
    assert!(started.elapsed() >= Duration::from_millis(1900), "ten times the silence");
    keep.abort();
}

#[tokio::test]
async fn a_stream_is_drained_within_the_step_although_the_peer_is_alive() {
    let (stream, peer) = duplex(64);
    let mut channel = Channel::new(stream, short());
    channel.enter_step(3, "layer1.conv", Cost::ZERO, 0.0);
    let (_kept, write) = tokio::io::split(peer);
    let mut write = write;
    let alive = tokio::spawn(async move {
        while write.write_all(&frame::keep_alive()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let error = loop {
        channel.send(&vec![0; MAX_PAYLOAD]).unwrap();
        if let Err(error) = channel.drained().await {
            break error;
        }
    };
    assert_overdue(&error, "the step's");
    alive.abort();
}

#[tokio::test]
async fn a_peer_learns_why_the_conversation_ended() {
    for (error, expected) in [
        (Error::Altered { step: "x".into(), what: "y" }, Reason::Violated),
        (
            Error::Violation { step: "x".into(), expected: "y".into(), found: "z".into() },
            Reason::Violated,
        ),
        (Error::Overdue { step: "x".into(), whose: "y", seconds: 1.0 }, Reason::Overdue),
    ] {
        let (mut a, mut b) = Channel::pair(Limits::default());
        let (_, heard) = tokio::join!(a.farewell(&error), async {
            let heard = b.receive(5).await;
            drop(b);
            heard
        });
        match heard {
            Err(Error::Dismissed { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn statements_agree_unless_something_was_changed_on_the_way() {
    let (mut a, mut b) = Channel::pair(Limits::default());
    a.start_transcript(Role::Server, &[1; 32]);
    b.start_transcript(Role::Client, &[1; 32]);
    for _ in 0..2 {
        a.send(&[1, 2, 3]).unwrap();
        b.send(&vec![4; 2 * MAX_PAYLOAD]).unwrap();
        b.receive(3).await.unwrap();
        a.receive(2 * MAX_PAYLOAD).await.unwrap();
        a.send_statement().unwrap();
        b.check_statement().await.unwrap();
    }
    // Two messages of the same length and step, the other way round.
    let (one, two) = (frame::data(0, 9, &[1]), frame::data(0, 9, &[2]));
    let (stream, mut peer) = duplex(1 << 10);
    let mut channel = Channel::new(stream, Limits::default());
    channel.start_transcript(Role::Client, &[1; 32]);
    channel.depth = 9;
    let mut honest = Transcript::new(Role::Server, &[1; 32]);
    honest.sent(&one);
    honest.sent(&two);
    let statement = frame::data(0, 9, &honest.statement(Role::Server));
    peer.write_all(&[two, one, statement].concat()).await.unwrap();
    channel.receive(1).await.unwrap();
    channel.receive(1).await.unwrap();
    assert!(matches!(channel.check_statement().await, Err(Error::Altered { .. })));
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
async fn a_frame_has_to_come_at_the_floor_at_the_least() {
    let (stream, mut peer) = duplex(64);
    let limits =
        Limits { floor: 10 * MAX_PAYLOAD as u64, ..Limits::new(Duration::from_millis(200)) };
    let mut channel = Channel::new(stream, limits);
    let header = frame::header(0, 1, MAX_PAYLOAD);
    peer.write_all(&header).await.unwrap();
    let trickle = async {
        while peer.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let result = tokio::select! {
        result = channel.receive(MAX_PAYLOAD) => result,
        () = trickle => Ok(Vec::new()),
    };
    assert!(matches!(result, Err(Error::Overdue { whose: "a frame's", .. })), "{result:?}");
}

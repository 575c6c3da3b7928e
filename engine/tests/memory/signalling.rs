//! Memory of incomplete, decoded and queued signals.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::signal_socket::{self, BINARY, FINAL, PING, SignalSocket, TEXT, frame, header, signal};
use crate::support::join_token;
use crate::{KIB, MEMORY, MIB, SerialEngine, assert_settles, peak};

/// Close code 1013 of the IANA WebSocket registry.
const TRY_AGAIN_LATER: u16 = 1013;

fn join(engine: &Engine, identity: &str) -> SignalSocket {
    // `EgA=` encodes an empty join request.
    let request = signal_socket::join_request("/rtc/v1", &join_token("room", identity), "EgA=");
    SignalSocket::open(engine.address(), &request).unwrap()
}

/// Waits until the engine has processed all signals sent before, or has closed the connection.
fn wait_until_processed(socket: &mut SignalSocket) {
    let _ = socket.send(&signal(Request::PingReq(proto::Ping { timestamp: 1, ..Default::default() })));
    while socket.receive().is_ok_and(|response| !matches!(response, Response::PongResp(_))) {}
}

/// Writes `unit` repeatedly until a write blocks for a second or `max` bytes are written. Returns the number of bytes.
fn flood(mut stream: TcpStream, unit: &[u8], max: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while sent < max
        && let Ok(written) = stream.write(unit)
    {
        sent += written;
    }
    sent
}

#[test]
fn stops_reading_pings_of_a_client_that_reads_no_pongs() {
    let engine = SerialEngine::start();
    let socket = join(&engine, "ann");
    let pings = frame(PING, &[7; 125]).repeat(1000);
    let (used, sent) = peak(|| flood(socket.clone_stream(), &pings, 200 * MIB));
    println!("{} MB of pings: {} KB", sent / 1_000_000, used / 1000);
    assert!(used < MIB, "{used} bytes");
    assert!(sent < 100 * MIB, "the engine has read {sent} bytes of pings though no pong was read");
}

#[test]
fn incomplete_messages_share_a_budget_and_the_oldest_is_dropped_first() {
    const BYTES: usize = 2 * MIB - 100;
    let engine = SerialEngine::start();
    let mut sockets: Vec<SignalSocket> = (0..60).map(|number| join(&engine, &number.to_string())).collect();
    let trickle = proto::TrickleRequest { candidate_init: "x".repeat(BYTES), ..Default::default() };
    let message = signal(Request::Trickle(trickle));
    let (incomplete, rest) = message.split_at(message.len() - 1);
    let (used, ()) = peak(|| {
        for socket in &mut sockets {
            // The engine closes some connections before the whole message is sent.
            let _ = socket.send(incomplete);
        }
        wait_until_processed(&mut join(&engine, "other"));
    });
    println!("60 incomplete messages: {} MB", used / 1_000_000);
    assert!(used < (64 + 16) * MIB, "{used} bytes");
    assert_eq!(sockets[0].read_close_code().unwrap(), TRY_AGAIN_LATER);
    let newest = sockets.last_mut().unwrap();
    newest.send(rest).unwrap();
    newest.send(&signal(Request::PingReq(proto::Ping::default()))).unwrap();
    while !matches!(newest.receive().unwrap(), Response::PongResp(_)) {}
}

#[test]
fn allocates_no_memory_for_a_message_before_it_arrives() {
    let engine = SerialEngine::start();
    let mut sockets: Vec<SignalSocket> = (0..200).map(|number| join(&engine, &number.to_string())).collect();
    let announced = [header(FINAL | BINARY, 2 * MIB), vec![0; 10]].concat();
    let (used, ()) = peak(|| {
        for socket in &mut sockets {
            socket.send(&announced).unwrap();
        }
        wait_until_processed(&mut join(&engine, "other"));
    });
    println!("200 announced messages: {} KB", used / 1000);
    assert!(used < 200 * 16 * KIB, "{used} bytes");
}

#[test]
fn a_message_in_one_byte_fragments_takes_at_most_5_mib() {
    let engine = SerialEngine::start();
    let mut socket = join(&engine, "ann");
    let fragments = [header(0, 1), vec![0]].concat().repeat(1_900_000);
    let (used, ()) = peak(|| {
        socket.send(&header(BINARY, 0)).unwrap();
        socket.send(&fragments).unwrap();
        wait_until_processed(&mut join(&engine, "other"));
    });
    println!("2 MB in one-byte fragments: {} KB", used / 1000);
    assert!(used < 5 * MIB, "{used} bytes");
}

#[test]
fn decoding_a_signal_of_2_mb_takes_at_most_12_mib() {
    let engine = SerialEngine::start();
    let json = |unit: &str| frame(TEXT, format!("{{\"x\":[{}0]}}", unit.repeat(2_000_000 / unit.len())).as_bytes());
    let empty = vec![String::new(); 900_000];
    let layers = vec![proto::VideoLayer::default(); 900_000];
    let published = vec![proto::TrackPublishedResponse::default(); 900_000];
    let permissions = vec![proto::TrackPermission::default(); 900_000];
    let settings = proto::UpdateTrackSettings { track_sids: empty.clone(), ..Default::default() };
    let subscription = proto::UpdateSubscription { track_sids: empty, ..Default::default() };
    let permissions = proto::SubscriptionPermission { track_permissions: permissions, ..Default::default() };
    let features = proto::UpdateLocalAudioTrack { features: vec![1; 2_000_000], ..Default::default() };
    let state = proto::SyncState { publish_tracks: published, ..Default::default() };
    let cases = [
        ("objects", json("{\"\":0},")),
        ("arrays", json("[],")),
        ("strings", json("\"\",")),
        ("settings", signal(Request::TrackSetting(settings))),
        ("subscription", signal(Request::Subscription(subscription))),
        ("layers", signal(Request::AddTrack(proto::AddTrackRequest { layers, ..Default::default() }))),
        ("published", signal(Request::SyncState(state))),
        ("permissions", signal(Request::SubscriptionPermission(permissions))),
        ("features", signal(Request::UpdateAudioTrack(features))),
    ];
    let mut max = 0;
    for (name, message) in cases {
        let mut socket = join(&engine, "ann");
        let (used, ()) = peak(|| {
            // The engine closes the connection before some messages are sent in full.
            let _ = socket.send(&message);
            wait_until_processed(&mut socket);
        });
        println!("{name} in {} KB: {} KB", message.len() / 1000, used / 1000);
        max = max.max(used);
    }
    assert!(max < 12 * MIB, "{max} bytes");
}

#[test]
fn frees_the_unsent_signals_of_clients_that_never_read_when_the_room_is_deleted() {
    let engine = SerialEngine::start();
    let before = MEMORY.current_usage();
    let mut sender = join(&engine, "sender");
    let receivers: Vec<SignalSocket> = (0..10).map(|number| join(&engine, &number.to_string())).collect();
    // More than the socket buffers hold.
    for number in 0..40 {
        let metadata = format!("{number}{}", "m".repeat(400_000));
        sender
            .send(&signal(Request::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() })))
            .unwrap();
        wait_until_processed(&mut sender);
    }
    drop(sender);
    assert!(MEMORY.current_usage() > before + MIB, "no signals are queued");
    assert!(engine.rooms(|rooms, now| rooms.delete("room", now)).is_some());
    assert_settles(&engine, before + MIB / 2);
    drop(receivers);
}

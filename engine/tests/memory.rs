//! How much memory things take, and that it is given back. One test after the other: the whole process is measured.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;
#[path = "isolation/wire.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod wire;

use std::io::Write as _;
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use livekit_protocol as proto;
use maravilla_engine::Engine;
use maravilla_engine::rooms::Settings;
use peak_alloc::PeakAlloc;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use serde_json::json;
use support::{Client, PATIENCE, admin, call, join_token};
use wire::{BINARY, FINAL, PING, TEXT, Wire, frame, header, signal};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
static TURN: Mutex<()> = Mutex::new(());

/// An engine that nothing else runs beside. When it goes, all of it is gone.
struct Alone {
    engine: Engine,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    fn start() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { engine: support::start(), _turn: turn }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        support::close(&self.engine);
    }
}

impl Deref for Alone {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
const JSON: &str = "application/json";
const GET: &str = "GET / HTTP/1.1\r\nhost: t\r\n\r\n";

/// What `work` takes at most while it is done.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let done = work();
    (MEMORY.peak_usage().saturating_sub(before), done)
}

/// Waits until no more than `most` bytes are used, while the engine answers others.
#[track_caller]
fn settles(engine: &Engine, most: usize) {
    let end = Instant::now() + PATIENCE;
    while MEMORY.current_usage() > most {
        assert_eq!(Client::connect(engine.address()).ask(GET).status, 200);
        assert!(Instant::now() < end, "{} of {most} bytes", MEMORY.current_usage());
    }
}

fn name(number: usize) -> String {
    format!("room number {number}")
}

fn create(engine: &Engine, rooms: usize) {
    for number in 0..rooms {
        let settings = Settings { metadata: "twenty bytes of text", ..Settings::default() };
        engine.rooms(|rooms, now| rooms.create(&name(number), &settings, now).map(drop)).unwrap();
    }
}

/// One in ten over HTTP, which revokes nothing.
fn delete(engine: &Engine, rooms: usize) {
    let mut client = Client::connect(engine.address());
    for number in 0..rooms {
        if number % 10 == 0 {
            assert_eq!(client.call("DeleteRoom", &admin(), &json!({ "room": name(number) })).status, 200);
        } else {
            assert!(engine.rooms(|rooms, now| rooms.delete_and_revoke(&name(number), now)).is_some());
        }
    }
}

#[test]
fn a_hundred_thousand_rooms_take_little_and_give_it_back() {
    const ROOMS: usize = 100_000;
    let engine = Alone::start();
    Client::connect(engine.address()).call("ListRooms", &admin(), &json!({}));
    let empty = MEMORY.current_usage();
    create(&engine, ROOMS);
    let full = MEMORY.current_usage() - empty;
    println!("10,000 rooms take {} KB", full / (ROOMS / 10_000) / 1000);
    assert!(full < ROOMS * 600, "{full}");

    let (listing, answer) = peak(|| Client::connect(engine.address()).call("ListRooms", &admin(), &json!({})));
    println!("listing them takes {} MB for an answer of {} MB", listing / 1_000_000, answer.body.len() / 1_000_000);
    assert_eq!(answer.text().matches("\"sid\"").count(), ROOMS);
    assert!(listing < answer.body.len() * 6, "{listing}");
    drop(answer);

    delete(&engine, ROOMS);
    // The deletions are remembered, up to a limit.
    settles(&engine, empty + 16 * MIB);
    let remembered = MEMORY.current_usage();
    println!("afterwards {} KB are left", (remembered - empty) / 1000);
    create(&engine, 20_000);
    delete(&engine, 20_000);
    settles(&engine, remembered + MIB);
}

#[test]
fn a_deletion_is_not_remembered_with_more_than_a_name() {
    let engine = Alone::start();
    let mut client = Client::connect(engine.address());
    let empty = MEMORY.current_usage();
    for number in 0..50 {
        let room = format!("{number}{}", "x".repeat(MIB));
        assert_eq!(client.call("DeleteRoom", &admin(), &json!({ "room": room })).status, 404);
        assert!(engine.rooms(|rooms, now| rooms.delete_and_revoke(&room, now)).is_none());
    }
    settles(&engine, empty + 2 * MIB);
}

#[test]
fn an_engine_and_its_idle_connections_take_little() {
    let engine = Alone::start();
    let (most, another) = peak(support::start);
    println!("an engine takes {} KB", most / 1000);
    assert!(most < 100 * KIB, "{most}");
    support::close(&another);
    let before = MEMORY.current_usage();
    let mut clients: Vec<Client> = (0..1000).map(|_| Client::connect(engine.address())).collect();
    let body = "x".repeat(200 * KIB);
    for (number, client) in clients.iter_mut().enumerate() {
        let request = if number % 2 == 0 { GET.into() } else { call("ListRooms", &admin(), JSON, body.as_bytes()) };
        client.ask(request);
    }
    // Of which the clients take 8 KiB.
    settles(&engine, before + 1000 * 64 * KIB);
    println!("an idle connection takes {} KB", (MEMORY.current_usage() - before) / 1000 / 1000 - 8);
    drop(clients);
    settles(&engine, before + MIB);
}

#[test]
fn heads_that_are_held_back_take_no_more_than_they_may() {
    let engine = Alone::start();
    let before = MEMORY.current_usage();
    let head = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}", "y".repeat(900 * KIB));
    let mut clients: Vec<Client> = (0..1000).map(|_| Client::connect(engine.address())).collect();
    let (most, ()) = peak(|| {
        for client in &mut clients {
            // Some are ended before all is said.
            let _ = client.say(&head);
        }
        assert_eq!(Client::connect(engine.address()).ask(GET).status, 200);
    });
    println!("1000 heads of 900 KiB take {} MB", most / 1_000_000);
    assert!(most < 300 * MIB, "{most}");
    drop((clients, head));
    settles(&engine, before + MIB);
}

#[test]
fn a_connection_that_had_a_large_head_is_closed() {
    let engine = Alone::start();
    let mut client = Client::connect(engine.address());
    let answer = client.ask(format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "y".repeat(900 * KIB)));
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn no_body_takes_a_hundred_times_its_length() {
    let engine = Alone::start();
    let bodies = [
        ("ListRooms", JSON, "{\"x\":[", "[],", "1]}"),
        ("ListRooms", JSON, "{\"x\":[", "{\"\":1},", "1]}"),
        ("ListRooms", JSON, "{\"names\":[", "\"\",", "\"\"]}"),
        ("ListRooms", JSON, "{\"x\":\"", "[{,", "\"}"),
        ("CreateRoom", JSON, "{\"agents\":[", "{},", "{}]}"),
        ("CreateRoom", JSON, "{\"egress\":{\"room\":{\"fileOutputs\":[", "{},", "{}]}}}"),
        ("SendData", JSON, "{\"destinationIdentities\":[", "\"\",", "\"\"]}"),
        ("ListRooms", "application/protobuf", "", "\x0a\0", ""),
        ("CreateRoom", "application/protobuf", "", "\x72\0", ""),
        ("UpdateSubscriptions", "application/protobuf", "", "\x2a\0", ""),
        ("SendData", "application/protobuf", "", "\x22\0", ""),
    ];
    let mut worst = 0;
    for (token, bytes) in [(admin(), 10 * MIB), (admin(), MIB), (String::new(), MIB)] {
        for (method, kind, front, unit, back) in bodies {
            let body = format!("{front}{}{back}", unit.repeat((bytes - 100) / unit.len()));
            let request = call(method, &token, kind, body.as_bytes());
            let (most, answer) = peak(|| Client::connect(engine.address()).ask(&request));
            assert!(matches!(answer.status, 200 | 400 | 401 | 501), "{answer:?}");
            assert!(most < 130 * MIB, "{bytes} bytes of {unit:?} to {method}: {most}");
            worst = worst.max(most);
        }
    }
    println!("the worst body takes {} MB", worst / 1_000_000);
}

#[test]
fn answers_that_nobody_takes_are_held_to_a_limit() {
    let engine = Alone::start();
    create(&engine, 8000);
    let list = call("ListRooms", &admin(), JSON, b"{}");
    let before = MEMORY.current_usage();
    let (most, clients) = peak(|| {
        let deaf = (0..60).map(|_| Client::connect(engine.address()));
        let deaf = deaf.map(|mut client| client.say(&list).map(|()| client).unwrap());
        let deaf: Vec<Client> = deaf.collect();
        assert_eq!(
            Client::connect(engine.address()).ask(call("ListRooms", &admin(), JSON, b"{\"names\":[\"x\"]}")).status,
            200
        );
        deaf
    });
    println!("60 unread lists take {} MB", most / 1_000_000);
    assert!(most < 160 * MIB, "{most}");
    drop(clients);
    settles(&engine, before + MIB);
}

#[test]
fn a_hundred_engines_leave_nothing_behind() {
    let engine = Alone::start();
    let one_after_the_other = |engines: usize| {
        for _ in 0..engines {
            let another = support::start();
            create(&another, 10);
            assert_eq!(Client::connect(another.address()).ask(GET).status, 200);
            support::close(&another);
        }
    };
    one_after_the_other(5);
    let before = MEMORY.current_usage();
    one_after_the_other(100);
    settles(&engine, before + 64 * KIB);
}

/// A signalling connection of a participant.
fn join(engine: &Engine, identity: &str) -> Wire {
    let request = wire::join_request("/rtc/v1", &join_token("room", identity), "EgA=");
    Wire::open(engine.address(), &request).unwrap()
}

/// Waits until what was sent before is dealt with, or the connection is closed.
fn is_dealt_with(wire: &mut Wire) {
    let _ = wire.send(&signal(Ask::PingReq(proto::Ping { timestamp: 1, ..Default::default() })));
    while wire.hear().is_ok_and(|told| !matches!(told, Told::PongResp(_))) {}
}

/// Sends it over and over until the engine takes nothing for a second, or has taken so many bytes. Gives how many it took.
fn flood(mut writer: TcpStream, unit: &[u8], most: usize) -> usize {
    writer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while sent < most
        && let Ok(written) = writer.write(unit)
    {
        sent += written;
    }
    sent
}

#[test]
fn pings_of_a_client_that_never_reads_take_little() {
    let engine = Alone::start();
    let wire = join(&engine, "deaf");
    let pings = frame(PING, &[7; 125]).repeat(1000);
    let (most, sent) = peak(|| flood(wire.writer(), &pings, 200 * MIB));
    println!("{} MB of unread pings take {} KB", sent / 1_000_000, most / 1000);
    assert!(most < MIB, "{most}");
    assert!(sent < 100 * MIB, "they are read though nobody takes the answers: {sent}");
}

#[test]
fn incomplete_messages_share_one_memory_and_the_oldest_goes_first() {
    const BYTES: usize = 2 * MIB - 100;
    let engine = Alone::start();
    let mut wires: Vec<Wire> = (0..60).map(|number| join(&engine, &number.to_string())).collect();
    let trickle = proto::TrickleRequest { candidate_init: "x".repeat(BYTES), ..Default::default() };
    let whole = signal(Ask::Trickle(trickle));
    let (begun, rest) = whole.split_at(whole.len() - 1);
    let (most, ()) = peak(|| {
        for wire in &mut wires {
            // Some are closed before all is sent.
            let _ = wire.send(begun);
        }
        is_dealt_with(&mut join(&engine, "other"));
    });
    println!("60 incomplete messages take {} MB", most / 1_000_000);
    assert!(most < (64 + 16) * MIB, "{most}");
    assert_eq!(wires[0].close_code().unwrap(), 1013);
    let newest = wires.last_mut().unwrap();
    newest.send(rest).unwrap();
    newest.send(&signal(Ask::PingReq(proto::Ping::default()))).unwrap();
    while !matches!(newest.hear().unwrap(), Told::PongResp(_)) {}
}

#[test]
fn a_message_takes_no_memory_before_it_comes() {
    let engine = Alone::start();
    let mut wires: Vec<Wire> = (0..200).map(|number| join(&engine, &number.to_string())).collect();
    let announced = [header(FINAL | BINARY, 2 * MIB), vec![0; 10]].concat();
    let (most, ()) = peak(|| {
        for wire in &mut wires {
            wire.send(&announced).unwrap();
        }
        is_dealt_with(&mut join(&engine, "other"));
    });
    println!("200 announced messages take {} KB", most / 1000);
    assert!(most < 200 * 16 * KIB, "{most}");
}

#[test]
fn a_message_in_fragments_takes_its_length_twice_at_most() {
    let engine = Alone::start();
    let mut wire = join(&engine, "ann");
    let fragments = [header(0, 1), vec![0]].concat().repeat(1_900_000);
    let (most, ()) = peak(|| {
        wire.send(&header(BINARY, 0)).unwrap();
        wire.send(&fragments).unwrap();
        is_dealt_with(&mut join(&engine, "other"));
    });
    println!("2 MB of a byte each take {} KB", most / 1000);
    assert!(most < 5 * MIB, "{most}");
}

#[test]
fn no_signal_takes_many_times_its_length() {
    let engine = Alone::start();
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
        ("texts", json("\"\",")),
        ("settings", signal(Ask::TrackSetting(settings))),
        ("subscription", signal(Ask::Subscription(subscription))),
        ("layers", signal(Ask::AddTrack(proto::AddTrackRequest { layers, ..Default::default() }))),
        ("published", signal(Ask::SyncState(state))),
        ("permissions", signal(Ask::SubscriptionPermission(permissions))),
        ("features", signal(Ask::UpdateAudioTrack(features))),
    ];
    let mut worst = 0;
    for (name, message) in cases {
        let mut wire = join(&engine, "ann");
        let (most, ()) = peak(|| {
            let _ = wire.send(&message);
            is_dealt_with(&mut wire);
        });
        println!("{name} in {} KB: {} KB", message.len() / 1000, most / 1000);
        worst = worst.max(most);
    }
    assert!(worst < 12 * MIB, "{worst}");
}

#[test]
fn join_requests_of_many_parts_take_little() {
    let engine = Alone::start();
    let mut state = proto::SyncState {
        publish_tracks: vec![proto::TrackPublishedResponse::default(); 400_000],
        ..Default::default()
    };
    let many = |request: proto::JoinRequest| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&request.encode_to_vec()).unwrap();
        let compression = proto::wrapped_join_request::Compression::Gzip.into();
        let wrapped = proto::WrappedJoinRequest { compression, join_request: encoder.finish().unwrap() };
        URL_SAFE.encode(wrapped.encode_to_vec())
    };
    let tracks = |count| vec![proto::AddTrackRequest::default(); count];
    let requests = [
        many(proto::JoinRequest { sync_state: Some(state.clone()), ..Default::default() }),
        many(proto::JoinRequest { add_track_requests: tracks(500_000), ..Default::default() }),
        many(proto::JoinRequest { add_track_requests: tracks(65), ..Default::default() }),
    ];
    state.publish_tracks.truncate(64);
    let most_tracks = many(proto::JoinRequest { sync_state: Some(state), ..Default::default() });
    for path in ["/rtc/validate", "/rtc/v1/validate", "/rtc", "/rtc/v1"] {
        let ask = |packed: &str| {
            let mut client = Client::connect(engine.address());
            client.say(wire::join_request(path, &join_token("room", "ann"), packed)).unwrap();
            client
        };
        for packed in &requests {
            let (most, ()) = peak(|| {
                let mut clients: Vec<Client> = (0..24).map(|_| ask(packed)).collect();
                for client in &mut clients {
                    let answer = client.hear().unwrap();
                    assert_eq!((answer.status, answer.text().as_str()), (400, "join request too large"), "{path}");
                }
            });
            println!("24 join requests of {} B to {path} take {} KB", packed.len(), most / 1000);
            assert!(most < 24 * MIB, "{path}: {most}");
        }
        let status = ask(&most_tracks).hear().unwrap().status;
        assert_eq!(status, if path.ends_with("validate") { 200 } else { 101 }, "{path}");
    }
}

#[test]
fn a_client_that_takes_nothing_holds_nothing_soon_after_it_has_left() {
    let engine = Alone::start();
    let before = MEMORY.current_usage();
    let mut talker = join(&engine, "talker");
    let deaf: Vec<Wire> = (0..10).map(|number| join(&engine, &number.to_string())).collect();
    // More than the system takes for them.
    for number in 0..40 {
        let metadata = format!("{number}{}", "m".repeat(400_000));
        talker
            .send(&signal(Ask::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() })))
            .unwrap();
        is_dealt_with(&mut talker);
    }
    drop(talker);
    assert!(MEMORY.current_usage() > before + MIB, "nothing waits for them");
    assert!(engine.rooms(|rooms, now| rooms.delete("room", now)).is_some());
    settles(&engine, before + MIB / 2);
    drop(deaf);
}

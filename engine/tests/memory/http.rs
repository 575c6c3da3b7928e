//! Memory of HTTP connections, request heads, request bodies, join requests and unread responses.

use livekit_protocol as proto;
use prost::Message as _;

use crate::rooms::create_rooms;
use crate::signal_socket;
use crate::support::{self, HttpClient, admin_token, compress_join_request, join_token, twirp_request};
use crate::{GET, JSON, KIB, MEMORY, MIB, SerialEngine, assert_settles, peak};

#[test]
fn an_idle_engine_takes_100_kib_and_an_idle_connection_64_kib_at_most() {
    let engine = SerialEngine::start();
    let (used, another) = peak(support::start);
    println!("an engine: {} KB", used / 1000);
    assert!(used < 100 * KIB, "{used} bytes");
    support::close(&another);
    let before = MEMORY.current_usage();
    let mut clients: Vec<HttpClient> = (0..1000).map(|_| HttpClient::connect(engine.address())).collect();
    let body = "x".repeat(200 * KIB);
    for (number, client) in clients.iter_mut().enumerate() {
        let request = if number % 2 == 0 {
            GET.into()
        } else {
            twirp_request("ListRooms", &admin_token(), JSON, body.as_bytes())
        };
        client.request(request);
    }
    // Includes 8 KiB for the test's own buffer of each connection.
    assert_settles(&engine, before + 1000 * 64 * KIB);
    println!("an idle connection: {} KB", (MEMORY.current_usage() - before) / 1000 / 1000 - 8);
    drop(clients);
    assert_settles(&engine, before + MIB);
}

#[test]
fn a_thousand_incomplete_request_heads_take_less_than_300_mib() {
    let engine = SerialEngine::start();
    let before = MEMORY.current_usage();
    let head = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}", "y".repeat(900 * KIB));
    let mut clients: Vec<HttpClient> = (0..1000).map(|_| HttpClient::connect(engine.address())).collect();
    let (peak_bytes, ()) = peak(|| {
        for client in &mut clients {
            // The engine closes some connections before the whole head is sent.
            let _ = client.send(&head);
        }
        assert_eq!(HttpClient::connect(engine.address()).request(GET).status, 200);
    });
    println!("1000 heads of 900 KiB: {} MB", peak_bytes / 1_000_000);
    assert!(peak_bytes < 300 * MIB, "{peak_bytes} bytes");
    drop((clients, head));
    assert_settles(&engine, before + MIB);
}

#[test]
fn closes_a_connection_after_a_large_request_head() {
    let engine = SerialEngine::start();
    let mut client = HttpClient::connect(engine.address());
    let response = client.request(format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "y".repeat(900 * KIB)));
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(client.is_closed());
}

#[test]
fn decoding_a_body_takes_at_most_130_mib() {
    let engine = SerialEngine::start();
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
    let mut max = 0;
    for (token, bytes) in [(admin_token(), 10 * MIB), (admin_token(), MIB), (String::new(), MIB)] {
        for (method, content_type, prefix, unit, suffix) in bodies {
            let body = format!("{prefix}{}{suffix}", unit.repeat((bytes - 100) / unit.len()));
            let request = twirp_request(method, &token, content_type, body.as_bytes());
            let (used, response) = peak(|| HttpClient::connect(engine.address()).request(&request));
            assert!(matches!(response.status, 200 | 400 | 401 | 501), "{response:?}");
            assert!(used < 130 * MIB, "{method} with {bytes} bytes of {unit:?}: {used} bytes");
            max = max.max(used);
        }
    }
    println!("maximum for one body: {} MB", max / 1_000_000);
}

#[test]
fn sixty_unread_responses_take_less_than_160_mib() {
    let engine = SerialEngine::start();
    create_rooms(&engine, 8000);
    let list = twirp_request("ListRooms", &admin_token(), JSON, b"{}");
    let before = MEMORY.current_usage();
    let (used, clients) = peak(|| {
        let clients = (0..60).map(|_| HttpClient::connect(engine.address()));
        let clients = clients.map(|mut client| client.send(&list).map(|()| client).unwrap());
        let clients: Vec<HttpClient> = clients.collect();
        assert_eq!(
            HttpClient::connect(engine.address())
                .request(twirp_request("ListRooms", &admin_token(), JSON, b"{\"names\":[\"x\"]}"))
                .status,
            200
        );
        clients
    });
    println!("60 unread responses: {} MB", used / 1_000_000);
    assert!(used < 160 * MIB, "{used} bytes");
    drop(clients);
    assert_settles(&engine, before + MIB);
}

#[test]
fn rejects_a_join_request_with_too_many_tracks_before_it_takes_memory() {
    let engine = SerialEngine::start();
    let mut state = proto::SyncState {
        publish_tracks: vec![proto::TrackPublishedResponse::default(); 400_000],
        ..Default::default()
    };
    let compress = |request: proto::JoinRequest| compress_join_request(&request.encode_to_vec());
    let tracks = |count| vec![proto::AddTrackRequest::default(); count];
    let requests = [
        compress(proto::JoinRequest { sync_state: Some(state.clone()), ..Default::default() }),
        compress(proto::JoinRequest { add_track_requests: tracks(500_000), ..Default::default() }),
        compress(proto::JoinRequest { add_track_requests: tracks(65), ..Default::default() }),
    ];
    state.publish_tracks.truncate(64);
    let max_tracks = compress(proto::JoinRequest { sync_state: Some(state), ..Default::default() });
    for path in ["/rtc/validate", "/rtc/v1/validate", "/rtc", "/rtc/v1"] {
        let send = |join_request: &str| {
            let mut client = HttpClient::connect(engine.address());
            client.send(signal_socket::join_request(path, &join_token("room", "ann"), join_request)).unwrap();
            client
        };
        for join_request in &requests {
            let (used, ()) = peak(|| {
                let mut clients: Vec<HttpClient> = (0..24).map(|_| send(join_request)).collect();
                for client in &mut clients {
                    let response = client.receive().unwrap();
                    assert_eq!((response.status, response.text().as_str()), (400, "join request too large"), "{path}");
                }
            });
            println!("24 join requests of {} B to {path}: {} KB", join_request.len(), used / 1000);
            assert!(used < 24 * MIB, "{path}: {used} bytes");
        }
        let status = send(&max_tracks).receive().unwrap().status;
        assert_eq!(status, if path.ends_with("validate") { 200 } else { 101 }, "{path}");
    }
}

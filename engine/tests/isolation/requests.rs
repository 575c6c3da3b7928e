//! Requests and signals that cost the engine far more than the client: compressed ones and lists of minimal elements.

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::attackers::{self, BUDGET, Stream, discard, metadata_token, ordinary_token, plain_join, request_status};
use crate::signal_socket::{self, SignalSocket, TEXT, frame, signal};
use crate::support::compress_join_request;
use crate::{Fixture, MIB};

/// Payload of a signal just below the engine's limit of 2 MiB, in bytes.
pub const MAX_SIGNAL_BYTES: usize = 2 * MIB - 64;

/// Repeats the encoding of a message. The result decodes to one message with all elements.
fn repeated(message: &impl prost::Message, times: usize) -> Vec<u8> {
    message.encode_to_vec().repeat(times)
}

/// Join requests of 1 MiB that compress to 1.4 kB: half a million elements of two bytes.
fn join_requests_of_elements() -> Vec<(&'static str, String)> {
    let max = MIB - 64;
    let tracks =
        proto::JoinRequest { add_track_requests: vec![proto::AddTrackRequest::default()], ..Default::default() };
    let published =
        proto::SyncState { publish_tracks: vec![proto::TrackPublishedResponse::default()], ..Default::default() };
    let published = field(10, &repeated(&published, max / 2));
    let capabilities = proto::ClientInfo { capabilities: vec![1; max - 16], ..Default::default() };
    let capabilities = proto::JoinRequest { client_info: Some(capabilities), ..Default::default() };
    vec![
        ("tracks", compress_join_request(&repeated(&tracks, max / 2))),
        ("published tracks", compress_join_request(&published)),
        ("capabilities", compress_join_request(&capabilities.encode_to_vec())),
    ]
}

/// Encodes a length-delimited protobuf field.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(bytes.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

#[tokio::test]
async fn join_requests_of_half_a_million_elements_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    for (name, encoded) in join_requests_of_elements() {
        assert!(encoded.len() < 2500, "{} bytes", encoded.len());
        let validate = signal_socket::join_request("/rtc/v1/validate", &ordinary_token("attacker"), &encoded);
        let attacker = move |_, _| assert!(request_status(engine, &validate).is_some());
        let attack = async || attackers::run(1, attacker.clone()).await;
        fixture.assert_withstands(&format!("one request with {name}"), BUDGET, attack).await;
        for connections in [2, 24] {
            let encoded = encoded.clone();
            let attacker = move |number, end| {
                let join =
                    signal_socket::join_request("/rtc/v1", &ordinary_token(&format!("attacker {number}")), &encoded);
                while Instant::now() < end {
                    request_status(engine, &join);
                }
            };
            let attack = async || attackers::run(connections, attacker.clone()).await;
            fixture
                .assert_withstands(&format!("{connections} loops of join requests with {name}"), BUDGET, attack)
                .await;
        }
    }
    fixture.check().await;
}

/// Signals of maximum length whose elements are two bytes each, and far larger when decoded.
fn signals_of_elements() -> Vec<(&'static str, Vec<u8>)> {
    let json = |unit: &str| {
        let units = vec![unit; MAX_SIGNAL_BYTES / (unit.len() + 1) - 8].join(",");
        frame(TEXT, format!("{{\"x\":[{units}]}}").as_bytes())
    };
    let protobuf = |number: u32, element: [u8; 2]| {
        frame(signal_socket::BINARY, &field(number, &element.repeat(MAX_SIGNAL_BYTES / 2)))
    };
    vec![
        ("UpdateSubscription", protobuf(6, [0x0a, 0])),
        ("SyncState", protobuf(12, [0x1a, 0])),
        ("SubscriptionPermission", protobuf(11, [0x12, 0])),
        ("AddTrack", protobuf(4, [0x4a, 0])),
        ("UpdateTrackSettings", protobuf(7, [0x0a, 0])),
        ("JSON objects", json("{\"\":0}")),
        ("JSON arrays", json("[]")),
    ]
}

#[tokio::test]
async fn the_generated_requests_decode_to_the_intended_elements() {
    // Prevents parallel tests: this one takes much memory, which they measure.
    let _fixture = Fixture::start().await;
    let decoded = |bytes: &[u8]| proto::SignalRequest::decode(&bytes[14..]).unwrap().message;
    for (name, bytes) in signals_of_elements().into_iter().take(5) {
        let expected = MAX_SIGNAL_BYTES / 2;
        let found = match decoded(&bytes) {
            Some(Request::Subscription(found)) => found.track_sids.len(),
            Some(Request::SyncState(found)) => found.publish_tracks.len(),
            Some(Request::SubscriptionPermission(found)) => found.track_permissions.len(),
            Some(Request::AddTrack(found)) => found.layers.len(),
            Some(Request::TrackSetting(found)) => found.track_sids.len(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(found, expected, "{name}");
    }
    let state = field(10, &[0x1a, 0]);
    assert_eq!(proto::JoinRequest::decode(&*state).unwrap().sync_state.unwrap().publish_tracks.len(), 1);
}

#[tokio::test]
async fn signals_of_one_million_elements_do_not_delay_others() {
    let fixture = Fixture::start().await;
    for (name, unit) in signals_of_elements() {
        let stream = Stream::of(unit);
        fixture
            .assert_withstands(name, BUDGET, async || {
                fixture.flood(1, ordinary_token, Vec::new(), stream.clone()).await;
            })
            .await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn signals_of_one_million_elements_from_eight_clients_do_not_delay_others() {
    let fixture = Fixture::start().await;
    for (name, unit) in signals_of_elements().into_iter().step_by(3) {
        let stream = Stream::of(unit);
        let attack = async || fixture.flood(8, ordinary_token, Vec::new(), stream.clone()).await;
        fixture.assert_withstands(&format!("{name} from eight clients"), 2 * BUDGET, attack).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn unread_pongs_take_no_memory() {
    let fixture = Fixture::start().await;
    let stream = Stream { reads: false, ..Stream::of(frame(signal_socket::PING, &[b'p'; 125]).repeat(2000)) };
    for attackers in [1, 8] {
        let attack = async || fixture.flood(attackers, ordinary_token, Vec::new(), stream.clone()).await;
        fixture.assert_withstands(&format!("pings of {attackers} attackers"), BUDGET, attack).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn name_changes_of_a_participant_with_500_kb_of_metadata_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let update = |update| signal(Request::UpdateMetadata(update));
    let metadata = "m".repeat(500_000);
    let first = update(proto::UpdateParticipantMetadata { metadata, ..Default::default() });
    let name = |name: &str| update(proto::UpdateParticipantMetadata { name: name.to_owned(), ..Default::default() });
    let stream = Stream::of([name("a"), name("b")].concat());
    for stream in [stream.clone().with_rate(220), stream] {
        let what = format!("{:?} name changes a second", stream.per_second.map(|pairs| 2 * pairs));
        let attack = async || fixture.flood(1, metadata_token, first.clone(), stream.clone()).await;
        fixture.assert_withstands(&what, BUDGET, attack).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn incomplete_messages_share_a_memory_budget() {
    const CONNECTIONS: usize = 60;
    let fixture = Fixture::start().await;
    let mut incomplete = frame(signal_socket::BINARY, &vec![0; MAX_SIGNAL_BYTES]);
    incomplete.pop();
    let joins: Vec<Vec<u8>> =
        (0..CONNECTIONS).map(|number| plain_join(&ordinary_token(&format!("attacker {number}")))).collect();
    let engine = fixture.address();
    let mut sockets: Vec<SignalSocket> = joins.iter().map(|join| SignalSocket::open(engine, join).unwrap()).collect();
    let probe = fixture.start_probe();
    let sockets = tokio::task::spawn_blocking(move || {
        for socket in &mut sockets {
            discard(socket);
            // Fails if the engine closes the connection before all bytes are sent.
            let _ = socket.send(&incomplete);
        }
        sockets
    })
    .await
    .unwrap();
    probe.stop().await.assert_within_bounds("incomplete messages", 3 * BUDGET);
    drop(sockets);
    fixture.check().await;
}

#[tokio::test]
async fn thirty_thousand_capabilities_are_reduced_to_less_than_4_kb() {
    let fixture = Fixture::start().await;
    let client_info = proto::ClientInfo { capabilities: vec![1; 30_000], ..Default::default() };
    let request = proto::JoinRequest { client_info: Some(client_info), ..Default::default() };
    let encoded = compress_join_request(&request.encode_to_vec());
    let request = signal_socket::join_request("/rtc/v1", &ordinary_token("attacker"), &encoded);
    let attack = async || {
        let mut socket = SignalSocket::open(fixture.address(), &request).unwrap();
        let joined = tokio::task::spawn_blocking(move || socket.receive().unwrap()).await.unwrap();
        let Response::Join(joined) = joined else { panic!("{joined:?}") };
        let participant = joined.participant.unwrap();
        assert!(participant.encoded_len() < 4096, "{} bytes", participant.encoded_len());
    };
    fixture.assert_withstands("capabilities", BUDGET, attack).await;
    fixture.check().await;
}

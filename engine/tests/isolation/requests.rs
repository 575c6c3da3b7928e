//! Requests and signals that cost the engine far more than their sender.

use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use livekit_protocol as proto;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;

use crate::attack::{self, BUDGET, Stream, discard, ordinary_token, plain_join, request, token_to_update};
use crate::wire::{self, TEXT, Wire, frame, signal};
use crate::{MIB, Party};

/// The payload of a message that is just short enough.
const LONGEST_SIGNAL: usize = 4 * MIB - 64;

/// A join request in the address, with gzip.
pub fn zipped(request: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(request).unwrap();
    let wrapped = proto::WrappedJoinRequest { compression: 1, join_request: encoder.finish().unwrap() };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

/// A message that holds the bytes of another one, so often.
fn repeated(one: &impl prost::Message, times: usize) -> Vec<u8> {
    one.encode_to_vec().repeat(times)
}

/// A join request of 1 MiB in 1.4 kB: half a million parts of two bytes.
fn join_request_of_parts() -> Vec<(&'static str, String)> {
    let most = MIB - 64;
    let tracks =
        proto::JoinRequest { add_track_requests: vec![proto::AddTrackRequest::default()], ..Default::default() };
    let published =
        proto::SyncState { publish_tracks: vec![proto::TrackPublishedResponse::default()], ..Default::default() };
    let published = field(10, &repeated(&published, most / 2));
    let capabilities = proto::ClientInfo { capabilities: vec![1; most - 16], ..Default::default() };
    let capabilities = proto::JoinRequest { client_info: Some(capabilities), ..Default::default() };
    vec![
        ("tracks", zipped(&repeated(&tracks, most / 2))),
        ("published tracks", zipped(&published)),
        ("capabilities", zipped(&capabilities.encode_to_vec())),
    ]
}

/// A field of that number whose value is those bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(bytes.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

#[tokio::test]
async fn join_requests_of_half_a_million_parts_disturb_nobody() {
    let party = Party::start().await;
    let engine = party.address();
    for (name, packed) in join_request_of_parts() {
        assert!(packed.len() < 2500, "{}", packed.len());
        let validate = wire::join_request("/rtc/v1/validate", &ordinary_token("attacker"), &packed);
        let attacker = move |_, _| assert!(request(engine, &validate).is_some());
        let attack = async || attack::run(1, attacker.clone()).await;
        party.withstands(&format!("one request with {name}"), BUDGET, attack).await;
        for connections in [2, 24] {
            let packed = packed.clone();
            let attacker = move |number, end| {
                let join = wire::join_request("/rtc/v1", &ordinary_token(&format!("attacker {number}")), &packed);
                while Instant::now() < end {
                    request(engine, &join);
                }
            };
            let attack = async || attack::run(connections, attacker.clone()).await;
            party.withstands(&format!("{connections} loops of join requests with {name}"), BUDGET, attack).await;
        }
    }
    party.check().await;
}

/// The signals whose parts are two bytes each on the wire, and far more once they are decoded.
fn signals_of_parts() -> Vec<(&'static str, Vec<u8>)> {
    let text = |unit: &str| {
        let units = vec![unit; LONGEST_SIGNAL / (unit.len() + 1) - 8].join(",");
        frame(TEXT, format!("{{\"x\":[{units}]}}").as_bytes())
    };
    let binary = |number: u32, part: [u8; 2]| frame(wire::BINARY, &field(number, &part.repeat(LONGEST_SIGNAL / 2)));
    vec![
        ("UpdateSubscription", binary(6, [0x0a, 0])),
        ("SyncState", binary(12, [0x1a, 0])),
        ("SubscriptionPermission", binary(11, [0x12, 0])),
        ("AddTrack", binary(4, [0x4a, 0])),
        ("UpdateTrackSettings", binary(7, [0x0a, 0])),
        ("JSON objects", text("{\"\":0}")),
        ("JSON arrays", text("[]")),
    ]
}

#[tokio::test]
async fn the_numbers_of_the_fields_are_right() {
    // Not beside a test that measures memory: this one takes much.
    let _party = Party::start().await;
    let decoded = |bytes: &[u8]| proto::SignalRequest::decode(&bytes[14..]).unwrap().message;
    for (name, bytes) in signals_of_parts().into_iter().take(5) {
        let parts = LONGEST_SIGNAL / 2;
        let found = match decoded(&bytes) {
            Some(Ask::Subscription(found)) => found.track_sids.len(),
            Some(Ask::SyncState(found)) => found.publish_tracks.len(),
            Some(Ask::SubscriptionPermission(found)) => found.track_permissions.len(),
            Some(Ask::AddTrack(found)) => found.layers.len(),
            Some(Ask::TrackSetting(found)) => found.track_sids.len(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(found, parts, "{name}");
    }
    let state = field(10, &[0x1a, 0]);
    assert_eq!(proto::JoinRequest::decode(&*state).unwrap().sync_state.unwrap().publish_tracks.len(), 1);
}

#[tokio::test]
async fn signals_of_two_million_parts_disturb_nobody() {
    let party = Party::start().await;
    for (name, unit) in signals_of_parts() {
        let stream = Stream::of(unit);
        party.withstands(name, BUDGET, async || party.flood(1, ordinary_token, Vec::new(), stream.clone()).await).await;
    }
    party.check().await;
}

#[tokio::test]
async fn many_who_send_signals_of_two_million_parts_disturb_nobody() {
    let party = Party::start().await;
    for (name, unit) in signals_of_parts().into_iter().step_by(3) {
        let stream = Stream::of(unit);
        let attack = async || party.flood(8, ordinary_token, Vec::new(), stream.clone()).await;
        party.withstands(&format!("eight times {name}"), 2 * BUDGET, attack).await;
    }
    party.check().await;
}

#[tokio::test]
async fn pings_that_are_answered_and_never_read_take_no_memory() {
    let party = Party::start().await;
    let stream = Stream { reads: false, ..Stream::of(frame(wire::PING, &[b'p'; 125]).repeat(2000)) };
    for attackers in [1, 8] {
        let attack = async || party.flood(attackers, ordinary_token, Vec::new(), stream.clone()).await;
        party.withstands(&format!("pings of {attackers}"), BUDGET, attack).await;
    }
    party.check().await;
}

#[tokio::test]
async fn a_participant_with_much_metadata_that_changes_its_name_disturbs_nobody() {
    let party = Party::start().await;
    let update = |update| signal(Ask::UpdateMetadata(update));
    let metadata = "m".repeat(500_000);
    let first = update(proto::UpdateParticipantMetadata { metadata, ..Default::default() });
    let name = |name: &str| update(proto::UpdateParticipantMetadata { name: name.to_owned(), ..Default::default() });
    let stream = Stream::of([name("a"), name("b")].concat());
    for stream in [stream.clone().at(220), stream] {
        let what = format!("names with much metadata, {:?} a second", stream.per_second.map(|pairs| 2 * pairs));
        let attack = async || party.flood(1, token_to_update, first.clone(), stream.clone()).await;
        party.withstands(&what, BUDGET, attack).await;
    }
    party.check().await;
}

#[tokio::test]
async fn unfinished_messages_have_a_budget_together() {
    const CONNECTIONS: usize = 60;
    let party = Party::start().await;
    let mut unfinished = frame(wire::BINARY, &vec![0; 4 * MIB]);
    unfinished.pop();
    let joins: Vec<Vec<u8>> =
        (0..CONNECTIONS).map(|number| plain_join(&ordinary_token(&format!("attacker {number}")))).collect();
    let engine = party.address();
    let mut wires: Vec<Wire> = joins.iter().map(|join| Wire::open(engine, join).unwrap()).collect();
    let watch = party.watch();
    let wires = tokio::task::spawn_blocking(move || {
        for wire in &mut wires {
            discard(wire);
            // It may be ended before all is sent.
            let _ = wire.send(&unfinished);
        }
        wires
    })
    .await
    .unwrap();
    watch.stop().await.assert_undisturbed("unfinished messages", 3 * BUDGET);
    drop(wires);
    party.check().await;
}

#[tokio::test]
async fn what_a_client_can_do_is_told_in_few_words() {
    let party = Party::start().await;
    let (_, packed) = join_request_of_parts().remove(2);
    let request = wire::join_request("/rtc/v1", &ordinary_token("attacker"), &packed);
    let attack = async || {
        if let Ok(mut wire) = Wire::open(party.address(), &request) {
            let joined = tokio::task::spawn_blocking(move || wire.hear().unwrap()).await.unwrap();
            let Told::Join(joined) = joined else { panic!("{joined:?}") };
            let participant = joined.participant.unwrap();
            assert!(participant.encoded_len() < 4096, "{} bytes", participant.encoded_len());
        }
    };
    party.withstands("capabilities", BUDGET, attack).await;
    party.check().await;
}

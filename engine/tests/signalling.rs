//! Signalling between participants: connection quality, data stream headers, subscriptions, mute, tokens and limits.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livekit_protocol as proto;
use maravilla_engine::Limits;
use prost::Message as _;
use proto::data_packet::Value;
use proto::data_stream::Header;
use proto::data_stream::header::ContentHeader;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use str0m::media::MediaKind;
use tokio_tungstenite::tungstenite::Message;

use client::{ConnectOptions, State, TestClient};
use support::{start, start_with};

const ROOM: &str = "r";

/// The `sid`s of the participants whose connection quality was received.
fn quality_sids(state: &State) -> Vec<String> {
    let updates = state.responses.iter().filter_map(|response| match response {
        Response::ConnectionQuality(quality) => Some(&quality.updates),
        _ => None,
    });
    updates.flatten().map(|info| info.participant_sid.clone()).collect()
}

#[tokio::test]
async fn sends_the_connection_quality_of_a_publisher_to_a_new_subscriber() {
    let engine = start();
    let join = |identity| TestClient::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    for client in [&ann, &ben] {
        client
            .wait_until("receives its own connection quality", |state| (!quality_sids(state).is_empty()).then_some(()))
            .await;
    }
    let sid = ann.with_state(|state| quality_sids(state).remove(0));
    assert!(!ben.with_state(|state| quality_sids(state).contains(&sid)));
    let track = ann.publish(MediaKind::Audio).await;
    ben.wait_for_packets(&[track]).await;
    ben.wait_until("receives ann's connection quality", |state| quality_sids(state).contains(&sid).then_some(())).await;
}

/// The header of a text stream with `identity` as its sender.
fn text_header(identity: &str) -> Vec<u8> {
    let content_header = Some(ContentHeader::TextHeader(proto::data_stream::TextHeader::default()));
    let value = Some(Value::StreamHeader(Header { content_header, ..Header::default() }));
    proto::DataPacket { participant_identity: identity.to_owned(), value, ..Default::default() }.encode_to_vec()
}

/// The sender of the received text header, and whether the text is marked as generated.
fn text_sender(state: &mut State) -> Option<(String, bool)> {
    let packet = state.data_packets.pop()?;
    let Some(Value::StreamHeader(Header { content_header: Some(ContentHeader::TextHeader(text)), .. })) = packet.value
    else {
        return None;
    };
    Some((packet.participant_identity, text.generated))
}

#[tokio::test]
async fn only_an_agent_can_send_a_text_header_with_the_identity_of_another_participant() {
    let engine = start();
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    for (kind, claimed, expected) in
        [("agent", "ann", ("ann", true)), ("agent", "", ("writer", false)), ("standard", "ann", ("writer", false))]
    {
        let writer =
            TestClient::connect(engine.address(), ConnectOptions { kind, ..ConnectOptions::new(ROOM, "writer") })
                .await
                .unwrap();
        tokio::join!(ben.wait_for_data_channels(), writer.wait_for_data_channels());
        writer.with_state(|state| state.write_channel(&text_header(claimed), true));
        let (identity, is_generated) = ben.wait_until("receives a text header", text_sender).await;
        assert_eq!((identity.as_str(), is_generated), expected, "{kind} claims {claimed:?}");
    }
}

#[tokio::test]
async fn can_subscribe_after_thousands_of_subscriptions_to_unknown_tracks() {
    let engine = start();
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Audio).await;
    let edit_join_request = Box::new(|request: &mut proto::JoinRequest| {
        request.connection_settings.get_or_insert_default().auto_subscribe = false;
    });
    let ben =
        TestClient::connect(engine.address(), ConnectOptions { edit_join_request, ..ConnectOptions::new(ROOM, "ben") })
            .await
            .unwrap();
    let unknown_sids = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("TR_{number}")).collect();
    for track_sids in [unknown_sids(0..2500), unknown_sids(2500..5000), vec![sid.clone()]] {
        ben.send_request(Request::Subscription(proto::UpdateSubscription {
            track_sids,
            subscribe: true,
            ..Default::default()
        }));
    }
    ben.wait_for_packets(&[sid]).await;
}

#[tokio::test]
async fn sequence_numbers_continue_after_a_mute() {
    let engine = start();
    let join = |identity| TestClient::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    let sid = ann.publish(MediaKind::Audio).await;
    ben.wait_for_packets(std::slice::from_ref(&sid)).await;
    let mute = |muted| ann.send_request(Request::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted }));
    let is_muted = |state: &mut State, muted: bool| {
        let latest = state.responses.iter().rev().find_map(|response| match response {
            Response::Update(update) => update.participants.iter().find(|info| info.identity == "ann"),
            _ => None,
        });
        latest.is_some_and(|info| info.tracks.iter().any(|track| track.muted == muted)).then_some(())
    };
    mute(true);
    ben.wait_until("receives the mute", |state| is_muted(state, true)).await;
    let next_seq = |state: &mut State| state.published[0].next_seq;
    let before = ann.with_state(next_seq);
    ann.wait_until("sends 50 more packets", |state| (next_seq(state) > before + 50).then_some(())).await;
    mute(false);
    ben.wait_until("receives the unmute", |state| is_muted(state, false)).await;
    ben.wait_for_packets(std::slice::from_ref(&sid)).await;
    let (packets, (first, last)) = ben.with_state(|state| {
        let mid = state.mid_of(&sid).unwrap();
        (state.packets[&mid], state.seq_ranges[&mid])
    });
    assert!(last - first < packets as u64 + 5, "{packets} packets with sequence numbers {first} to {last}");
}

/// The `RequestResponse`s received.
fn request_responses(state: &State) -> Vec<proto::RequestResponse> {
    let responses = state.responses.iter().filter_map(|response| match response {
        Response::RequestResponse(response) => Some(response.clone()),
        _ => None,
    });
    responses.collect()
}

#[tokio::test]
#[expect(deprecated, reason = "older clients still send UpdateLayers")]
async fn rejects_a_request_for_an_unsupported_feature_at_once() {
    use proto::request_response::Request as Echo;
    use proto::simulate_scenario::Scenario;
    let publish =
        proto::PublishDataTrackRequest { pub_handle: 7, name: "n".into(), encryption: 9, ..Default::default() };
    let echo = proto::PublishDataTrackRequest { pub_handle: 7, ..Default::default() };
    let unpublish = proto::UnpublishDataTrackRequest { pub_handle: 7 };
    let simulate = |scenario| Request::Simulate(proto::SimulateScenario { scenario });
    let cases = [
        (Request::PublishDataTrackRequest(publish), 0, Some(Echo::PublishDataTrack(echo))),
        (Request::UnpublishDataTrackRequest(unpublish), 0, Some(Echo::UnpublishDataTrack(unpublish))),
        (Request::UpdateDataSubscription(proto::UpdateDataSubscription::default()), 0, None),
        (Request::StoreDataBlobRequest(proto::StoreDataBlobRequest { request_id: 8, ..Default::default() }), 8, None),
        (Request::GetDataBlobRequest(proto::GetDataBlobRequest { request_id: 9, ..Default::default() }), 9, None),
        (Request::UpdateLayers(proto::UpdateVideoLayers::default()), 0, None),
        (simulate(Some(Scenario::SubscriberBandwidth(1))), 0, None),
        (simulate(Some(Scenario::LeaveRequestFullReconnect(true))), 0, None),
        (simulate(None), 0, None),
    ];
    let engine = start();
    let ann = TestClient::connect(engine.address(), ConnectOptions::new(ROOM, "ann")).await.unwrap();
    let assert_rejected = async |what: &str, expected: (u32, Option<Echo>)| {
        let response = ann.wait_until("receives a response", |state| request_responses(state).pop()).await;
        ann.with_state(|state| state.responses.clear());
        assert_eq!(response.reason(), proto::request_response::Reason::UnsupportedType, "{what}");
        assert!(response.message.ends_with(": not supported by this server"), "{what}: {}", response.message);
        assert_eq!((response.request_id, response.request), expected, "{what}");
    };
    for (request, request_id, echo) in cases {
        let what = format!("{request:?}");
        ann.send_request(request);
        assert_rejected(&what, (request_id, echo)).await;
    }
    // A request unknown to this version of the protocol, in both encodings: field 99, and an unknown name.
    for unknown in [Message::binary(vec![0x9a, 0x06, 0x00]), Message::text(r#"{"requestOfTheFuture":{}}"#)] {
        ann.with_state(|state| state.send_message(unknown.clone()));
        assert_rejected("an unknown request", (0, None)).await;
    }
}

#[tokio::test]
async fn broadcasts_the_dimensions_of_a_video_track() {
    let engine = start();
    let join = |identity| TestClient::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    let track_sid = ann.publish(MediaKind::Video).await;
    let update = |track_sid: &str| proto::UpdateLocalVideoTrack { track_sid: track_sid.into(), width: 12, height: 34 };
    ann.send_request(Request::UpdateVideoTrack(update(&track_sid)));
    let has_dimensions = |response: &Response| match response {
        Response::Update(update) => {
            let mut tracks = update.participants.iter().flat_map(|participant| &participant.tracks);
            tracks.any(|track| track.sid == track_sid && (track.width, track.height) == (12, 34))
        }
        _ => false,
    };
    ben.wait_until("receives the dimensions", |state| state.responses.iter().any(has_dimensions).then_some(())).await;
    ann.send_request(Request::UpdateVideoTrack(update("TR_none")));
    let response = ann.wait_until("receives a response", |state| request_responses(state).pop()).await;
    assert_eq!(response.reason(), proto::request_response::Reason::NotFound);
    assert_eq!(response.request, Some(proto::request_response::Request::UpdateVideoTrack(update("TR_none"))));
}

#[tokio::test]
async fn only_a_connected_participant_can_join_again_at_the_participant_limit() {
    let engine = start_with(Limits { participants: 1, ..Limits::default() });
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    assert!(TestClient::connect(engine.address(), ConnectOptions::new(ROOM, "ben")).await.is_none());
    assert!(TestClient::connect(engine.address(), ConnectOptions::new("another", "ann")).await.is_none());
    let again = TestClient::join(engine.address(), ROOM, "ann").await;
    ann.wait_until_closed().await;
    assert!(TestClient::connect(engine.address(), ConnectOptions::new(ROOM, "ben")).await.is_none());
    again.leave().await;
    TestClient::join(engine.address(), ROOM, "ben").await;
}

/// The `name` claims of the refresh tokens received.
fn names_in_tokens(state: &State) -> Vec<String> {
    let tokens = state.responses.iter().filter_map(|response| match response {
        Response::RefreshToken(token) => token.split('.').nth(1),
        _ => None,
    });
    let claims = tokens.map(|claims| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap());
    claims.map(|claims: serde_json::Value| claims["name"].as_str().unwrap().to_owned()).collect()
}

fn set_name(client: &TestClient, name: impl Into<String>) {
    let update = proto::UpdateParticipantMetadata { name: name.into(), ..Default::default() };
    client.send_request(Request::UpdateMetadata(update));
}

#[tokio::test]
async fn sends_at_most_one_refresh_token_a_second_and_the_last_one_has_all_changes() {
    let engine = start();
    let ann = TestClient::connect(engine.address(), ConnectOptions::new(ROOM, "ann")).await.unwrap();
    let started = Instant::now();
    for number in 0..=200 {
        set_name(&ann, number.to_string());
    }
    ann.wait_until("receives a token with the last name", |state| {
        names_in_tokens(state).iter().any(|name| name == "200").then_some(())
    })
    .await;
    // One token at the join, one for the first change, and at most one for each second after it.
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let names = ann.with_state(|state| names_in_tokens(state));
    assert_eq!(names[..2], ["", "0"]);
    assert!(names.len() <= 2 + seconds, "{names:?} in {seconds} s");
}

#[tokio::test]
async fn sends_a_delayed_refresh_token_before_a_full_reconnect() {
    use proto::simulate_scenario::Scenario;
    let engine = start();
    let ann = TestClient::connect(engine.address(), ConnectOptions::new(ROOM, "ann")).await.unwrap();
    for name in ["first", "second"] {
        set_name(&ann, name);
    }
    let scenario = Some(Scenario::SwitchCandidateProtocol(proto::CandidateProtocol::Tcp.into()));
    ann.send_request(Request::Simulate(proto::SimulateScenario { scenario }));
    ann.wait_until_closed().await;
    assert_eq!(ann.with_state(|state| names_in_tokens(state)), ["", "first", "second"]);
}

#[tokio::test]
async fn broadcasts_each_known_capability_of_a_client_once() {
    let engine = start();
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    let known = proto::client_info::Capability::CapPacketTrailer.into();
    let edit_join_request = Box::new(move |request: &mut proto::JoinRequest| {
        request.client_info.get_or_insert_default().capabilities = [known, 99].repeat(10_000);
    });
    let _ann =
        TestClient::connect(engine.address(), ConnectOptions { edit_join_request, ..ConnectOptions::new(ROOM, "ann") })
            .await
            .unwrap();
    let info_of_ann = |response: &Response| match response {
        Response::Update(update) => update.participants.iter().find(|other| other.identity == "ann").cloned(),
        _ => None,
    };
    let info = ben.wait_until("receives ann's info", |state| state.responses.iter().find_map(info_of_ann)).await;
    assert_eq!(info.capabilities, [known]);
}

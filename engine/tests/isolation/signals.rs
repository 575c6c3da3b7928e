//! Generated join requests and signals, valid and damaged.

use std::collections::HashMap;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use proto::simulate_scenario::Scenario;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{State, connect_signalling, participant_token};
use crate::generators::{damage, text};
use crate::support::gzip;
use crate::{Fixture, ROOM, generate, wait_until_processed};

#[tokio::test]
async fn arbitrary_signals_do_not_affect_others() {
    let fixture = Fixture::start().await;
    let known_sids: Vec<String> = fixture.tracks.iter().flatten().cloned().collect();
    let mut sent = 0;
    for batch in 0..6 {
        let mut attacker = fixture.connected_attacker().await;
        for number in 0..150 {
            let case = batch * 150 + number;
            let Some(message) = generate(case, |source| message(source, &known_sids)) else { continue };
            attacker.with_state(|state| state.send_message(message));
            sent += 1;
            if case % 10 == 0 {
                wait_until_processed(&attacker, case).await;
                if attacker.with_state(|state| state.is_closed) {
                    attacker = fixture.connected_attacker().await;
                }
            }
        }
        wait_until_processed(&attacker, batch).await;
        fixture.check().await;
    }
    assert!(sent > 600, "only {sent} signals were sent");
}

#[tokio::test]
async fn arbitrary_join_requests_do_not_affect_others() {
    let fixture = Fixture::start().await;
    let (mut accepted, mut rejected) = (0, 0);
    for case in 0..300 {
        let Some(join_request) = generate(case, join_request) else { continue };
        match connect_signalling(fixture.address(), &participant_token(ROOM, "attacker", "standard"), &join_request)
            .await
        {
            Some(_) => accepted += 1,
            None => rejected += 1,
        }
        if case % 100 == 99 {
            fixture.check().await;
        }
    }
    assert!(accepted > 20 && rejected > 20, "{accepted} accepted, {rejected} rejected");
}

#[tokio::test]
async fn rejects_a_resume_with_the_sid_of_another_participant() {
    let fixture = Fixture::start().await;
    let observer = fixture.connected_attacker().await;
    let sids = observer.wait_until("has joined", sids_of_others).await;
    assert_eq!(sids.len(), 2);
    for sid in sids.into_iter().chain(["PA_none".to_owned(), String::new()]) {
        let resume = move |request: &mut proto::JoinRequest| {
            (request.reconnect, request.participant_sid) = (true, sid);
        };
        let attacker = fixture.attacker(|options| options.edit_join_request = Box::new(resume)).await.unwrap();
        let first = attacker.wait_until("receives a response", |state| state.responses.first().cloned()).await;
        let Response::Leave(leave) = first else { panic!("{first:?}") };
        assert_eq!((leave.reason(), leave.action()), (DisconnectReason::StateMismatch, Action::Reconnect));
        attacker.wait_until_closed().await;
    }
    fixture.check().await;
}

fn sids_of_others(state: &mut State) -> Option<Vec<String>> {
    state.responses.iter().find_map(|response| match response {
        Response::Join(join) => Some(join.other_participants.iter().map(|other| other.sid.clone()).collect()),
        _ => None,
    })
}

/// Generates a WebSocket message, usually a signal, which may be damaged.
fn message(source: &mut Unstructured<'_>, known: &[String]) -> Result<Message> {
    let signal = proto::SignalRequest { message: Some(request(source, known)?) };
    Ok(if source.ratio(1, 4)? {
        // A value outside an enumeration can't be encoded in JSON.
        let mut text = serde_json::to_vec(&signal).unwrap_or_default();
        damage(source, &mut text)?;
        Message::text(String::from_utf8_lossy(&text).into_owned())
    } else {
        let mut bytes = signal.encode_to_vec();
        damage(source, &mut bytes)?;
        if source.ratio(1, 40)? { Message::Ping(bytes.into()) } else { Message::binary(bytes) }
    })
}

#[expect(deprecated, reason = "the engine still accepts deprecated requests")]
fn request(source: &mut Unstructured<'_>, known: &[String]) -> Result<Request> {
    Ok(match source.int_in_range(0..=16)? {
        0 => Request::Offer(description(source)?),
        1 => Request::Answer(description(source)?),
        2 => Request::Trickle(proto::TrickleRequest { candidate_init: text(source)?, target: 7, r#final: true }),
        3 | 4 => Request::AddTrack(track(source)?),
        5 => Request::Mute(proto::MuteTrackRequest { sid: sid(source, known)?, muted: source.arbitrary()? }),
        6 => Request::Subscription(subscription(source, known)?),
        7 => Request::TrackSetting(proto::UpdateTrackSettings {
            track_sids: sids(source, known)?,
            disabled: source.arbitrary()?,
            quality: number(source)?,
            width: source.arbitrary()?,
            height: source.arbitrary()?,
            fps: source.arbitrary()?,
            priority: source.arbitrary()?,
        }),
        8 => {
            Request::UpdateLayers(proto::UpdateVideoLayers { track_sid: sid(source, known)?, layers: layers(source)? })
        }
        9 => Request::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: source.arbitrary()?,
            track_permissions: list(source, |source| {
                Ok(proto::TrackPermission {
                    participant_sid: sid(source, known)?,
                    all_tracks: source.arbitrary()?,
                    track_sids: sids(source, known)?,
                    participant_identity: (*source.choose(&["ann", "ben", "attacker", ""])?).to_owned(),
                })
            })?,
        }),
        10 => Request::SyncState(proto::SyncState {
            offer: Some(description(source)?),
            answer: Some(description(source)?),
            subscription: Some(subscription(source, known)?),
            track_sids_disabled: sids(source, known)?,
            ..Default::default()
        }),
        11 => Request::Simulate(proto::SimulateScenario { scenario: Some(scenario(source)?) }),
        12 => Request::Ping(source.arbitrary()?),
        13 => Request::UpdateMetadata(proto::UpdateParticipantMetadata {
            metadata: text(source)?,
            name: text(source)?,
            attributes: attributes(source)?,
            request_id: source.arbitrary()?,
        }),
        14 => Request::PingReq(proto::Ping { timestamp: source.arbitrary()?, rtt: source.arbitrary()? }),
        15 => Request::UpdateAudioTrack(proto::UpdateLocalAudioTrack {
            track_sid: sid(source, known)?,
            features: list(source, number)?,
        }),
        _ => Request::UpdateVideoTrack(proto::UpdateLocalVideoTrack {
            track_sid: sid(source, known)?,
            width: 1,
            height: 0,
        }),
    })
}

fn scenario(source: &mut Unstructured<'_>) -> Result<Scenario> {
    Ok(match source.int_in_range(0..=9)? {
        0 => Scenario::NodeFailure(true),
        1 => Scenario::Migration(true),
        2 => Scenario::ServerLeave(true),
        3 => Scenario::SwitchCandidateProtocol(number(source)?),
        4 => Scenario::SubscriberBandwidth(source.arbitrary()?),
        5 => Scenario::DisconnectSignalOnResume(true),
        6 => Scenario::DisconnectSignalOnResumeNoMessages(true),
        _ => Scenario::SpeakerUpdate(source.arbitrary()?),
    })
}

fn join_request(source: &mut Unstructured<'_>) -> Result<String> {
    let connection_settings = proto::ConnectionSettings {
        auto_subscribe: source.arbitrary()?,
        adaptive_stream: source.arbitrary()?,
        ..Default::default()
    };
    let client_info = proto::ClientInfo {
        sdk: number(source)?,
        version: text(source)?,
        protocol: number(source)?,
        client_protocol: number(source)?,
        capabilities: list(source, number)?,
        ..Default::default()
    };
    let request = proto::JoinRequest {
        client_info: source.ratio(3, 4)?.then_some(client_info),
        connection_settings: source.ratio(3, 4)?.then_some(connection_settings),
        metadata: text(source)?,
        participant_attributes: attributes(source)?,
        add_track_requests: list(source, track)?,
        publisher_offer: if source.arbitrary()? { Some(description(source)?) } else { None },
        reconnect: source.ratio(1, 4)?,
        reconnect_reason: number(source)?,
        participant_sid: text(source)?,
        sync_state: None,
    };
    let mut inner = request.encode_to_vec();
    damage(source, &mut inner)?;
    let is_compressed = source.arbitrary()?;
    if is_compressed {
        inner = gzip(&inner);
        damage(source, &mut inner)?;
    }
    let wrapped = proto::WrappedJoinRequest { compression: i32::from(is_compressed), join_request: inner };
    let mut encoded = URL_SAFE.encode(wrapped.encode_to_vec());
    if source.ratio(1, 10)? {
        encoded.truncate(source.choose_index(encoded.len())?);
    }
    Ok(encoded)
}

fn description(source: &mut Unstructured<'_>) -> Result<proto::SessionDescription> {
    let sdp = match source.int_in_range(0..=3)? {
        0 => text(source)?,
        1 => "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".to_owned(),
        _ => include_str!("../offers/chromium/1-join.offer.sdp").replace('\n', "\r\n"),
    };
    let id = source.arbitrary()?;
    Ok(proto::SessionDescription { r#type: text(source)?, sdp, id, mid_to_track_id: attributes(source)? })
}

#[expect(deprecated, reason = "clients still set the deprecated stereo flag")]
fn track(source: &mut Unstructured<'_>) -> Result<proto::AddTrackRequest> {
    Ok(proto::AddTrackRequest {
        cid: text(source)?,
        name: text(source)?,
        r#type: number(source)?,
        width: source.arbitrary()?,
        height: source.arbitrary()?,
        muted: source.arbitrary()?,
        source: number(source)?,
        layers: layers(source)?,
        simulcast_codecs: list(source, |source| {
            Ok(proto::SimulcastCodec {
                codec: (*source.choose(&["vp8", "VP9", "h264", "", "opus", "video/", "/"])?).to_owned(),
                cid: text(source)?,
                layers: layers(source)?,
                video_layer_mode: number(source)?,
            })
        })?,
        sid: text(source)?,
        stereo: source.arbitrary()?,
        encryption: number(source)?,
        stream: text(source)?,
        audio_features: list(source, number)?,
        ..Default::default()
    })
}

fn layers(source: &mut Unstructured<'_>) -> Result<Vec<proto::VideoLayer>> {
    list(source, |source| {
        Ok(proto::VideoLayer {
            quality: number(source)?,
            width: source.arbitrary()?,
            height: source.arbitrary()?,
            bitrate: source.arbitrary()?,
            ssrc: source.arbitrary()?,
            spatial_layer: number(source)?,
            rid: text(source)?,
            ..Default::default()
        })
    })
}

fn subscription(source: &mut Unstructured<'_>, known: &[String]) -> Result<proto::UpdateSubscription> {
    Ok(proto::UpdateSubscription {
        track_sids: sids(source, known)?,
        subscribe: source.arbitrary()?,
        participant_tracks: list(source, |source| {
            Ok(proto::ParticipantTracks { participant_sid: sid(source, known)?, track_sids: sids(source, known)? })
        })?,
    })
}

/// An enumeration value, usually a known one.
fn number(source: &mut Unstructured<'_>) -> Result<i32> {
    if source.ratio(4, 5)? { source.int_in_range(0..=5) } else { source.arbitrary() }
}

fn sid(source: &mut Unstructured<'_>, known: &[String]) -> Result<String> {
    if source.ratio(3, 4)? { Ok(source.choose(known)?.clone()) } else { text(source) }
}

fn sids(source: &mut Unstructured<'_>, known: &[String]) -> Result<Vec<String>> {
    list(source, |source| sid(source, known))
}

fn attributes(source: &mut Unstructured<'_>) -> Result<HashMap<String, String>> {
    Ok(list(source, |source| Ok((text(source)?, text(source)?)))?.into_iter().collect())
}

fn list<T>(source: &mut Unstructured<'_>, mut item: impl FnMut(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    let count = source.int_in_range(0..=3)?;
    (0..count).map(|_| item(source)).collect()
}

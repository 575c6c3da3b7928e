//! What an enemy says: join requests and signals that are made up, and good ones that are damaged.

use std::collections::HashMap;
use std::io::Write as _;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use proto::simulate_scenario::Scenario;
use tokio_tungstenite::tungstenite::Message;

use crate::caller::{State, dial, ticket};
use crate::generators::{damage, text};
use crate::{Party, ROOM, is_dealt_with, made};

#[tokio::test]
async fn whatever_an_enemy_says_the_others_go_on() {
    let party = Party::start().await;
    let known: Vec<String> = party.tracks.iter().flatten().cloned().collect();
    let mut said = 0;
    for batch in 0..6 {
        let mut enemy = party.connected_enemy().await;
        for number in 0..150 {
            let case = batch * 150 + number;
            let Some(message) = made(case, |source| message(source, &known)) else { continue };
            enemy.act(|state| state.say_raw(message));
            said += 1;
            if case % 10 == 0 {
                is_dealt_with(&enemy, case).await;
                if enemy.act(|state| state.is_closed) {
                    enemy = party.connected_enemy().await;
                }
            }
        }
        is_dealt_with(&enemy, batch).await;
        party.check().await;
    }
    assert!(said > 600, "{said}");
}

#[tokio::test]
async fn whatever_an_enemy_joins_with_the_others_go_on() {
    let party = Party::start().await;
    let (mut admitted, mut refused) = (0, 0);
    for case in 0..300 {
        let Some(packed) = made(case, join_request) else { continue };
        match dial(party.address(), &ticket(ROOM, "enemy", "standard"), &packed).await {
            Some(_) => admitted += 1,
            None => refused += 1,
        }
        if case % 100 == 99 {
            party.check().await;
        }
    }
    assert!(admitted > 20 && refused > 20, "{admitted} admitted, {refused} refused");
}

#[tokio::test]
async fn nobody_resumes_the_session_of_another() {
    let party = Party::start().await;
    let witness = party.connected_enemy().await;
    let sids = witness.until("has joined", sids_of_others).await;
    assert_eq!(sids.len(), 2);
    for sid in sids.into_iter().chain(["PA_none".to_owned(), String::new()]) {
        let resume = move |request: &mut proto::JoinRequest| {
            (request.reconnect, request.participant_sid) = (true, sid);
        };
        let thief = party.enemy(|call| call.wishes = Box::new(resume)).await.unwrap();
        let farewell = thief.until("is told", |state| state.heard.first().cloned()).await;
        let Told::Leave(leave) = farewell else { panic!("{farewell:?}") };
        assert_eq!((leave.reason(), leave.action()), (DisconnectReason::StateMismatch, Action::Reconnect));
        thief.is_gone().await;
    }
    party.check().await;
}

fn sids_of_others(state: &mut State) -> Option<Vec<String>> {
    state.heard.iter().find_map(|told| match told {
        Told::Join(join) => Some(join.other_participants.iter().map(|other| other.sid.clone()).collect()),
        _ => None,
    })
}

/// A frame of a connection: mostly a signal, some of it damaged.
fn message(source: &mut Unstructured<'_>, known: &[String]) -> Result<Message> {
    let signal = proto::SignalRequest { message: Some(ask(source, known)?) };
    Ok(if source.ratio(1, 4)? {
        // What no enumeration has cannot be written so.
        let mut text = serde_json::to_vec(&signal).unwrap_or_default();
        damage(source, &mut text)?;
        Message::text(String::from_utf8_lossy(&text).into_owned())
    } else {
        let mut bytes = signal.encode_to_vec();
        damage(source, &mut bytes)?;
        if source.ratio(1, 40)? { Message::Ping(bytes.into()) } else { Message::binary(bytes) }
    })
}

#[expect(deprecated, reason = "an enemy says what nobody says any more, too")]
fn ask(source: &mut Unstructured<'_>, known: &[String]) -> Result<Ask> {
    Ok(match source.int_in_range(0..=16)? {
        0 => Ask::Offer(description(source)?),
        1 => Ask::Answer(description(source)?),
        2 => Ask::Trickle(proto::TrickleRequest { candidate_init: text(source)?, target: 7, r#final: true }),
        3 | 4 => Ask::AddTrack(track(source)?),
        5 => Ask::Mute(proto::MuteTrackRequest { sid: sid(source, known)?, muted: source.arbitrary()? }),
        6 => Ask::Subscription(subscription(source, known)?),
        7 => Ask::TrackSetting(proto::UpdateTrackSettings {
            track_sids: sids(source, known)?,
            disabled: source.arbitrary()?,
            quality: number(source)?,
            width: source.arbitrary()?,
            height: source.arbitrary()?,
            fps: source.arbitrary()?,
            priority: source.arbitrary()?,
        }),
        8 => Ask::UpdateLayers(proto::UpdateVideoLayers { track_sid: sid(source, known)?, layers: layers(source)? }),
        9 => Ask::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: source.arbitrary()?,
            track_permissions: list(source, |source| {
                Ok(proto::TrackPermission {
                    participant_sid: sid(source, known)?,
                    all_tracks: source.arbitrary()?,
                    track_sids: sids(source, known)?,
                    participant_identity: (*source.choose(&["ann", "ben", "enemy", ""])?).to_owned(),
                })
            })?,
        }),
        10 => Ask::SyncState(proto::SyncState {
            offer: Some(description(source)?),
            answer: Some(description(source)?),
            subscription: Some(subscription(source, known)?),
            track_sids_disabled: sids(source, known)?,
            ..Default::default()
        }),
        11 => Ask::Simulate(proto::SimulateScenario { scenario: Some(scenario(source)?) }),
        12 => Ask::Ping(source.arbitrary()?),
        13 => Ask::UpdateMetadata(proto::UpdateParticipantMetadata {
            metadata: text(source)?,
            name: text(source)?,
            attributes: attributes(source)?,
            request_id: source.arbitrary()?,
        }),
        14 => Ask::PingReq(proto::Ping { timestamp: source.arbitrary()?, rtt: source.arbitrary()? }),
        15 => Ask::UpdateAudioTrack(proto::UpdateLocalAudioTrack {
            track_sid: sid(source, known)?,
            features: list(source, number)?,
        }),
        _ => {
            Ask::UpdateVideoTrack(proto::UpdateLocalVideoTrack { track_sid: sid(source, known)?, width: 1, height: 0 })
        }
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
    let is_zipped = source.arbitrary()?;
    if is_zipped {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&inner).unwrap();
        inner = encoder.finish().unwrap();
        damage(source, &mut inner)?;
    }
    let wrapped = proto::WrappedJoinRequest { compression: i32::from(is_zipped), join_request: inner };
    let mut packed = URL_SAFE.encode(wrapped.encode_to_vec());
    if source.ratio(1, 10)? {
        packed.truncate(source.choose_index(packed.len())?);
    }
    Ok(packed)
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

#[expect(deprecated, reason = "clients still say whether they send in stereo so")]
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

/// A number of an enumeration, or of none.
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

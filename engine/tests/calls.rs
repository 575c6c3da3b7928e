//! What participants are told of each other while they are in a call.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
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
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use str0m::media::MediaKind;
use tokio_tungstenite::tungstenite::Message;

use caller::{Call, Caller, State};
use support::{start, start_with};

const ROOM: &str = "r";

/// The participants whose quality of connection somebody was told of.
fn qualities(state: &State) -> Vec<String> {
    let told = state.heard.iter().filter_map(|told| match told {
        Told::ConnectionQuality(quality) => Some(&quality.updates),
        _ => None,
    });
    told.flatten().map(|info| info.participant_sid.clone()).collect()
}

#[tokio::test]
async fn how_well_a_publisher_is_connected_is_told_to_whoever_comes_to_be_sent_its_track() {
    let engine = start();
    let join = |identity| Caller::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    for who in [&ann, &ben] {
        who.until("is told of its own connection", |state| (!qualities(state).is_empty()).then_some(())).await;
    }
    let sid = ann.act(|state| qualities(state).remove(0));
    assert!(!ben.act(|state| qualities(state).contains(&sid)));
    let track = ann.publish(MediaKind::Audio).await;
    ben.sees(&[track]).await;
    ben.until("is told of ann's connection", |state| qualities(state).contains(&sid).then_some(())).await;
}

/// A text in pieces that begins, said to be of that one.
fn words(of: &str) -> Vec<u8> {
    let content_header = Some(ContentHeader::TextHeader(proto::data_stream::TextHeader::default()));
    let value = Some(Value::StreamHeader(Header { content_header, ..Header::default() }));
    proto::DataPacket { participant_identity: of.to_owned(), value, ..Default::default() }.encode_to_vec()
}

/// Of whom a text that has come is, and whether it is marked as generated.
fn author(state: &mut State) -> Option<(String, bool)> {
    let packet = state.mail.pop()?;
    let Some(Value::StreamHeader(Header { content_header: Some(ContentHeader::TextHeader(text)), .. })) = packet.value
    else {
        return None;
    };
    Some((packet.participant_identity, text.generated))
}

#[tokio::test]
async fn a_text_is_of_whom_an_agent_says_and_of_its_sender_whatever_others_say() {
    let engine = start();
    let ben = Caller::join(engine.address(), ROOM, "ben").await;
    for (kind, said, expected) in
        [("agent", "ann", ("ann", true)), ("agent", "", ("writer", false)), ("standard", "ann", ("writer", false))]
    {
        let writer = Caller::call(engine.address(), Call { kind, ..Call::new(ROOM, "writer") }).await.unwrap();
        tokio::join!(ben.has_channels(), writer.has_channels());
        writer.act(|state| state.write(&words(said), true));
        let (identity, is_generated) = ben.until("receives a text", author).await;
        assert_eq!((identity.as_str(), is_generated), expected, "{kind} says {said:?}");
    }
}

#[tokio::test]
async fn whoever_has_chosen_thousands_of_tracks_that_are_gone_can_choose_another() {
    let engine = start();
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Audio).await;
    let wishes = Box::new(|request: &mut proto::JoinRequest| {
        request.connection_settings.get_or_insert_default().auto_subscribe = false;
    });
    let ben = Caller::call(engine.address(), Call { wishes, ..Call::new(ROOM, "ben") }).await.unwrap();
    let gone = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("TR_{number}")).collect();
    for track_sids in [gone(0..2500), gone(2500..5000), vec![sid.clone()]] {
        ben.say(Ask::Subscription(proto::UpdateSubscription { track_sids, subscribe: true, ..Default::default() }));
    }
    ben.sees(&[sid]).await;
}

#[tokio::test]
async fn a_muted_track_goes_on_where_it_was_when_it_is_unmuted() {
    let engine = start();
    let join = |identity| Caller::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    let sid = ann.publish(MediaKind::Audio).await;
    ben.sees(std::slice::from_ref(&sid)).await;
    let mute = |muted| ann.say(Ask::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted }));
    let is_muted = |state: &mut State, muted: bool| {
        let told = state.heard.iter().rev().find_map(|told| match told {
            Told::Update(update) => update.participants.iter().find(|info| info.identity == "ann"),
            _ => None,
        });
        told.is_some_and(|info| info.tracks.iter().any(|track| track.muted == muted)).then_some(())
    };
    mute(true);
    ben.until("is told of the mute", |state| is_muted(state, true)).await;
    let sent = |state: &mut State| state.sent[0].next;
    let before = ann.act(sent);
    ann.until("has sent more", |state| (sent(state) > before + 50).then_some(())).await;
    mute(false);
    ben.until("is told of the unmute", |state| is_muted(state, false)).await;
    ben.sees(std::slice::from_ref(&sid)).await;
    let (packets, (first, last)) = ben.act(|state| {
        let mid = state.section(&sid).unwrap();
        (state.packets[&mid], state.numbers[&mid])
    });
    assert!(last - first < packets as u64 + 5, "{packets} packets have come, numbered from {first} to {last}");
}

/// The answers to requests that somebody has got: reason, number, request and message.
fn responses(state: &State) -> Vec<proto::RequestResponse> {
    let answers = state.heard.iter().filter_map(|told| match told {
        Told::RequestResponse(answer) => Some(answer.clone()),
        _ => None,
    });
    answers.collect()
}

#[tokio::test]
#[expect(deprecated, reason = "older clients still tell their layers")]
async fn rejects_a_request_for_an_unsupported_feature_at_once() {
    use proto::request_response::Request;
    use proto::simulate_scenario::Scenario;
    let publish =
        proto::PublishDataTrackRequest { pub_handle: 7, name: "n".into(), encryption: 9, ..Default::default() };
    let echo = proto::PublishDataTrackRequest { pub_handle: 7, ..Default::default() };
    let unpublish = proto::UnpublishDataTrackRequest { pub_handle: 7 };
    let simulate = |scenario| Ask::Simulate(proto::SimulateScenario { scenario });
    let cases = [
        (Ask::PublishDataTrackRequest(publish), 0, Some(Request::PublishDataTrack(echo))),
        (Ask::UnpublishDataTrackRequest(unpublish), 0, Some(Request::UnpublishDataTrack(unpublish))),
        (Ask::UpdateDataSubscription(proto::UpdateDataSubscription::default()), 0, None),
        (Ask::StoreDataBlobRequest(proto::StoreDataBlobRequest { request_id: 8, ..Default::default() }), 8, None),
        (Ask::GetDataBlobRequest(proto::GetDataBlobRequest { request_id: 9, ..Default::default() }), 9, None),
        (Ask::UpdateLayers(proto::UpdateVideoLayers::default()), 0, None),
        (simulate(Some(Scenario::SubscriberBandwidth(1))), 0, None),
        (simulate(Some(Scenario::LeaveRequestFullReconnect(true))), 0, None),
        (simulate(None), 0, None),
    ];
    let engine = start();
    let ann = Caller::call(engine.address(), Call::new(ROOM, "ann")).await.unwrap();
    let answered = async |what: &str| {
        let answer = ann.until("is answered", |state| responses(state).pop()).await;
        ann.act(|state| state.heard.clear());
        assert_eq!(answer.reason(), proto::request_response::Reason::UnsupportedType, "{what}");
        assert!(answer.message.ends_with(": not supported by this server"), "{what}: {}", answer.message);
        (answer.request_id, answer.request)
    };
    for (request, number, echo) in cases {
        let what = format!("{request:?}");
        ann.say(request);
        assert_eq!(answered(&what).await, (number, echo), "{what}");
    }
    // A request of field 99, which no version of the protocol has yet, in both encodings.
    for unknown in [Message::binary(vec![0x9a, 0x06, 0x00]), Message::text(r#"{"requestOfTomorrow":{}}"#)] {
        ann.act(|state| state.say_raw(unknown.clone()));
        assert_eq!(answered("a request of tomorrow").await, (0, None));
    }
}

#[tokio::test]
async fn shows_the_dimensions_that_a_publisher_reports_for_its_track() {
    let engine = start();
    let join = |identity| Caller::join(engine.address(), ROOM, identity);
    let (ann, ben) = tokio::join!(join("ann"), join("ben"));
    let track_sid = ann.publish(MediaKind::Video).await;
    let update = |track_sid: &str| proto::UpdateLocalVideoTrack { track_sid: track_sid.into(), width: 12, height: 34 };
    ann.say(Ask::UpdateVideoTrack(update(&track_sid)));
    let is_shown = |told: &Told| match told {
        Told::Update(update) => {
            let mut tracks = update.participants.iter().flat_map(|participant| &participant.tracks);
            tracks.any(|track| track.sid == track_sid && (track.width, track.height) == (12, 34))
        }
        _ => false,
    };
    ben.until("sees the dimensions", |state| state.heard.iter().any(is_shown).then_some(())).await;
    ann.say(Ask::UpdateVideoTrack(update("TR_none")));
    let answer = ann.until("is answered", |state| responses(state).pop()).await;
    assert_eq!(answer.reason(), proto::request_response::Reason::NotFound);
    assert_eq!(answer.request, Some(proto::request_response::Request::UpdateVideoTrack(update("TR_none"))));
}

#[tokio::test]
async fn a_participant_can_rejoin_at_the_participant_limit_but_no_other_can_join() {
    let engine = start_with(Limits { participants: 1, ..Limits::default() });
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    assert!(Caller::call(engine.address(), Call::new(ROOM, "ben")).await.is_none());
    assert!(Caller::call(engine.address(), Call::new("another", "ann")).await.is_none());
    let again = Caller::join(engine.address(), ROOM, "ann").await;
    ann.is_gone().await;
    assert!(Caller::call(engine.address(), Call::new(ROOM, "ben")).await.is_none());
    again.leave().await;
    Caller::join(engine.address(), ROOM, "ben").await;
}

/// The names in the tokens that somebody was sent.
fn names_in_tokens(state: &State) -> Vec<String> {
    let tokens = state.heard.iter().filter_map(|told| match told {
        Told::RefreshToken(token) => token.split('.').nth(1),
        _ => None,
    });
    let claims = tokens.map(|claims| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap());
    claims.map(|claims: serde_json::Value| claims["name"].as_str().unwrap().to_owned()).collect()
}

fn set_name(caller: &Caller, name: impl Into<String>) {
    let update = proto::UpdateParticipantMetadata { name: name.into(), ..Default::default() };
    caller.say(Ask::UpdateMetadata(update));
}

#[tokio::test]
async fn sends_at_most_one_token_a_second_for_changes_and_the_last_one_has_them_all() {
    let engine = start();
    let ann = Caller::call(engine.address(), Call::new(ROOM, "ann")).await.unwrap();
    let begun = Instant::now();
    for number in 0..=200 {
        set_name(&ann, number.to_string());
    }
    ann.until("has its last name", |state| names_in_tokens(state).iter().any(|name| name == "200").then_some(())).await;
    // One at the join, one for the first change, and one for each second since.
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let names = ann.act(|state| names_in_tokens(state));
    assert_eq!(names[..2], ["", "0"]);
    assert!(names.len() <= 2 + seconds, "{names:?} within {seconds} s");
}

#[tokio::test]
async fn a_token_that_waits_is_sent_before_a_participant_is_told_to_rejoin() {
    use proto::simulate_scenario::Scenario;
    let engine = start();
    let ann = Caller::call(engine.address(), Call::new(ROOM, "ann")).await.unwrap();
    for name in ["first", "second"] {
        set_name(&ann, name);
    }
    let scenario = Some(Scenario::SwitchCandidateProtocol(proto::CandidateProtocol::Tcp.into()));
    ann.say(Ask::Simulate(proto::SimulateScenario { scenario }));
    ann.is_gone().await;
    assert_eq!(ann.act(|state| names_in_tokens(state)), ["", "first", "second"]);
}

#[tokio::test]
async fn shows_each_capability_of_a_client_once_however_often_it_comes() {
    let engine = start();
    let ben = Caller::join(engine.address(), ROOM, "ben").await;
    let known = proto::client_info::Capability::CapPacketTrailer.into();
    let wishes = Box::new(move |request: &mut proto::JoinRequest| {
        request.client_info.get_or_insert_default().capabilities = [known, 99].repeat(10_000);
    });
    let _ann = Caller::call(engine.address(), Call { wishes, ..Call::new(ROOM, "ann") }).await.unwrap();
    let shown = |told: &Told| match told {
        Told::Update(update) => update.participants.iter().find(|other| other.identity == "ann").cloned(),
        _ => None,
    };
    let ann = ben.until("sees ann", |state| state.heard.iter().find_map(shown)).await;
    assert_eq!(ann.capabilities, [known]);
}

//! Floods of valid requests.

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use str0m::media::MediaKind;
use tokio_tungstenite::tungstenite::Message;

use crate::attackers::{self, BUDGET, discard, ordinary_token, plain_join};
use crate::client::TestClient;
use crate::signal_socket::SignalSocket;
use crate::{Fixture, MIB, wait_until_processed};

/// Encodes a request once, so that sending it repeatedly costs the attacker little.
fn encode(request: Request) -> Message {
    Message::binary(proto::SignalRequest { message: Some(request) }.encode_to_vec())
}

fn add_track(edit: impl FnOnce(&mut proto::AddTrackRequest)) -> Request {
    let mut request = proto::AddTrackRequest { cid: "cid".to_owned(), ..proto::AddTrackRequest::default() };
    edit(&mut request);
    Request::AddTrack(request)
}

/// Requests with long lists that the engine decodes.
fn requests_with_long_lists(own_sid: &str) -> Vec<(&'static str, Request)> {
    let sids = |count: usize| (0..count).map(|number| format!("TR_{number}")).collect::<Vec<_>>();
    let layer = proto::VideoLayer { quality: 1, width: 1, ..proto::VideoLayer::default() };
    let permission = proto::TrackPermission { track_sids: vec!["TR".to_owned()], ..Default::default() };
    let track_sid = own_sid.to_owned();
    vec![
        ("layers", add_track(|track| track.layers = vec![layer.clone(); 1500])),
        ("names", add_track(|track| track.stream = "x".repeat(2_000_000))),
        ("features", add_track(|track| track.audio_features = vec![1; 20_000])),
        ("codecs", add_track(|track| track.simulcast_codecs = vec![proto::SimulcastCodec::default(); 1000])),
        (
            "features of a track",
            Request::UpdateAudioTrack(proto::UpdateLocalAudioTrack { track_sid, features: vec![1; 20_000] }),
        ),
        (
            "permissions",
            Request::SubscriptionPermission(proto::SubscriptionPermission {
                all_participants: false,
                track_permissions: vec![permission; 1000],
            }),
        ),
        (
            "subscriptions",
            Request::Subscription(proto::UpdateSubscription { track_sids: sids(4096), ..Default::default() }),
        ),
        (
            "settings",
            Request::TrackSetting(proto::UpdateTrackSettings { track_sids: sids(4096), ..Default::default() }),
        ),
    ]
}

#[tokio::test]
async fn requests_with_long_lists_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let mut number = 0;
    for index in 0..requests_with_long_lists("").len() {
        let attacker = fixture.connected_attacker().await;
        let own = attacker.publish(MediaKind::Audio).await;
        let (name, request) = requests_with_long_lists(&own).swap_remove(index);
        let message = encode(request);
        let probe = fixture.start_probe();
        for _ in 0..4 {
            attacker.with_state(|state| state.send_message(message.clone()));
            // A mute makes the engine broadcast the track, including its lists.
            attacker.send_request(Request::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 }));
            number += 1;
        }
        wait_until_processed(&attacker, number).await;
        assert!(!attacker.with_state(|state| state.is_closed), "the engine rejects the list of {name}");
        probe.stop().await.assert_within_bounds(&format!("a long list of {name}"), BUDGET);
        drop(attacker);
        fixture.check().await;
    }
}

#[tokio::test]
async fn subscriptions_to_long_unknown_sids_take_no_memory() {
    let fixture = Fixture::start().await;
    let attacker = fixture.connected_attacker().await;
    let messages = (0..20).map(|number| {
        let track_sids = vec![format!("{number}{}", "x".repeat(MIB))];
        encode(Request::Subscription(proto::UpdateSubscription { track_sids, ..Default::default() }))
    });
    let messages: Vec<_> = messages.collect();
    let probe = fixture.start_probe();
    for message in &messages {
        attacker.with_state(|state| state.send_message(message.clone()));
    }
    wait_until_processed(&attacker, 0).await;
    probe.stop().await.assert_within_bounds("long unknown track sids", BUDGET);
    fixture.check().await;
}

/// Sends `count` requests as fast as possible.
async fn flood(fixture: &Fixture, attacker: &TestClient, count: u32, request: impl Fn(u32) -> Request) {
    for client in [&fixture.ann, &fixture.ben, attacker] {
        client.with_state(|state| state.discards_responses = true);
    }
    let probe = fixture.start_probe();
    for number in 0..count {
        attacker.send_request(request(number));
        if number % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // The engine delays only the attacker, in proportion to the cost of its requests.
    probe.stop().await.assert_within_bounds("a flood of updates", BUDGET);
    fixture.check().await;
    assert!(!attacker.with_state(|state| state.is_closed));
}

#[tokio::test]
async fn a_flood_of_updates_disconnects_no_participant() {
    let fixture = Fixture::start().await;
    let attacker = fixture.connected_attacker().await;
    let own = attacker.publish(MediaKind::Audio).await;
    flood(&fixture, &attacker, 5000, |number| {
        Request::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 })
    })
    .await;
    let attacker = fixture.connected_attacker().await;
    let own = attacker.publish(MediaKind::Audio).await;
    let metadata = "m".repeat(60_000);
    attacker.send_request(Request::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() }));
    wait_until_processed(&attacker, 0).await;
    flood(&fixture, &attacker, 3000, |number| {
        Request::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 })
    })
    .await;
}

#[tokio::test]
async fn repeated_subscription_permissions_for_many_identities_do_not_delay_others() {
    const TRACKS: usize = 64;
    const PARTICIPANTS: usize = 120;
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let permissions = |identities: &mut dyn Iterator<Item = String>| {
        let permission = |participant_identity| proto::TrackPermission {
            participant_identity,
            all_tracks: true,
            ..Default::default()
        };
        encode(Request::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: identities.map(permission).collect(),
        }))
    };
    let members: Vec<SignalSocket> = (0..PARTICIPANTS)
        .map(|number| {
            let socket = SignalSocket::open(engine, &plain_join(&ordinary_token(&format!("member {number}")))).unwrap();
            discard(&socket);
            socket
        })
        .collect();
    let publisher = TestClient::join(engine, attackers::ROOM, "publisher").await;
    for _ in 0..TRACKS {
        publisher.publish(MediaKind::Audio).await;
    }
    publisher.with_state(|state| state.sends_media = false);
    let members_only = permissions(&mut (0..PARTICIPANTS).map(|number| format!("member {number}")));
    let non_members = permissions(&mut (0..1000).map(|number| format!("identity {number:06}")));
    let attack = async || {
        let end = Instant::now() + attackers::ATTACK_TIME;
        while Instant::now() < end {
            for unit in [&members_only, &non_members] {
                publisher.with_state(|state| state.send_message(unit.clone()));
            }
            wait_until_processed(&publisher, 0).await;
            publisher.with_state(|state| state.responses.clear());
        }
    };
    fixture.assert_withstands("changing subscription permissions", BUDGET, attack).await;
    assert!(!publisher.with_state(|state| state.is_closed));
    drop(members);
    // These decode to 11 and to 40 times their encoded length, so the engine closes the connection.
    for (name, unit) in [
        ("identities", permissions(&mut (0..4090).map(|number| format!("identity {number:06}")))),
        ("empty identities", permissions(&mut (0..4090).map(|_| String::new()))),
    ] {
        let attacker = fixture.connected_attacker().await;
        let probe = fixture.start_probe();
        for _ in 0..5 {
            attacker.with_state(|state| state.send_message(unit.clone()));
        }
        attacker.wait_until_closed().await;
        probe.stop().await.assert_within_bounds(&format!("subscription permissions for {name}"), BUDGET);
    }
    fixture.check().await;
}

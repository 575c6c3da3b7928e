//! An enemy that does what it may, and far too much of it.

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use str0m::media::MediaKind;
use tokio_tungstenite::tungstenite::Message;

use crate::attack::{self, BUDGET, discard, ordinary_token, plain_join};
use crate::caller::Caller;
use crate::wire::Wire;
use crate::{MIB, Party, is_dealt_with};

/// A signal that is encoded, and can be sent often for nothing.
fn encoded(ask: Ask) -> Message {
    Message::binary(proto::SignalRequest { message: Some(ask) }.encode_to_vec())
}

fn track(change: impl FnOnce(&mut proto::AddTrackRequest)) -> Ask {
    let mut request = proto::AddTrackRequest { cid: "cid".to_owned(), ..proto::AddTrackRequest::default() };
    change(&mut request);
    Ask::AddTrack(request)
}

/// Long lists, each in a message that is just not refused.
fn lists(own: &str) -> Vec<(&'static str, Ask)> {
    let sids = |count: usize| (0..count).map(|number| format!("TR_{number}")).collect::<Vec<_>>();
    let layer = proto::VideoLayer { quality: 1, width: 1, ..proto::VideoLayer::default() };
    let permission = proto::TrackPermission { track_sids: vec!["TR".to_owned()], ..Default::default() };
    let own = own.to_owned();
    vec![
        ("layers", track(|track| track.layers = vec![layer.clone(); 1500])),
        ("names", track(|track| track.stream = "x".repeat(2_000_000))),
        ("features", track(|track| track.audio_features = vec![1; 20_000])),
        ("codecs", track(|track| track.simulcast_codecs = vec![proto::SimulcastCodec::default(); 1000])),
        (
            "features of a track",
            Ask::UpdateAudioTrack(proto::UpdateLocalAudioTrack { track_sid: own, features: vec![1; 20_000] }),
        ),
        (
            "audience",
            Ask::SubscriptionPermission(proto::SubscriptionPermission {
                all_participants: false,
                track_permissions: vec![permission; 2000],
            }),
        ),
        (
            "subscriptions",
            Ask::Subscription(proto::UpdateSubscription { track_sids: sids(4096), ..Default::default() }),
        ),
        ("settings", Ask::TrackSetting(proto::UpdateTrackSettings { track_sids: sids(4096), ..Default::default() })),
    ]
}

#[tokio::test]
async fn lists_without_end_cost_the_others_nothing() {
    let party = Party::start().await;
    let mut number = 0;
    for which in 0..lists("").len() {
        let enemy = party.connected_enemy().await;
        let own = enemy.publish(MediaKind::Audio).await;
        let (name, ask) = lists(&own).swap_remove(which);
        let message = encoded(ask);
        let watch = party.watch();
        for _ in 0..4 {
            enemy.act(|state| state.say_raw(message.clone()));
            // What others are told of it is told.
            enemy.say(Ask::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 }));
            number += 1;
        }
        is_dealt_with(&enemy, number).await;
        watch.stop().await.assert_undisturbed(&format!("a list of {name}"), BUDGET);
        drop(enemy);
        party.check().await;
    }
}

#[tokio::test]
async fn names_without_end_are_not_remembered() {
    let party = Party::start().await;
    let enemy = party.connected_enemy().await;
    let names = (0..20).map(|number| {
        let track_sids = vec![format!("{number}{}", "x".repeat(MIB))];
        encoded(Ask::Subscription(proto::UpdateSubscription { track_sids, ..Default::default() }))
    });
    let names: Vec<_> = names.collect();
    let watch = party.watch();
    for name in &names {
        enemy.act(|state| state.say_raw(name.clone()));
    }
    is_dealt_with(&enemy, 0).await;
    watch.stop().await.assert_undisturbed("names without end", BUDGET);
    party.check().await;
}

/// The enemy says the same so often, as fast as it can.
async fn flood(party: &Party, enemy: &Caller, times: u32, ask: impl Fn(u32) -> Ask) {
    for caller in [&party.ann, &party.ben, enemy] {
        caller.act(|state| state.is_forgetful = true);
    }
    let watch = party.watch();
    for number in 0..times {
        enemy.say(ask(number));
        if number % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // The enemy has to wait until it has paid for all of that; nobody else waits.
    watch.stop().await.assert_undisturbed("updates without end", BUDGET);
    party.check().await;
    assert!(!enemy.act(|state| state.is_closed));
}

#[tokio::test]
async fn news_without_end_cost_nobody_its_connection() {
    let party = Party::start().await;
    let enemy = party.connected_enemy().await;
    let own = enemy.publish(MediaKind::Audio).await;
    flood(&party, &enemy, 5000, |number| {
        Ask::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 })
    })
    .await;
    let enemy = party.connected_enemy().await;
    let own = enemy.publish(MediaKind::Audio).await;
    let metadata = "m".repeat(60_000);
    enemy.say(Ask::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() }));
    is_dealt_with(&enemy, 0).await;
    flood(&party, &enemy, 3000, |number| {
        Ask::Mute(proto::MuteTrackRequest { sid: own.clone(), muted: number % 2 == 0 })
    })
    .await;
}

#[tokio::test]
async fn an_audience_of_thousands_disturbs_nobody() {
    const TRACKS: usize = 64;
    const PARTICIPANTS: usize = 120;
    let party = Party::start().await;
    let engine = party.address();
    let audience = |identities: &mut dyn Iterator<Item = String>| {
        let permission = |participant_identity| proto::TrackPermission {
            participant_identity,
            all_tracks: true,
            ..Default::default()
        };
        encoded(Ask::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: identities.map(permission).collect(),
        }))
    };
    let members: Vec<Wire> = (0..PARTICIPANTS)
        .map(|number| {
            let wire = Wire::open(engine, &plain_join(&ordinary_token(&format!("member {number}")))).unwrap();
            discard(&wire);
            wire
        })
        .collect();
    let publisher = Caller::join(engine, attack::ROOM, "publisher").await;
    for _ in 0..TRACKS {
        publisher.publish(MediaKind::Audio).await;
    }
    publisher.act(|state| state.is_talking = false);
    let everybody = audience(&mut (0..PARTICIPANTS).map(|number| format!("member {number}")));
    let others = audience(&mut (0..1000).map(|number| format!("identity {number:06}")));
    let attack = async || {
        let end = Instant::now() + attack::ATTACK_TIME;
        while Instant::now() < end {
            for unit in [&everybody, &others] {
                publisher.act(|state| state.say_raw(unit.clone()));
            }
            is_dealt_with(&publisher, 0).await;
            publisher.act(|state| state.heard.clear());
        }
    };
    party.withstands("another audience again and again", BUDGET, attack).await;
    assert!(!publisher.act(|state| state.is_closed));
    drop(members);
    // They take eleven and forty times their length once decoded, which ends the connection.
    for (name, unit) in [
        ("identities", audience(&mut (0..4090).map(|number| format!("identity {number:06}")))),
        ("no identities", audience(&mut (0..4090).map(|_| String::new()))),
    ] {
        let enemy = party.connected_enemy().await;
        let watch = party.watch();
        for _ in 0..5 {
            enemy.act(|state| state.say_raw(unit.clone()));
        }
        enemy.is_gone().await;
        watch.stop().await.assert_undisturbed(&format!("an audience of {name}"), BUDGET);
    }
    party.check().await;
}

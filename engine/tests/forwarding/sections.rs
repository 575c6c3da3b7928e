//! Reuse of media sections: publishing and subscribing repeatedly does not grow the session descriptions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Request;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::client::{State, TestClient};
use crate::cpu::engine_cpu_time;
use crate::support::start;

/// Sections of a client's offer: three of each kind to receive on, and one to publish on.
const SECTIONS: usize = 3 + 3 + 1;
const ROUNDS: usize = 40;
const LONG_TEST_ROUNDS: usize = 2000;
/// Rounds at the start and at the end of the long test that are compared.
const COMPARED_ROUNDS: usize = 50;
/// Time between two rounds; long enough that the engine does not throttle the offers.
const ROUND_INTERVAL: Duration = Duration::from_millis(150);

/// Number of media sections in the last answer.
fn section_count(client: &TestClient) -> usize {
    client
        .with_state(|state| state.last_answer.matches("m=audio").count() + state.last_answer.matches("m=video").count())
}

/// Publishes a track until the subscriber receives it, then unpublishes it. Returns the time until it was received.
async fn publish_and_unpublish(publisher: &TestClient, subscriber: &TestClient, kind: MediaKind) -> Duration {
    let started = Instant::now();
    let sid = publisher.publish(kind).await;
    subscriber.wait_for_packets(std::slice::from_ref(&sid)).await;
    let waited = started.elapsed();
    publisher.unpublish(&sid).await;
    subscriber.wait_until_unsubscribed(&sid).await;
    for client in [publisher, subscriber] {
        client.with_state(|state| state.responses.clear());
    }
    waited
}

#[tokio::test]
async fn repeated_publishing_does_not_grow_the_offer() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let engine = start();
        let (ann, ben) = join_two(&engine).await;
        for _ in 0..ROUNDS {
            publish_and_unpublish(&ann, &ben, kind).await;
        }
        assert_eq!((section_count(&ann), section_count(&ben)), (SECTIONS, SECTIONS - 1), "{kind:?}");
    }
}

async fn join_two(engine: &Engine) -> (TestClient, TestClient) {
    tokio::join!(TestClient::join(engine.address(), ROOM, "ann"), TestClient::join(engine.address(), ROOM, "ben"))
}

#[tokio::test]
async fn joins_and_leaves_of_publishers_do_not_grow_the_offer() {
    let engine = start();
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    for number in 0..ROUNDS {
        let guest = TestClient::join(engine.address(), ROOM, &format!("guest {number}")).await;
        let tracks = [guest.publish(MediaKind::Audio).await, guest.publish(MediaKind::Video).await];
        ben.wait_for_packets(&tracks).await;
        guest.leave().await;
        for sid in &tracks {
            ben.wait_until_unsubscribed(sid).await;
        }
    }
    assert_eq!(section_count(&ben), SECTIONS - 1);
}

#[tokio::test]
async fn repeated_subscription_changes_do_not_grow_the_offer() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    let tracks = [ann.publish(MediaKind::Audio).await, ann.publish(MediaKind::Video).await];
    for _ in 0..ROUNDS {
        ben.wait_for_packets(&tracks).await;
        for subscribe in [false, true] {
            let track_sids = tracks.to_vec();
            ben.send_request(Request::Subscription(proto::UpdateSubscription {
                track_sids,
                subscribe,
                ..Default::default()
            }));
            if !subscribe {
                ben.wait_until_unsubscribed(&tracks[0]).await;
                ben.wait_until_unsubscribed(&tracks[1]).await;
            }
        }
    }
    assert_eq!(section_count(&ben), SECTIONS - 1);
}

/// For each `mid` of a description, whether it is `sendonly`, and its first SSRC.
fn sections_by_mid(sdp: &str) -> HashMap<String, (bool, Option<String>)> {
    let section = |part: &str| {
        let value = |name: &str| part.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let source = value("a=ssrc:").and_then(|source| source.split(' ').next().map(str::to_owned));
        Some((value("a=mid:")?, (part.contains("a=sendonly"), source)))
    };
    sdp.split("\nm=").filter_map(section).collect()
}

#[tokio::test]
async fn a_reused_section_is_inactive_between_two_tracks_and_has_a_new_ssrc() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    ben.with_state(|state| state.recorded_answers = Some(Vec::new()));
    for _ in 0..6 {
        publish_and_unpublish(&ann, &ben, MediaKind::Audio).await;
    }
    let answers = ben.with_state(|state| state.recorded_answers.take()).unwrap();
    let mut last: HashMap<String, (String, String)> = HashMap::new();
    let (mut ended, mut reused) = (HashMap::new(), 0);
    for answer in answers {
        for (mid, (is_sent, source)) in sections_by_mid(&answer.sdp) {
            let Some(track) = answer.mid_to_track_id.get(&mid) else {
                assert!(!is_sent, "section {mid} is sendonly without a track");
                ended.insert(mid, true);
                continue;
            };
            assert!(is_sent, "section {mid} is not sendonly for {track}");
            let source = source.unwrap();
            if let Some((track_before, source_before)) = last.insert(mid.clone(), (track.clone(), source.clone()))
                && track_before != *track
            {
                assert!(ended.remove(&mid) == Some(true), "section {mid} was not inactive before {track}");
                assert_ne!(source, source_before, "section {mid} has the SSRC of the earlier track");
                reused += 1;
            }
        }
    }
    assert!(reused >= 1, "no section was reused");
}

#[tokio::test]
async fn no_reports_are_sent_on_sections_without_a_track() {
    /// str0m sends a report of a video stream every second.
    const REPORT_TIME: Duration = Duration::from_millis(2500);
    const SENDER_REPORT: u8 = 200;
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    let reports = Arc::<AtomicUsize>::default();
    let counted = reports.clone();
    ben.with_state(|state| {
        state.receive_filter = Box::new(move |datagram| {
            let is_report = matches!(datagram, [128..192, SENDER_REPORT, ..]);
            counted.fetch_add(usize::from(is_report), Ordering::Relaxed);
            true
        });
    });
    tokio::time::sleep(REPORT_TIME).await;
    assert_eq!(reports.load(Ordering::Relaxed), 0);
    let sid = ann.publish(MediaKind::Video).await;
    ben.wait_for_packets(std::slice::from_ref(&sid)).await;
    let has_report = |_: &mut State| (reports.load(Ordering::Relaxed) > 0).then_some(());
    ben.wait_until("receives a sender report", has_report).await;
}

#[tokio::test]
#[ignore = "takes minutes and measures CPU time"]
async fn push_to_talk_costs_the_same_after_2000_rounds() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    let mut tick = tokio::time::interval(ROUND_INTERVAL);
    let (mut waits, mut times) = (Vec::new(), Vec::new());
    let mut before = engine_cpu_time();
    for _ in 0..LONG_TEST_ROUNDS {
        tick.tick().await;
        waits.push(publish_and_unpublish(&ann, &ben, MediaKind::Audio).await);
        let now = engine_cpu_time();
        times.push(now.saturating_sub(std::mem::replace(&mut before, now)));
    }
    let median = |slice: &[Duration]| {
        let mut sorted = slice.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    for (what, all) in [("time to subscribe", &waits), ("engine CPU time", &times)] {
        let (first, last) = (median(&all[..COMPARED_ROUNDS]), median(&all[LONG_TEST_ROUNDS - COMPARED_ROUNDS..]));
        println!("{what}: {first:?} in the first rounds, {last:?} in the last");
        assert!(last <= first * 12 / 10, "{what} grew from {first:?} to {last:?}");
    }
    assert_eq!((section_count(&ann), section_count(&ben)), (SECTIONS, SECTIONS - 1));
    assert!(ben.with_state(|state: &mut State| state.is_connected));
}

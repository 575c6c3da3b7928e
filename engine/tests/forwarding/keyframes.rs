//! Keyframe requests: repeated until the subscriber has a keyframe, but rate-limited for the publisher.

use std::time::{Duration, Instant};

use maravilla_engine::Engine;
use str0m::media::{MediaKind, Mid};

use crate::ROOM;
use crate::client::{ConnectOptions, State, TestClient};
use crate::support::start;

/// The engine's minimum time between PLIs for one layer.
const PLI_INTERVAL: Duration = Duration::from_millis(500);

/// Number of keyframe requests that a publisher has received.
fn request_count(client: &TestClient) -> usize {
    client.with_state(|state| state.keyframe_requests.values().sum())
}

/// Waits until a publisher has received more than `count` keyframe requests.
async fn wait_for_more_requests(client: &TestClient, count: usize) {
    let has_more = |state: &mut State| state.keyframe_requests.values().sum::<usize>() > count;
    client.wait_until("receives a keyframe request", |state| has_more(state).then_some(())).await;
}

/// Waits for a packet of a track. Returns its section.
async fn wait_for_track(client: &TestClient, sid: &str) -> Mid {
    let mid = |state: &mut State| state.mid_of(sid).filter(|mid| state.packets.contains_key(mid));
    client.wait_until("receives the track", mid).await
}

/// Starts an engine, a publisher of video, and a subscriber that receives it. Returns them with the track's `sid`.
async fn start_forwarding() -> (Engine, TestClient, TestClient, String) {
    let engine = start();
    let (ann, ben) =
        (TestClient::join(engine.address(), ROOM, "ann").await, TestClient::join(engine.address(), ROOM, "ben").await);
    let sid = ann.publish(MediaKind::Video).await;
    wait_for_track(&ben, &sid).await;
    (engine, ann, ben, sid)
}

#[tokio::test]
async fn requests_a_keyframe_of_a_paused_source_until_it_sends_one_to_a_late_subscriber() {
    let engine = start();
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Video).await;
    ann.with_state(|state| state.sends_media = false);
    // Longer than the engine's timeout for a layer without packets, which no event reports.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    wait_for_more_requests(&ann, 0).await;
    wait_for_more_requests(&ann, 1).await;
    ann.with_state(|state| state.send_packet(0));
    wait_for_track(&ben, &sid).await;
    let before = request_count(&ann);
    tokio::time::sleep(3 * PLI_INTERVAL).await;
    assert_eq!(request_count(&ann), before, "a keyframe was requested although the subscriber has one");
}

#[tokio::test]
async fn requests_no_keyframe_for_a_subscriber_without_a_media_connection() {
    let (engine, ann, _ben, sid) = start_forwarding().await;
    let before = request_count(&ann);
    let mut options = ConnectOptions::new(ROOM, "cas");
    options.edit_join_request = Box::new(|request| {
        let offer = request.publisher_offer.as_mut().unwrap();
        offer.sdp = offer.sdp.replace("a=ice-ufrag:", "a=ice-ufrag:other");
    });
    let cas = TestClient::connect(engine.address(), options).await.unwrap();
    cas.wait_until("receives an answer", |state| state.mid_of(&sid)).await;
    tokio::time::sleep(2 * PLI_INTERVAL).await;
    assert_eq!(request_count(&ann), before);
    assert!(!cas.with_state(|state| state.is_connected));
}

#[tokio::test]
async fn forwards_a_keyframe_request_later_if_it_follows_another_too_soon() {
    let (_engine, ann, ben, sid) = start_forwarding().await;
    let mid = wait_for_track(&ben, &sid).await;
    ann.with_state(|state| state.sends_media = false);
    let mut forwarded_at = Vec::new();
    for _ in 0..2 {
        let before = request_count(&ann);
        ben.with_state(|state| state.request_keyframe(mid));
        wait_for_more_requests(&ann, before).await;
        forwarded_at.push(Instant::now());
    }
    let interval = forwarded_at[1] - forwarded_at[0];
    assert!(interval > PLI_INTERVAL * 9 / 10, "the second request was forwarded after {interval:?}");
}

#[tokio::test]
async fn limits_the_keyframe_requests_of_a_subscriber_that_repeats_them() {
    let (_engine, ann, ben, sid) = start_forwarding().await;
    let mid = wait_for_track(&ben, &sid).await;
    let (before, started) = (request_count(&ann), Instant::now());
    let time = Duration::from_secs(10);
    while started.elapsed() < time {
        ben.with_state(|state| state.request_keyframe(mid));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let forwarded = request_count(&ann) - before;
    assert!((4..=11).contains(&forwarded), "{forwarded} requests in {time:?}");
}

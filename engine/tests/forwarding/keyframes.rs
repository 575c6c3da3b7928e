//! Keyframes are requested until a subscriber has one, and not more often than a publisher can bear.

use std::time::{Duration, Instant};

use maravilla_engine::Engine;
use str0m::media::{MediaKind, Mid};

use crate::ROOM;
use crate::caller::{Call, Caller};
use crate::support::start;

/// How often the engine requests a keyframe of one layer at most.
const PLI_INTERVAL: Duration = Duration::from_millis(500);

fn requests(caller: &Caller) -> usize {
    caller.act(|state| state.keyframe_requests.values().sum())
}

async fn is_asked(caller: &Caller, more_than: usize) {
    let asked = |state: &mut crate::caller::State| state.keyframe_requests.values().sum::<usize>() > more_than;
    caller.until("is asked for a keyframe", |state| asked(state).then_some(())).await;
}

/// The section that a track arrives by, once a packet of it has.
async fn section(caller: &Caller, sid: &str) -> Mid {
    let arrives = |state: &mut crate::caller::State| state.section(sid).filter(|mid| state.packets.contains_key(mid));
    caller.until("receives the track", arrives).await
}

/// An engine, a publisher of video, a subscriber that receives it, and the track's `sid`.
async fn call() -> (Engine, Caller, Caller, String) {
    let engine = start();
    let (ann, ben) =
        (Caller::join(engine.address(), ROOM, "ann").await, Caller::join(engine.address(), ROOM, "ben").await);
    let sid = ann.publish(MediaKind::Video).await;
    section(&ben, &sid).await;
    (engine, ann, ben, sid)
}

#[tokio::test]
async fn a_late_subscriber_has_a_still_source_asked_for_a_keyframe_until_it_sends_one() {
    let engine = start();
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Video).await;
    ann.act(|state| state.is_talking = false);
    // Longer than a layer counts as live without a packet.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ben = Caller::join(engine.address(), ROOM, "ben").await;
    is_asked(&ann, 0).await;
    is_asked(&ann, 1).await;
    ann.act(|state| state.send_packet(0));
    section(&ben, &sid).await;
    let before = requests(&ann);
    tokio::time::sleep(3 * PLI_INTERVAL).await;
    assert_eq!(requests(&ann), before, "the subscriber has its keyframe");
}

#[tokio::test]
async fn no_keyframe_is_requested_for_a_subscriber_without_a_connection() {
    let (engine, ann, _ben, sid) = call().await;
    let before = requests(&ann);
    let mut call = Call::new(ROOM, "cas");
    call.wishes = Box::new(|request| {
        let offer = request.publisher_offer.as_mut().unwrap();
        offer.sdp = offer.sdp.replace("a=ice-ufrag:", "a=ice-ufrag:other");
    });
    let cas = Caller::call(engine.address(), call).await.unwrap();
    cas.until("is answered", |state| state.section(&sid)).await;
    tokio::time::sleep(2 * PLI_INTERVAL).await;
    assert_eq!(requests(&ann), before);
    assert!(!cas.act(|state| state.is_connected));
}

#[tokio::test]
async fn a_request_that_comes_too_soon_after_another_is_made_later() {
    let (_engine, ann, ben, sid) = call().await;
    let mid = section(&ben, &sid).await;
    ann.act(|state| state.is_talking = false);
    for _ in 0..2 {
        let before = requests(&ann);
        ben.act(|state| state.request_keyframe(mid));
        is_asked(&ann, before).await;
        // The second request of the loop follows at once.
    }
    assert!(requests(&ann) >= 2);
}

#[tokio::test]
async fn a_subscriber_that_asks_all_the_time_does_not_have_all_others_sent_keyframes_only() {
    let (_engine, ann, ben, sid) = call().await;
    let mid = section(&ben, &sid).await;
    let (before, begun) = (requests(&ann), Instant::now());
    let time = Duration::from_secs(10);
    while begun.elapsed() < time {
        ben.act(|state| state.request_keyframe(mid));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = requests(&ann) - before;
    assert!((4..=11).contains(&asked), "{asked} in {time:?}");
}

//! Sections of session descriptions are used again: tracks may come and go for ever.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Ask;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::caller::{Caller, State};
use crate::support::start;

/// The sections of a client's offer: what it begins with, and one that it publishes on.
const SECTIONS: usize = 3 + 3 + 1;
/// Rounds of the short tests.
const ROUNDS: usize = 40;
/// Rounds of the long test.
const MANY_ROUNDS: usize = 2000;
/// Rounds that the last ones are compared with.
const FIRST_ROUNDS: usize = 50;
/// Time from one round to the next: longer than the engine holds back clients that offer all the time.
const ROUND: Duration = Duration::from_millis(150);

fn sections(caller: &Caller) -> usize {
    caller.act(|state| state.answer.matches("m=audio").count() + state.answer.matches("m=video").count())
}

/// Publishes a track until it arrives at another participant, and then no longer. Returns how long that participant has waited.
async fn talk(ann: &Caller, ben: &Caller, kind: MediaKind) -> Duration {
    let begun = Instant::now();
    let sid = ann.publish(kind).await;
    ben.sees(std::slice::from_ref(&sid)).await;
    let waited = begun.elapsed();
    ann.unpublish(&sid).await;
    ben.loses(&sid).await;
    for caller in [ann, ben] {
        caller.act(|state| state.heard.clear());
    }
    waited
}

#[tokio::test]
async fn a_track_that_is_published_again_and_again_grows_no_offer() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let engine = start();
        let (ann, ben) = join_two(&engine).await;
        for _ in 0..ROUNDS {
            talk(&ann, &ben, kind).await;
        }
        assert_eq!((sections(&ann), sections(&ben)), (SECTIONS, SECTIONS - 1), "{kind:?}");
    }
}

async fn join_two(engine: &Engine) -> (Caller, Caller) {
    tokio::join!(Caller::join(engine.address(), ROOM, "ann"), Caller::join(engine.address(), ROOM, "ben"))
}

#[tokio::test]
async fn participants_that_come_and_go_grow_no_offer() {
    let engine = start();
    let ben = Caller::join(engine.address(), ROOM, "ben").await;
    for number in 0..ROUNDS {
        let guest = Caller::join(engine.address(), ROOM, &format!("guest {number}")).await;
        let tracks = [guest.publish(MediaKind::Audio).await, guest.publish(MediaKind::Video).await];
        ben.sees(&tracks).await;
        guest.leave().await;
        for sid in &tracks {
            ben.loses(sid).await;
        }
    }
    assert_eq!(sections(&ben), SECTIONS - 1);
}

#[tokio::test]
async fn a_subscriber_that_changes_its_mind_grows_no_offer() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    let tracks = [ann.publish(MediaKind::Audio).await, ann.publish(MediaKind::Video).await];
    for _ in 0..ROUNDS {
        ben.sees(&tracks).await;
        for subscribe in [false, true] {
            let track_sids = tracks.to_vec();
            ben.say(Ask::Subscription(proto::UpdateSubscription { track_sids, subscribe, ..Default::default() }));
            if !subscribe {
                ben.loses(&tracks[0]).await;
                ben.loses(&tracks[1]).await;
            }
        }
    }
    assert_eq!(sections(&ben), SECTIONS - 1);
}

/// The direction and the first source of each section of a description.
fn outline(sdp: &str) -> HashMap<String, (bool, Option<String>)> {
    let section = |part: &str| {
        let value = |name: &str| part.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let source = value("a=ssrc:").and_then(|source| source.split(' ').next().map(str::to_owned));
        Some((value("a=mid:")?, (part.contains("a=sendonly"), source)))
    };
    sdp.split("\nm=").filter_map(section).collect()
}

#[tokio::test]
async fn a_section_is_inactive_between_two_tracks_which_have_different_sources() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    ben.act(|state| state.answers = Some(Vec::new()));
    for _ in 0..6 {
        talk(&ann, &ben, MediaKind::Audio).await;
    }
    let answers = ben.act(|state| state.answers.take()).unwrap();
    let mut last: HashMap<String, (String, String)> = HashMap::new();
    let (mut ended, mut reused) = (HashMap::new(), 0);
    for answer in answers {
        for (mid, (is_sent, source)) in outline(&answer.sdp) {
            let Some(track) = answer.mid_to_track_id.get(&mid) else {
                assert!(!is_sent, "{mid} sends nothing");
                ended.insert(mid, true);
                continue;
            };
            assert!(is_sent, "{mid} sends {track}");
            let source = source.unwrap();
            if let Some((track_before, source_before)) = last.insert(mid.clone(), (track.clone(), source.clone()))
                && track_before != *track
            {
                assert!(ended.remove(&mid) == Some(true), "{mid} was inactive before {track}");
                assert_ne!(source, source_before, "{mid}");
                reused += 1;
            }
        }
    }
    assert!(reused >= 1, "no section is used twice");
}

/// The processor time that the engine's threads have used.
fn engine_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_engine = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("maravilla-")));
    let used = of_engine.filter_map(|task| {
        let stats = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stats.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    used.sum()
}

#[tokio::test]
#[ignore = "takes minutes, and measures the time of processors"]
async fn push_to_talk_costs_the_same_after_thousands_of_rounds() {
    let engine = start();
    let (ann, ben) = join_two(&engine).await;
    let mut tick = tokio::time::interval(ROUND);
    let (mut waits, mut times) = (Vec::new(), Vec::new());
    let mut before = engine_time();
    for _ in 0..MANY_ROUNDS {
        tick.tick().await;
        waits.push(talk(&ann, &ben, MediaKind::Audio).await);
        let now = engine_time();
        times.push(now.saturating_sub(std::mem::replace(&mut before, now)));
    }
    let median = |slice: &[Duration]| {
        let mut sorted = slice.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    for (what, all) in [("time to subscribe", &waits), ("engine time", &times)] {
        let (first, last) = (median(&all[..FIRST_ROUNDS]), median(&all[MANY_ROUNDS - FIRST_ROUNDS..]));
        println!("{what}: {first:?} at first, {last:?} at last");
        assert!(last <= first * 12 / 10, "{what} grows from {first:?} to {last:?}");
    }
    assert_eq!((sections(&ann), sections(&ben)), (SECTIONS, SECTIONS - 1));
    assert!(ben.act(|state: &mut State| state.is_connected));
}

//! Participants learn that the connection of another is lost, and that it is back.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::ConnectionQuality;
use proto::signal_response::Message as Told;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::caller::{Caller, State};
use crate::support::start;

/// The longest time from the last packet of a participant until the others know.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The `sid` of a participant.
fn sid(caller: &Caller) -> String {
    let join = |told: &Told| match told {
        Told::Join(join) => join.participant.as_ref().map(|participant| participant.sid.clone()),
        _ => None,
    };
    caller.act(|state| state.heard.iter().find_map(join)).unwrap()
}

/// All that was told of the quality of a participant.
fn told(state: &State, sid: &str) -> Vec<ConnectionQuality> {
    let updates = state.heard.iter().filter_map(|told| match told {
        Told::ConnectionQuality(update) => Some(&update.updates),
        _ => None,
    });
    let infos = updates.flatten().filter(|info| info.participant_sid == sid);
    infos.map(proto::ConnectionQualityInfo::quality).collect()
}

#[tokio::test]
async fn a_connection_is_lost_within_ten_seconds_of_its_last_packet_and_good_again_once_it_is_back() {
    let engine = start();
    let (ann, ben) =
        tokio::join!(Caller::join(engine.address(), ROOM, "ann"), Caller::join(engine.address(), ROOM, "ben"));
    let (of_ann, of_ben) = (sid(&ann), sid(&ben));
    let track = ann.publish(MediaKind::Audio).await;
    ben.sees(std::slice::from_ref(&track)).await;
    let last = |state: &mut State, quality: &[ConnectionQuality]| {
        told(state, &of_ann).last().filter(|last| quality.contains(last)).map(|_| ())
    };
    ben.until("knows that the connection is good", |state| last(state, &[ConnectionQuality::Excellent])).await;
    let cut = Instant::now();
    ann.act(|state| state.tamper = Some(Box::new(|_| Vec::new())));
    ben.until("knows that the connection is lost", |state| last(state, &[ConnectionQuality::Lost])).await;
    let delay = cut.elapsed();
    assert!(delay <= MAX_DELAY, "{delay:?}");
    ann.act(|state| state.tamper = None);
    let good = [ConnectionQuality::Good, ConnectionQuality::Excellent];
    ben.until("knows that the connection is back", |state| last(state, &good)).await;
    ben.sees(std::slice::from_ref(&track)).await;
    // Who sends no media all the while is not lost.
    let own = ben.act(|state| told(state, &of_ben));
    assert!(!own.is_empty() && !own.contains(&ConnectionQuality::Lost), "{own:?}");
}

//! Clients that report a subscribed track when its first packet arrives get one of a track that sends none.

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use str0m::media::{MediaKind, Mid};

use crate::ROOM;
use crate::caller::{Call, Caller, State};
use crate::support::start;

/// The section of a track of which more packets than that have arrived, with a payload or without.
fn arrives(state: &State, sid: &str, more_than: usize) -> Option<Mid> {
    state.section(sid).filter(|mid| state.arrivals.get(mid).copied().unwrap_or_default() > more_than)
}

#[tokio::test]
async fn a_go_client_receives_a_first_packet_of_a_muted_track_and_then_the_track() {
    let engine = start();
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let mut tracks = Vec::new();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let sid = ann.publish(kind).await;
        ann.say(Ask::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted: true }));
        tracks.push(sid);
    }
    ann.act(|state| state.is_talking = false);
    let mut call = Call::new(ROOM, "ben");
    call.wishes = Box::new(|request| {
        let sdk = proto::client_info::Sdk::Go.into();
        request.client_info = Some(proto::ClientInfo { protocol: 17, sdk, ..Default::default() });
    });
    let ben = Caller::call(engine.address(), call).await.unwrap();
    for sid in &tracks {
        ben.until("receives a first packet", |state| arrives(state, sid, 0)).await;
    }
    for sid in &tracks {
        ann.say(Ask::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted: false }));
    }
    ann.act(|state| state.is_talking = true);
    ben.sees(&tracks).await;
    // Its numbers go on where those of the stand-ins have ended.
    let audio = ben.act(|state| state.section(&tracks[0])).unwrap();
    let (first, last, arrived) = ben.act(|state| {
        let (first, last) = state.numbers[&audio];
        (first, last, state.packets[&audio])
    });
    assert_eq!(last - first + 1, u64::try_from(arrived).unwrap());
}

//! Some clients report a subscribed track only when its first packet arrives. The engine sends them filler packets for a track
//! that sends none.

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use str0m::media::{MediaKind, Mid};

use crate::ROOM;
use crate::client::{ConnectOptions, State, TestClient};
use crate::support::start;

/// The section of a track if a packet has arrived, with or without a payload.
fn section_with_packets(state: &State, sid: &str) -> Option<Mid> {
    state.mid_of(sid).filter(|mid| state.all_packets.get(mid).copied().unwrap_or_default() > 0)
}

#[tokio::test]
async fn a_go_client_receives_filler_packets_of_a_muted_track_until_it_is_unmuted() {
    let engine = start();
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let mut tracks = Vec::new();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let sid = ann.publish(kind).await;
        ann.send_request(Request::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted: true }));
        tracks.push(sid);
    }
    ann.with_state(|state| state.sends_media = false);
    let mut options = ConnectOptions::new(ROOM, "ben");
    options.edit_join_request = Box::new(|request| {
        let sdk = proto::client_info::Sdk::Go.into();
        request.client_info = Some(proto::ClientInfo { protocol: 17, sdk, ..Default::default() });
    });
    let ben = TestClient::connect(engine.address(), options).await.unwrap();
    for sid in &tracks {
        ben.wait_until("receives a first packet", |state| section_with_packets(state, sid)).await;
    }
    for sid in &tracks {
        ann.send_request(Request::Mute(proto::MuteTrackRequest { sid: sid.clone(), muted: false }));
    }
    ann.with_state(|state| state.sends_media = true);
    ben.wait_for_packets(&tracks).await;
    // The sequence numbers are contiguous, including those of the filler packets.
    let audio = ben.with_state(|state| state.mid_of(&tracks[0])).unwrap();
    let (first, last, arrived) = ben.with_state(|state| {
        let (first, last) = state.seq_ranges[&audio];
        (first, last, state.packets[&audio])
    });
    assert_eq!(last - first + 1, u64::try_from(arrived).unwrap());
}

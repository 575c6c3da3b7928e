//! Retransmission of Opus to subscribers with a subscriber peer connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use str0m::format::Codec;
use str0m::media::MediaKind;
use str0m::{Rtc, RtcConfig};

use crate::ROOM;
use crate::client::{ConnectOptions, State, TestClient};
use crate::support::start;

const OPUS: u8 = 111;
const NACK: &str = "a=rtcp-fb:111 nack";

/// Opus, with or without RED.
fn opus(red: bool) -> RtcConfig {
    Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, red)
}

fn opus_with_nack() -> RtcConfig {
    let mut rtc = opus(false);
    for params in rtc.codec_config().iter_mut().filter(|params| params.spec().codec == Codec::Opus) {
        params.set_fb_nack(true);
    }
    rtc
}

async fn join(engine: SocketAddr, identity: &str, rtc: RtcConfig, dual_peer_connection: bool) -> TestClient {
    let options = ConnectOptions { rtc, dual_peer_connection, ..ConnectOptions::new(ROOM, identity) };
    let client = TestClient::connect(engine, options).await.unwrap();
    client.wait_until_connected().await;
    client
}

/// Connects a publisher of Opus and a subscriber with a subscriber peer connection. Returns them with the track's `sid`.
async fn subscribe(engine: SocketAddr, red: bool) -> (TestClient, TestClient, String) {
    let ann = join(engine, "ann", opus(red), false).await;
    let sid = ann.publish(MediaKind::Audio).await;
    let ben = join(engine, "ben", opus_with_nack(), true).await;
    ben.wait_for_packets(std::slice::from_ref(&sid)).await;
    (ann, ben, sid)
}

#[tokio::test]
async fn retransmits_a_lost_packet_after_a_nack() {
    let engine = start();
    let (_ann, ben, sid) = subscribe(engine.address(), false).await;
    let has_dropped = Arc::new(AtomicBool::new(false));
    let dropped = has_dropped.clone();
    let before = ben.with_state(|state| {
        let is_opus = |bytes: &[u8]| bytes.get(1).is_some_and(|second| second & 0x7f == OPUS);
        state.receive_filter = Box::new(move |bytes| !is_opus(bytes) || dropped.swap(true, Ordering::Relaxed));
        let mid = state.mid_of(&sid).unwrap();
        // str0m sends NACKs only for streams with RTX by default.
        state.rtc.direct_api().stream_rx_by_mid(mid, None).unwrap().suppress_nack(false);
        state.seq_ranges[&mid].1
    });
    let is_complete = |state: &mut State| {
        let mid = state.mid_of(&sid)?;
        let (first, last) = state.seq_ranges[&mid];
        let expected = usize::try_from(last - first + 1).unwrap();
        (last > before + 2 && state.packets[&mid] == expected).then_some(())
    };
    ben.wait_until("receives the lost packet", is_complete).await;
    assert!(has_dropped.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_section_with_nack_has_no_extensions_that_a_retransmission_would_change() {
    let engine = start();
    let (_ann, ben, sid) = subscribe(engine.address(), false).await;
    let (offer, extensions) = ben.with_state(|state| {
        let mid = state.mid_of(&sid).unwrap();
        (state.last_offer.clone(), state.extensions[&mid].clone())
    });
    assert!(offer.contains(NACK));
    assert_eq!((extensions.mid, extensions.transport_cc, extensions.abs_send_time), (None, None, None));
}

#[tokio::test]
async fn a_track_with_red_has_no_nack() {
    let engine = start();
    let (_ann, ben, _) = subscribe(engine.address(), true).await;
    assert!(!ben.with_state(|state| state.last_offer.contains(NACK)));
}

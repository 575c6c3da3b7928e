//! Retransmission of Opus to subscribers with a second peer connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use str0m::format::Codec;
use str0m::media::MediaKind;
use str0m::{Rtc, RtcConfig};

use crate::ROOM;
use crate::caller::{Call, Caller, State};
use crate::support::start;

const OPUS: u8 = 111;
const NACK: &str = "a=rtcp-fb:111 nack";

/// Opus, with or without redundancy.
fn opus(redundant: bool) -> RtcConfig {
    Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, redundant)
}

fn opus_with_nack() -> RtcConfig {
    let mut rtc = opus(false);
    for params in rtc.codec_config().iter_mut().filter(|params| params.spec().codec == Codec::Opus) {
        params.set_fb_nack(true);
    }
    rtc
}

async fn join(engine: SocketAddr, identity: &str, rtc: RtcConfig, has_two: bool) -> Caller {
    let call = Call { rtc, has_two, ..Call::new(ROOM, identity) };
    let caller = Caller::call(engine, call).await.unwrap();
    caller.until("is connected", |state| state.is_connected.then_some(())).await;
    caller
}

/// A publisher of Opus with or without redundancy, a subscriber with a second peer connection, and the `sid` of the track.
async fn subscribe(engine: SocketAddr, redundant: bool) -> (Caller, Caller, String) {
    let ann = join(engine, "ann", opus(redundant), false).await;
    let sid = ann.publish(MediaKind::Audio).await;
    let ben = join(engine, "ben", opus_with_nack(), true).await;
    ben.sees(std::slice::from_ref(&sid)).await;
    (ann, ben, sid)
}

#[tokio::test]
async fn a_lost_packet_is_retransmitted_after_a_nack() {
    let engine = start();
    let (_ann, ben, sid) = subscribe(engine.address(), false).await;
    let is_lost = Arc::new(AtomicBool::new(false));
    let loses_one = is_lost.clone();
    let before = ben.act(|state| {
        let is_opus = |bytes: &[u8]| bytes.get(1).is_some_and(|second| second & 0x7f == OPUS);
        state.reads = Box::new(move |bytes| !is_opus(bytes) || loses_one.swap(true, Ordering::Relaxed));
        let mid = state.section(&sid).unwrap();
        // str0m sends NACKs only for streams with RTX by default.
        state.rtc.direct_api().stream_rx_by_mid(mid, None).unwrap().suppress_nack(false);
        state.numbers[&mid].1
    });
    let is_complete = |state: &mut State| {
        let mid = state.section(&sid)?;
        let (first, last) = state.numbers[&mid];
        let expected = usize::try_from(last - first + 1).unwrap();
        (last > before + 2 && state.packets[&mid] == expected).then_some(())
    };
    ben.until("receives the lost packet", is_complete).await;
    assert!(is_lost.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_section_with_nack_has_no_extensions_that_change_with_each_sending() {
    let engine = start();
    let (_ann, ben, sid) = subscribe(engine.address(), false).await;
    let (offer, extensions) = ben.act(|state| {
        let mid = state.section(&sid).unwrap();
        (state.offer.clone(), state.extensions[&mid].clone())
    });
    assert!(offer.contains(NACK));
    assert_eq!((extensions.mid, extensions.transport_cc, extensions.abs_send_time), (None, None, None));
}

#[tokio::test]
async fn a_track_with_redundancy_has_no_nack() {
    let engine = start();
    let (_ann, ben, _) = subscribe(engine.address(), true).await;
    assert!(!ben.act(|state| state.offer.contains(NACK)));
}

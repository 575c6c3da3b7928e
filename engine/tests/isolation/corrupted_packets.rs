//! Packets with valid encryption and authentication, but invalid contents.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arbitrary::{Result, Unstructured};
use str0m::media::MediaKind;
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::client::state::VP8_KEYFRAME;
use crate::client::{State, TestClient};
use crate::generators::damage;
use crate::{Fixture, corrupting_crypto, generate};

#[tokio::test]
async fn corrupted_rtp_and_sctp_contents_do_not_affect_others() {
    let fixture = Fixture::start().await;
    for seed in 0..8 {
        corrupting_crypto::start(seed, 0);
        let attacker = fixture
            .attacker(|options| {
                options.rtc = options.rtc.clone().set_crypto_provider(Arc::new(corrupting_crypto::provider()));
            })
            .await;
        let attacker = attacker.unwrap();
        attacker.wait_for_data_channels().await;
        attacker.publish(MediaKind::Audio).await;
        attacker.publish(MediaKind::Video).await;
        corrupting_crypto::start(seed, 3);
        for number in 0..60 {
            attacker.send_data(&"x".repeat(number * number), number % 3 != 0);
            if number % 20 == 0 {
                attacker.wait_until("sends corrupted packets", corrupts_three_packets()).await;
            }
        }
        fixture.check().await;
    }
    let (media, data) = (
        corrupting_crypto::MEDIA_PACKETS.load(Ordering::Relaxed),
        corrupting_crypto::DATA_PACKETS.load(Ordering::Relaxed),
    );
    println!("{media} media packets and {data} data packets were corrupted");
    assert!(media > 20 && data > 20, "{media} media packets, {data} data packets");
}

/// A condition for `wait_until`: three more media packets were corrupted, or the attacker was disconnected.
fn corrupts_three_packets() -> impl FnMut(&mut State) -> Option<()> {
    let before = corrupting_crypto::MEDIA_PACKETS.load(Ordering::Relaxed);
    move |state| {
        (state.is_closed || corrupting_crypto::MEDIA_PACKETS.load(Ordering::Relaxed) >= before + 3).then_some(())
    }
}

/// Generates an RTP packet with an arbitrary payload type, sequence number, timestamp and payload.
fn packet(source: &mut Unstructured<'_>, kind: MediaKind, state: &State) -> Result<Option<RtpWrite>> {
    let mut params = state.rtc.codec_config().iter();
    let index = source.int_in_range(0..=4)?;
    let Some(pt) = params.nth(index).map(|params| params.red().filter(|_| index % 2 == 0).unwrap_or(params.pt()))
    else {
        return Ok(None);
    };
    let mut payload = match (kind, source.int_in_range(0..=5)?) {
        (_, 0) => Vec::new(),
        (_, 1) => vec![0xff; source.int_in_range(0..=1400)?],
        (MediaKind::Video, _) => VP8_KEYFRAME.to_vec(),
        // RED whose block length exceeds the packet.
        (MediaKind::Audio, _) => vec![0xef, 0, 3, source.arbitrary()?, 111, 1, 2, 3],
    };
    damage(source, &mut payload)?;
    // The client's own str0m rejects longer payloads.
    payload.truncate(1400);
    let (seq, time): (u64, u32) = if source.ratio(1, 3)? {
        (source.arbitrary::<u32>()?.into(), source.arbitrary()?)
    } else {
        (source.int_in_range(1..=70_000)?, source.int_in_range(0..=1_000_000)?)
    };
    let extensions = ExtensionValues {
        audio_level: source.arbitrary()?,
        voice_activity: source.arbitrary()?,
        ..ExtensionValues::default()
    };
    let write = RtpWrite::new(pt, seq.into(), time, Instant::now(), payload);
    Ok(Some(write.marker(source.arbitrary()?).ext_vals(extensions)))
}

#[tokio::test]
async fn arbitrary_rtp_packets_do_not_affect_others() {
    let fixture = Fixture::start().await;
    for batch in 0..4 {
        let attacker = fixture.connected_attacker().await;
        let tracks = publish(&attacker).await;
        tokio::join!(fixture.ann.wait_for_packets(&tracks), fixture.ben.wait_for_packets(&tracks));
        attacker.with_state(|state| state.sends_media = false);
        for number in 0..250 {
            let kind = if number % 2 == 0 { MediaKind::Audio } else { MediaKind::Video };
            attacker.with_state(|state| {
                let mid = state.published.iter().find(|track| track.kind == kind).unwrap().mid;
                if let Some(write) = generate(batch * 250 + number, |source| packet(source, kind, state)).flatten() {
                    state.write_rtp(mid, write);
                }
            });
            tokio::task::yield_now().await;
        }
        fixture.check().await;
    }
}

async fn publish(attacker: &TestClient) -> Vec<String> {
    vec![attacker.publish(MediaKind::Audio).await, attacker.publish(MediaKind::Video).await]
}

//! An enemy that speaks every protocol to its innermost layer: its packets are signed and encrypted as they should be, and
//! nonsense within.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arbitrary::{Result, Unstructured};
use str0m::media::MediaKind;
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::caller::{Caller, KEYFRAME, State};
use crate::generators::damage;
use crate::{Party, harm, made};

#[tokio::test]
async fn whatever_is_in_an_enemys_packets_the_others_go_on() {
    let party = Party::start().await;
    for seed in 0..8 {
        harm::begin(seed, 0);
        let enemy =
            party.enemy(|call| call.rtc = call.rtc.clone().set_crypto_provider(Arc::new(harm::provider()))).await;
        let enemy = enemy.unwrap();
        enemy.has_channels().await;
        enemy.publish(MediaKind::Audio).await;
        enemy.publish(MediaKind::Video).await;
        harm::begin(seed, 3);
        for number in 0..60 {
            enemy.send(&"x".repeat(number * number), number % 3 != 0);
            if number % 20 == 0 {
                enemy.until("does harm", does_harm()).await;
            }
        }
        party.check().await;
    }
    let (media, messages) = (harm::MEDIA.load(Ordering::Relaxed), harm::MESSAGES.load(Ordering::Relaxed));
    println!("{media} packets of media and {messages} of messages were damaged");
    assert!(media > 20 && messages > 20, "{media}, {messages}");
}

/// Three more packets of its media are damaged, unless it is let go before.
fn does_harm() -> impl FnMut(&mut State) -> Option<()> {
    let before = harm::MEDIA.load(Ordering::Relaxed);
    move |state| (state.is_closed || harm::MEDIA.load(Ordering::Relaxed) >= before + 3).then_some(())
}

/// A packet of media that no sender makes.
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
        (MediaKind::Video, _) => KEYFRAME.to_vec(),
        // Redundant audio that is longer than its packet.
        (MediaKind::Audio, _) => vec![0xef, 0, 3, source.arbitrary()?, 111, 1, 2, 3],
    };
    damage(source, &mut payload)?;
    // The client's own str0m takes no more.
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
async fn whatever_media_an_enemy_publishes_the_others_go_on() {
    let party = Party::start().await;
    for batch in 0..4 {
        let enemy = party.connected_enemy().await;
        let track = publish(&enemy).await;
        tokio::join!(party.ann.sees(&track), party.ben.sees(&track));
        enemy.act(|state| state.is_talking = false);
        for number in 0..250 {
            let kind = if number % 2 == 0 { MediaKind::Audio } else { MediaKind::Video };
            enemy.act(|state| {
                let mid = state.sent.iter().find(|sent| sent.kind == kind).unwrap().mid;
                if let Some(write) = made(batch * 250 + number, |source| packet(source, kind, state)).flatten() {
                    state.write_rtp(mid, write);
                }
            });
            tokio::task::yield_now().await;
        }
        party.check().await;
    }
}

async fn publish(enemy: &Caller) -> Vec<String> {
    vec![enemy.publish(MediaKind::Audio).await, enemy.publish(MediaKind::Video).await]
}

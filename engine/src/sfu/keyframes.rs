//! Detection of keyframes, and limits of keyframe requests (PLI).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use str0m::format::{Codec, detect_h264_nalu, detect_vp8_keyframe};

use crate::ids::TrackId;
use crate::sfu::layer_selector::LayerName;
use crate::token_bucket::TokenBucket;

/// Minimum time between PLIs for one layer. A keyframe that is needed sooner is requested when it has passed.
const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// Average minimum time between the PLIs that one subscriber causes for one track. Past it, and past the burst, a PLI is deferred:
/// one subscriber on a bad connection must not make the others receive nothing but keyframes.
const SUBSCRIBER_PLI_INTERVAL: Duration = Duration::from_secs(3);
/// The burst: six PLIs.
const SUBSCRIBER_PLI_BURST: Duration = Duration::from_secs(18);
/// Maximum number of tracks whose PLIs are counted for a subscriber. Past it, tracks that it is not subscribed to are removed.
const MAX_COUNTED_TRACKS: usize = 1024;
/// NAL unit type of a sequence parameter set (ITU-T H.264, table 7-1).
const H264_SEQUENCE_PARAMETERS: u8 = 7;

/// Whether a receiver can start with this packet: it is the first of a keyframe.
pub(crate) fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        Codec::Vp9 => is_vp9_keyframe(payload),
        // Start at the SPS: the IDR that follows can't be decoded without it.
        Codec::H264 => detect_h264_nalu(payload, H264_SEQUENCE_PARAMETERS),
        Codec::Av1 => is_av1_keyframe(payload),
        _ => true,
    }
}

/// Whether a packet begins a picture that refers to no other, on the lowest spatial layer: the upper ones refer to that
/// (RFC 9628, section 4.2).
fn is_vp9_keyframe(payload: &[u8]) -> bool {
    const PICTURE_ID: u8 = 0x80;
    const PREDICTED: u8 = 0x40;
    const LAYER: u8 = 0x20;
    const BEGINNING: u8 = 0x08;
    const LONG_PICTURE_ID: u8 = 0x80;
    let Some(&flags) = payload.first() else { return false };
    if flags & PREDICTED != 0 || flags & BEGINNING == 0 {
        return false;
    }
    let id_bytes = match (flags & PICTURE_ID != 0, payload.get(1)) {
        (false, _) => 0,
        (true, Some(id)) if id & LONG_PICTURE_ID != 0 => 2,
        (true, _) => 1,
    };
    let spatial_layer = |layer: &u8| (layer >> 1) & 0x07;
    flags & LAYER == 0 || payload.get(1 + id_bytes).map(spatial_layer) == Some(0)
}

/// Whether a packet begins a coded video sequence, and not in the middle of a unit (AV1's RTP payload format, section 4.4).
fn is_av1_keyframe(payload: &[u8]) -> bool {
    const CONTINUES: u8 = 0x80;
    const NEW_SEQUENCE: u8 = 0x08;
    payload.first().is_some_and(|flags| flags & (CONTINUES | NEW_SEQUENCE) == NEW_SEQUENCE)
}

/// The time of the last keyframe request for each declared layer of a track.
#[derive(Debug, Default)]
pub(crate) struct PliThrottle {
    sent: Vec<(LayerName, Instant)>,
}

impl PliThrottle {
    pub(crate) fn is_due(&self, layer: LayerName, now: Instant) -> bool {
        let sent = self.sent.iter().find(|(known, _)| *known == layer);
        sent.is_none_or(|(_, sent)| now.saturating_duration_since(*sent) >= PLI_INTERVAL)
    }

    pub(crate) fn note_sent(&mut self, layer: LayerName, now: Instant) {
        self.sent.retain(|(known, _)| *known != layer);
        self.sent.push((layer, now));
    }
}

/// How many PLIs a subscriber has caused lately, by track. A track that is unsubscribed and subscribed again in between has the same
/// limit.
#[derive(Debug, Default)]
pub(crate) struct PliBudgets {
    budgets: HashMap<TrackId, TokenBucket>,
}

impl PliBudgets {
    /// Counts one PLI, unless there were too many.
    pub(crate) fn try_take(&mut self, track: TrackId, now: Instant) -> bool {
        let budget = self.budgets.entry(track).or_insert_with(|| TokenBucket::new(SUBSCRIBER_PLI_BURST, now));
        let is_allowed = budget.has(SUBSCRIBER_PLI_INTERVAL, now);
        if is_allowed {
            budget.take(SUBSCRIBER_PLI_INTERVAL, now);
        }
        is_allowed
    }

    /// Forgets the tracks that are not subscribed, if there are many.
    pub(crate) fn prune(&mut self, is_subscribed: impl Fn(TrackId) -> bool) {
        if self.budgets.len() > MAX_COUNTED_TRACKS {
            self.budgets.retain(|track, _| is_subscribed(*track));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(codec: Codec, payload: &[u8]) -> bool {
        is_keyframe(codec, payload)
    }

    #[test]
    fn vp9_begins_with_the_first_packet_of_the_lowest_layer_of_a_keyframe() {
        let (first, middle, predicted) = (0b1010_1000, 0b1010_0000, 0b1110_1000);
        let (lowest, middle_layer, highest) = (0b0000_0000, 0b0000_0011, 0b0000_0101);
        assert!(starts(Codec::Vp9, &[first, 0x81, 0x02, lowest, 0, 0x82]));
        assert!(starts(Codec::Vp9, &[first, 0x01, lowest, 0, 0x82]));
        assert!(!starts(Codec::Vp9, &[middle, 0x81, 0x02, lowest, 0, 0x82]), "the middle of a keyframe");
        for upper in [middle_layer, highest] {
            assert!(!starts(Codec::Vp9, &[first, 0x81, 0x02, upper, 0, 0x82]), "an upper layer of it");
        }
        assert!(!starts(Codec::Vp9, &[predicted, 0x81, 0x02, lowest, 0, 0x82]));
        assert!(starts(Codec::Vp9, &[0b0000_1000, 0x82]), "without layers");
        assert!(!starts(Codec::Vp9, &[first, 0x81]) && !starts(Codec::Vp9, &[]), "cut short");
    }

    #[test]
    fn av1_begins_with_a_sequence_that_no_packet_before_has_begun() {
        assert!(starts(Codec::Av1, &[0b0001_1000, 0x0a]));
        assert!(!starts(Codec::Av1, &[0b1001_1000, 0x0a]));
        assert!(!starts(Codec::Av1, &[0b0001_0000, 0x0a]) && !starts(Codec::Av1, &[]));
    }

    #[test]
    fn h264_begins_with_its_sequence_parameters() {
        let (parameters, keyframe) = ([0x67, 0x42], [0x65, 0x88]);
        assert!(starts(Codec::H264, &parameters) && !starts(Codec::H264, &keyframe));
        assert!(starts(Codec::H264, &[0x78, 0, 2, 0x09, 0x10, 0, 2, 0x67, 0x42]), "after a delimiter");
        assert!(starts(Codec::H264, &[0x7c, 0x87]) && !starts(Codec::H264, &[0x7c, 0x07]), "in fragments");
    }

    #[test]
    fn vp8_begins_with_the_first_partition_of_a_keyframe() {
        assert!(starts(Codec::Vp8, &[0x10, 0x00, 0, 0]) && !starts(Codec::Vp8, &[0x10, 0x01, 0, 0]));
        assert!(!starts(Codec::Vp8, &[0x00, 0x00, 0, 0]) && !starts(Codec::Vp8, &[0x11, 0x00, 0, 0]));
    }
}

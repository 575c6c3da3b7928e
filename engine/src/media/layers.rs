//! The sizes that a track comes in, and which of them a subscriber gets.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::VideoQuality;
use str0m::format::{Codec, detect_av1_keyframe, detect_h264_nalu, detect_vp8_keyframe, detect_vp9_keyframe};

/// Of a layer that nothing came of for so long nothing is expected.
const LIVE: Duration = Duration::from_millis(1500);
/// A keyframe is not asked for again before that: clients send none sooner, and each costs the room its bandwidth.
const ASKED_AGAIN: Duration = Duration::from_millis(500);
/// What H264 calls the part that tells the size of the picture (ITU-T H.264, table 7-1).
const H264_SEQUENCE_PARAMETERS: u8 = 7;
/// The names of simulcast's layers from the smallest on, as LiveKit's clients have them.
const RIDS: [&str; 3] = ["q", "h", "f"];

/// A size that a track comes in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    /// Its name in simulcast; a track in one size has none.
    pub(crate) rid: Option<String>,
    /// From 0 on.
    quality: i32,
    width: u32,
    height: u32,
    /// When something came of it.
    seen: Option<Instant>,
}

/// What a subscriber wants of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Nothing, for now.
    pub(crate) disabled: bool,
    quality: i32,
    /// The size that it is shown in, which counts before the quality; 0: not told.
    size: (u32, u32),
}

impl Default for Wanted {
    fn default() -> Self {
        Self { disabled: false, quality: VideoQuality::High.into(), size: (0, 0) }
    }
}

impl From<&proto::UpdateTrackSettings> for Wanted {
    fn from(settings: &proto::UpdateTrackSettings) -> Self {
        let is_off = settings.quality == i32::from(VideoQuality::Off);
        let size = (settings.width, settings.height);
        Self { disabled: settings.disabled || is_off, quality: settings.quality, size }
    }
}

/// Names the layers of a simulcast track.
pub(crate) fn name(layers: &mut [proto::VideoLayer], is_simulcast: bool) {
    layers.sort_by_key(|layer| layer.quality);
    if is_simulcast && layers.len() > 1 {
        layers.iter_mut().zip(RIDS).for_each(|(layer, rid)| rid.clone_into(&mut layer.rid));
    }
}

/// The layers that a client has told of.
pub(crate) fn published(layers: &[proto::VideoLayer]) -> Vec<Layer> {
    let layer = |layer: &proto::VideoLayer| Layer {
        rid: Some(layer.rid.clone()).filter(|rid| !rid.is_empty()),
        quality: layer.quality,
        width: layer.width,
        height: layer.height,
        seen: None,
    };
    layers.iter().map(layer).collect()
}

/// Something of a layer has come.
pub(crate) fn arrived(layers: &mut Vec<Layer>, rid: Option<&str>, now: Instant) {
    if let Some(layer) = layers.iter_mut().find(|layer| layer.rid.as_deref() == rid) {
        layer.seen = Some(now);
        return;
    }
    let best = layers.iter().map(|layer| layer.quality).max().unwrap_or(VideoQuality::High.into());
    let by_name =
        rid.and_then(|rid| RIDS.iter().position(|known| *known == rid)).and_then(|index| i32::try_from(index).ok());
    let quality = by_name.unwrap_or(best);
    layers.push(Layer { rid: rid.map(str::to_owned), quality, width: 0, height: 0, seen: Some(now) });
}

/// The layer to send: the best that comes and is not more than is wanted, else the smallest that comes.
pub(crate) fn target<'a>(layers: &'a [Layer], wanted: &Wanted, now: Instant) -> Option<&'a Layer> {
    let is_live = |layer: &&Layer| layer.seen.is_some_and(|seen| now.saturating_duration_since(seen) < LIVE);
    let quality = wanted.quality(layers);
    let fitting =
        layers.iter().filter(is_live).filter(|layer| layer.quality <= quality).max_by_key(|layer| layer.quality);
    fitting.or_else(|| layers.iter().filter(is_live).min_by_key(|layer| layer.quality))
}

impl Wanted {
    /// For a size, the smallest layer that covers it.
    fn quality(self, layers: &[Layer]) -> i32 {
        let (width, height) = self.size;
        if width == 0 && height == 0 {
            return self.quality;
        }
        // One more pixel on either side is nothing that anybody sees.
        let covers = |layer: &&Layer| layer.width + 1 >= width && layer.height + 1 >= height;
        let covering = layers.iter().filter(covers).map(|layer| layer.quality).min();
        covering.unwrap_or(VideoQuality::High.into())
    }
}

/// Whether a receiver can begin with that packet.
pub(crate) fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        Codec::Vp9 => detect_vp9_keyframe(payload),
        // It comes in a packet of its own before the keyframe, which is of no use without.
        Codec::H264 => detect_h264_nalu(payload, H264_SEQUENCE_PARAMETERS),
        Codec::Av1 => detect_av1_keyframe(payload),
        _ => true,
    }
}

/// Whether a layer's keyframe is awaited, and when it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Keyframes {
    asked: Option<Instant>,
}

impl Keyframes {
    /// Whether to ask for one now, which is then taken for done.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASKED_AGAIN);
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 320, 640 and 1280 pixels wide; those live that are named.
    fn layers(live: &str, now: Instant) -> Vec<Layer> {
        let size =
            |quality, width: u32| proto::VideoLayer { quality, width, height: width * 9 / 16, ..Default::default() };
        let mut told = [size(2, 1280), size(0, 320), size(1, 640)];
        name(&mut told, true);
        let mut layers = published(&told);
        live.split_terminator(' ').for_each(|rid| arrived(&mut layers, Some(rid), now));
        layers
    }

    fn chosen(live: &str, wanted: Wanted) -> Option<String> {
        let now = Instant::now();
        target(&layers(live, now), &wanted, now).and_then(|layer| layer.rid.clone())
    }

    fn quality(quality: i32) -> Wanted {
        Wanted { quality, ..Wanted::default() }
    }

    fn size(width: u32, height: u32) -> Wanted {
        Wanted { size: (width, height), ..quality(0) }
    }

    #[test]
    fn whoever_says_nothing_gets_the_best_that_comes() {
        assert_eq!(chosen("q h f", Wanted::default()).as_deref(), Some("f"));
        assert_eq!(chosen("q h", Wanted::default()).as_deref(), Some("h"));
        assert_eq!(chosen("", Wanted::default()), None);
    }

    #[test]
    fn a_quality_is_the_most_that_is_sent_unless_nothing_smaller_comes() {
        assert_eq!(chosen("q h f", quality(1)).as_deref(), Some("h"));
        assert_eq!(chosen("q f", quality(1)).as_deref(), Some("q"));
        assert_eq!(chosen("f", quality(0)).as_deref(), Some("f"));
    }

    #[test]
    fn a_size_gets_the_smallest_layer_that_covers_it() {
        for (width, height, rid) in [(100, 100, "q"), (320, 180, "q"), (322, 180, "h"), (320, 362, "f"), (9999, 1, "f")]
        {
            assert_eq!(chosen("q h f", size(width, height)).as_deref(), Some(rid), "{width}x{height}");
        }
    }

    #[test]
    fn a_layer_that_stops_coming_is_left() {
        let then = Instant::now();
        let mut layers = layers("q h f", then);
        let now = then + LIVE;
        arrived(&mut layers, Some("q"), now);
        assert_eq!(target(&layers, &Wanted::default(), now).unwrap().rid.as_deref(), Some("q"));
    }

    #[test]
    fn a_track_in_one_size_is_sent_whatever_is_wanted() {
        let now = Instant::now();
        let mut layers = published(&[]);
        arrived(&mut layers, None, now);
        assert_eq!(target(&layers, &quality(0), now).unwrap().rid, None);
    }

    #[test]
    fn off_is_disabled() {
        let settings = |quality, disabled| proto::UpdateTrackSettings { quality, disabled, ..Default::default() };
        assert!(Wanted::from(&settings(VideoQuality::Off.into(), false)).disabled);
        assert!(Wanted::from(&settings(0, true)).disabled);
        assert!(!Wanted::from(&settings(0, false)).disabled);
    }

    #[test]
    fn a_keyframe_is_asked_for_twice_a_second_at_most() {
        let (mut keyframes, now) = (Keyframes::default(), Instant::now());
        assert!(keyframes.ask(now));
        assert!(!keyframes.ask(now + ASKED_AGAIN / 2));
        assert!(keyframes.ask(now + ASKED_AGAIN));
    }
}

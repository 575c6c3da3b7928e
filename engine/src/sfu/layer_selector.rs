//! The layers of a track, and the choice of one for a subscriber.

use std::time::{Duration, Instant, SystemTime};

use str0m::media::Rid;
use str0m::rtp::rtcp::SenderInfo;

use crate::net::sdp::MAX_RIDS;

/// Time without a packet after which a layer counts as inactive.
const LAYER_TIMEOUT: Duration = Duration::from_millis(1500);
/// The rids of simulcast layers in LiveKit's clients, from the smallest layer to the largest.
pub(crate) const RIDS: [&str; 3] = ["q", "h", "f"];
/// The highest quality of a layer: qualities are 0, 1 and 2.
const HIGH: i32 = 2;

/// The rid of a simulcast layer; `None` for the only layer of a track.
pub(crate) type LayerName = Option<Rid>;

/// A layer of a track.
#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    name: LayerName,
    /// From 0 on.
    quality: i32,
    height: u32,
    /// Arrival of its last packet.
    seen: Option<Instant>,
    clock: Option<SenderClock>,
}

/// An RTP timestamp of a layer and the sender's time that it corresponds to, from the last sender report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SenderClock {
    at: SystemTime,
    time: u32,
}

impl SenderClock {
    pub(crate) fn new(report: &SenderInfo) -> Self {
        let time = report.rtp_time.numer() & u64::from(u32::MAX);
        Self { at: report.ntp_time, time: u32::try_from(time).unwrap_or_default() }
    }

    /// Converts a timestamp of this clock to another clock of the same sender.
    fn convert(self, time: u32, other: Self, clock_rate: u32) -> u32 {
        let since = |later: SystemTime, earlier: SystemTime| later.duration_since(earlier).ok();
        let ticks = |duration: Duration| {
            let ticks = duration.as_micros() * u128::from(clock_rate) / 1_000_000;
            u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default()
        };
        // This clock's timestamp at the other clock's sender report.
        let then = match since(other.at, self.at) {
            Some(later) => self.time.wrapping_add(ticks(later)),
            None => self.time.wrapping_sub(since(self.at, other.at).map_or(0, ticks)),
        };
        time.wrapping_sub(then).wrapping_add(other.time)
    }
}

impl Layer {
    /// A layer as it was announced, or else of that quality and an unknown size.
    fn new(name: LayerName, quality: i32, announced: Option<&AnnouncedLayer<'_>>) -> Self {
        let Some(announced) = announced else { return Self { name, quality, ..Self::default() } };
        let &AnnouncedLayer { quality, height, .. } = announced;
        Self { name, quality, height, ..Self::default() }
    }
}

/// A layer as its publisher has announced it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnnouncedLayer<'a> {
    /// Empty for the only layer of a track.
    pub(crate) rid: &'a str,
    /// From 0 to 2.
    pub(crate) quality: i32,
    /// In pixels.
    pub(crate) height: u32,
}

/// The layers that a publisher has declared, from the smallest to the largest. Packets of other layers are dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers {
    layers: [Layer; MAX_RIDS],
    count: usize,
}

/// Which layer of a track a subscriber wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrackSettings {
    /// None for now.
    pub(super) disabled: bool,
    /// The highest quality to send.
    quality: i32,
    /// Width and height in which the track is shown. They take precedence over the quality; a width of 0 means unknown.
    size: (u32, u32),
}

impl Default for TrackSettings {
    fn default() -> Self {
        Self { disabled: false, quality: HIGH, size: (0, 0) }
    }
}

impl TrackSettings {
    /// At most a quality, and the width and height in which the track is shown, if the width is not 0.
    pub(crate) fn new(quality: i32, size: (u32, u32)) -> Self {
        Self { disabled: false, quality, size }
    }

    /// The same settings for a track that is not to be sent for now.
    pub(crate) fn disable(self) -> Self {
        Self { disabled: true, ..self }
    }
}

impl Layers {
    /// The layers of a section that declares those rids, with the sizes that were announced.
    pub(super) fn declared(announced: &[AnnouncedLayer<'_>], rids: &[Rid]) -> Self {
        let mut layers = [Layer::default(); MAX_RIDS];
        if rids.is_empty() {
            let best = announced.iter().max_by_key(|layer| layer.quality);
            layers[0] = Layer::new(None, HIGH, best);
            return Self { layers, count: 1 };
        }
        for (index, (layer, rid)) in layers.iter_mut().zip(rids).enumerate() {
            let named = announced.iter().find(|layer| *layer.rid == **rid);
            let usual = RIDS.iter().position(|known| **known == **rid).unwrap_or(index);
            let usual = i32::try_from(usual).unwrap_or_default();
            let announced = named.or_else(|| announced.iter().find(|layer| layer.quality == usual));
            *layer = Layer::new(Some(*rid), usual, announced);
        }
        let count = rids.len().min(MAX_RIDS);
        layers[..count].sort_by_key(|layer| layer.quality);
        Self { layers, count }
    }

    fn all(&self) -> &[Layer] {
        &self.layers[..self.count]
    }

    /// Records a packet of a layer. `false` if the layer was not declared.
    pub(super) fn mark_active(&mut self, name: LayerName, clock: Option<SenderClock>, now: Instant) -> bool {
        let layer = self.layers[..self.count].iter_mut().find(|layer| layer.name == name);
        let Some(layer) = layer else { return false };
        layer.seen = Some(now);
        layer.clock = clock.or(layer.clock);
        true
    }

    /// Converts a timestamp of one layer to another layer's clock; `None` before both have a sender report.
    pub(super) fn convert_time(&self, time: u32, from: LayerName, to: LayerName, clock_rate: u32) -> Option<u32> {
        if from == to {
            return Some(time);
        }
        let clock = |name: LayerName| self.all().iter().find(|layer| layer.name == name)?.clock;
        Some(clock(from)?.convert(time, clock(to)?, clock_rate))
    }

    /// The layer to send: the best active one within the settings, else the smallest active one.
    pub(super) fn select_layer(&self, settings: &TrackSettings, now: Instant) -> Option<LayerName> {
        let is_live =
            |layer: &Layer| layer.seen.is_some_and(|seen| now.saturating_duration_since(seen) < LAYER_TIMEOUT);
        self.best(settings, is_live)
    }

    /// The layer to request a keyframe of: the one to send, else one that was active before, else a declared one. A static source
    /// may send nothing until a keyframe is requested.
    pub(super) fn pli_layer(&self, settings: &TrackSettings, now: Instant) -> Option<LayerName> {
        let seen = || self.best(settings, |layer| layer.seen.is_some());
        self.select_layer(settings, now).or_else(seen).or_else(|| self.best(settings, |_| true))
    }

    fn best(&self, settings: &TrackSettings, is_candidate: impl Fn(&Layer) -> bool) -> Option<LayerName> {
        let quality = settings.quality(self.all());
        let candidates = || self.all().iter().filter(|layer| is_candidate(layer));
        let fitting = candidates().rfind(|layer| layer.quality <= quality);
        fitting.or_else(|| candidates().next()).map(|layer| layer.name)
    }
}

impl TrackSettings {
    /// For a size, the smallest layer with at least nine tenths of the requested height, as in livekit-server. Of layers of equal
    /// height, which may differ in frame rate, the best one.
    fn quality(self, layers: &[Layer]) -> i32 {
        let (width, height) = self.size;
        if width == 0 {
            return self.quality;
        }
        let is_enough = |layer: &&Layer| u64::from(layer.height) >= u64::from(height) * 9 / 10;
        let Some(chosen) = layers.iter().filter(is_enough).map(|layer| layer.height).min() else { return HIGH };
        layers.iter().filter(|layer| layer.height == chosen).map(|layer| layer.quality).max().unwrap_or(HIGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 320, 640 and 1280 pixels wide.
    fn announced() -> [AnnouncedLayer<'static>; 3] {
        let layer = |rid, quality, width: u32| AnnouncedLayer { rid, quality, height: width * 9 / 16 };
        [layer("f", 2, 1280), layer("q", 0, 320), layer("h", 1, 640)]
    }

    /// All that are announced, with packets of those that are named.
    fn layers(live: &str, now: Instant) -> Layers {
        let mut layers = Layers::declared(&announced(), &RIDS.map(Rid::from));
        assert!(live.split_terminator(' ').all(|rid| layers.mark_active(Some(rid.into()), None, now)));
        layers
    }

    fn chosen(live: &str, settings: TrackSettings) -> Option<String> {
        let now = Instant::now();
        layers(live, now).select_layer(&settings, now).map(text)
    }

    fn text(name: LayerName) -> String {
        name.map(|name| name.to_string()).unwrap_or_default()
    }

    fn quality(quality: i32) -> TrackSettings {
        TrackSettings { quality, ..TrackSettings::default() }
    }

    fn size(width: u32, height: u32) -> TrackSettings {
        TrackSettings { size: (width, height), ..quality(0) }
    }

    #[test]
    fn a_subscriber_without_a_wish_gets_the_best_layer_that_arrives() {
        assert_eq!(chosen("q h f", TrackSettings::default()).as_deref(), Some("f"));
        assert_eq!(chosen("q h", TrackSettings::default()).as_deref(), Some("h"));
        assert_eq!(chosen("", TrackSettings::default()), None);
    }

    #[test]
    fn a_quality_is_the_most_that_is_sent_unless_nothing_smaller_comes() {
        assert_eq!(chosen("q h f", quality(1)).as_deref(), Some("h"));
        assert_eq!(chosen("q f", quality(1)).as_deref(), Some("q"));
        assert_eq!(chosen("f", quality(0)).as_deref(), Some("f"));
    }

    #[test]
    fn a_size_gets_the_smallest_layer_of_nine_tenths_of_its_height() {
        let sizes =
            [(100, 100, "q"), (320, 180, "q"), (356, 200, "q"), (358, 202, "h"), (9999, 400, "h"), (1, 402, "f")];
        for (width, height, rid) in sizes.into_iter().chain([(1280, 9999, "f")]) {
            assert_eq!(chosen("q h f", size(width, height)).as_deref(), Some(rid), "{width}x{height}");
        }
    }

    #[test]
    fn of_layers_of_one_size_the_best_is_chosen() {
        let layer = |rid, quality| AnnouncedLayer { rid, quality, height: 1080 };
        let announced = [layer("q", 0), layer("h", 1)];
        let now = Instant::now();
        let mut layers = Layers::declared(&announced, &["q".into(), "h".into()]);
        assert!(["q", "h"].into_iter().all(|rid| layers.mark_active(Some(rid.into()), None, now)));
        for settings in [size(320, 180), size(1920, 1080), size(3840, 2160)] {
            assert_eq!(layers.select_layer(&settings, now).map(text).as_deref(), Some("h"), "{settings:?}");
        }
    }

    #[test]
    fn sizes_of_any_number_are_compared() {
        let most = AnnouncedLayer { rid: "q", quality: 2, height: u32::MAX };
        let mut layers = Layers::declared(&[most], &["q".into()]);
        let now = Instant::now();
        assert!(layers.mark_active(Some("q".into()), None, now));
        assert!(layers.select_layer(&size(u32::MAX, u32::MAX), now).is_some());
    }

    #[test]
    fn a_layer_that_stops_coming_is_left() {
        let then = Instant::now();
        let mut layers = layers("q h f", then);
        let now = then + LAYER_TIMEOUT;
        assert!(layers.mark_active(Some("q".into()), None, now));
        assert_eq!(layers.select_layer(&TrackSettings::default(), now), Some(Some("q".into())));
    }

    #[test]
    fn a_keyframe_of_a_still_source_is_requested_of_the_best_layer_that_was_seen_or_else_may_be() {
        let then = Instant::now();
        let requested = |live, settings| layers(live, then).pli_layer(&settings, then + 10 * LAYER_TIMEOUT).map(text);
        assert_eq!(requested("q h", TrackSettings::default()).as_deref(), Some("h"));
        assert_eq!(requested("q h f", quality(0)).as_deref(), Some("q"));
        assert_eq!(requested("", TrackSettings::default()).as_deref(), Some("f"));
        let only = Layers::declared(&[], &[]);
        assert_eq!(only.pli_layer(&quality(0), then), Some(None));
    }

    #[test]
    fn a_keyframe_is_requested_of_a_layer_that_arrives_before_any_other() {
        let then = Instant::now();
        let mut layers = layers("f", then);
        let now = then + LAYER_TIMEOUT;
        assert!(layers.mark_active(Some("q".into()), None, now));
        assert_eq!(layers.pli_layer(&TrackSettings::default(), now).map(text).as_deref(), Some("q"));
    }

    #[test]
    fn a_track_in_one_size_is_sent_whatever_is_wanted() {
        let now = Instant::now();
        let mut layers = Layers::declared(&announced(), &[]);
        assert!(layers.mark_active(None, None, now));
        assert_eq!(layers.select_layer(&quality(0), now), Some(None));
    }

    #[test]
    fn a_layer_that_was_not_declared_is_none() {
        let now = Instant::now();
        let mut layers = layers("q h f", now);
        for name in [None, Some("x".into()), Some("2".into())] {
            assert!(!layers.mark_active(name, None, now), "{name:?}");
        }
    }

    #[test]
    fn layers_of_other_names_are_in_the_order_of_the_section() {
        let now = Instant::now();
        let rids = ["low", "mid", "best", "over", "many"].map(Rid::from);
        let mut layers = Layers::declared(&announced(), &rids);
        assert_eq!(layers.all().len(), MAX_RIDS);
        assert!(rids[..MAX_RIDS].iter().all(|rid| layers.mark_active(Some(*rid), None, now)));
        assert_eq!(layers.select_layer(&size(320, 180), now).map(text).as_deref(), Some("low"));
        assert_eq!(layers.select_layer(&size(640, 360), now).map(text).as_deref(), Some("mid"));
    }

    #[test]
    fn a_time_of_a_layer_is_known_on_the_clock_of_another_once_both_were_reported() {
        let epoch = SystemTime::UNIX_EPOCH;
        let clock = |millis, time| Some(SenderClock { at: epoch + Duration::from_millis(millis), time });
        let (now, low, high) = (Instant::now(), Some("q".into()), Some("f".into()));
        let mut layers = layers("", now);
        assert_eq!(layers.convert_time(7, low, low, 90_000), Some(7));
        layers.mark_active(low, clock(1_000, 50_000), now);
        assert_eq!(layers.convert_time(7, low, high, 90_000), None);
        // Read 100 ms later, just before its timestamps wrap.
        layers.mark_active(high, clock(1_100, u32::MAX - 8_999), now);
        assert_eq!(layers.convert_time(50_000, low, high, 90_000), Some(u32::MAX - 17_999));
        assert_eq!(layers.convert_time(50_000 + 18_000, low, high, 90_000), Some(0));
        assert_eq!(layers.convert_time(0, high, low, 90_000), Some(50_000 + 18_000));
        layers.mark_active(high, None, now);
        assert_eq!(layers.convert_time(0, high, low, 90_000), Some(50_000 + 18_000), "it is still known");
    }
}

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use str0m::format::{Codec, detect_vp8_keyframe};

#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) rid: Option<String>,
    pub(crate) quality: i32,
    pub(crate) width: u32,
    pub(crate) seen: Option<Instant>,
}
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) disabled: bool,
    pub(crate) quality: i32,
    pub(crate) width: u32,
}
impl Default for Wanted {
    fn default() -> Self {
        Self { disabled: false, quality: 2, width: 0 }
    }
}
impl From<&proto::UpdateTrackSettings> for Wanted {
    fn from(s: &proto::UpdateTrackSettings) -> Self {
        Self { disabled: s.disabled, quality: s.quality, width: s.width }
    }
}
#[derive(Default)]
pub(crate) struct Keyframes {
    wanted: bool,
    asked: Option<Instant>,
}
impl Keyframes {
    pub(crate) fn wanted(&mut self) {
        self.wanted = true;
    }
    pub(crate) fn arrived(&mut self) {
        self.wanted = false;
    }
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.asked.is_none_or(|at| now - at > Duration::from_millis(500));
        if due {
            self.asked = Some(now);
        }
        due
    }
}
pub(crate) fn name(layers: &mut [proto::VideoLayer], has: bool) {
    if has && layers.len() > 1 {
        let mut v: Vec<_> = layers.iter_mut().collect();
        v.sort_by_key(|l| l.quality);
        for (l, r) in v.into_iter().zip(["q", "h", "f"]) {
            l.rid = r.into();
        }
    }
}
pub(crate) fn published(info: &proto::TrackInfo) -> Vec<Layer> {
    info.layers
        .iter()
        .map(|l| Layer { rid: (!l.rid.is_empty()).then(|| l.rid.clone()), quality: l.quality, width: l.width, seen: None })
        .collect()
}
pub(crate) fn arrived(layers: &mut Vec<Layer>, rid: Option<&str>, now: Instant) {
    match layers.iter_mut().find(|l| l.rid.as_deref() == rid) {
        Some(l) => l.seen = Some(now),
        None => layers.push(Layer { rid: rid.map(str::to_owned), quality: 2, width: 0, seen: Some(now) }),
    }
}
pub(crate) fn target<'a>(layers: &'a [Layer], wanted: &Wanted, now: Instant) -> Option<&'a Layer> {
    let live = || layers.iter().filter(|l| l.seen.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_millis(1500)));
    let q = if wanted.width > 0 {
        let mut sorted: Vec<_> = layers.iter().collect();
        sorted.sort_by_key(|l| l.width);
        sorted.iter().find(|l| l.width >= wanted.width).or(sorted.last()).map_or(2, |l| l.quality)
    } else {
        wanted.quality
    };
    live().filter(|l| l.quality <= q).max_by_key(|l| l.quality).or_else(|| live().min_by_key(|l| l.quality))
}
pub(crate) fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        _ => true,
    }
}

//! Who speaks: RFC 6464's levels over time, judged as livekit-server does by default.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The window that is judged, in milliseconds; and how often something is said.
const WINDOW_MS: u32 = 400;
/// Up to so many decibels below the loudest sound it is speech.
const ACTIVE_LEVEL: u8 = 35;
/// So much of a window has to be speech.
const LEAST_ACTIVE_MS: u32 = WINDOW_MS * 40 / 100;
/// The weight of the newest of two windows, so that a level does not jump.
const SMOOTHING: f64 = 2.0 / 3.0;
/// Whoever sends nothing for so long is silent.
const STALE: Duration = Duration::from_millis(800);

/// Those whose sound arrives in one room.
#[derive(Debug)]
pub(crate) struct Speakers<K> {
    /// By whom it is and the source of the sound: whoever has several is as loud as the loudest.
    levels: HashMap<(K, u64), Level>,
    /// Those who count as speaking until then, whatever they say.
    simulated: HashMap<K, Instant>,
    /// What was said last.
    told: HashMap<K, f32>,
    judged: Option<Instant>,
}

impl<K> Default for Speakers<K> {
    fn default() -> Self {
        Self { levels: HashMap::new(), simulated: HashMap::new(), told: HashMap::new(), judged: None }
    }
}

#[derive(Debug)]
struct Level {
    loudest: u8,
    active_ms: u32,
    observed_ms: u32,
    /// From 0 to 1.
    smoothed: f64,
    observed: Instant,
}

impl Level {
    fn new(now: Instant) -> Self {
        Self { loudest: 127, active_ms: 0, observed_ms: 0, smoothed: 0.0, observed: now }
    }

    fn observe(&mut self, level: u8, millis: u32, now: Instant) {
        self.observed = now;
        self.observed_ms += millis;
        if level <= ACTIVE_LEVEL {
            self.active_ms += millis;
            self.loudest = self.loudest.min(level);
        }
        if self.observed_ms >= WINDOW_MS {
            let smoothed = if self.active_ms >= LEAST_ACTIVE_MS {
                // What is heard for a part of the time only counts for less.
                let weight = 20.0 * (f64::from(self.active_ms) / f64::from(WINDOW_MS)).log10();
                let level = linear(f64::from(self.loudest) - weight);
                self.smoothed + (level - self.smoothed) * SMOOTHING
            } else {
                0.0
            };
            *self = Self { smoothed, ..Self::new(now) };
        }
    }
}

/// Decibels below the loudest sound as a part of 1.
fn linear(level: f64) -> f64 {
    10_f64.powf(-level / 20.0)
}

impl<K: Copy + Eq + Hash + Ord> Speakers<K> {
    /// A packet has come that sounds for so long, so many decibels below the loudest sound.
    pub(crate) fn observe(&mut self, source: (K, u64), level: u8, millis: u32, now: Instant) {
        self.levels.entry(source).or_insert_with(|| Level::new(now)).observe(level, millis, now);
    }

    /// Whoever it is counts as speaking until then.
    pub(crate) fn simulate(&mut self, who: K, level: f32, until: Instant) {
        self.simulated.insert(who, until);
        self.told.insert(who, level);
    }

    /// Whoever it is has gone.
    pub(crate) fn forget(&mut self, who: K) {
        self.levels.retain(|(known, _), _| *known != who);
    }

    /// That source is no more.
    pub(crate) fn forget_source(&mut self, source: (K, u64)) {
        self.levels.remove(&source);
    }

    /// Whose level has changed since it was asked last, from 0 to 1, and who has fallen silent (0). Nothing more often than
    /// every 400 ms.
    pub(crate) fn changes(&mut self, now: Instant) -> Vec<(K, f32)> {
        if self.judged.is_some_and(|then| now.saturating_duration_since(then) < Duration::from_millis(WINDOW_MS.into()))
        {
            return Vec::new();
        }
        self.judged = Some(now);
        self.simulated.retain(|_, until| *until > now);
        self.levels.retain(|_, level| now.saturating_duration_since(level.observed) < STALE);
        let mut speaking: HashMap<K, f32> = HashMap::new();
        for ((who, _), level) in self.levels.iter().filter(|(_, level)| level.smoothed >= linear(ACTIVE_LEVEL.into())) {
            #[expect(clippy::cast_possible_truncation, reason = "the protocol has levels in single precision")]
            let loud = level.smoothed as f32;
            speaking.entry(*who).and_modify(|loudest| *loudest = loudest.max(loud)).or_insert(loud);
        }
        for who in self.simulated.keys() {
            speaking.extend(self.told.get(who).map(|level| (*who, *level)));
        }
        let louder = speaking.iter().filter(|(who, level)| self.told.get(who) != Some(level));
        let mut changes: Vec<(K, f32)> = louder.map(|(who, level)| (*who, *level)).collect();
        changes.extend(self.told.keys().filter(|who| !speaking.contains_key(who)).map(|who| (*who, 0.0)));
        changes.sort_by_key(|(who, _)| *who);
        self.told = speaking;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many packets of 20 ms at that level.
    fn hear(speakers: &mut Speakers<u8>, packets: u32, level: u8, now: &mut Instant) {
        for _ in 0..packets {
            *now += Duration::from_millis(20);
            speakers.observe((1, 1), level, 20, *now);
        }
    }

    fn speaks(speakers: &mut Speakers<u8>, now: &mut Instant) -> Option<bool> {
        *now += Duration::from_millis(u64::from(WINDOW_MS));
        speakers.changes(*now).first().map(|(_, level)| *level > 0.0)
    }

    #[test]
    fn whoever_is_loud_for_a_while_speaks_until_silent() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        assert_eq!(speaks(&mut speakers, &mut now), None);
        hear(&mut speakers, 20, 20, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), Some(true));
        assert_eq!(speakers.changes(now), [], "only changes are told");
        hear(&mut speakers, 20, 127, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), Some(false));
        assert_eq!(speaks(&mut speakers, &mut now), None);
    }

    #[test]
    fn a_cough_or_a_murmur_is_no_speech() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        hear(&mut speakers, 7, 10, &mut now);
        hear(&mut speakers, 13, 127, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), None);
        hear(&mut speakers, 20, ACTIVE_LEVEL + 1, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), None);
    }

    #[test]
    fn whoever_stops_sending_or_goes_is_silent() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        hear(&mut speakers, 20, 20, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), Some(true));
        now += STALE;
        assert_eq!(speaks(&mut speakers, &mut now), Some(false));
        hear(&mut speakers, 20, 20, &mut now);
        assert_eq!(speaks(&mut speakers, &mut now), Some(true));
        speakers.forget(1);
        assert_eq!(speaks(&mut speakers, &mut now), Some(false));
    }

    #[test]
    fn whoever_has_several_sources_is_as_loud_as_the_loudest() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        let both = |speakers: &mut Speakers<u8>, now: &mut Instant| {
            for _ in 0..20 {
                hear(speakers, 1, 20, now);
                speakers.observe((1, 2), 127, 20, *now);
            }
        };
        both(&mut speakers, &mut now);
        now += Duration::from_millis(u64::from(WINDOW_MS));
        let (mut alone, mut then) = (Speakers::default(), now);
        hear(&mut alone, 20, 20, &mut then);
        then += Duration::from_millis(u64::from(WINDOW_MS));
        assert_eq!(speakers.changes(now), alone.changes(then));
        both(&mut speakers, &mut now);
        speakers.forget_source((1, 2));
        assert_eq!(speaks(&mut speakers, &mut now), Some(true), "louder, and not silent");
        speakers.forget_source((1, 1));
        assert_eq!(speaks(&mut speakers, &mut now), Some(false));
    }

    #[test]
    fn a_level_is_a_part_of_one_and_does_not_jump() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        hear(&mut speakers, 20, 0, &mut now);
        now += Duration::from_millis(400);
        assert_eq!(speakers.changes(now), [(1, 2.0 / 3.0)]);
    }

    #[test]
    fn a_simulated_speaker_speaks_for_its_time() {
        let (mut speakers, mut now) = (Speakers::default(), Instant::now());
        speakers.simulate(1, 0.9, now + Duration::from_secs(1));
        assert_eq!(speaks(&mut speakers, &mut now), None, "that was told already");
        now += Duration::from_secs(1);
        assert_eq!(speaks(&mut speakers, &mut now), Some(false));
    }
}

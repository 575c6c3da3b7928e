//! Active speakers, from audio levels (RFC 6464) over time, with livekit-server's default thresholds.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Length of the window in which levels are evaluated, and minimum time between two updates.
const WINDOW: Duration = Duration::from_millis(400);
/// The window in RTP ticks: Opus has 48 in a millisecond (RFC 7587, section 4.1).
const WINDOW_TICKS: u32 = 400 * 48;
/// Level of a packet with speech: at most this many dB below the loudest possible sound.
const ACTIVE_LEVEL: u8 = 35;
/// Minimum speech in a window, in RTP ticks. Below it the source counts as silent.
const MIN_ACTIVE_TICKS: u32 = WINDOW_TICKS * 40 / 100;
/// Weight of the newest window in the smoothed level.
const SMOOTHING: f64 = 2.0 / 3.0;
/// Time without a packet after which a source counts as silent.
const STALE: Duration = Duration::from_millis(800);

/// The audio levels of a room's participants.
#[derive(Debug)]
pub(crate) struct ActiveSpeakers<K> {
    /// By participant and source. A participant with several sources has the level of the loudest.
    levels: HashMap<(K, u64), Level>,
    /// Participants that count as speaking until a time, whatever their levels.
    simulated: HashMap<K, Instant>,
    /// The levels of the last update.
    last_sent: HashMap<K, f32>,
    evaluated_at: Option<Instant>,
}

impl<K> Default for ActiveSpeakers<K> {
    fn default() -> Self {
        Self { levels: HashMap::new(), simulated: HashMap::new(), last_sent: HashMap::new(), evaluated_at: None }
    }
}

#[derive(Debug)]
struct Level {
    loudest: u8,
    /// Speech in the window so far, in RTP ticks, as the next two.
    active: u32,
    duration: u32,
    /// RTP timestamp of the newest packet.
    newest: u32,
    /// From 0 to 1.
    smoothed: f64,
    observed: Instant,
}

impl Level {
    fn new(time: u32, now: Instant) -> Self {
        Self { loudest: 127, active: 0, duration: 0, newest: time, smoothed: 0.0, observed: now }
    }

    /// A packet stands for the time since the one before it, however long its own sound is: with discontinuous transmission most
    /// of that time is not sent.
    fn observe(&mut self, level: u8, time: u32, now: Instant) {
        let passed = time.wrapping_sub(self.newest);
        if passed > u32::MAX / 2 {
            // A late packet: its time has been counted.
            return;
        }
        // After a long pause, one packet counts for at most one window.
        let passed = passed.min(WINDOW_TICKS);
        self.newest = time;
        self.observed = now;
        self.duration += passed;
        if level <= ACTIVE_LEVEL {
            self.active += passed;
            self.loudest = self.loudest.min(level);
        }
        if self.duration >= WINDOW_TICKS {
            let smoothed = if self.active >= MIN_ACTIVE_TICKS {
                // Speech that fills only a part of the window counts for less.
                let weight = 20.0 * (f64::from(self.active) / f64::from(WINDOW_TICKS)).log10();
                let level = linear(f64::from(self.loudest) - weight);
                self.smoothed + (level - self.smoothed) * SMOOTHING
            } else {
                0.0
            };
            *self = Self { smoothed, ..Self::new(time, now) };
        }
    }
}

/// Converts dB below the loudest possible sound to a level from 0 to 1.
fn linear(level: f64) -> f64 {
    10_f64.powf(-level / 20.0)
}

impl<K: Copy + Eq + Hash + Ord> ActiveSpeakers<K> {
    /// Records a packet: its level in dB below the loudest possible sound, and its RTP timestamp.
    pub(crate) fn observe(&mut self, source: (K, u64), level: u8, time: u32, now: Instant) {
        self.levels.entry(source).or_insert_with(|| Level::new(time, now)).observe(level, time, now);
    }

    /// Makes a participant count as speaking until a time, at a level from 0 to 1.
    pub(crate) fn simulate(&mut self, who: K, level: f32, until: Instant) {
        self.simulated.insert(who, until);
        self.last_sent.insert(who, level);
    }

    /// Removes a participant's sources.
    pub(crate) fn remove(&mut self, who: K) {
        self.levels.retain(|(known, _), _| *known != who);
    }

    /// Removes one source.
    pub(crate) fn remove_source(&mut self, source: (K, u64)) {
        self.levels.remove(&source);
    }

    /// The levels that have changed since the last call, from 0 to 1; 0 for a participant that is silent now. Empty within
    /// [`WINDOW`] of the last evaluation.
    pub(crate) fn changes(&mut self, now: Instant) -> Vec<(K, f32)> {
        if self.evaluated_at.is_some_and(|then| now.saturating_duration_since(then) < WINDOW) {
            return Vec::new();
        }
        self.evaluated_at = Some(now);
        self.simulated.retain(|_, until| *until > now);
        self.levels.retain(|_, level| now.saturating_duration_since(level.observed) < STALE);
        let mut speaking: HashMap<K, f32> = HashMap::new();
        for ((who, _), level) in self.levels.iter().filter(|(_, level)| level.smoothed >= linear(ACTIVE_LEVEL.into())) {
            #[expect(clippy::cast_possible_truncation, reason = "the protocol has levels in single precision")]
            let loud = level.smoothed as f32;
            speaking.entry(*who).and_modify(|loudest| *loudest = loudest.max(loud)).or_insert(loud);
        }
        for who in self.simulated.keys() {
            speaking.extend(self.last_sent.get(who).map(|level| (*who, *level)));
        }
        let louder = speaking.iter().filter(|(who, level)| self.last_sent.get(who) != Some(level));
        let mut changes: Vec<(K, f32)> = louder.map(|(who, level)| (*who, *level)).collect();
        changes.extend(self.last_sent.keys().filter(|who| !speaking.contains_key(who)).map(|who| (*who, 0.0)));
        changes.sort_by_key(|(who, _)| *who);
        self.last_sent = speaking;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A microphone, and the time that it has sent until.
    struct Microphone {
        speakers: ActiveSpeakers<u8>,
        now: Instant,
        time: u32,
    }

    impl Microphone {
        fn new() -> Self {
            // The time of RTP begins anywhere, and wraps.
            Self { speakers: ActiveSpeakers::default(), now: Instant::now(), time: u32::MAX - 5000 }
        }

        /// Lets time pass without a packet.
        fn pause(&mut self, millis: u32) {
            self.now += Duration::from_millis(millis.into());
            self.time = self.time.wrapping_add(48 * millis);
        }

        /// So many packets at that level, each so many milliseconds after the one before.
        fn send(&mut self, packets: u32, millis: u32, level: u8) {
            for _ in 0..packets {
                self.pause(millis);
                self.speakers.observe((1, 1), level, self.time, self.now);
            }
        }

        /// Whether it is heard to begin or cease to speak.
        fn speaks(&mut self) -> Option<bool> {
            let later = self.now + WINDOW;
            self.speakers.changes(later).first().map(|(_, level)| *level > 0.0)
        }
    }

    #[test]
    fn a_microphone_that_is_loud_for_a_while_speaks_until_it_is_silent() {
        let mut microphone = Microphone::new();
        assert_eq!(microphone.speaks(), None);
        microphone.send(21, 20, 20);
        assert_eq!(microphone.speaks(), Some(true));
        assert_eq!(microphone.speakers.changes(microphone.now), [], "only changes are told");
        microphone.send(21, 20, 127);
        assert_eq!(microphone.speaks(), Some(false));
        microphone.send(20, 20, 127);
        assert_eq!(microphone.speaks(), None);
    }

    #[test]
    fn packets_of_any_duration_are_speech() {
        for millis in [3, 5, 10, 20, 40, 60, 120] {
            let mut microphone = Microphone::new();
            microphone.send(820 / millis + 1, millis, 20);
            assert_eq!(microphone.speaks(), Some(true), "{millis} ms");
        }
    }

    #[test]
    fn a_microphone_that_sends_nothing_of_its_silence_speaks() {
        // A tone of 200 ms each second, as Chromium's fake microphone makes it, and a packet of silence every 400 ms.
        let mut microphone = Microphone::new();
        let mut has_spoken = false;
        for _ in 0..5 {
            microphone.send(10, 20, 18);
            for _ in 0..2 {
                microphone.send(1, 400, 127);
                has_spoken |= microphone.speakers.changes(microphone.now).iter().any(|(_, level)| *level > 0.0);
            }
        }
        assert!(has_spoken);
    }

    #[test]
    fn late_packets_count_once() {
        let mut microphone = Microphone::new();
        microphone.send(10, 20, 20);
        for _ in 0..100 {
            microphone.speakers.observe((1, 1), 20, microphone.time.wrapping_sub(960), microphone.now);
        }
        assert_eq!(microphone.speaks(), None);
    }

    #[test]
    fn a_clock_that_jumps_makes_no_level_above_the_loudest() {
        let mut microphone = Microphone::new();
        microphone.send(1, 20, 0);
        microphone.time = microphone.time.wrapping_add(u32::MAX / 2);
        microphone.send(1, 20, 0);
        let changes = microphone.speakers.changes(microphone.now + WINDOW);
        assert!(changes.iter().all(|(_, level)| *level <= 1.0), "{changes:?}");
    }

    #[test]
    fn a_cough_or_a_murmur_is_no_speech() {
        let mut microphone = Microphone::new();
        microphone.send(8, 20, 10);
        microphone.send(14, 20, 127);
        assert_eq!(microphone.speaks(), None);
        microphone.send(21, 20, ACTIVE_LEVEL + 1);
        assert_eq!(microphone.speaks(), None);
    }

    #[test]
    fn a_microphone_that_stops_sending_or_goes_is_silent() {
        let mut microphone = Microphone::new();
        microphone.send(21, 20, 20);
        assert_eq!(microphone.speaks(), Some(true));
        microphone.now += STALE;
        assert_eq!(microphone.speaks(), Some(false));
        microphone.now += WINDOW;
        microphone.send(21, 20, 20);
        assert_eq!(microphone.speaks(), Some(true));
        microphone.speakers.remove(1);
        microphone.now += WINDOW;
        assert_eq!(microphone.speaks(), Some(false));
    }

    #[test]
    fn a_participant_with_several_sources_is_as_loud_as_the_loudest() {
        let (mut both, mut alone) = (Microphone::new(), Microphone::new());
        let send = |both: &mut Microphone| {
            for _ in 0..21 {
                both.send(1, 20, 20);
                both.speakers.observe((1, 2), 127, both.time, both.now);
            }
        };
        send(&mut both);
        alone.send(21, 20, 20);
        assert_eq!(both.speakers.changes(both.now + WINDOW), alone.speakers.changes(alone.now + WINDOW));
        both.now += WINDOW;
        send(&mut both);
        both.speakers.remove_source((1, 2));
        assert_eq!(both.speaks(), Some(true), "louder, and not silent");
        both.speakers.remove_source((1, 1));
        both.now += WINDOW;
        assert_eq!(both.speaks(), Some(false));
    }

    #[test]
    fn a_level_is_a_part_of_one_and_does_not_jump() {
        let mut microphone = Microphone::new();
        microphone.send(21, 20, 0);
        assert_eq!(microphone.speakers.changes(microphone.now + WINDOW), [(1, 2.0 / 3.0)]);
    }

    #[test]
    fn a_simulated_speaker_speaks_for_its_time() {
        let mut microphone = Microphone::new();
        microphone.speakers.simulate(1, 0.9, microphone.now + Duration::from_secs(1));
        assert_eq!(microphone.speaks(), None, "that was told already");
        microphone.now += Duration::from_secs(1);
        assert_eq!(microphone.speaks(), Some(false));
    }
}

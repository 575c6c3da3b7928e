//! Sequence numbers and timestamps for one subscriber: a continuous stream across layer switches and pauses.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum number of dropped packets that are remembered. Packets before them count as too old to be forwarded.
const MAX_DROPPED: usize = 128;
/// Maximum time by which a timestamp may be ahead of the time that has passed. Past it, the sender's clock was reset.
const MAX_TS_AHEAD: Duration = Duration::from_secs(10);
/// Maximum time by which a timestamp may go back, because packets of layers arrive slightly out of order.
const MAX_TS_BACK: Duration = Duration::from_secs(1);
/// Maximum difference between a converted timestamp and the time that has passed. Past it, the sender's clock stood still or was
/// reset, and the time that has passed counts.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(2);

/// Translates the sequence numbers and timestamps of one track for one subscriber.
#[derive(Debug)]
pub(crate) struct RtpMunger {
    /// RTP ticks per second.
    clock_rate: u32,
    first: u64,
    source: Option<SourceState>,
    /// The highest sequence number sent, its timestamp, and when it was sent.
    last: Option<(u64, u64, Instant)>,
}

/// The layer that is being forwarded.
#[derive(Debug)]
struct SourceState {
    /// Lower sequence numbers are from before the switch and are not forwarded.
    min_seq: u64,
    /// The highest sequence number received.
    highest: u64,
    /// Sequence offset; subtract the number of packets dropped before this one.
    seq_offset: u64,
    /// Timestamp offset.
    ts_offset: u64,
    /// Timestamp of the highest sequence number received.
    last_ts: u64,
    dropped: VecDeque<u64>,
}

/// Sequence number and timestamp of a packet as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TranslationParams {
    /// Extended sequence number: the lower 16 bits are sent.
    pub(crate) seq: u64,
    pub(crate) time: u32,
}

impl SourceState {
    /// Translates a timestamp near the last one.
    fn translate_ts(&self, time: u32) -> u64 {
        let last_ts = self.last_ts & u64::from(u32::MAX);
        let ahead = time.wrapping_sub(u32::try_from(last_ts).unwrap_or_default()).cast_signed();
        self.ts_offset.wrapping_add(self.last_ts.wrapping_add_signed(ahead.into()))
    }
}

impl RtpMunger {
    /// Starts with the sequence number `first`.
    pub(crate) fn new(clock_rate: u32, first: u64) -> Self {
        Self { clock_rate, first, source: None, last: None }
    }

    /// Continues with a packet of another source. Its sequence number follows the last one sent. Its timestamp is `on_last`, the
    /// packet's timestamp on the last source's clock; without it, the last one sent plus the time that has passed.
    pub(crate) fn switch_source(&mut self, seq: u64, time: u64, on_last: Option<u32>, now: Instant) {
        let (next, at) = match self.last {
            None => (self.first, time),
            Some((last, at, then)) => {
                let passed = at + self.ticks(now.saturating_duration_since(then)).max(1);
                let known = self.source.as_ref().zip(on_last).map(|(source, time)| source.translate_ts(time));
                let skew = self.ticks(MAX_CLOCK_SKEW);
                (last + 1, known.filter(|known| known.abs_diff(passed) <= skew).unwrap_or(passed).max(at + 1))
            }
        };
        let (seq_offset, offset) = (next.wrapping_sub(seq), at.wrapping_sub(time));
        let dropped = VecDeque::new();
        self.source =
            Some(SourceState { min_seq: seq, highest: seq, seq_offset, ts_offset: offset, last_ts: time, dropped });
    }

    /// Sequence number and timestamp of a filler; `None` once there is a source.
    pub(crate) fn next_filler(&mut self, now: Instant) -> Option<TranslationParams> {
        if self.source.is_some() {
            return None;
        }
        let (seq, time) = match self.last {
            None => (self.first, 0),
            Some((last, at, then)) => (last + 1, at + self.ticks(now.saturating_duration_since(then)).max(1)),
        };
        self.last = Some((seq, time, now));
        Some(TranslationParams { seq, time: u32::try_from(time & u64::from(u32::MAX)).unwrap_or_default() })
    }

    /// Drops a packet: the receiver sees no gap in the sequence numbers.
    pub(crate) fn drop_packet(&mut self, seq: u64) {
        let Some(source) = &mut self.source else { return };
        // A late packet leaves a gap, because later numbers are sent already.
        if seq <= source.highest {
            return;
        }
        source.highest = seq;
        source.dropped.push_back(seq);
        if source.dropped.len() > MAX_DROPPED
            && let Some(oldest) = source.dropped.pop_front()
        {
            source.seq_offset = source.seq_offset.wrapping_sub(1);
            source.min_seq = source.min_seq.max(oldest + 1);
        }
    }

    /// The packet's sequence number and timestamp; `None` if it is too old to be forwarded.
    pub(crate) fn translate(&mut self, seq: u64, time: u64, now: Instant) -> Option<TranslationParams> {
        let (forward, back) = (self.ticks(MAX_TS_AHEAD), self.ticks(MAX_TS_BACK));
        let last = self.last;
        let passed = last.map_or(0, |(_, _, then)| self.ticks(now.saturating_duration_since(then)));
        let source = self.source.as_mut()?;
        if seq < source.min_seq || source.dropped.contains(&seq) {
            return None;
        }
        let before = source.dropped.iter().filter(|dropped| **dropped < seq).count();
        let seq_offset = source.seq_offset.wrapping_add(seq).wrapping_sub(u64::try_from(before).unwrap_or_default());
        let is_newest = last.is_none_or(|(last, _, _)| seq_offset > last);
        if let (true, Some((_, at, _))) = (is_newest, last) {
            let is_sane =
                time.saturating_sub(source.last_ts) <= passed + forward && source.last_ts.saturating_sub(time) <= back;
            if !is_sane {
                source.ts_offset = (at + passed.max(1)).wrapping_sub(time);
            }
        }
        let out = source.ts_offset.wrapping_add(time);
        if is_newest {
            source.highest = source.highest.max(seq);
            source.last_ts = time;
            // A time that runs back far enough is below zero, which is not the latest.
            let is_later = |at: u64| out.wrapping_sub(at) <= u64::MAX / 2;
            let at = last.map(|(_, at, _)| at).filter(|at| !is_later(*at)).unwrap_or(out);
            self.last = Some((seq_offset, at, now));
        }
        // The header carries the lower 32 bits.
        Some(TranslationParams { seq: seq_offset, time: u32::try_from(out & u64::from(u32::MAX)).unwrap_or_default() })
    }

    pub(crate) fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    fn ticks(&self, duration: Duration) -> u64 {
        let ticks = duration.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIDEO: u32 = 90_000;

    fn after(then: Instant, millis: u64) -> Instant {
        then + Duration::from_millis(millis)
    }

    /// A munger whose source starts with packet 70,000 at timestamp 5,000.
    fn begun(now: Instant) -> RtpMunger {
        let mut munger = RtpMunger::new(VIDEO, 1000);
        munger.switch_source(70_000, 5_000, None, now);
        assert_eq!(munger.translate(70_000, 5_000, now), Some(TranslationParams { seq: 1000, time: 5_000 }));
        munger
    }

    fn seq(munger: &mut RtpMunger, seq: u64, now: Instant) -> Option<u64> {
        munger.translate(seq, 5_000, now).map(|out| out.seq)
    }

    #[test]
    fn another_source_goes_on_where_the_last_one_stopped() {
        let now = Instant::now();
        let mut munger = begun(now);
        let later = after(now, 100);
        munger.switch_source(9, 1, None, later);
        assert_eq!(munger.translate(9, 1, later), Some(TranslationParams { seq: 1001, time: 5_000 + 9_000 }));
        assert_eq!(
            munger.translate(11, 3_001, later),
            Some(TranslationParams { seq: 1003, time: 17_000 }),
            "a loss stays a loss"
        );
        assert_eq!(munger.translate(10, 3_001, later), Some(TranslationParams { seq: 1002, time: 17_000 }));
        assert_eq!(munger.translate(8, 1, later), None, "what was sent before the change was not for this receiver");
    }

    #[test]
    fn a_source_goes_on_where_packets_before_it_have_stopped() {
        let now = Instant::now();
        let mut munger = RtpMunger::new(VIDEO, 1000);
        assert_eq!(munger.next_filler(now), Some(TranslationParams { seq: 1000, time: 0 }));
        assert_eq!(munger.next_filler(after(now, 200)), Some(TranslationParams { seq: 1001, time: 18_000 }));
        munger.switch_source(70_000, 5_000, None, after(now, 300));
        assert_eq!(munger.next_filler(after(now, 300)), None);
        assert_eq!(
            munger.translate(70_000, 5_000, after(now, 300)),
            Some(TranslationParams { seq: 1002, time: 27_000 })
        );
    }

    #[test]
    fn another_source_has_its_time_by_the_common_clock_however_late_it_arrives() {
        let now = Instant::now();
        let switched = |on_last, millis| {
            let mut munger = begun(now);
            munger.switch_source(9, 777, Some(on_last), after(now, millis));
            munger.translate(9, 777, after(now, millis)).unwrap().time
        };
        let frame = 3_000;
        assert_eq!(switched(5_000 + frame, 100), 5_000 + frame, "it was 67 ms on its way");
        assert_eq!(switched(5_000 + frame, 0), 5_000 + frame, "the last one was");
        assert_eq!(switched(4_000, 10), 5_001, "time never runs back");
        assert_eq!(switched(5_000 + 90 * 60_000, 100), 5_000 + 9_000, "that is another clock");
        assert_eq!(switched(5_000, 60_000), 5_000 + 90 * 60_000, "it has stood still");
    }

    #[test]
    fn the_common_clock_wraps() {
        let now = Instant::now();
        let mut munger = RtpMunger::new(VIDEO, 1000);
        let first = u64::from(u32::MAX) - 100;
        munger.switch_source(5, first, None, now);
        munger.translate(5, first, now).unwrap();
        munger.switch_source(9, 7, Some(2_899), after(now, 50));
        assert_eq!(munger.translate(9, 7, after(now, 50)).unwrap().time, 2_899);
    }

    #[test]
    fn what_is_left_out_leaves_no_gap() {
        let now = Instant::now();
        let mut munger = begun(now);
        munger.drop_packet(70_001);
        munger.drop_packet(70_003);
        assert_eq!(seq(&mut munger, 70_004, now), Some(1002));
        assert_eq!(seq(&mut munger, 70_002, now), Some(1001));
        munger.drop_packet(70_002);
        assert_eq!(seq(&mut munger, 70_005, now), Some(1003), "what came late was counted already");
    }

    #[test]
    fn a_clock_that_jumps_is_bridged_and_one_that_pauses_is_followed() {
        let now = Instant::now();
        let mut munger = begun(now);
        let time = |munger: &mut RtpMunger, seq, time, now| munger.translate(seq, time, now).unwrap().time;
        assert_eq!(time(&mut munger, 70_001, 5_000 + 90_000 * 60, after(now, 60_000)), 5_000 + 90_000 * 60);
        let jumped = time(&mut munger, 70_002, 5_000 + 90_000 * 6_000, after(now, 60_100));
        assert_eq!(jumped, 5_000 + 90_000 * 60 + 9_000);
        let back = time(&mut munger, 70_003, 7, after(now, 60_200));
        assert_eq!(back, 5_000 + 90_000 * 60 + 18_000);
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A packet so many after the highest, or before it.
        Packet(i64),
        Skip,
        Start(u64, Option<u32>),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (-3..4_i64).prop_map(Step::Packet),
            1 => Just(Step::Skip),
            1 => (0..1_000_000_u64, any::<Option<u32>>()).prop_map(|(first, on_last)| Step::Start(first, on_last)),
            1 => (0..5_000_u64).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice_and_time_never_runs_back(steps in steps()) {
            let mut now = Instant::now();
            let mut munger = RtpMunger::new(VIDEO, 1000);
            let (mut highest, mut source) = (100_000_u64, 0);
            munger.switch_source(highest, 0, None, now);
            let mut given = std::collections::HashMap::new();
            let mut newest: Option<(u64, u32)> = None;
            for step in steps {
                let packet = match step {
                    Step::Wait(millis) => { now = after(now, millis); continue }
                    Step::Skip => { highest += 1; munger.drop_packet(highest); continue }
                    Step::Start(first, on_last) => {
                        source += 1;
                        highest = first;
                        munger.switch_source(first, first * 3_000, on_last, now);
                        first
                    }
                    Step::Packet(by) => highest.saturating_add_signed(by),
                };
                highest = highest.max(packet);
                let Some(out) = munger.translate(packet, packet * 3_000, now) else { continue };
                let before = given.insert(out.seq, (source, packet));
                prop_assert!(before.is_none_or(|before| before == (source, packet)), "{before:?}");
                if newest.is_none_or(|(seq, _)| out.seq > seq) {
                    let ahead = newest.map_or(0, |(_, time)| out.time.wrapping_sub(time));
                    prop_assert!(ahead < u32::MAX / 2, "time ran back");
                    newest = Some((out.seq, out.time));
                }
            }
        }

        #[test]
        fn any_numbers_and_times_are_mapped(
            packets in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<u32>(), any::<Option<u32>>(), 0..3_000_u64), 1..100),
        ) {
            let mut now = Instant::now();
            let mut munger = RtpMunger::new(VIDEO, 1000);
            for (starts, seq, time, on_last, millis) in packets {
                now = after(now, millis);
                if starts {
                    munger.switch_source(seq.into(), time.into(), on_last, now);
                }
                munger.translate(seq.into(), time.into(), now);
                munger.drop_packet(u64::from(seq) + 1);
            }
        }

        #[test]
        fn a_time_that_always_runs_back_a_little_is_mapped(back in 1..90_000_u64) {
            let now = Instant::now();
            let mut munger = RtpMunger::new(VIDEO, 1000);
            munger.switch_source(0, 5, None, now);
            munger.translate(0, 5, now);
            let mut time = 1_000_000;
            munger.switch_source(100, time, None, now);
            for seq in 100..300 {
                time -= back.min(time);
                munger.translate(seq, time, now);
            }
            munger.switch_source(1, 2, None, now);
            prop_assert!(munger.translate(1, 2, now).is_some_and(|out| out.time < 100));
        }

        #[test]
        fn a_change_or_an_omission_costs_no_number(skips in proptest::collection::vec(any::<bool>(), 1..300)) {
            let now = Instant::now();
            let mut munger = RtpMunger::new(VIDEO, 1000);
            munger.switch_source(5, 0, None, now);
            let mut next = 1000;
            for (packet, is_skipped) in (5..).zip(skips) {
                if is_skipped && packet > 5 {
                    munger.drop_packet(packet);
                } else {
                    prop_assert_eq!(seq(&mut munger, packet, now), Some(next));
                    next += 1;
                }
            }
            munger.switch_source(77, 0, None, now);
            prop_assert_eq!(seq(&mut munger, 77, now), Some(next));
        }
    }
}

use std::time::Instant;

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// stub
pub(crate) struct Rewriter {
    clock_rate: u32,
    first: u64,
    last: Option<(u64, u64, Instant)>,
    seq_offset: i128,
    time_offset: i128,
    begun: u64,
}
pub(crate) struct Out {
    pub(crate) seq: u64,
    pub(crate) time: u32,
}
impl Rewriter {
    pub(crate) fn new(clock_rate: u32, first: u64) -> Self {
        Self { clock_rate, first, last: None, seq_offset: 0, time_offset: 0, begun: 0 }
    }
    pub(crate) fn start(&mut self, seq: u64, time: u64, now: Instant) {
        let (s, t) = match self.last {
            None => (self.first, time),
            Some((s, t, at)) => {
                let el = (now.saturating_duration_since(at).as_micros() * u128::from(self.clock_rate) / 1_000_000).max(1);
                (s + 1, t + el as u64)
            }
        };
        self.seq_offset = i128::from(s) - i128::from(seq);
        self.time_offset = i128::from(t) - i128::from(time);
        self.begun = seq;
    }
    pub(crate) fn skip(&mut self, _seq: u64) {}
    pub(crate) fn map(&mut self, seq: u64, time: u64, now: Instant) -> Option<Out> {
        if seq < self.begun {
            return None;
        }
        let s = (i128::from(seq) + self.seq_offset) as u64;
        let t = (i128::from(time) + self.time_offset) as u64;
        if self.last.is_none_or(|(last, _, _)| s > last) {
            self.last = Some((s, t, now));
        }
        Some(Out { seq: s, time: t as u32 })
    }
}
#[derive(Default)]
pub(crate) struct Vp8;
impl Vp8 {
    pub(crate) fn start(&mut self) {}
    pub(crate) fn map(&mut self, payload: &[u8]) -> Option<Vp8Patch> {
        let _ = Vp8Descriptor::parse(payload);
        None
    }
}

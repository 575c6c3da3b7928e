//! Retransmission of Opus to clients that report lost packets (NACK; RFC 4585, section 6.2.1). str0m retransmits over RTX only,
//! which Opus does not have: a packet is sent again as it was, with the same SSRC and sequence number. Its bytes must not differ,
//! because AES-GCM must never encrypt two packets under one nonce: sections with NACK have no header extension whose value depends
//! on the time of sending (see `sdp::rewrite`). As in livekit-server, tracks with redundancy (RED) go without for clients that read
//! it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::Pt;
use str0m::rtp::rtcp::NackEntry;
use str0m::rtp::{ExtensionValues, RtpWrite};

/// Maximum number of packets of a track that are kept for a subscriber.
const MAX_PACKETS: usize = 50;
/// Maximum age of a packet that is retransmitted. Receivers play later ones no more.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Maximum number of retransmissions of a packet, as in livekit-server.
const MAX_RETRANSMISSIONS: u8 = 3;
/// Minimum time between two retransmissions of a packet: clients repeat a NACK until the packet arrives.
const INTERVAL: Duration = Duration::from_millis(100);

/// The latest packets of a track that were sent to a subscriber.
#[derive(Debug, Default)]
pub(crate) struct RetransmissionBuffer {
    packets: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    packet: SentPacket,
    retransmissions: u8,
    last: Option<Instant>,
}

/// A packet as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct SentPacket {
    pub(crate) pt: Pt,
    pub(crate) seq: u64,
    pub(crate) time: u32,
    /// When it was sent first. Sender reports are based on it.
    pub(crate) at: Instant,
    pub(crate) marker: bool,
    pub(crate) audio_level: Option<i8>,
    pub(crate) voice_activity: Option<bool>,
    pub(crate) payload: Arc<[u8]>,
}

impl SentPacket {
    pub(crate) fn write(&self) -> RtpWrite {
        let (audio_level, voice_activity) = (self.audio_level, self.voice_activity);
        let extensions = ExtensionValues { audio_level, voice_activity, ..ExtensionValues::default() };
        RtpWrite::new(self.pt, self.seq.into(), self.time, self.at, Arc::clone(&self.payload))
            .marker(self.marker)
            .ext_vals(extensions)
    }
}

impl RetransmissionBuffer {
    pub(crate) fn push(&mut self, packet: SentPacket) {
        if self.packets.len() == MAX_PACKETS {
            self.packets.pop_front();
        }
        self.packets.push_back(Entry { packet, retransmissions: 0, last: None });
    }

    /// The reported packets that are due for retransmission.
    pub(crate) fn take(&mut self, nack: &[NackEntry], now: Instant) -> Vec<SentPacket> {
        let is_due = |entry: &Entry| {
            let is_within = |then, time| now.saturating_duration_since(then) < time;
            nack.iter().any(|lost| contains(*lost, entry.packet.seq))
                && is_within(entry.packet.at, MAX_AGE)
                && entry.retransmissions < MAX_RETRANSMISSIONS
                && !entry.last.is_some_and(|last| is_within(last, INTERVAL))
        };
        let due = self.packets.iter_mut().filter(|entry| is_due(entry)).map(|entry| {
            entry.retransmissions += 1;
            entry.last = Some(now);
            entry.packet.clone()
        });
        due.collect()
    }
}

/// Whether a NACK entry reports a sequence number: it has one number, and a bit for each of the 16 after it.
fn contains(entry: NackEntry, seq: u64) -> bool {
    let low = u16::try_from(seq & u64::from(u16::MAX)).unwrap_or_default();
    match low.wrapping_sub(entry.pid) {
        0 => true,
        after @ 1..=16 => (entry.blp >> (after - 1)) & 1 == 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(seq: u64, at: Instant) -> SentPacket {
        let payload = Arc::from(seq.to_be_bytes());
        SentPacket { pt: 111.into(), seq, time: 0, at, marker: false, audio_level: None, voice_activity: None, payload }
    }

    fn numbers(packets: &[SentPacket]) -> Vec<u64> {
        packets.iter().map(|packet| packet.seq).collect()
    }

    #[test]
    fn retransmits_the_packets_of_the_bit_mask() {
        let now = Instant::now();
        let mut buffer = RetransmissionBuffer::default();
        (65_530..65_550).for_each(|seq| buffer.push(sent(seq, now)));
        let entry = NackEntry { pid: 65_534, blp: 0b1000_0000_0000_0101 };
        assert_eq!(numbers(&buffer.take(&[entry], now)), [65_534, 65_535, 65_537], "65,550 was not sent");
        let entry = NackEntry { pid: 2, blp: 0 };
        assert_eq!(numbers(&buffer.take(&[entry, entry], now)), [65_538], "after the overflow of the number");
    }

    #[test]
    fn retransmits_a_packet_three_times_and_once_per_interval() {
        let mut now = Instant::now();
        let mut buffer = RetransmissionBuffer::default();
        buffer.push(sent(7, now));
        let nack = [NackEntry { pid: 7, blp: 0 }];
        for _ in 0..MAX_RETRANSMISSIONS {
            assert_eq!(numbers(&buffer.take(&nack, now)), [7]);
            assert!(buffer.take(&nack, now + INTERVAL / 2).is_empty());
            now += INTERVAL;
        }
        assert!(buffer.take(&nack, now).is_empty());
    }

    #[test]
    fn retransmits_the_latest_packets_only() {
        let now = Instant::now();
        let mut buffer = RetransmissionBuffer::default();
        (1..=u64::try_from(MAX_PACKETS).unwrap() + 1).for_each(|seq| buffer.push(sent(seq, now)));
        let nack = [NackEntry { pid: 1, blp: 1 }];
        assert_eq!(numbers(&buffer.take(&nack, now)), [2]);
        assert!(buffer.take(&nack, now + MAX_AGE).is_empty());
    }
}

//! A limit for the number of sources (SSRCs) that a client sends. str0m creates a stream for each new SSRC before it authenticates
//! the packet, and searches all streams for each further one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use str0m::rtp::Ssrc;

/// Maximum number of active sources of a client. Packets from further ones are dropped. 64 tracks with three layers and RTX have
/// 384.
pub(crate) const MAX_SSRCS: usize = 512;
/// Time without packets after which a source no longer counts.
const SSRC_TIMEOUT: Duration = Duration::from_secs(30);

/// The active sources of a client.
#[derive(Debug, Default)]
pub(crate) struct SsrcLimiter {
    seen: HashMap<Ssrc, Instant>,
}

impl SsrcLimiter {
    /// Whether to process a datagram: always, unless it is RTP from a source past the limit.
    pub(crate) fn admits(&mut self, datagram: &[u8], now: Instant) -> bool {
        let Some(ssrc) = ssrc_of(datagram) else { return true };
        if let Some(seen) = self.seen.get_mut(&ssrc) {
            *seen = now;
            return true;
        }
        if self.seen.len() >= MAX_SSRCS {
            self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < SSRC_TIMEOUT);
        }
        let is_admitted = self.seen.len() < MAX_SSRCS;
        if is_admitted {
            self.seen.insert(ssrc, now);
        }
        is_admitted
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Ssrc> {
        self.seen.keys().copied()
    }
}

/// Whether a datagram is RTP.
pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    ssrc_of(datagram).is_some()
}

/// The SSRC of an RTP packet; `None` for other datagrams, by RFC 7983 and for RTCP RFC 5761.
fn ssrc_of(datagram: &[u8]) -> Option<Ssrc> {
    let &[first, second, _, _, _, _, _, _, a, b, c, d, ..] = datagram else { return None };
    let is_rtp = (128..192).contains(&first) && !(192..224).contains(&second);
    is_rtp.then(|| u32::from_be_bytes([a, b, c, d]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: usize) -> [u8; 12] {
        let [a, b, c, d] = u32::try_from(ssrc).unwrap().to_be_bytes();
        [0x80, 96, 0, 1, 0, 0, 0, 1, a, b, c, d]
    }

    #[test]
    fn drops_packets_of_sources_past_the_maximum_until_others_have_ended() {
        let (mut sources, now) = (SsrcLimiter::default(), Instant::now());
        assert!((0..MAX_SSRCS).all(|ssrc| sources.admits(&packet(ssrc), now)));
        let later = now + SSRC_TIMEOUT / 2;
        assert!(!sources.admits(&packet(MAX_SSRCS), later));
        assert!(sources.admits(&packet(7), later));
        let last = now + SSRC_TIMEOUT;
        assert!(sources.admits(&packet(MAX_SSRCS), last));
        assert!(sources.admits(&packet(7), last));
        assert_eq!(sources.iter().count(), 2);
    }

    #[test]
    fn admits_all_datagrams_other_than_rtp() {
        let (mut sources, now) = (SsrcLimiter::default(), Instant::now());
        for ssrc in 0..2 * MAX_SSRCS {
            let mut rtcp = packet(ssrc);
            rtcp[1] = 200;
            let mut stun = packet(ssrc);
            stun[0] = 0;
            assert!(sources.admits(&rtcp, now) && sources.admits(&stun, now) && sources.admits(&stun[..3], now));
        }
        assert_eq!(sources.iter().count(), 0);
    }
}

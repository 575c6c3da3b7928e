//! The sources (SSRCs) of the packets that a peer connection receives, and the streams that str0m has for them.

use std::collections::HashMap;
use std::time::Instant;

use str0m::Rtc;
use str0m::media::{Mid, Rid, Rids};
use str0m::rtp::Ssrc;

use crate::net::sdp::MediaSection;
use crate::net::ssrcs::{MAX_SSRCS, SsrcLimiter};

#[derive(Debug, Default)]
pub(crate) struct Sources {
    limiter: SsrcLimiter,
    /// The section and layer of each source.
    streams: HashMap<Ssrc, (Mid, Option<Rid>)>,
    /// The sources that the client declared for its sections.
    declared: HashMap<Mid, Vec<Ssrc>>,
}

impl Sources {
    /// As [`SsrcLimiter::admits`].
    pub(crate) fn admits(&mut self, datagram: &[u8], now: Instant) -> bool {
        self.limiter.admits(datagram, now)
    }

    /// The section and layer that a source belongs to.
    pub(crate) fn stream(&mut self, rtc: &mut Rtc, ssrc: Ssrc) -> Option<(Mid, Option<Rid>)> {
        if let Some(known) = self.streams.get(&ssrc) {
            return Some(*known);
        }
        let found = rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()))?;
        if self.streams.len() >= MAX_SSRCS {
            self.streams.clear();
        }
        self.streams.insert(ssrc, found);
        Some(found)
    }

    /// Replaces the declared sources by those of a new description. Returns those that it no longer declares.
    pub(crate) fn declare(&mut self, sections: &[MediaSection]) -> Vec<Ssrc> {
        let declared: HashMap<Mid, Vec<Ssrc>> =
            sections.iter().map(|section| (section.mid, section.sources.clone())).collect();
        let before = std::mem::replace(&mut self.declared, declared);
        let is_declared = |mid: &Mid, ssrc: &Ssrc| self.declared.get(mid).is_some_and(|sources| sources.contains(ssrc));
        let retired = before.iter().flat_map(|(mid, sources)| sources.iter().map(move |ssrc| (mid, ssrc)));
        let retired: Vec<Ssrc> = retired.filter(|(mid, ssrc)| !is_declared(mid, ssrc)).map(|(_, ssrc)| *ssrc).collect();
        for ssrc in &retired {
            self.streams.remove(ssrc);
        }
        retired
    }

    /// Removes the streams of undeclared layers. str0m creates one for any rid while a section declares none.
    pub(crate) fn remove_undeclared_layers(&mut self, rtc: &mut Rtc) {
        for ssrc in self.limiter.iter() {
            let stream = rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()));
            let Some((mid, Some(_))) = stream else { continue };
            let is_declared = rtc.media(mid).is_some_and(|media| matches!(media.rids_rx(), Rids::Specific(_)));
            if !is_declared {
                self.streams.remove(&ssrc);
                rtc.direct_api().remove_stream_rx(ssrc);
            }
        }
    }
}

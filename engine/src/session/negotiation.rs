//! State of a participant's negotiation: sections, and offers without an answer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use str0m::change::SdpPendingOffer;
use str0m::media::{MediaKind, Mid};

use crate::net::sdp::{self, MediaSection};
use crate::session::client_configuration::SectionReuse;
use crate::session::subscription::Subscription;
use crate::token_bucket::TokenBucket;

/// Time after which a client that was requested to offer is requested again: the connection timeout of LiveKit's clients. A
/// shorter time would put more load on clients that are slow already.
const OFFER_RETRY: Duration = Duration::from_secs(15);
/// Maximum time for the answer to an offer; past it, the client has to rejoin, because it could be sent no further tracks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Cost of one description, and of each of its sections, for the rate limit of a participant's descriptions.
const DESCRIPTION_COST: Duration = Duration::from_millis(10);
const SECTION_COST: Duration = Duration::from_millis(2);
/// Maximum cost of descriptions at once; past it, offers wait for the next tick. Of a client's waiting offers, only the last one
/// is answered.
const DESCRIPTION_BURST: Duration = Duration::from_millis(1200);

/// Maximum number of sections of one kind in a request for more sections; further ones are requested afterwards.
const MAX_REQUESTED_SECTIONS: usize = 16;
/// Maximum number of sections that a client is sent tracks on; past it, further tracks wait until others end.
pub(crate) const MAX_RECEIVED_SECTIONS: usize = 400;
/// Maximum number of unused sections in a client's offer; past it, the answer rejects further ones, so that the client replaces
/// them by its next tracks (RFC 8829, section 5.2.2).
const MAX_UNUSED_SECTIONS: usize = 8;

#[derive(Default)]
pub(crate) struct Negotiation {
    /// The support of the client for unused sections.
    pub(crate) reuse: SectionReuse,
    /// Sections for new tracks: the client knows that they are inactive. The client has offered them if there is one connection;
    /// the server, if there are two.
    pub(crate) free: Vec<(Mid, MediaKind)>,
    /// With one connection, the sections that the last answer has announced tracks on. After its track has ended, a section is
    /// free once an answer has shown it as inactive, because the client reports a new track only then.
    active: HashSet<Mid>,
    /// The same for the previous answer, which may be the last one that the client has received.
    previously_active: HashSet<Mid>,
    /// Number of sections for outgoing tracks in the last offer, used or free; `None` before the first offer.
    offered: Option<MediaCounts>,
    pub(crate) section_request: Option<SectionRequest>,
    /// Whether a subscription has ended that the client still has a section for.
    pub(crate) needs_renegotiation: bool,
    /// The server's offer, until it is answered.
    pub(crate) pending: Option<PendingOffer>,
    pub(crate) offer_id: u32,
    /// With two connections, the sections of ended tracks, until an offer shows them as inactive.
    pub(crate) stopped: Vec<(Mid, MediaKind)>,
    pub(crate) offer_data_channels: bool,
    pub(crate) ice_restart: bool,
    /// Rate limit of descriptions; `None` before the first.
    budget: Option<TokenBucket>,
    /// The client's last offer, while it is delayed by the rate limit.
    pub(crate) waiting: Option<proto::SessionDescription>,
}

/// An offer of the server that is not answered yet.
pub(crate) struct PendingOffer {
    pub(crate) offer: SdpPendingOffer,
    pub(crate) text: String,
    pub(crate) sent: Instant,
    /// Sections that the offer shows as inactive. They are free once it is answered.
    pub(crate) stopped: Vec<(Mid, MediaKind)>,
}

/// Numbers of sections by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MediaCounts {
    pub(crate) audio: usize,
    pub(crate) video: usize,
}

impl MediaCounts {
    /// Limits both numbers.
    fn at_most(self, max: usize) -> Self {
        Self { audio: self.audio.min(max), video: self.video.min(max) }
    }

    pub(crate) fn count(count: impl Fn(MediaKind) -> usize) -> Self {
        Self { audio: count(MediaKind::Audio), video: count(MediaKind::Video) }
    }

    fn less(self, other: Self) -> Self {
        Self { audio: self.audio.saturating_sub(other.audio), video: self.video.saturating_sub(other.video) }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// A request for more sections that the client has not fulfilled yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionRequest {
    at: Instant,
    /// The requested sections; none if any offer will do.
    sections: MediaCounts,
}

impl Negotiation {
    pub(crate) fn new(reuse: SectionReuse) -> Self {
        Self { reuse, ..Self::default() }
    }

    /// Whether the rate limit admits a description with that many sections.
    pub(crate) fn admits(&mut self, sections: usize, now: Instant) -> bool {
        let sections = u32::try_from(sections.min(sdp::MAX_SECTIONS)).unwrap_or_default();
        let cost = DESCRIPTION_COST + SECTION_COST * sections;
        let budget = self.budget.get_or_insert_with(|| TokenBucket::new(DESCRIPTION_BURST, now));
        let is_admitted = budget.has(cost, now);
        if is_admitted {
            budget.take(cost, now);
        }
        is_admitted
    }

    /// Records a client's offer. An offer that crosses the request for more sections lacks them; they stay requested.
    pub(crate) fn on_client_offer(&mut self, sections: &[MediaSection]) {
        let placeholders = || sections.iter().filter(|section| section.is_placeholder());
        let offered = MediaCounts::count(|kind| placeholders().filter(|section| section.kind == Some(kind)).count());
        let added = offered.less(self.offered.unwrap_or_default());
        self.offered = Some(offered);
        self.needs_renegotiation = false;
        let due = self.section_request.map(|section_request| SectionRequest {
            sections: section_request.sections.less(added),
            ..section_request
        });
        self.section_request = due.filter(|section_request| !section_request.sections.is_none());
        let free = placeholders().filter(|section| !self.active.contains(&section.mid));
        self.free = free.filter_map(|section| Some((section.mid, section.kind?))).collect();
    }

    /// Takes a free section for a track of that kind.
    pub(crate) fn take_free(&mut self, kind: MediaKind) -> Option<Mid> {
        let index = self.free.iter().position(|(_, free)| *free == kind)?;
        Some(self.free.swap_remove(index).0)
    }

    /// Records the sections that an answer announces tracks on. The client's other sections are free for its next offer.
    pub(crate) fn record_answer(&mut self, sections: &[MediaSection], mut active: HashSet<Mid>) {
        if !self.reuse.receives {
            active.extend(&self.active);
        }
        let ended = sections.iter().filter(|section| {
            section.is_placeholder() && self.active.contains(&section.mid) && !active.contains(&section.mid)
        });
        self.free.extend(ended.filter_map(|section| Some((section.mid, section.kind?))));
        self.previously_active = std::mem::replace(&mut self.active, active);
    }

    /// Handles a resume, at which the last answer may be lost: its inactive sections are shown as inactive once more.
    pub(crate) fn forget_answer(&mut self) {
        self.active.extend(&self.previously_active);
        self.free.retain(|(mid, _)| !self.active.contains(mid));
    }

    /// The sections of an offer to reject: unused ones past the maximum. Never the first one, whose transport is shared by all
    /// others.
    pub(crate) fn sections_to_reject(&self, sections: &[MediaSection]) -> Vec<Mid> {
        let unused = sections.iter().skip(1).filter(|section| section.is_unused()).map(|section| section.mid);
        if self.reuse.recycles { unused.skip(MAX_UNUSED_SECTIONS).collect() } else { Vec::new() }
    }

    /// Whether an offer has been unanswered for [`ANSWER_TIMEOUT`].
    pub(crate) fn is_unanswered(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(|pending| now.saturating_duration_since(pending.sent) >= ANSWER_TIMEOUT)
    }

    /// Whether there is something to offer.
    pub(crate) fn needs_offer(&self, subscriptions: &[Subscription]) -> bool {
        let has_changes = self.offer_data_channels || self.ice_restart || !self.stopped.is_empty();
        let sent = subscriptions.iter().filter(|subscription| subscription.mid.is_some()).count();
        let is_full = sent + self.free.len() >= MAX_RECEIVED_SECTIONS;
        let fits =
            |subscription: &Subscription| !is_full || self.free.iter().any(|(_, kind)| *kind == subscription.kind());
        has_changes || subscriptions.iter().any(|subscription| subscription.mid.is_none() && fits(subscription))
    }

    /// Excludes a stall of the media thread from the answer timeout.
    pub(crate) fn discount_stall(&mut self, later: impl Fn(Instant) -> Instant) {
        if let Some(pending) = &mut self.pending {
            pending.sent = later(pending.sent);
        }
    }

    /// Sections to request for `unplaced` tracks: `Some` of zero asks for a plain re-offer, `None` asks nothing.
    pub(crate) fn sections_to_request(&mut self, unplaced: MediaCounts, now: Instant) -> Option<MediaCounts> {
        // The first offer comes without a request.
        self.offered?;
        if unplaced.is_none() && !self.needs_renegotiation {
            return None;
        }
        let free = MediaCounts::count(|kind| self.free.iter().filter(|(_, free)| *free == kind).count());
        let due = self.section_request.map(|section_request| section_request.sections).unwrap_or_default();
        let offered = self.offered.map_or(0, |offered| offered.audio + offered.video);
        let room = MAX_RECEIVED_SECTIONS.saturating_sub(offered + due.audio + due.video) / 2;
        let missing = unplaced.less(free).at_most(MAX_REQUESTED_SECTIONS).less(due).at_most(room);
        let fits = unplaced.less(free) != unplaced;
        if !self.needs_renegotiation && missing.is_none() && due.is_none() && !fits {
            // Another offer would change nothing.
            return None;
        }
        let is_asked = self
            .section_request
            .is_some_and(|section_request| now.saturating_duration_since(section_request.at) < OFFER_RETRY);
        if is_asked && missing.is_none() {
            return None;
        }
        let sections = MediaCounts { audio: due.audio + missing.audio, video: due.video + missing.video };
        self.section_request = Some(SectionRequest { at: now, sections });
        Some(missing)
    }
}

#[cfg(test)]
mod tests {
    use str0m::media::Direction;

    use super::*;

    const AUDIO: MediaCounts = MediaCounts { audio: 1, video: 0 };
    const VIDEO: MediaCounts = MediaCounts { audio: 0, video: 1 };
    const BOTH: MediaCounts = MediaCounts { audio: 1, video: 1 };
    const NONE: MediaCounts = MediaCounts { audio: 0, video: 0 };

    /// A negotiation whose client has offered that many free sections.
    fn offered(sections: MediaCounts) -> Negotiation {
        let mut negotiation = Negotiation::default();
        offer(&mut negotiation, sections);
        negotiation
    }

    /// Sections for outgoing tracks.
    fn sections(sections: MediaCounts) -> Vec<MediaSection> {
        let section = |kind: MediaKind, index: usize| MediaSection {
            mid: Mid::from(format!("{kind:?}{index}").as_str()),
            kind: Some(kind),
            direction: Direction::RecvOnly,
            track: None,
            is_rejected: false,
            rids: Vec::new(),
            sources: Vec::new(),
        };
        let audio = (0..sections.audio).map(|index| section(MediaKind::Audio, index));
        let video = (0..sections.video).map(|index| section(MediaKind::Video, index));
        audio.chain(video).collect()
    }

    fn offer(negotiation: &mut Negotiation, offered: MediaCounts) {
        negotiation.on_client_offer(&sections(offered));
    }

    #[test]
    fn an_offer_is_unanswered_after_the_timeout() {
        let (mut negotiation, now) = (Negotiation::default(), Instant::now());
        assert!(!negotiation.is_unanswered(now + ANSWER_TIMEOUT), "without an offer there is no answer");
        let mut rtc = str0m::Rtc::builder().build(now);
        let mut changes = rtc.sdp_api();
        changes.add_channel("_reliable".to_owned());
        let (text, offer) = changes.apply().unwrap();
        negotiation.pending = Some(PendingOffer { offer, text: text.to_sdp_string(), sent: now, stopped: Vec::new() });
        assert!(!negotiation.is_unanswered(now));
        assert!(negotiation.is_unanswered(now + ANSWER_TIMEOUT));
    }

    #[test]
    fn requests_nothing_before_the_first_offer() {
        assert_eq!(Negotiation::default().sections_to_request(BOTH, Instant::now()), None);
    }

    #[test]
    fn requests_only_sections_that_are_not_requested_yet() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.sections_to_request(AUDIO, now), Some(AUDIO));
        assert_eq!(negotiation.sections_to_request(AUDIO, now), None);
        assert_eq!(negotiation.sections_to_request(BOTH, now), Some(VIDEO), "more audio makes up for no video");
        assert_eq!(negotiation.sections_to_request(BOTH, now), None);
    }

    #[test]
    fn requests_an_offer_for_each_track_that_finds_a_free_section() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        assert_eq!(negotiation.sections_to_request(AUDIO, now), Some(NONE));
        assert_eq!(negotiation.sections_to_request(AUDIO, now), None);
        offer(&mut negotiation, BOTH);
        assert_eq!(negotiation.sections_to_request(VIDEO, now), Some(NONE));
    }

    #[test]
    fn requests_an_offer_for_each_ended_track() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        for _ in 0..2 {
            negotiation.needs_renegotiation = true;
            assert_eq!(negotiation.sections_to_request(NONE, now), Some(NONE));
            offer(&mut negotiation, BOTH);
            assert_eq!(negotiation.sections_to_request(NONE, now), None);
        }
    }

    #[test]
    fn an_offer_that_crosses_a_request_leaves_it_pending() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.sections_to_request(BOTH, now), Some(BOTH));
        offer(&mut negotiation, NONE);
        assert_eq!(negotiation.sections_to_request(BOTH, now), None);
        offer(&mut negotiation, VIDEO);
        assert_eq!(negotiation.sections_to_request(BOTH, now), None);
        offer(&mut negotiation, BOTH);
        assert_eq!(negotiation.section_request.map(|section_request| section_request.sections), None);
    }

    #[test]
    fn repeats_a_request_without_further_sections() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.sections_to_request(BOTH, now), Some(BOTH));
        assert_eq!(negotiation.sections_to_request(BOTH, now + OFFER_RETRY), Some(NONE));
        assert_eq!(negotiation.sections_to_request(BOTH, now + OFFER_RETRY), None);
    }

    fn mid(name: &str) -> Mid {
        Mid::from(name)
    }

    /// Answers an offer of one section, with or without a track on it.
    fn answer(negotiation: &mut Negotiation, is_active: bool) {
        offer(negotiation, AUDIO);
        let taken = if is_active { negotiation.take_free(MediaKind::Audio) } else { None };
        let active = negotiation.active.iter().copied().filter(|_| is_active).chain(taken).collect();
        negotiation.record_answer(&sections(AUDIO), active);
    }

    #[test]
    fn frees_a_section_after_an_answer_shows_it_inactive() {
        let mut negotiation = Negotiation::default();
        answer(&mut negotiation, true);
        assert!(negotiation.free.is_empty() && negotiation.active.contains(&mid("Audio0")));
        // The track has ended, but no answer has shown the section as inactive.
        offer(&mut negotiation, AUDIO);
        assert_eq!(negotiation.take_free(MediaKind::Audio), None);
        answer(&mut negotiation, false);
        assert_eq!(negotiation.take_free(MediaKind::Video), None);
        assert_eq!(negotiation.take_free(MediaKind::Audio), Some(mid("Audio0")));
    }

    #[test]
    fn frees_no_section_if_the_answer_may_be_lost() {
        let mut negotiation = Negotiation::default();
        answer(&mut negotiation, true);
        answer(&mut negotiation, false);
        negotiation.forget_answer();
        assert!(negotiation.free.is_empty());
        offer(&mut negotiation, AUDIO);
        assert_eq!(negotiation.take_free(MediaKind::Audio), None);
        answer(&mut negotiation, false);
        assert_eq!(negotiation.take_free(MediaKind::Audio), Some(mid("Audio0")));
    }

    #[test]
    fn reuses_no_section_for_clients_that_cannot_reuse_them() {
        let mut negotiation = Negotiation::new(SectionReuse { receives: false, recycles: true });
        answer(&mut negotiation, true);
        for _ in 0..3 {
            answer(&mut negotiation, false);
            assert_eq!(negotiation.take_free(MediaKind::Audio), None);
        }
    }

    #[test]
    fn rejects_unused_sections_past_the_maximum_but_never_the_first() {
        let unused: Vec<_> = sections(MediaCounts { audio: 2 * MAX_UNUSED_SECTIONS, video: 0 })
            .into_iter()
            .map(|section| MediaSection { direction: Direction::Inactive, ..section })
            .collect();
        let recycling = Negotiation::new(SectionReuse { receives: true, recycles: true });
        let rejected = recycling.sections_to_reject(&unused);
        assert_eq!(rejected.len(), MAX_UNUSED_SECTIONS - 1);
        assert!(!rejected.contains(&unused[0].mid));
        assert!(recycling.sections_to_reject(&sections(BOTH)).is_empty());
        assert!(Negotiation::default().sections_to_reject(&unused).is_empty());
    }

    #[test]
    fn requests_no_sections_past_the_maximum() {
        let mut negotiation = offered(MediaCounts { audio: MAX_RECEIVED_SECTIONS, video: 0 });
        negotiation.free.clear();
        assert_eq!(negotiation.sections_to_request(AUDIO, Instant::now()), None);
        assert_eq!(negotiation.sections_to_request(VIDEO, Instant::now()), None);
    }
}

//! What is known of the sections of a participant's connections and of the descriptions under way.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use str0m::change::SdpPendingOffer;
use str0m::media::{MediaKind, Mid};

use crate::net::sdp::{self, MediaSection};
use crate::session::client_configuration::SectionReuse;
use crate::session::subscription::Subscription;
use crate::token_bucket::TokenBucket;

/// A client that has been asked to offer is asked again after that time: as long as LiveKit's clients wait for a
/// connection. Sooner, those that are slow because they have much to do are given more to do.
const OFFER_RETRY: Duration = Duration::from_secs(15);
/// A client that does not answer our offer for so long has to join anew: it would never be sent anything new.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the media thread's time that a participant's descriptions may take: one of them, and each of its sections, counts
/// for so long,
const DESCRIPTION_COST: Duration = Duration::from_millis(10);
const SECTION_COST: Duration = Duration::from_millis(2);
/// and so much may be used up at once. Further offers wait for the next tick; of those that a client sends meanwhile, the last one
/// counts.
const DESCRIPTION_BURST: Duration = Duration::from_millis(1200);

/// Maximum number of sections of a kind that a client is asked to add in one offer; it is asked for further ones afterwards.
const MAX_REQUESTED_SECTIONS: usize = 16;
/// Maximum number of sections that a client is sent tracks on. Further tracks wait until others have ended.
pub(crate) const MAX_RECEIVED_SECTIONS: usize = 400;
/// Maximum number of sections that a client offers and no longer uses. The answer rejects further ones, so that the client puts its
/// next tracks in their place (RFC 8829, section 5.2.2).
const MAX_UNUSED_SECTIONS: usize = 8;

#[derive(Default)]
pub(crate) struct Negotiation {
    /// What the client can do with sections that are no longer used.
    pub(crate) reuse: SectionReuse,
    /// Sections that a track may be sent on: the client knows that they are inactive. With one connection they are the client's,
    /// with two they are ours.
    pub(crate) free: Vec<(Mid, MediaKind)>,
    /// With one connection, the sections that the last answer has announced tracks on. After its track has ended, a section is free
    /// once an answer has shown it inactive: the client reports a new track only where the section was inactive in between.
    active: HashSet<Mid>,
    /// The same for the answer before, which may be the last one that the client has received.
    previously_active: HashSet<Mid>,
    /// How many sections of a kind the last offer had for what we send, used or free; none before the first offer.
    offered: Option<MediaCounts>,
    pub(crate) section_request: Option<SectionRequest>,
    /// Something that was sent is not any more, which the client has to learn.
    pub(crate) needs_renegotiation: bool,
    /// Our own offer, until it is answered.
    pub(crate) pending: Option<PendingOffer>,
    pub(crate) offer_id: u32,
    /// With two connections, the sections whose tracks have ended, until an offer shows them inactive.
    pub(crate) stopped: Vec<(Mid, MediaKind)>,
    pub(crate) offer_data_channels: bool,
    pub(crate) ice_restart: bool,
    /// What its descriptions may cost; `None` before the first.
    budget: Option<TokenBucket>,
    /// The client's last offer, while it waits.
    pub(crate) waiting: Option<proto::SessionDescription>,
}

/// An offer that is not answered yet.
pub(crate) struct PendingOffer {
    pub(crate) offer: SdpPendingOffer,
    pub(crate) text: String,
    pub(crate) sent: Instant,
    /// Sections that it shows inactive. They are free once it is answered.
    pub(crate) stopped: Vec<(Mid, MediaKind)>,
}

/// Numbers of sections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MediaCounts {
    pub(crate) audio: usize,
    pub(crate) video: usize,
}

impl MediaCounts {
    /// Not more than that of either kind.
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

/// What a client was asked for and has not offered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionRequest {
    at: Instant,
    /// The sections that it is to add; none where any offer will do.
    sections: MediaCounts,
}

impl Negotiation {
    pub(crate) fn new(reuse: SectionReuse) -> Self {
        Self { reuse, ..Self::default() }
    }

    /// Whether to deal with a description of so many sections now.
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

    /// Notes a client's offer. One that was under way when the client was asked for more has less than that.
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

    /// Takes a section to send a track of that kind on.
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

    /// After a resume the last answer may be lost. What it has shown inactive is shown inactive once more.
    pub(crate) fn forget_answer(&mut self) {
        self.active.extend(&self.previously_active);
        self.free.retain(|(mid, _)| !self.active.contains(mid));
    }

    /// The sections of an offer to reject: those that the client sends nothing on, past the maximum. Never the first one, whose
    /// transport carries all others.
    pub(crate) fn sections_to_reject(&self, sections: &[MediaSection]) -> Vec<Mid> {
        let unused = sections.iter().skip(1).filter(|section| section.is_unused()).map(|section| section.mid);
        if self.reuse.recycles { unused.skip(MAX_UNUSED_SECTIONS).collect() } else { Vec::new() }
    }

    /// Whether the client has left our offer unanswered for too long.
    pub(crate) fn is_unanswered(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(|pending| now.saturating_duration_since(pending.sent) >= ANSWER_TIMEOUT)
    }

    /// Whether there is something to offer.
    pub(crate) fn needs_offer(&self, subscriptions: &[Subscription]) -> bool {
        let has_changes = self.offer_data_channels || self.ice_restart || !self.stopped.is_empty();
        let sent = subscriptions.iter().filter(|each| each.mid.is_some()).count();
        let is_full = sent + self.free.len() >= MAX_RECEIVED_SECTIONS;
        let fits = |each: &Subscription| !is_full || self.free.iter().any(|(_, kind)| *kind == each.kind());
        has_changes || subscriptions.iter().any(|each| each.mid.is_none() && fits(each))
    }

    /// Gives the client as much more time to answer as its answer could not be read.
    pub(crate) fn discount_stall(&mut self, later: impl Fn(Instant) -> Instant) {
        if let Some(pending) = &mut self.pending {
            pending.sent = later(pending.sent);
        }
    }

    /// How many sections the client is to be asked to add, none of them where it is only to offer again; None where it
    /// need not be asked. `unplaced` are the tracks that have no section.
    pub(crate) fn sections_to_request(&mut self, unplaced: MediaCounts, now: Instant) -> Option<MediaCounts> {
        // Before the first offer there is nothing to be asked for: it comes in any case.
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
            // Another offer would bring nothing.
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

    /// A negotiation whose client has offered sections to be sent on, all of them free.
    fn offered(sections: MediaCounts) -> Negotiation {
        let mut negotiation = Negotiation::default();
        offer(&mut negotiation, sections);
        negotiation
    }

    /// Sections to be sent on.
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
    fn our_own_offer_is_unanswered_after_its_time() {
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
    fn before_its_first_offer_a_client_is_asked_for_nothing() {
        assert_eq!(Negotiation::default().sections_to_request(BOTH, Instant::now()), None);
    }

    #[test]
    fn a_client_is_asked_only_for_what_it_was_not_asked_for_yet() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.sections_to_request(AUDIO, now), Some(AUDIO));
        assert_eq!(negotiation.sections_to_request(AUDIO, now), None);
        assert_eq!(negotiation.sections_to_request(BOTH, now), Some(VIDEO), "more audio makes up for no video");
        assert_eq!(negotiation.sections_to_request(BOTH, now), None);
    }

    #[test]
    fn a_track_that_finds_a_free_section_is_offered_at_once_after_another_that_did() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        assert_eq!(negotiation.sections_to_request(AUDIO, now), Some(NONE));
        assert_eq!(negotiation.sections_to_request(AUDIO, now), None);
        offer(&mut negotiation, BOTH);
        assert_eq!(negotiation.sections_to_request(VIDEO, now), Some(NONE));
    }

    #[test]
    fn an_end_is_told_at_once_after_another() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        for _ in 0..2 {
            negotiation.needs_renegotiation = true;
            assert_eq!(negotiation.sections_to_request(NONE, now), Some(NONE));
            offer(&mut negotiation, BOTH);
            assert_eq!(negotiation.sections_to_request(NONE, now), None);
        }
    }

    #[test]
    fn an_offer_that_was_under_way_leaves_due_what_was_asked_for() {
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
    fn a_client_that_does_not_offer_is_asked_again_but_for_no_more_sections() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.sections_to_request(BOTH, now), Some(BOTH));
        assert_eq!(negotiation.sections_to_request(BOTH, now + OFFER_RETRY), Some(NONE));
        assert_eq!(negotiation.sections_to_request(BOTH, now + OFFER_RETRY), None);
    }

    fn mid(name: &str) -> Mid {
        Mid::from(name)
    }

    /// An answer to an offer of one section that announces a track on it, or none.
    fn answer(negotiation: &mut Negotiation, is_active: bool) {
        offer(negotiation, AUDIO);
        let taken = if is_active { negotiation.take_free(MediaKind::Audio) } else { None };
        let active = negotiation.active.iter().copied().filter(|_| is_active).chain(taken).collect();
        negotiation.record_answer(&sections(AUDIO), active);
    }

    #[test]
    fn a_section_is_free_again_after_an_answer_that_shows_it_inactive() {
        let mut negotiation = Negotiation::default();
        answer(&mut negotiation, true);
        assert!(negotiation.free.is_empty() && negotiation.active.contains(&mid("Audio0")));
        // Its track has ended, but the client does not know that yet.
        offer(&mut negotiation, AUDIO);
        assert_eq!(negotiation.take_free(MediaKind::Audio), None);
        answer(&mut negotiation, false);
        assert_eq!(negotiation.take_free(MediaKind::Video), None);
        assert_eq!(negotiation.take_free(MediaKind::Audio), Some(mid("Audio0")));
    }

    #[test]
    fn a_section_is_not_free_if_the_answer_that_shows_it_inactive_may_be_lost() {
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
    fn a_client_that_cannot_reuse_sections_is_sent_each_track_on_a_section_of_its_own() {
        let mut negotiation = Negotiation::new(SectionReuse { receives: false, recycles: true });
        answer(&mut negotiation, true);
        for _ in 0..3 {
            answer(&mut negotiation, false);
            assert_eq!(negotiation.take_free(MediaKind::Audio), None);
        }
    }

    #[test]
    fn sections_past_the_maximum_of_unused_ones_are_rejected_but_never_the_first() {
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
    fn a_client_that_is_sent_tracks_on_the_maximum_of_sections_is_asked_for_no_more() {
        let mut negotiation = offered(MediaCounts { audio: MAX_RECEIVED_SECTIONS, video: 0 });
        negotiation.free.clear();
        assert_eq!(negotiation.sections_to_request(AUDIO, Instant::now()), None);
        assert_eq!(negotiation.sections_to_request(VIDEO, Instant::now()), None);
    }
}

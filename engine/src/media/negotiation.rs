//! Which media goes on which section of a peer connection's session description.
//!
//! With one peer connection the client always offers. It leaves sections free for what we send; where they do not
//! suffice, or where something ends, it is asked to offer again. With two, we offer the second one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};

use super::PeerId;
use super::bucket::TokenBucket;
use super::client_configuration::SectionReuse;
use super::forwarding::Subscription;
use super::peer::Peer;
use super::room::{Context, Farewell, Room};
use super::sdp::{self, MAX_NEW_SECTIONS, Plan, Role, Section};
use super::transport::{Transport, add_stream, remove_stream};

/// A client that has been asked to offer is asked again after that time: as long as LiveKit's clients wait for a
/// connection. Sooner, those that are slow because they have much to do are given more to do.
const ASKED_AGAIN: Duration = Duration::from_secs(15);
/// A client that does not answer our offer for so long has to join anew: it would never be sent anything new.
const UNANSWERED: Duration = Duration::from_secs(30);
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
const MAX_RECEIVED_SECTIONS: usize = 400;
/// Maximum number of sections that a client offers and no longer uses. The answer rejects further ones, so that the client puts its
/// next tracks in their place (RFC 8829, section 5.2.2).
const MAX_UNUSED_SECTIONS: usize = 8;
/// Maximum number of sections of an offer in a join request; past it, the participant is not let in. LiveKit's clients offer seven.
const MAX_JOIN_SECTIONS: usize = 32;

#[derive(Default)]
pub(super) struct Negotiation {
    /// What the client can do with sections that are no longer used.
    reuse: SectionReuse,
    /// Sections that a track may be sent on: the client knows that they are inactive. With one connection they are the client's,
    /// with two they are ours.
    free: Vec<(Mid, MediaKind)>,
    /// With one connection, the sections that the last answer has announced tracks on. After its track has ended, a section is free
    /// once an answer has shown it inactive: the client reports a new track only where the section was inactive in between.
    active: HashSet<Mid>,
    /// The same for the answer before, which may be the last one that the client has received.
    previously_active: HashSet<Mid>,
    /// How many sections of a kind the last offer had for what we send, used or free; none before the first offer.
    offered: Option<PerKind>,
    asked: Option<Asked>,
    /// Something that was sent is not any more, which the client has to learn.
    is_stale: bool,
    /// Our own offer, until it is answered.
    pending: Option<Pending>,
    offer_id: u32,
    /// With two connections, the sections whose tracks have ended, until an offer shows them inactive.
    stopped: Vec<(Mid, MediaKind)>,
    wants_channels: bool,
    wants_restart: bool,
    /// What its descriptions may cost; `None` before the first.
    budget: Option<TokenBucket>,
    /// The client's last offer, while it waits.
    waiting: Option<proto::SessionDescription>,
}

/// An offer that is not answered yet.
struct Pending {
    offer: SdpPendingOffer,
    text: String,
    sent: Instant,
    /// Sections that it shows inactive. They are free once it is answered.
    stopped: Vec<(Mid, MediaKind)>,
}

/// Numbers of sections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PerKind {
    audio: usize,
    video: usize,
}

impl PerKind {
    /// Not more than that of either kind.
    fn at_most(self, max: usize) -> Self {
        Self { audio: self.audio.min(max), video: self.video.min(max) }
    }

    fn count(count: impl Fn(MediaKind) -> usize) -> Self {
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
struct Asked {
    at: Instant,
    /// The sections that it is to add; none where any offer will do.
    sections: PerKind,
}

impl Negotiation {
    pub(super) fn new(reuse: SectionReuse) -> Self {
        Self { reuse, ..Self::default() }
    }

    /// Whether to deal with a description of so many sections now.
    fn admits(&mut self, sections: usize, now: Instant) -> bool {
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
    fn note_offer(&mut self, sections: &[Section]) {
        let placeholders = || sections.iter().filter(|section| section.is_placeholder());
        let offered = PerKind::count(|kind| placeholders().filter(|section| section.kind == Some(kind)).count());
        let added = offered.less(self.offered.unwrap_or_default());
        self.offered = Some(offered);
        self.is_stale = false;
        let due = self.asked.map(|asked| Asked { sections: asked.sections.less(added), ..asked });
        self.asked = due.filter(|asked| !asked.sections.is_none());
        let free = placeholders().filter(|section| !self.active.contains(&section.mid));
        self.free = free.filter_map(|section| Some((section.mid, section.kind?))).collect();
    }

    /// Takes a section to send a track of that kind on.
    fn take_free(&mut self, kind: MediaKind) -> Option<Mid> {
        let index = self.free.iter().position(|(_, free)| *free == kind)?;
        Some(self.free.swap_remove(index).0)
    }

    /// Records the sections that an answer announces tracks on. The client's other sections are free for its next offer.
    fn note_answer(&mut self, sections: &[Section], mut active: HashSet<Mid>) {
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
    fn forget_answer(&mut self) {
        self.active.extend(&self.previously_active);
        self.free.retain(|(mid, _)| !self.active.contains(mid));
    }

    /// The sections of an offer to reject: those that the client sends nothing on, past the maximum. Never the first one, whose
    /// transport carries all others.
    fn sections_to_reject(&self, sections: &[Section]) -> Vec<Mid> {
        let unused = sections.iter().skip(1).filter(|section| section.is_unused()).map(|section| section.mid);
        if self.reuse.recycles { unused.skip(MAX_UNUSED_SECTIONS).collect() } else { Vec::new() }
    }

    /// Whether the client has left our offer unanswered for too long.
    pub(super) fn is_unanswered(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(|pending| now.saturating_duration_since(pending.sent) >= UNANSWERED)
    }

    /// Whether there is something to offer.
    fn has_news(&self, subscriptions: &[Subscription]) -> bool {
        let has_changes = self.wants_channels || self.wants_restart || !self.stopped.is_empty();
        let sent = subscriptions.iter().filter(|each| each.mid.is_some()).count();
        let is_full = sent + self.free.len() >= MAX_RECEIVED_SECTIONS;
        let fits = |each: &Subscription| !is_full || self.free.iter().any(|(_, kind)| *kind == each.kind);
        has_changes || subscriptions.iter().any(|each| each.mid.is_none() && fits(each))
    }

    /// Gives the client as much more time to answer as its answer could not be read.
    pub(super) fn discount_stall(&mut self, later: impl Fn(Instant) -> Instant) {
        if let Some(pending) = &mut self.pending {
            pending.sent = later(pending.sent);
        }
    }

    /// How many sections the client is to be asked to add, none of them where it is only to offer again; None where it
    /// need not be asked. `unplaced` are the tracks that have no section.
    fn ask(&mut self, unplaced: PerKind, now: Instant) -> Option<PerKind> {
        // Before the first offer there is nothing to be asked for: it comes in any case.
        self.offered?;
        if unplaced.is_none() && !self.is_stale {
            return None;
        }
        let free = PerKind::count(|kind| self.free.iter().filter(|(_, free)| *free == kind).count());
        let due = self.asked.map(|asked| asked.sections).unwrap_or_default();
        let offered = self.offered.map_or(0, |offered| offered.audio + offered.video);
        let room = MAX_RECEIVED_SECTIONS.saturating_sub(offered + due.audio + due.video) / 2;
        let missing = unplaced.less(free).at_most(MAX_REQUESTED_SECTIONS).less(due).at_most(room);
        let fits = unplaced.less(free) != unplaced;
        if !self.is_stale && missing.is_none() && due.is_none() && !fits {
            // Another offer would bring nothing.
            return None;
        }
        let is_asked = self.asked.is_some_and(|asked| now.saturating_duration_since(asked.at) < ASKED_AGAIN);
        if is_asked && missing.is_none() {
            return None;
        }
        let sections = PerKind { audio: due.audio + missing.audio, video: due.video + missing.video };
        self.asked = Some(Asked { at: now, sections });
        Some(missing)
    }
}

impl Peer {
    /// Drops those subscriptions that are no longer kept.
    pub(super) fn drop_subscriptions(&mut self, is_dropped: impl Fn(&Subscription) -> bool) {
        let is_single = self.subscriber.is_none();
        let negotiation = &mut self.negotiation;
        self.subscriptions.retain(|subscription| {
            let is_dropped = is_dropped(subscription);
            if let (true, Some(mid)) = (is_dropped, subscription.mid) {
                negotiation.is_stale |= is_single;
                if !is_single {
                    negotiation.stopped.push((mid, subscription.kind));
                }
            }
            !is_dropped
        });
    }

    /// The tracks by the sections that they are sent on.
    fn tracks_by_section(&self) -> HashMap<String, String> {
        let named = |each: &Subscription| Some((each.mid?.to_string(), each.track_sid.clone()));
        self.subscriptions.iter().filter_map(named).collect()
    }
}

impl Room {
    /// Answers a client's offer, unless it has offered so much lately that the offer has to wait.
    pub(super) fn take_offer(&mut self, context: &mut Context<'_>, id: PeerId, offer: proto::SessionDescription) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.negotiation.admits(sdp::count_sections(&offer.sdp), context.io.now) {
            peer.negotiation.waiting = None;
            self.answer_offer(context, id, &offer);
        } else {
            peer.negotiation.waiting = Some(offer);
        }
    }

    /// Answers the offer of a join request.
    pub(super) fn take_first_offer(&mut self, context: &mut Context<'_>, id: PeerId, offer: proto::SessionDescription) {
        if sdp::count_sections(&offer.sdp) > MAX_JOIN_SECTIONS {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
        } else {
            self.take_offer(context, id, offer);
        }
    }

    /// Answers an offer that has waited, if it is its time.
    pub(super) fn take_waiting_offer(&mut self, context: &mut Context<'_>, id: PeerId) {
        let waiting = self.peers.get_mut(&id).and_then(|peer| peer.negotiation.waiting.take());
        if let Some(offer) = waiting {
            self.take_offer(context, id, offer);
        }
    }

    fn answer_offer(&mut self, context: &mut Context<'_>, id: PeerId, offer: &proto::SessionDescription) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let reduced = peer.publisher.reduce(&offer.sdp).unwrap_or_default();
        let sections = sdp::sections(&reduced);
        // With two connections it is sent nothing on this one.
        let is_single = peer.subscriber.is_none();
        let placed = if is_single { peer.place_subscriptions(&sections) } else { Vec::new() };
        let rejected = peer.negotiation.sections_to_reject(&sections);
        let answer = SdpOffer::from_sdp_string(&reduced).ok().and_then(|offer| {
            let accepted = peer.publisher.drive(&mut context.io, |rtc| {
                for mid in placed {
                    remove_stream(rtc, mid);
                }
                let mut changes = rtc.sdp_api();
                for mid in rejected {
                    changes.stop_media(mid);
                }
                changes.accept_offer(offer)
            });
            accepted?.ok()
        });
        let Some(answer) = answer else {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        };
        peer.publisher.retire_sources(&mut context.io, &sections);
        peer.place_tracks(&sections);
        let plan = peer.plan(&sections);
        let tracks = if is_single { peer.tracks_by_section() } else { HashMap::new() };
        peer.send(Message::Answer(proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp: context.io.network.advertise(sdp::rewrite(&answer.to_sdp_string(), &plan)),
            id: offer.id,
            mid_to_track_id: tracks,
        }));
        let ended = peer.tracks.iter().filter(|track| track.is_over(&sections));
        let ended: Vec<String> = ended.map(|track| track.info.sid.clone()).collect();
        self.unpublish(context, id, &ended, false);
        self.publish(context, id);
        if is_single {
            self.begin(context, id);
        }
        self.negotiate(context, id);
    }

    /// Has the client learn what it is sent, if that has changed.
    pub(super) fn negotiate(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let fails = if peer.subscriber.is_some() {
            !peer.offer(context)
        } else {
            peer.ask_for_offer(context.io.now);
            false
        };
        if fails {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
        }
    }

    /// Takes the answer to our offer.
    pub(super) fn take_answer(&mut self, context: &mut Context<'_>, id: PeerId, answer: &proto::SessionDescription) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_due = answer.id == 0 || answer.id == peer.negotiation.offer_id;
        let Some(pending) = is_due.then(|| peer.negotiation.pending.take()).flatten() else { return };
        let subscriber = peer.subscriber.as_mut();
        let accepted = subscriber.and_then(|subscriber| {
            let answer = SdpAnswer::from_sdp_string(&subscriber.reduce(&answer.sdp)?).ok()?;
            Some((answer, subscriber))
        });
        let accepted = accepted.and_then(|(answer, subscriber)| {
            subscriber.drive(&mut context.io, |rtc| rtc.sdp_api().accept_answer(pending.offer, answer))?.ok()
        });
        if accepted.is_none() {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        }
        if let Some(subscriber) = peer.subscriber.as_ref().filter(|_| peer.negotiation.reuse.receives) {
            // A section that the client has rejected cannot be used again.
            let is_open = |mid: Mid| subscriber.rtc().media(mid).is_some_and(|media| !media.disabled());
            let stopped = pending.stopped.into_iter().filter(|(mid, _)| is_open(*mid));
            peer.negotiation.free.extend(stopped);
        }
        self.begin(context, id);
        self.negotiate(context, id);
    }

    /// Offers the data channels of the second peer connection.
    pub(super) fn offer_channels(&mut self, context: &mut Context<'_>, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.negotiation.wants_channels = true;
            self.negotiate(context, id);
        }
    }

    /// Has the connection that we offer find new ways to the client, which has changed its own.
    pub(super) fn restart_ice(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.subscriber.is_some() {
            // Where nothing was offered, there is nothing to restart.
            peer.negotiation.wants_restart = peer.negotiation.offer_id > 0;
            peer.offer_again(context.io.now);
        } else {
            peer.negotiation.asked = None;
            peer.negotiation.forget_answer();
        }
        self.negotiate(context, id);
    }
}

impl Peer {
    /// Finds out which of the client's sections its tracks are sent on.
    fn place_tracks(&mut self, sections: &[Section]) {
        let taken: HashSet<Mid> = self.tracks.iter().filter_map(|track| track.mid).collect();
        let unplaced: Vec<usize> = (0..self.tracks.len()).filter(|index| self.tracks[*index].mid.is_none()).collect();
        let pending: Vec<_> = unplaced.iter().map(|index| self.tracks[*index].pending()).collect();
        let placed = sdp::assign(&pending, sections, |mid| taken.contains(&mid));
        let has_redundant_audio = self.publisher.has_redundant_audio();
        for (index, mid) in unplaced.into_iter().zip(placed) {
            if let Some(mid) = mid {
                let rids = sections.iter().find(|section| section.mid == mid).map_or(&[][..], |section| &section.rids);
                self.tracks[index].place(mid, rids, has_redundant_audio);
            }
        }
    }

    /// Assigns free sections of an offer to subscriptions that have none. Returns those sections.
    fn place_subscriptions(&mut self, sections: &[Section]) -> Vec<Mid> {
        self.negotiation.note_offer(sections);
        let mut placed = Vec::new();
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.mid.is_none()) {
            subscription.mid = self.negotiation.take_free(subscription.kind);
            placed.extend(subscription.mid);
        }
        let active = self.subscriptions.iter().filter_map(|subscription| subscription.mid).collect();
        self.negotiation.note_answer(sections, active);
        placed
    }

    fn plan(&self, sections: &[Section]) -> Plan {
        let idle = sections.iter().filter(|section| section.is_placeholder()).map(|section| (section.mid, Role::Idle));
        let sent = self.subscriptions.iter().filter_map(|each| Some((each.mid?, each.role())));
        let received = self.tracks.iter().filter_map(|track| Some((track.mid?, track.role())));
        if self.subscriber.is_some() { received.collect() } else { idle.chain(sent).chain(received).collect() }
    }

    /// Asks the client to offer again, with more sections if they do not suffice.
    fn ask_for_offer(&mut self, now: Instant) {
        let unplaced = || self.subscriptions.iter().filter(|each| each.mid.is_none());
        let unplaced = PerKind::count(|kind| unplaced().filter(|each| each.kind == kind).count());
        if let Some(missing) = self.negotiation.ask(unplaced, now) {
            let number = |sections: usize| u32::try_from(sections).unwrap_or(u32::MAX);
            self.send(Message::MediaSectionsRequirement(proto::MediaSectionsRequirement {
                num_audios: number(missing.audio),
                num_videos: number(missing.video),
            }));
        }
    }

    /// Offers what has changed on the second peer connection; whether that went well.
    fn offer(&mut self, context: &mut Context<'_>) -> bool {
        let negotiation = &mut self.negotiation;
        let Some(subscriber) = self.subscriber.as_mut() else { return true };
        if negotiation.pending.is_some() || !negotiation.has_news(&self.subscriptions) {
            return true;
        }
        if !negotiation.admits(self.subscriptions.len(), context.io.now) {
            // The next tick tries again.
            return true;
        }
        let (channels, restart) = (negotiation.wants_channels, negotiation.wants_restart);
        let stopped = std::mem::take(&mut negotiation.stopped);
        let (subscriptions, keeps_stopped) = (&mut self.subscriptions, negotiation.reuse.receives);
        // Their section comes first, and stays. The client would give up the connection with the section that it is named for.
        let channels = channels || negotiation.offer_id == 0;
        let known =
            negotiation.free.len() + stopped.len() + subscriptions.iter().filter(|each| each.mid.is_some()).count();
        let added = MAX_RECEIVED_SECTIONS.saturating_sub(known).min(MAX_NEW_SECTIONS);
        let mut reused = Vec::new();
        for each in subscriptions.iter_mut().filter(|each| each.mid.is_none()) {
            each.mid = negotiation.take_free(each.kind);
            reused.extend(each.mid.map(|mid| (mid, each.kind)));
        }
        let offered = subscriber.drive(&mut context.io, |rtc| {
            // Nothing is sent on them any more, sender reports included.
            for (mid, _) in &stopped {
                remove_stream(rtc, *mid);
            }
            for (mid, kind) in &reused {
                add_stream(rtc, *mid, *kind);
            }
            let mut changes = rtc.sdp_api();
            if channels {
                for channel in Transport::data_channels() {
                    changes.add_channel_with_config(channel);
                }
            }
            for (mid, _) in &stopped {
                if keeps_stopped {
                    changes.set_direction(*mid, Direction::Inactive);
                } else {
                    changes.stop_media(*mid);
                }
            }
            for (mid, _) in &reused {
                changes.set_direction(*mid, Direction::SendOnly);
            }
            for each in subscriptions.iter_mut().filter(|each| each.mid.is_none()).take(added) {
                let (stream, track) = (Some(each.stream()), Some(each.track_sid.clone()));
                each.mid = Some(changes.add_media(each.kind, Direction::SendOnly, stream, track, None));
            }
            if restart {
                changes.ice_restart(true);
            }
            changes.apply()
        });
        negotiation.wants_channels = false;
        negotiation.wants_restart = false;
        let Some(offered) = offered else { return false };
        let Some((offer, pending)) = offered else { return true };
        negotiation.offer_id = negotiation.offer_id.wrapping_add(1);
        // str0m writes the msid of the track that a section was added for.
        let idle = stopped.iter().chain(&negotiation.free).map(|(mid, _)| (*mid, Role::Idle));
        let sent = subscriptions.iter().filter_map(|each| Some((each.mid?, each.role())));
        let text = sdp::rewrite(&offer.to_sdp_string(), &idle.chain(sent).collect());
        let text = context.io.network.advertise(text);
        negotiation.pending = Some(Pending { offer: pending, text, sent: context.io.now, stopped });
        self.send_offer();
        true
    }

    /// Sends the pending offer again after a resume: the offer or its answer may be lost. A new offer would give new names to
    /// sections that the client may know already.
    fn offer_again(&mut self, now: Instant) {
        if let Some(pending) = &mut self.negotiation.pending {
            pending.sent = now;
            self.send_offer();
        }
    }

    fn send_offer(&mut self) {
        let Some(pending) = &self.negotiation.pending else { return };
        self.send(Message::Offer(proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp: pending.text.clone(),
            id: self.negotiation.offer_id,
            mid_to_track_id: self.tracks_by_section(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: PerKind = PerKind { audio: 1, video: 0 };
    const VIDEO: PerKind = PerKind { audio: 0, video: 1 };
    const BOTH: PerKind = PerKind { audio: 1, video: 1 };
    const NONE: PerKind = PerKind { audio: 0, video: 0 };

    /// A negotiation whose client has offered sections to be sent on, all of them free.
    fn offered(sections: PerKind) -> Negotiation {
        let mut negotiation = Negotiation::default();
        offer(&mut negotiation, sections);
        negotiation
    }

    /// Sections to be sent on.
    fn sections(sections: PerKind) -> Vec<Section> {
        let section = |kind: MediaKind, index: usize| Section {
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

    fn offer(negotiation: &mut Negotiation, offered: PerKind) {
        negotiation.note_offer(&sections(offered));
    }

    #[test]
    fn our_own_offer_is_unanswered_after_its_time() {
        let (mut negotiation, now) = (Negotiation::default(), Instant::now());
        assert!(!negotiation.is_unanswered(now + UNANSWERED), "without an offer there is no answer");
        let mut rtc = str0m::Rtc::builder().build(now);
        let mut changes = rtc.sdp_api();
        changes.add_channel("_reliable".to_owned());
        let (text, offer) = changes.apply().unwrap();
        negotiation.pending = Some(Pending { offer, text: text.to_sdp_string(), sent: now, stopped: Vec::new() });
        assert!(!negotiation.is_unanswered(now));
        assert!(negotiation.is_unanswered(now + UNANSWERED));
    }

    #[test]
    fn before_its_first_offer_a_client_is_asked_for_nothing() {
        assert_eq!(Negotiation::default().ask(BOTH, Instant::now()), None);
    }

    #[test]
    fn a_client_is_asked_only_for_what_it_was_not_asked_for_yet() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.ask(AUDIO, now), Some(AUDIO));
        assert_eq!(negotiation.ask(AUDIO, now), None);
        assert_eq!(negotiation.ask(BOTH, now), Some(VIDEO), "more audio makes up for no video");
        assert_eq!(negotiation.ask(BOTH, now), None);
    }

    #[test]
    fn a_track_that_finds_a_free_section_is_offered_at_once_after_another_that_did() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        assert_eq!(negotiation.ask(AUDIO, now), Some(NONE));
        assert_eq!(negotiation.ask(AUDIO, now), None);
        offer(&mut negotiation, BOTH);
        assert_eq!(negotiation.ask(VIDEO, now), Some(NONE));
    }

    #[test]
    fn an_end_is_told_at_once_after_another() {
        let (mut negotiation, now) = (offered(BOTH), Instant::now());
        for _ in 0..2 {
            negotiation.is_stale = true;
            assert_eq!(negotiation.ask(NONE, now), Some(NONE));
            offer(&mut negotiation, BOTH);
            assert_eq!(negotiation.ask(NONE, now), None);
        }
    }

    #[test]
    fn an_offer_that_was_under_way_leaves_due_what_was_asked_for() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.ask(BOTH, now), Some(BOTH));
        offer(&mut negotiation, NONE);
        assert_eq!(negotiation.ask(BOTH, now), None);
        offer(&mut negotiation, VIDEO);
        assert_eq!(negotiation.ask(BOTH, now), None);
        offer(&mut negotiation, BOTH);
        assert_eq!(negotiation.asked.map(|asked| asked.sections), None);
    }

    #[test]
    fn a_client_that_does_not_offer_is_asked_again_but_for_no_more_sections() {
        let (mut negotiation, now) = (offered(NONE), Instant::now());
        assert_eq!(negotiation.ask(BOTH, now), Some(BOTH));
        assert_eq!(negotiation.ask(BOTH, now + ASKED_AGAIN), Some(NONE));
        assert_eq!(negotiation.ask(BOTH, now + ASKED_AGAIN), None);
    }

    fn mid(name: &str) -> Mid {
        Mid::from(name)
    }

    /// An answer to an offer of one section that announces a track on it, or none.
    fn answer(negotiation: &mut Negotiation, is_active: bool) {
        offer(negotiation, AUDIO);
        let taken = if is_active { negotiation.take_free(MediaKind::Audio) } else { None };
        let active = negotiation.active.iter().copied().filter(|_| is_active).chain(taken).collect();
        negotiation.note_answer(&sections(AUDIO), active);
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
        let unused: Vec<_> = sections(PerKind { audio: 2 * MAX_UNUSED_SECTIONS, video: 0 })
            .into_iter()
            .map(|section| Section { direction: Direction::Inactive, ..section })
            .collect();
        let recycling = Negotiation::new(SectionReuse { receives: true, recycles: true });
        let rejected = recycling.sections_to_reject(&unused);
        assert_eq!(rejected.len(), MAX_UNUSED_SECTIONS - 1);
        assert!(!rejected.contains(&unused[0].mid));
        assert!(recycling.sections_to_reject(&sections(BOTH)).is_empty());
        assert!(Negotiation::default().sections_to_reject(&unused).is_empty());
    }
}

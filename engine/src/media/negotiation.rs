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
use super::forwarding::Subscription;
use super::peer::Peer;
use super::room::{Context, Farewell, Room};
use super::sdp::{self, Plan, Role, Section};
use super::transport::Transport;

/// A client that has been asked to offer is asked again after that time.
const ASKED_AGAIN: Duration = Duration::from_secs(3);
/// The most lines of a section of an offer. Browsers write up to 150, and one for each of their addresses.
const MOST_LINES: usize = 400;
/// The most bytes of an offer's line.
const MOST_LINE_BYTES: usize = 4096;
/// The most sections of an offer: a client that takes and drops tracks all day has to join anew.
const MOST_SECTIONS: usize = 1000;

#[derive(Default)]
pub(super) struct Negotiation {
    /// The client's sections that nothing was ever sent on. A section that was in use is never used again: the client keeps
    /// its source and its counters.
    free: Vec<(Mid, MediaKind)>,
    used: HashSet<Mid>,
    /// How many sections the last offer had.
    sections: usize,
    /// When the client was asked to offer and for how many sections, until it has.
    asked: Option<(Instant, u32, u32)>,
    /// Something that was sent is not any more, which the client has to learn.
    is_stale: bool,
    /// Our own offer, until it is answered.
    pending: Option<SdpPendingOffer>,
    offer_id: u32,
    stopped: Vec<Mid>,
    wants_channels: bool,
    wants_restart: bool,
}

/// Whether an offer of so many sections may be looked at: everybody else waits for as long as that takes.
fn is_sane(sdp: &str, sections: usize) -> bool {
    sections <= MOST_SECTIONS
        && sdp.lines().count() <= MOST_LINES * (sections + 1)
        && sdp.lines().all(|line| line.len() <= MOST_LINE_BYTES)
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
                    negotiation.stopped.push(mid);
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
    /// Answers a client's offer.
    pub(super) fn take_offer(&mut self, context: &mut Context<'_>, id: PeerId, offer: &proto::SessionDescription) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let sections = sdp::sections(&offer.sdp);
        let answer = is_sane(&offer.sdp, sections.len()).then(|| SdpOffer::from_sdp_string(&offer.sdp).ok()).flatten();
        let answer = answer.and_then(|offer| {
            let accepted = peer.publisher.drive(&mut context.io, |rtc| rtc.sdp_api().accept_offer(offer));
            accepted?.ok()
        });
        let Some(answer) = answer else {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        };
        peer.place_tracks(&sections);
        if peer.subscriber.is_none() {
            peer.place_subscriptions(&sections);
        }
        let plan = peer.plan(&sections);
        let tracks = if peer.subscriber.is_none() { peer.tracks_by_section() } else { HashMap::new() };
        peer.send(Message::Answer(proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp: sdp::rewrite(&answer.to_sdp_string(), &plan),
            id: offer.id,
            mid_to_track_id: tracks,
        }));
        let ended = peer.tracks.iter().filter(|track| track.is_over(&sections));
        let ended: Vec<String> = ended.map(|track| track.info.sid.clone()).collect();
        let is_single = peer.subscriber.is_none();
        self.unpublish(context, id, &ended, false);
        self.publish(context, id);
        // With two connections it is sent nothing on this one.
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
        let accepted = SdpAnswer::from_sdp_string(&answer.sdp).ok().zip(peer.subscriber.as_mut());
        let accepted = accepted.and_then(|(answer, subscriber)| {
            subscriber.drive(&mut context.io, |rtc| rtc.sdp_api().accept_answer(pending, answer))?.ok()
        });
        if accepted.is_none() {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
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
            // An offer that was under way is lost with the connection that it was sent by.
            if peer.negotiation.pending.take().is_some() {
                peer.forget_offered();
            }
            peer.negotiation.wants_restart = true;
        } else {
            peer.negotiation.asked = None;
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
                self.tracks[index].place(mid, has_redundant_audio);
            }
        }
    }

    /// Gives the client's free sections to what is to be sent.
    fn place_subscriptions(&mut self, sections: &[Section]) {
        let negotiation = &mut self.negotiation;
        if sections.len() > negotiation.sections {
            negotiation.asked = None;
        }
        negotiation.sections = sections.len();
        negotiation.is_stale = false;
        let free =
            sections.iter().filter(|section| section.is_placeholder() && !negotiation.used.contains(&section.mid));
        negotiation.free = free.filter_map(|section| Some((section.mid, section.kind?))).collect();
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.mid.is_none()) {
            let fitting = negotiation.free.iter().position(|(_, kind)| *kind == subscription.kind);
            if let Some(index) = fitting {
                let (mid, _) = negotiation.free.remove(index);
                negotiation.used.insert(mid);
                subscription.mid = Some(mid);
            }
        }
    }

    fn plan(&self, sections: &[Section]) -> Plan {
        let idle = sections.iter().filter(|section| section.is_placeholder()).map(|section| (section.mid, Role::Idle));
        let sent = self.subscriptions.iter().filter_map(|each| Some((each.mid?, each.role())));
        let received = self.tracks.iter().filter_map(|track| Some((track.mid?, track.role())));
        if self.subscriber.is_some() { received.collect() } else { idle.chain(sent).chain(received).collect() }
    }

    /// Asks the client to offer again, with more sections if they do not suffice.
    fn ask_for_offer(&mut self, now: Instant) {
        let negotiation = &mut self.negotiation;
        let missing = |kind| {
            let due = self.subscriptions.iter().filter(|each| each.mid.is_none() && each.kind == kind).count();
            let free = negotiation.free.iter().filter(|(_, free)| *free == kind).count();
            (due, u32::try_from(due.saturating_sub(free)).unwrap_or(u32::MAX))
        };
        let ((audio, num_audios), (video, num_videos)) = (missing(MediaKind::Audio), missing(MediaKind::Video));
        // Before the first offer there is nothing to be asked for: it comes in any case.
        if negotiation.sections == 0 || (audio + video == 0 && !negotiation.is_stale) {
            return;
        }
        if negotiation.asked.is_some_and(|(at, audios, videos)| {
            now.saturating_duration_since(at) < ASKED_AGAIN && (audios, videos) >= (num_audios, num_videos)
        }) {
            return;
        }
        let (audios, videos) = negotiation.asked.map_or((0, 0), |(_, audios, videos)| (audios, videos));
        negotiation.asked = Some((now, num_audios, num_videos));
        let more = |needed: u32, asked: u32| needed.saturating_sub(asked);
        self.send(Message::MediaSectionsRequirement(proto::MediaSectionsRequirement {
            num_audios: more(num_audios, audios),
            num_videos: more(num_videos, videos),
        }));
    }

    /// Offers what has changed on the second peer connection; whether that went well.
    fn offer(&mut self, context: &mut Context<'_>) -> bool {
        let negotiation = &mut self.negotiation;
        let Some(subscriber) = self.subscriber.as_mut() else { return true };
        if negotiation.pending.is_some() {
            return true;
        }
        let (channels, restart) = (negotiation.wants_channels, negotiation.wants_restart);
        let stopped = std::mem::take(&mut negotiation.stopped);
        let subscriptions = &mut self.subscriptions;
        if !channels && !restart && stopped.is_empty() && subscriptions.iter().all(|each| each.mid.is_some()) {
            return true;
        }
        // Their section comes first, and stays. The client would give up the connection with the section that it is named for.
        let channels = channels || negotiation.offer_id == 0;
        let offered = subscriber.drive(&mut context.io, |rtc| {
            let mut changes = rtc.sdp_api();
            if channels {
                for channel in Transport::data_channels() {
                    changes.add_channel_with_config(channel);
                }
            }
            for mid in stopped {
                changes.stop_media(mid);
            }
            for each in subscriptions.iter_mut().filter(|each| each.mid.is_none()) {
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
        negotiation.pending = Some(pending);
        negotiation.offer_id = negotiation.offer_id.wrapping_add(1);
        let id = negotiation.offer_id;
        let mid_to_track_id = self.tracks_by_section();
        let (r#type, sdp) = ("offer".to_owned(), offer.to_sdp_string());
        self.send(Message::Offer(proto::SessionDescription { r#type, sdp, id, mid_to_track_id }));
        true
    }

    /// Takes back what an offer had named that is never answered.
    fn forget_offered(&mut self) {
        for each in self.subscriptions.iter_mut().filter(|each| !each.is_ready) {
            each.mid = None;
        }
        if self.subscriber.as_ref().is_some_and(|transport| transport.channel(true).is_none()) {
            self.negotiation.wants_channels = true;
        }
    }
}

//! Offers and answers. With one peer connection, only the client offers: it is requested to offer again if it has too few
//! sections for outgoing tracks, or if a track ends. With two, the server offers the second one.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::Mid;

use crate::ids::{SessionId, SignalTarget, StreamId};
use crate::net::peer_connection::{PeerConnection, remove_stream};
use crate::net::sdp::{self, AnswerPlan, MediaSection, SectionRole};
use crate::session::negotiation::{MediaCounts, PendingOffer};
use crate::session::offer::OfferChanges;
use crate::session::removal::Removal;
use crate::session::room::participant::Participant;
use crate::session::room::{Context, Room};
use crate::session::subscription::Subscription;
use crate::sfu::router::Router;

/// Maximum number of sections in the offer of a join request; past it, the participant is removed. LiveKit's clients offer seven.
const MAX_JOIN_SECTIONS: usize = 32;

impl Participant {
    /// Drops subscriptions, and marks their sections as stopped.
    pub(crate) fn drop_subscriptions(&mut self, router: &mut Router, is_dropped: impl Fn(&Subscription) -> bool) {
        let (is_single, downlink) = (self.is_single, self.downlink());
        let negotiation = &mut self.negotiation;
        self.subscriptions.retain(|subscription| {
            let is_dropped = is_dropped(subscription);
            if is_dropped {
                router.unsubscribe(subscription.track, downlink);
            }
            if let (true, Some(mid)) = (is_dropped, subscription.mid) {
                negotiation.needs_renegotiation |= is_single;
                if !is_single {
                    negotiation.stopped.push((mid, subscription.kind()));
                }
            }
            !is_dropped
        });
    }

    /// Track `sid`s by the sections that they are sent on.
    fn tracks_by_section(&self) -> HashMap<String, String> {
        let named = |subscription: &Subscription| Some((subscription.mid?.to_string(), subscription.track_sid.clone()));
        self.subscriptions.iter().filter_map(named).collect()
    }
}

impl Room {
    /// Answers a client's offer, now or, past the rate limit, at a later tick.
    pub(crate) fn on_offer(&mut self, context: &mut Context<'_>, id: SessionId, offer: proto::SessionDescription) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.negotiation.admits(sdp::count_sections(&offer.sdp), context.io.now) {
            participant.negotiation.waiting = None;
            self.answer_offer(context, id, &offer);
        } else {
            participant.negotiation.waiting = Some(offer);
        }
    }

    /// Answers the offer of a join request.
    pub(crate) fn on_join_offer(&mut self, context: &mut Context<'_>, id: SessionId, offer: proto::SessionDescription) {
        if sdp::count_sections(&offer.sdp) > MAX_JOIN_SECTIONS {
            self.remove(context, id, Removal::failure("too many sections in the offer"));
        } else {
            self.on_offer(context, id, offer);
        }
    }

    /// Answers a delayed offer if the rate limit admits it.
    pub(crate) fn retry_waiting_offer(&mut self, context: &mut Context<'_>, id: SessionId) {
        let waiting = self.participants.get_mut(&id).and_then(|participant| participant.negotiation.waiting.take());
        if let Some(offer) = waiting {
            self.on_offer(context, id, offer);
        }
    }

    fn answer_offer(&mut self, context: &mut Context<'_>, id: SessionId, offer: &proto::SessionDescription) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(publisher) = self.connections.get_mut(participant.uplink()) else { return };
        let reduced = publisher.reduce(&offer.sdp).unwrap_or_default();
        let sections = sdp::sections(&reduced);
        // With two connections, no tracks are sent on this one.
        let is_single = participant.is_single;
        let placed = if is_single { participant.assign_subscription_mids(&sections) } else { Vec::new() };
        let rejected = participant.negotiation.sections_to_reject(&sections);
        let idle = participant.idle_sections(&sections);
        let answer = SdpOffer::from_sdp_string(&reduced).ok().and_then(|offer| {
            let accepted = publisher.mutate_and_drain(&mut context.io, |rtc| {
                for mid in placed {
                    remove_stream(rtc, mid);
                }
                let mut changes = rtc.sdp_api();
                for mid in rejected {
                    changes.stop_media(mid);
                }
                let answer = changes.accept_offer(offer);
                // str0m has added a stream to each section, and would send reports for those without packets, too.
                for mid in idle {
                    remove_stream(rtc, mid);
                }
                answer
            });
            accepted?.ok()
        });
        let Some(answer) = answer else {
            self.remove(context, id, Removal::failure("offer rejected"));
            return;
        };
        publisher.remove_stale_streams(&mut context.io, &sections);
        participant.assign_track_mids(&mut self.router, &sections, publisher.has_redundant_audio());
        let plan = participant.plan(&sections);
        let tracks = if is_single { participant.tracks_by_section() } else { HashMap::new() };
        participant.send(Message::Answer(proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp: context.io.network.advertise(sdp::rewrite(&answer.to_sdp_string(), &plan)),
            id: offer.id,
            mid_to_track_id: tracks,
        }));
        let ended = participant.tracks.iter().filter(|track| track.is_unpublished(&sections));
        let ended: Vec<String> = ended.map(|track| track.info.sid.clone()).collect();
        self.unpublish(context, id, &ended, false);
        self.publish(context, id);
        if is_single {
            self.activate_subscriptions(context, id);
        }
        self.negotiate(context, id);
    }

    /// Starts a negotiation if the participant's subscriptions have changed.
    pub(crate) fn negotiate(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let fails = if participant.is_single {
            participant.request_offer(context.io.now);
            false
        } else {
            let subscriber = self.connections.get_mut(participant.downlink());
            subscriber.is_some_and(|subscriber| !participant.offer(context, subscriber))
        };
        if fails {
            self.remove(context, id, Removal::failure("offer failed"));
        }
    }

    /// Handles the answer to the server's offer.
    pub(crate) fn on_answer(&mut self, context: &mut Context<'_>, id: SessionId, answer: &proto::SessionDescription) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_due = answer.id == 0 || answer.id == participant.negotiation.offer_id;
        let Some(pending) = is_due.then(|| participant.negotiation.pending.take()).flatten() else { return };
        let Some(subscriber) = self.connections.get_mut((id, SignalTarget::Subscriber)) else { return };
        let answer = subscriber.reduce(&answer.sdp).and_then(|reduced| SdpAnswer::from_sdp_string(&reduced).ok());
        let accepted = answer.and_then(|answer| {
            subscriber.mutate_and_drain(&mut context.io, |rtc| rtc.sdp_api().accept_answer(pending.offer, answer))?.ok()
        });
        if accepted.is_none() {
            self.remove(context, id, Removal::failure("answer rejected"));
            return;
        }
        if participant.negotiation.reuse.receives {
            // A rejected section cannot be reused.
            let is_open = |mid: Mid| subscriber.rtc().media(mid).is_some_and(|media| !media.disabled());
            let stopped = pending.stopped.into_iter().filter(|(mid, _)| is_open(*mid));
            participant.negotiation.free.extend(stopped);
        }
        self.activate_subscriptions(context, id);
        self.negotiate(context, id);
    }

    /// Offers the data channels of the subscriber peer connection.
    pub(crate) fn offer_data_channels(&mut self, context: &mut Context<'_>, id: SessionId) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.negotiation.offer_data_channels = true;
            self.negotiate(context, id);
        }
    }

    /// Restarts ICE after a change of the client's addresses.
    pub(crate) fn restart_ice(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.is_single {
            participant.negotiation.section_request = None;
            participant.negotiation.forget_answer();
        } else {
            // Before the first offer, there is nothing to restart.
            participant.negotiation.ice_restart = participant.negotiation.offer_id > 0;
            participant.resend_offer(context.io.now);
        }
        self.negotiate(context, id);
    }
}

impl Participant {
    /// Assigns the sections of an offer to the participant's tracks.
    fn assign_track_mids(&mut self, router: &mut Router, sections: &[MediaSection], has_redundant_audio: bool) {
        let connection = self.uplink();
        let taken: HashSet<Mid> = self.tracks.iter().filter_map(|track| track.mid).collect();
        let unplaced: Vec<usize> = (0..self.tracks.len()).filter(|index| self.tracks[*index].mid.is_none()).collect();
        let pending: Vec<_> = unplaced.iter().map(|index| self.tracks[*index].pending()).collect();
        let placed = sdp::assign(&pending, sections, |mid| taken.contains(&mid));
        for (index, mid) in unplaced.into_iter().zip(placed) {
            if let Some(mid) = mid {
                let rids = sections.iter().find(|section| section.mid == mid).map_or(&[][..], |section| &section.rids);
                let track = &mut self.tracks[index];
                track.bind_mid(mid, has_redundant_audio);
                router.publish(track.id, StreamId { connection, mid }, track.up_track(rids));
            }
        }
    }

    /// The sections of an offer that nothing is sent on.
    fn idle_sections(&self, sections: &[MediaSection]) -> Vec<Mid> {
        let sent: HashSet<Mid> = self.subscriptions.iter().filter_map(|subscription| subscription.mid).collect();
        let placeholders = sections.iter().filter(|section| section.is_placeholder()).map(|section| section.mid);
        placeholders.filter(|mid| !self.is_single || !sent.contains(mid)).collect()
    }

    /// Assigns free sections of an offer to subscriptions that have none. Returns those sections.
    fn assign_subscription_mids(&mut self, sections: &[MediaSection]) -> Vec<Mid> {
        self.negotiation.on_client_offer(sections);
        let mut placed = Vec::new();
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.mid.is_none()) {
            subscription.mid = self.negotiation.take_free(subscription.kind());
            placed.extend(subscription.mid);
        }
        let active = self.subscriptions.iter().filter_map(|subscription| subscription.mid).collect();
        self.negotiation.record_answer(sections, active);
        placed
    }

    fn plan(&self, sections: &[MediaSection]) -> AnswerPlan {
        let idle =
            sections.iter().filter(|section| section.is_placeholder()).map(|section| (section.mid, SectionRole::Idle));
        let sent = self.subscriptions.iter().filter_map(|subscription| Some((subscription.mid?, subscription.role())));
        let received = self.tracks.iter().filter_map(|track| Some((track.mid?, track.role())));
        if self.is_single { idle.chain(sent).chain(received).collect() } else { received.collect() }
    }

    /// Requests an offer from the client, with more sections if there are too few.
    fn request_offer(&mut self, now: Instant) {
        let unplaced = || self.subscriptions.iter().filter(|subscription| subscription.mid.is_none());
        let unplaced = MediaCounts::count(|kind| unplaced().filter(|subscription| subscription.kind() == kind).count());
        if let Some(missing) = self.negotiation.sections_to_request(unplaced, now) {
            let number = |sections: usize| u32::try_from(sections).unwrap_or(u32::MAX);
            self.send(Message::MediaSectionsRequirement(proto::MediaSectionsRequirement {
                num_audios: number(missing.audio),
                num_videos: number(missing.video),
            }));
        }
    }

    /// Offers changes on the subscriber peer connection; `false` if the connection has failed.
    fn offer(&mut self, context: &mut Context<'_>, subscriber: &mut PeerConnection) -> bool {
        let negotiation = &mut self.negotiation;
        if negotiation.pending.is_some() || !negotiation.needs_offer(&self.subscriptions) {
            return true;
        }
        if !negotiation.admits(self.subscriptions.len(), context.io.now) {
            // Retried at the next tick.
            return true;
        }
        let changes = OfferChanges::take(negotiation, &mut self.subscriptions);
        let subscriptions = &mut self.subscriptions;
        let offered = subscriber.mutate_and_drain(&mut context.io, |rtc| changes.apply(rtc, subscriptions));
        let Some(offered) = offered else { return false };
        let Some((offer, pending)) = offered else { return true };
        negotiation.offer_id = negotiation.offer_id.wrapping_add(1);
        // str0m writes the msid of the first track of each section, so the current one is written here.
        let stopped = changes.stopped;
        let idle = stopped.iter().chain(&negotiation.free).map(|(mid, _)| (*mid, SectionRole::Idle));
        let sent = self.subscriptions.iter().filter_map(|subscription| Some((subscription.mid?, subscription.role())));
        let text = sdp::rewrite(&offer.to_sdp_string(), &idle.chain(sent).collect());
        let text = context.io.network.advertise(text);
        negotiation.pending = Some(PendingOffer { offer: pending, text, sent: context.io.now, stopped });
        self.send_offer();
        true
    }

    /// Sends the pending offer again after a resume, because it or its answer may be lost. A new offer could give new mids to
    /// sections that the client knows already.
    fn resend_offer(&mut self, now: Instant) {
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

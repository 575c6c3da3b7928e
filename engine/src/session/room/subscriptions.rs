//! Reconciliation of subscriptions with what is published, wanted and permitted.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use livekit_protocol as proto;
use proto::VideoQuality;
use proto::signal_response::Message;
use str0m::media::{MediaKind, Rid};
use str0m::rtp::RtpPacket;
use tracing::error;

use crate::ids::{SessionId, StreamId, TrackId};
use crate::net::peer_connection::PeerConnection;
use crate::session::publications::Track;
use crate::session::removal::Removal;
use crate::session::room::participant::Participant;
use crate::session::room::{Context, Room};
use crate::session::subscription::Subscription;
use crate::sfu::layer_selector::TrackSettings;
use crate::sfu::router::{CodecUnsupported, Router};

/// Maximum number of tracks with a subscription override or with settings, for one participant; past it, further ones are
/// ignored.
const MAX_SUBSCRIPTION_OVERRIDES: usize = 4096;

/// Maximum bytes of a track's `sid`; longer ones are ignored.
const MAX_SID_BYTES: usize = 64;

impl Participant {
    /// Whether lost packets of a track are retransmitted to this subscriber.
    fn has_nack(&self, track: &Track) -> bool {
        let is_red = track.info.mime_type.eq_ignore_ascii_case("audio/red");
        track.kind == MediaKind::Audio && !self.is_single && !(is_red && self.receive_support.reads_red)
    }

    fn wants(&self, track_sid: &str) -> bool {
        self.subscription_overrides.get(track_sid).copied().unwrap_or(self.auto_subscribe)
    }

    fn settings_for(&self, track_sid: &str) -> TrackSettings {
        self.track_settings.get(track_sid).copied().unwrap_or_default()
    }

    /// Starts forwarding the subscriptions that have a section and are not forwarded yet.
    fn start_down_tracks(&mut self, router: &mut Router, now: Instant) {
        let (connection, sif_trailer) = (self.downlink(), self.sif_trailer);
        for subscription in self.subscriptions.iter_mut().filter(|subscription| !subscription.is_ready) {
            let settings = self.track_settings.get(&subscription.track_sid).copied().unwrap_or_default();
            let Some(down_track) = subscription.down_track(connection, settings, sif_trailer, now) else { continue };
            subscription.is_ready = true;
            router.subscribe(subscription.track, down_track);
        }
    }
}

impl Room {
    /// Records which tracks a participant is to be subscribed to.
    pub(crate) fn set_subscription(
        &mut self,
        id: SessionId,
        track_sids: impl IntoIterator<Item = String>,
        wanted: bool,
    ) {
        let track_sids: Vec<String> = track_sids.into_iter().filter(|sid| sid.len() <= MAX_SID_BYTES).collect();
        if self.participants.get(&id).is_some_and(|participant| {
            participant.subscription_overrides.len() + track_sids.len() > MAX_SUBSCRIPTION_OVERRIDES
        }) {
            self.prune_overrides(id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for sid in track_sids {
            if participant.subscription_overrides.len() < MAX_SUBSCRIPTION_OVERRIDES
                || participant.subscription_overrides.contains_key(&sid)
            {
                participant.subscription_overrides.insert(sid, wanted);
            }
        }
    }

    /// Changes a participant's settings of tracks, including tracks that it is not subscribed to.
    pub(crate) fn update_settings(
        &mut self,
        id: SessionId,
        track_sids: &[String],
        change: impl Fn(TrackSettings) -> TrackSettings,
    ) {
        if self
            .participants
            .get(&id)
            .is_some_and(|participant| participant.track_settings.len() + track_sids.len() > MAX_SUBSCRIPTION_OVERRIDES)
        {
            self.prune_overrides(id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for sid in track_sids.iter().filter(|sid| sid.len() <= MAX_SID_BYTES) {
            if participant.track_settings.len() < MAX_SUBSCRIPTION_OVERRIDES
                || participant.track_settings.contains_key(sid)
            {
                let wanted = participant.track_settings.entry(sid.clone()).or_default();
                *wanted = change(*wanted);
            }
        }
        for subscription in &participant.subscriptions {
            let settings = participant.settings_for(&subscription.track_sid);
            self.router.set_settings(subscription.track, participant.downlink(), settings);
        }
    }

    /// Drops a participant's overrides and settings of tracks that no longer exist.
    fn prune_overrides(&mut self, id: SessionId) {
        let tracks = self.participants.values().flat_map(|publisher| &publisher.tracks);
        let existing: HashSet<String> = tracks.map(|track| track.info.sid.clone()).collect();
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.subscription_overrides.retain(|known, _| existing.contains(known));
            participant.track_settings.retain(|known, _| existing.contains(known));
        }
    }

    /// Queues all participants for a reconciliation of their subscriptions with what is published, wanted and allowed.
    pub(crate) fn reconcile_all(&mut self, context: &mut Context<'_>) {
        self.reconcile_others(context, None);
    }

    /// As [`Room::reconcile_all`]; if a publisher is given, only its tracks are concerned.
    pub(crate) fn reconcile_others(&mut self, context: &mut Context<'_>, publisher: Option<SessionId>) {
        let ids = self.participants.keys().copied().filter(|id| Some(*id) != publisher);
        self.unreconciled.push_all(ids, publisher, [context.lane]);
        self.schedule(context);
    }

    /// Reconciles queued participants until `deadline`. A participant whose reconciliation panics is removed; the others are not
    /// affected.
    pub(crate) fn reconcile_until(&mut self, context: &mut Context<'_>, deadline: Instant) {
        while Instant::now() < deadline
            && let Some((id, publisher)) = self.unreconciled.pop()
        {
            let reconciled = catch_unwind(AssertUnwindSafe(|| {
                self.reconcile_with(id, publisher);
                self.negotiate(context, id);
            }));
            if reconciled.is_err() {
                error!(room = self.name, session = id, "panic in a step of a participant");
                self.remove(context, id, Removal::failure("panic"));
            }
        }
    }

    /// Reconciles a participant's subscriptions. The client learns of changes by the next [`Room::negotiate`].
    pub(crate) fn reconcile(&mut self, _context: &mut Context<'_>, id: SessionId) {
        self.reconcile_with(id, None);
    }

    /// As [`Room::reconcile`]; if a publisher is given, only with its tracks.
    fn reconcile_with(&mut self, id: SessionId, publisher: Option<SessionId>) {
        // The publisher has left; its removal queues a full reconciliation.
        if publisher.is_some_and(|publisher| !self.participants.contains_key(&publisher)) {
            return;
        }
        let Some(participant) = self.participants.get(&id) else { return };
        #[cfg(test)]
        assert_ne!(self.fault, Some(super::panics::Fault::Reconciliation(id)), "injected");
        let may_subscribe = participant.permission().can_subscribe;
        let concerns = |one: SessionId| one != id && publisher.is_none_or(|publisher| publisher == one);
        let subscribed: HashSet<TrackId> =
            participant.subscriptions.iter().map(|subscription| subscription.track).collect();
        let mut due: HashSet<TrackId> = HashSet::new();
        let (mut added, mut denied) = (Vec::new(), Vec::new());
        let publishers = match publisher {
            Some(publisher) => self.participants.range(publisher..=publisher),
            None => self.participants.range(..),
        };
        for (_, publisher) in publishers.filter(|(one, publisher)| concerns(**one) && !publisher.is_hidden()) {
            for track in publisher.tracks.iter().filter(|track| track.is_published) {
                let sid = &track.info.sid;
                if !may_subscribe || !participant.wants(sid) {
                    continue;
                }
                if !publisher.subscription_permission.may_subscribe(&participant.info, sid) {
                    denied.push((publisher.info.sid.clone(), sid.clone()));
                    continue;
                }
                due.insert(track.id);
                if !subscribed.contains(&track.id) {
                    let publisher = (publisher.id, publisher.info.sid.clone());
                    let needs_filler = participant.receive_support.needs_first_packet;
                    added.push(Subscription::new(publisher, track, participant.has_nack(track), needs_filler));
                }
            }
        }
        let publisher_sid =
            publisher.and_then(|publisher| self.participants.get(&publisher)).map(|one| one.info.sid.clone());
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.subscriptions.extend(added);
        participant.send_permission_changes(denied, publisher_sid.as_deref());
        participant.drop_subscriptions(&mut self.router, |subscription| {
            concerns(subscription.publisher) && !due.contains(&subscription.track)
        });
    }

    /// Starts sending the subscriptions whose sections the client knows.
    pub(crate) fn activate_subscriptions(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.start_down_tracks(&mut self.router, context.io.now);
        self.notify_track_subscribed(id);
        self.request_keyframes(context, id);
    }

    /// Requests the keyframes that a participant needs.
    pub(crate) fn request_keyframes(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get(&id) else { return };
        self.router.request_keyframes(&mut context.io, &mut self.connections, participant.downlink());
    }

    /// Sends a participant fillers, if its client needs them.
    pub(crate) fn send_fillers(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get(&id).filter(|known| known.receive_support.needs_first_packet)
        else {
            return;
        };
        self.router.send_fillers(&mut context.io, &mut self.connections, participant.downlink());
    }

    /// Forwards a packet of a participant, and sends `SubscriptionResponse` to each subscriber that turns out not to support its
    /// codec.
    pub(crate) fn on_rtp(&mut self, context: &mut Context<'_>, stream: StreamId, rid: Option<Rid>, packet: &RtpPacket) {
        let unsupported = self.router.forward(&mut context.io, &mut self.connections, stream, rid, packet);
        for CodecUnsupported { track, subscriber: (id, _) } in unsupported {
            let Some(participant) = self.participants.get_mut(&id) else { continue };
            let subscription = participant.subscriptions.iter().find(|subscription| subscription.track == track);
            let Some(subscription) = subscription else { continue };
            let track_sid = subscription.track_sid.clone();
            let err = proto::SubscriptionError::SeCodecUnsupported.into();
            participant.send(Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid, err }));
        }
    }

    /// Sends `TrackSubscribed` to each publisher on its track's first subscriber: some clients wait for it. Hidden subscribers
    /// don't count.
    pub(crate) fn notify_track_subscribed(&mut self, id: SessionId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let is_connected = self.connections.get(participant.downlink()).is_some_and(PeerConnection::is_connected);
        if participant.is_hidden() || !is_connected {
            return;
        }
        let ready = participant.subscriptions.iter().filter(|subscription| subscription.is_ready);
        let ready: Vec<_> = ready.map(|subscription| (subscription.publisher, subscription.track)).collect();
        for (publisher, track) in ready {
            // Without a signalling connection the publisher is notified when it resumes.
            let publisher = self.participants.get_mut(&publisher).filter(|publisher| publisher.signal.is_some());
            let Some(publisher) = publisher else { continue };
            let first =
                publisher.tracks.iter_mut().find(|candidate| candidate.id == track && !candidate.subscribed_notified);
            let Some(track) = first else { continue };
            track.subscribed_notified = true;
            let track_sid = track.info.sid.clone();
            publisher.send(Message::TrackSubscribed(proto::TrackSubscribed { track_sid }));
        }
    }

    /// Handles a client's track settings.
    pub(crate) fn update_track_settings(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        settings: &proto::UpdateTrackSettings,
    ) {
        self.update_settings(id, &settings.track_sids, |_| track_settings(settings));
        self.request_keyframes(context, id);
    }
}

/// The settings that a client requests.
fn track_settings(request: &proto::UpdateTrackSettings) -> TrackSettings {
    let settings = TrackSettings::new(request.quality, (request.width, request.height));
    let is_off = request.disabled || request.quality == i32::from(VideoQuality::Off);
    if is_off { settings.disable() } else { settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quality_off_disables_a_track_as_disabling_it_does() {
        let settings = |quality: VideoQuality, disabled| {
            let quality = quality.into();
            track_settings(&proto::UpdateTrackSettings { quality, disabled, ..Default::default() })
        };
        let (low, off) = (VideoQuality::Low, VideoQuality::Off);
        assert_eq!(settings(low, true), settings(low, false).disable());
        assert_eq!(settings(off, false), settings(off, true));
        assert_ne!(settings(low, false), settings(low, true));
    }
}

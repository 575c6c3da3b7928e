//! Packets, keyframe requests and retransmissions on their way between the participants of a room.

use std::collections::HashSet;
use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid, Rid};
use str0m::rtp::rtcp::NackEntry;
use str0m::rtp::{RtpPacket, UserExtensionValues};

use crate::ids::{SessionId, SignalTarget, TrackId};
use crate::net::connections::Connections;
use crate::net::peer_connection::{Io, PeerConnection, forwarded_extensions};
use crate::session::participant::Participant;
use crate::session::room::{Context, Room};
use crate::session::subscriptions::Subscription;
use crate::sfu::fillers::FillerFormat;
use crate::sfu::keyframes::is_keyframe;
use crate::sfu::layer_selector::{Layers, SenderClock};
use crate::sfu::up_track::InboundPacket;
use crate::token_bucket::TokenBucket;

/// Minimum time between PLIs that one subscriber causes of one track, on average,
const SUBSCRIBER_PLI_INTERVAL: Duration = Duration::from_secs(3);
/// and how much of it may be used up in advance: six of them. Further ones wait, so that one subscriber on a bad connection
/// does not have all others receive nothing but keyframes.
const SUBSCRIBER_PLI_BURST: Duration = Duration::from_secs(18);
/// Maximum number of tracks whose PLIs are counted for a subscriber; past it, those of tracks that it has no more are dropped.
const MAX_COUNTED_TRACKS: usize = 1024;

impl Room {
    /// Sends a packet on to all who are subscribed to its track.
    pub(crate) fn forward(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        (mid, rid): (Mid, Option<Rid>),
        packet: &RtpPacket,
    ) {
        let now = context.io.now;
        let Some(publisher) = self.participants.get_mut(&id) else { return };
        let Some(connection) = self.connections.get(publisher.uplink()) else { return };
        let Some(track) = publisher.tracks.iter_mut().find(|track| track.mid == Some(mid)) else { return };
        let Some(codec) = track.receiver.codec(connection, packet.header.payload_type) else { return };
        if track.info.muted {
            return;
        }
        let clock = packet.last_sender_info.as_ref().map(SenderClock::new);
        if !track.receiver.layers.mark_active(rid, clock, now) {
            return;
        }
        let is_start = track.kind == MediaKind::Audio || is_keyframe(codec.spec.codec, &packet.payload);
        if let (MediaKind::Audio, Some(level)) = (track.kind, packet.header.ext_vals.audio_level) {
            // Of both it is told by how much it is below the loudest.
            self.speakers.observe((id, track.id), level.unsigned_abs(), packet.header.timestamp, now);
        }
        let (track_id, layers) = (track.id, track.receiver.layers);
        let mut extensions = forwarded_extensions(&packet.header.ext_vals);
        if matches!(codec.spec.codec, Codec::Vp8 | Codec::H264) {
            // The dependency descriptor counts frames, which go on counting over a change of layers only in the payload.
            extensions.user_values = UserExtensionValues::default();
        }
        let inbound = InboundPacket { rid, packet, codec, is_start, extensions, now };
        for participant in self.participants.values_mut().filter(|participant| participant.id != id) {
            participant.forward_packet(&mut context.io, &mut self.connections, track_id, &layers, &inbound);
        }
    }

    /// Requests the keyframes that a participant needs to start a track, to change its layer, or to recover from a loss; none before
    /// its media connection is up. Requests that are not due yet are made with a later tick.
    pub(crate) fn request_keyframes(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let is_connected = |participant: &&Participant| {
            self.connections.get(participant.downlink()).is_some_and(PeerConnection::is_connected)
        };
        let Some(participant) = self.participants.get(&id).filter(is_connected) else { return };
        let is_video = |each: &&Subscription| {
            each.is_ready && each.down_track.kind == MediaKind::Video && !each.down_track.settings.disabled
        };
        let needs = |each: &Subscription| {
            let publisher = self.participants.get(&each.publisher)?;
            let track = publisher.tracks.iter().find(|track| track.id == each.track && !track.info.muted)?;
            let layer =
                each.down_track.needs_keyframe(track.receiver.layers.pli_layer(&each.down_track.settings, now))?;
            track.receiver.pli.is_due(layer, now).then_some((each.publisher, track.id, track.mid?, layer))
        };
        let due: Vec<_> = participant.subscriptions.iter().filter(is_video).filter_map(needs).collect();
        for (publisher, track, mid, layer) in due {
            let is_admitted = self.participants.get_mut(&id).is_some_and(|participant| {
                let budget =
                    participant.pli_budgets.entry(track).or_insert_with(|| TokenBucket::new(SUBSCRIBER_PLI_BURST, now));
                let has_one = budget.has(SUBSCRIBER_PLI_INTERVAL, now);
                if has_one {
                    budget.take(SUBSCRIBER_PLI_INTERVAL, now);
                }
                has_one
            });
            let Some(publisher) = self.participants.get_mut(&publisher).filter(|_| is_admitted) else { continue };
            if let Some(track) = publisher.tracks.iter_mut().find(|each| each.id == track) {
                track.receiver.pli.note_sent(layer, now);
                if let Some(connection) = self.connections.get_mut(publisher.uplink()) {
                    connection.request_keyframe(&mut context.io, mid, layer);
                }
            }
        }
        self.prune_pli_budgets(id);
    }

    /// A subscriber has lost what it cannot do without: its client asks for a keyframe of what it is sent.
    pub(crate) fn forward_pli(&mut self, context: &mut Context<'_>, id: SessionId, mid: Mid) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(subscription) = participant.subscriptions.iter_mut().find(|each| each.mid == Some(mid)) else {
            return;
        };
        subscription.down_track.on_pli();
        self.request_keyframes(context, id);
    }

    /// Forgets the PLIs of tracks that a subscriber is not sent, if there are many: a track that is unsubscribed and subscribed
    /// again in between has the same limit.
    fn prune_pli_budgets(&mut self, id: SessionId) {
        let Some(participant) =
            self.participants.get_mut(&id).filter(|participant| participant.pli_budgets.len() > MAX_COUNTED_TRACKS)
        else {
            return;
        };
        let tracks: HashSet<TrackId> = participant.subscriptions.iter().map(|each| each.track).collect();
        participant.pli_budgets.retain(|track, _| tracks.contains(track));
    }

    /// Retransmits the packets of a section that a participant reports as lost.
    pub(crate) fn retransmit(&mut self, context: &mut Context<'_>, id: SessionId, mid: Mid, nack: &[NackEntry]) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(connection) = self.connections.get_mut((id, SignalTarget::Subscriber)) else { return };
        let subscription = participant.subscriptions.iter_mut().find(|each| each.mid == Some(mid) && each.is_ready);
        if let Some(subscription) = subscription {
            subscription.down_track.retransmit(&mut context.io, connection, mid, nack);
        }
    }

    /// Sends a participant stand-ins for the tracks that it waits for the first packet of.
    pub(crate) fn fill_silent_tracks(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) =
            self.participants.get(&id).filter(|participant| participant.reception.needs_first_packet)
        else {
            return;
        };
        let is_due = |each: &&Subscription| each.is_ready && each.fill_until.is_some_and(|until| now < until);
        let format = |each: &Subscription| {
            let track = self.participants.get(&each.publisher)?.tracks.iter().find(|track| track.id == each.track)?;
            Some((each.track, FillerFormat::of(&track.info.mime_type)?))
        };
        let due: Vec<_> = participant.subscriptions.iter().filter(is_due).filter_map(format).collect();
        let Some(participant) = self.participants.get_mut(&id).filter(|_| !due.is_empty()) else { return };
        let Some(connection) = self.connections.get_mut(participant.downlink()) else { return };
        if connection.is_connected() {
            for (track, format) in due {
                participant.send_filler(&mut context.io, connection, track, format);
            }
        }
    }
}

impl Participant {
    /// Sends a packet of a track, if it is subscribed to it.
    fn forward_packet(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        track: TrackId,
        layers: &Layers,
        inbound: &InboundPacket<'_>,
    ) {
        let Some(connection) = connections.get_mut(self.downlink()) else { return };
        let Some(each) = self.subscriptions.iter_mut().find(|each| each.track == track && each.is_ready) else {
            return;
        };
        let Some(mid) = each.mid.filter(|_| connection.is_connected()) else { return };
        if each.down_track.write_rtp(io, connection, mid, layers, inbound).is_err() {
            let track_sid = each.track_sid.clone();
            let err = proto::SubscriptionError::SeCodecUnsupported.into();
            self.send(Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid, err }));
        }
    }

    fn send_filler(&mut self, io: &mut Io<'_>, connection: &mut PeerConnection, track: TrackId, format: FillerFormat) {
        let Some(each) = self.subscriptions.iter_mut().find(|each| each.track == track) else { return };
        let Some(mid) = each.mid else { return };
        if !each.down_track.send_filler(io, connection, mid, format, &self.sif_trailer) {
            each.fill_until = None;
        }
    }
}

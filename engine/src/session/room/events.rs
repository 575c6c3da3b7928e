//! Events of peer connections, and timeouts of participants.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;

use crate::ids::{SessionId, SignalTarget, StreamId};
use crate::net::peer_connection::TransportEvent;
use crate::session::removal::Removal;
use crate::session::room::{Context, Room};

/// Maximum time from a join until media is connected; past it, the participant is removed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time without any packet from a connected participant; past it, it is removed. Clients send several packets in it.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between the end of a participant's media and its removal. The client's leave, which gives the reason, may arrive in it.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Maximum time without a signalling connection if media is silent, too; past it, the participant is removed.
const RESUME_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time without a signalling connection while media packets still arrive; past it, the participant is removed.
const MAX_RESUME_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum age of the last packet for which media counts as still arriving.
const RECENTLY: Duration = Duration::from_secs(5);

impl Room {
    /// Handles an event of a participant's peer connection.
    pub(crate) fn on_transport_event(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        target: SignalTarget,
        event: TransportEvent,
    ) {
        match event {
            TransportEvent::Packet { mid, rid, packet } => {
                self.on_rtp(context, StreamId { connection: (id, target), mid }, rid, &packet);
            }
            TransportEvent::KeyframeRequest(mid) => {
                let stream = StreamId { connection: (id, target), mid };
                self.router.on_pli(&mut context.io, &mut self.connections, stream);
            }
            TransportEvent::Nack { mid, entries } => {
                let stream = StreamId { connection: (id, target), mid };
                self.router.on_nack(&mut context.io, &mut self.connections, stream, &entries);
            }
            TransportEvent::Data { reliable, bytes } => self.on_data_packet(context, id, reliable, &bytes),
            TransportEvent::RawData(bytes) => self.on_raw_data(context, id, bytes),
            TransportEvent::Connected => self.on_connected(context, id),
            TransportEvent::ChannelOpen | TransportEvent::ChannelLow => {
                if let Some(participant) = self.participants.get_mut(&id)
                    && let Some(downlink) = self.connections.get_mut(participant.data_downlink())
                {
                    participant.data.flush(&mut context.io, downlink);
                }
            }
            TransportEvent::Stats(stats) => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.quality.on_stats(target, &stats);
                }
            }
            TransportEvent::Closed => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.media_closed_at.get_or_insert(context.io.now);
                }
            }
            TransportEvent::Failed => {
                self.remove(context, id, Removal::failure("peer connection failed"));
            }
        }
    }
}

impl Room {
    /// Runs the timeouts of a participant and the work that waits for a tick.
    pub(crate) fn tick_participant(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        let silence = since(participant.last_received_at(&self.connections));
        if participant.media_closed_at.is_some_and(|closed| since(closed) >= CLOSE_GRACE) {
            self.remove(context, id, Removal::failure("peer connection closed"));
            return;
        }
        if !participant.is_active() {
            if since(participant.joined) >= JOIN_TIMEOUT {
                let removal = Removal::disconnect(DisconnectReason::JoinFailure);
                self.remove(context, id, Removal { cause: Some("join timeout"), ..removal });
                return;
            }
        } else if silence >= MEDIA_TIMEOUT {
            let removal = Removal::full_reconnect(DisconnectReason::ConnectionTimeout);
            self.remove(context, id, Removal { cause: Some("media timeout"), ..removal });
            return;
        } else if let Some(without_signal) =
            participant.signal_lost_at.filter(|_| participant.signal.is_none()).map(since)
            && (without_signal >= MAX_RESUME_TIMEOUT || (without_signal >= RESUME_TIMEOUT && silence >= RECENTLY))
        {
            let removal = Removal::without_leave(DisconnectReason::ConnectionTimeout);
            self.remove(context, id, Removal { cause: Some("resume timeout"), ..removal });
            return;
        }
        participant.data.expire_rpcs(now);
        if participant.signal.is_some() && participant.negotiation.is_unanswered(now) {
            self.remove(context, id, Removal::failure("offer unanswered"));
            return;
        }
        self.tick_announcement(context, id);
        self.flush_pending_updates(id);
        self.tick_token(context, id);
        self.request_keyframes(context, id);
        self.send_fillers(context, id);
        self.retry_waiting_offer(context, id);
        self.negotiate(context, id);
    }
}

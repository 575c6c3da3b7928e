//! Joins and resumes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use tracing::info;

use crate::ids::{SessionId, SignalConnectionId, SignalTarget};
use crate::net::peer_connection::{CandidateFilter, PeerConnection};
use crate::registry::rooms::JoinOutcome;
use crate::session::client_configuration;
use crate::session::client_configuration::{ReceiveSupport, SectionReuse};
use crate::session::data::DataChannelState;
use crate::session::join::{JoinParams, SERVER_VERSION, server_info};
use crate::session::negotiation::Negotiation;
use crate::session::permissions::SubscriptionPermission;
use crate::session::quality::Quality;
use crate::session::refresh_token::RefreshToken;
use crate::session::removal::Removal;
use crate::session::room::participant::{Announcement, Participant, SimulatedResumeFailure};
use crate::session::room::updates::participant_update;
use crate::session::room::{Context, Room};

/// Interval of the client's pings, in seconds.
const PING_INTERVAL_SECS: i32 = 5;
/// Time after which a client without a pong considers its signalling connection lost, in seconds.
const PING_TIMEOUT_SECS: i32 = 15;

impl Participant {
    /// A participant that joins with a signalling connection, without tracks and subscriptions.
    fn new(
        (id, signal_id): (SessionId, SignalConnectionId),
        info: proto::ParticipantInfo,
        params: JoinParams,
        now: Instant,
    ) -> Self {
        let JoinParams { claims, grants, is_single, request, signal_sink } = params;
        let client = request.client_info;
        let can_subscribe = info.permission.as_ref().is_some_and(|granted| granted.can_subscribe);
        Self {
            id,
            info,
            protocol: client.as_ref().map_or(0, |client| client.protocol),
            configuration: client.as_ref().and_then(client_configuration::of),
            signal: Some((signal_id, signal_sink)),
            pending_updates: BTreeSet::new(),
            joined: now,
            announced: Announcement::No,
            signal_lost_at: None,
            media_closed_at: None,
            is_single,
            is_subscriber_primary: !is_single && can_subscribe,
            negotiation: Negotiation::new(client.as_ref().map(SectionReuse::of).unwrap_or_default()),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            auto_subscribe: request.connection_settings.is_none_or(|settings| settings.auto_subscribe),
            subscription_overrides: HashMap::new(),
            track_settings: HashMap::new(),
            subscription_permission: SubscriptionPermission::all(),
            denied: Vec::new(),
            data: DataChannelState::default(),
            receive_support: ReceiveSupport::of(&client.unwrap_or_default()),
            sif_trailer: rand::random(),
            quality: Quality::default(),
            token: RefreshToken::new(claims, grants, now),
            resume_failure: None,
        }
    }
}

impl Room {
    /// Adds a participant that was admitted to the room of the server API.
    pub(crate) fn add_participant(
        &mut self,
        context: &mut Context<'_>,
        (id, signal_id): (SessionId, SignalConnectionId),
        mut params: JoinParams,
        joined: JoinOutcome,
    ) {
        #[cfg(test)]
        super::panics::on_join(&joined.participant.identity);
        self.broadcast_departures();
        let was_known = self.remove_replaced(context, &joined);
        let tracks = std::mem::take(&mut params.request.add_track_requests);
        let offer = params.request.publisher_offer.take().filter(|offer| !offer.sdp.is_empty());
        let mut participant =
            Participant::new((id, signal_id), Arc::unwrap_or_clone(joined.participant), params, context.io.now);
        self.open_connections(context, &participant);
        let response = self.join_response(&participant, joined.room.to_proto());
        participant.send(Message::Join(response));
        let is_subscriber_primary = participant.is_subscriber_primary;
        let proto::ParticipantInfo { identity, sid, .. } = &participant.info;
        info!(room = self.name, participant = identity, session = id, sid, "participant joined");
        self.insert(participant);
        for track in tracks {
            self.add_track(context, id, track);
        }
        self.reconcile(context, id);
        if is_subscriber_primary {
            self.offer_data_channels(context, id);
        }
        match offer {
            Some(offer) => self.on_join_offer(context, id, offer),
            None => self.negotiate(context, id),
        }
        self.refresh_token(context, id);
        // The others know the replaced session, so they are sent the new one at once.
        if was_known {
            self.broadcast_participant(context, id, false);
        } else {
            self.update_info(context, id);
        }
        self.broadcast_room_update(context.services);
    }

    /// Removes the session that a join replaces. Returns whether others know it.
    fn remove_replaced(&mut self, context: &mut Context<'_>, joined: &JoinOutcome) -> bool {
        let sid = joined.replaced.as_ref().map(|replaced| &replaced.sid);
        let Some(replaced) = self
            .by_identity(&joined.participant.identity)
            .and_then(|id| self.participants.get(&id))
            .filter(|participant| Some(&participant.info.sid) == sid)
        else {
            return false;
        };
        let was_known = replaced.announced > Announcement::No && !replaced.is_hidden();
        let (replaced, was_hidden) = (replaced.id, replaced.is_hidden());
        // Others see a participant leave that rejoins as hidden.
        if !was_hidden && joined.participant.permission.as_ref().is_some_and(|granted| granted.hidden) {
            self.broadcast_as_left(replaced);
        }
        let removal = Removal { notify_others: false, ..Removal::disconnect(DisconnectReason::DuplicateIdentity) };
        self.remove(context, replaced, removal);
        was_known
    }

    /// Adds the peer connections of a participant that joins.
    fn open_connections(&mut self, context: &mut Context<'_>, participant: &Participant) {
        let is_tcp_only = self.tcp_only.contains(&participant.info.identity);
        let candidate_filter = if is_tcp_only { CandidateFilter::Tcp } else { CandidateFilter::All };
        let setup = (candidate_filter, client_configuration::has_av1(participant.configuration.as_ref()));
        let targets = [SignalTarget::Publisher, SignalTarget::Subscriber];
        for target in targets.into_iter().take(if participant.is_single { 1 } else { 2 }) {
            let connection = PeerConnection::new(participant.id, target, &mut context.io, setup);
            self.connections.insert((participant.id, target), connection);
        }
    }

    fn join_response(&mut self, participant: &Participant, room: proto::Room) -> proto::JoinResponse {
        proto::JoinResponse {
            room: Some(room),
            participant: Some(participant.info.clone()),
            other_participants: self.visible_participants(participant.id),
            server_version: SERVER_VERSION.to_owned(),
            subscriber_primary: participant.is_subscriber_primary,
            ping_timeout: PING_TIMEOUT_SECS,
            ping_interval: PING_INTERVAL_SECS,
            server_info: Some(server_info()),
            client_configuration: participant.configuration.clone(),
            enabled_publish_codecs: crate::session::publications::codecs(participant.configuration.as_ref()),
            fast_publish: true,
            sif_trailer: participant.sif_trailer.to_vec(),
            ..proto::JoinResponse::default()
        }
    }

    /// Resumes a session on a new signalling connection.
    pub(crate) fn resume(
        &mut self,
        context: &mut Context<'_>,
        (id, signal_id): (SessionId, SignalConnectionId),
        params: JoinParams,
    ) {
        self.broadcast_departures();
        let others = self.visible_participants(id);
        let Some(disconnected) =
            self.participants.get(&id).map(|participant| self.disconnected_since(participant.joined))
        else {
            return;
        };
        let room = self.to_proto(context.services);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let breaks = participant.resume_failure.take();
        participant.close_signal();
        if breaks == Some(SimulatedResumeFailure::BeforeMessages) {
            return;
        }
        participant.signal = Some((signal_id, params.signal_sink));
        info!(room = self.name, participant = participant.info.identity, session = id, "participant resumed");
        participant.pending_updates.clear();
        participant.signal_lost_at = None;
        participant.quality.reset_reported();
        participant.send(Message::Reconnect(proto::ReconnectResponse {
            server_info: Some(server_info()),
            client_configuration: participant.configuration.clone(),
            last_message_seq: participant.data.last_received(),
            ..proto::ReconnectResponse::default()
        }));
        let known: Vec<_> = disconnected.into_iter().chain(others).chain([participant.info.clone()]).collect();
        participant.send_shared(&participant_update(known));
        participant.send(Message::RoomUpdate(proto::RoomUpdate { room }));
        if breaks == Some(SimulatedResumeFailure::AfterMessages) {
            participant.close_signal();
            return;
        }
        let ids: Vec<SessionId> = self.participants.keys().copied().collect();
        for id in ids {
            self.notify_track_subscribed(id);
        }
        // Sent before `sync`, because that may require a rejoin with this token.
        self.refresh_token(context, id);
        self.restart_ice(context, id);
        if let Some(state) = params.request.sync_state {
            self.sync(context, id, state);
        }
    }

    /// Sends a participant a new token to rejoin with; none if the participant or the room is removed.
    pub(crate) fn refresh_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.token.mark_sent(context.io.now);
        // The server API deletes rooms on another thread, and participants are removed later. A token with the current count of
        // deletions would outlive the deletion, so `epoch_for` also checks that the participant is still in the room.
        let epoch = context.services.rooms(|rooms, now| rooms.epoch_for(&self.name, &self.sid, &participant.info, now));
        if let Some(token) = epoch.and_then(|epoch| participant.token.sign(context.services, &participant.info, epoch))
        {
            participant.send(Message::RefreshToken(token));
        }
    }

    /// Sends a participant a token after a change of its state, at once or within the minimum interval.
    pub(crate) fn token_changed(&mut self, context: &mut Context<'_>, id: SessionId) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.token.mark_stale();
            self.tick_token(context, id);
        }
    }

    /// Sends a participant a new token if it is due.
    pub(crate) fn tick_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let is_congested = participant.is_congested();
        if participant.token.is_due(is_congested, now) {
            self.refresh_token(context, id);
        }
    }

    /// Sends a participant its pending token before a leave that makes it rejoin.
    pub(crate) fn flush_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        if self.participants.get(&id).is_some_and(|participant| participant.token.is_stale()) {
            self.refresh_token(context, id);
        }
    }
}

//! How participants come into a room, and come back to it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::{Kind, State};
use proto::signal_response::Message;

use crate::auth::grants;
use crate::auth::token::Claims;
use crate::error::ApiError;
use crate::ids::{SessionId, SignalConnectionId, SignalTarget};
use crate::net::peer_connection::{CandidateFilter, PeerConnection};
use crate::registry::revocation::TokenEpoch;
use crate::registry::rooms::{Settings, TokenIssuedAt};
use crate::services::Services;
use crate::session::client_configuration;
use crate::session::client_configuration::{Reception, SectionReuse};
use crate::session::data::DataChannelState;
use crate::session::negotiation::Negotiation;
use crate::session::participant::{Announced, BreaksResume, Participant};
use crate::session::permissions::SubscriptionPermission;
use crate::session::quality::Quality;
use crate::session::room::{Context, Removal, Room, participant_update};
use crate::session::signal_channel::SignalSink;

/// How often a client says that it is there, and how long it waits for an answer, in seconds.
const PING_INTERVAL_SECS: i32 = 5;
const PING_TIMEOUT_SECS: i32 = 15;
/// Time after which a connected participant gets a new token though nothing has changed: half of what a token is good for.
const TOKEN_REFRESH: Duration = Duration::from_secs(5 * 60);
/// Minimum time between two tokens of one participant for changes of what a token says; later changes share the next one. A
/// token repeats the metadata, so one small update would otherwise cost a signature over up to 512 KiB.
const MIN_TOKEN_INTERVAL: Duration = Duration::from_secs(1);
/// The server that clients take this one for. They ask it what it can do by its version.
const SERVER_VERSION: &str = "1.13.5";
const PROTOCOL: i32 = 17;

/// What a participant joins with.
pub(crate) struct JoinParams {
    pub(crate) claims: Claims,
    pub(crate) grants: VideoGrants,
    /// With one peer connection, of which the client is always the offerer.
    pub(crate) is_single: bool,
    /// What it asks for, however it was asked.
    pub(crate) request: proto::JoinRequest,
    pub(crate) signal_sink: SignalSink,
}

/// What a participant may ask for a new token with.
pub(crate) struct Credentials {
    claims: Claims,
    grants: VideoGrants,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// A token that is good for ten minutes from now on, with what the participant is by now. `mark` says that the participant
    /// was in its room when the token was made.
    fn refresh_token(&self, services: &Services, info: &proto::ParticipantInfo, epoch: TokenEpoch) -> Option<String> {
        let mut claims = self.claims.clone();
        claims.name.clone_from(&info.name);
        claims.metadata.clone_from(&info.metadata);
        claims.attributes.clone_from(&info.attributes);
        let mut grants = self.grants.clone();
        if let Some(permission) = &info.permission {
            grants::apply_to(permission, &mut grants);
        }
        claims.video = Some(grants);
        claims.epoch = Some(epoch);
        services.keys.sign(claims)
    }
}

/// The participant that those claims and wishes make.
pub(crate) fn participant(
    claims: &Claims,
    grants: &VideoGrants,
    request: &proto::JoinRequest,
) -> proto::ParticipantInfo {
    let or = |wished: &str, told: &str| if wished.is_empty() { told } else { wished }.to_owned();
    let mut attributes = claims.attributes.clone();
    // A client deletes no attribute of its token by joining.
    let own = request.participant_attributes.iter().filter(|(_, value)| !value.is_empty());
    attributes.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    let client = request.client_info.as_ref();
    // Each known one once, however often it comes: they are repeated in every update of the participant.
    let capabilities: BTreeSet<_> = client.into_iter().flat_map(proto::ClientInfo::capabilities).collect();
    proto::ParticipantInfo {
        identity: claims.identity().to_owned(),
        state: State::Joined.into(),
        metadata: or(&request.metadata, &claims.metadata),
        name: claims.name.clone(),
        permission: Some(grants::from_grants(grants)),
        kind: kind(&claims.kind).into(),
        attributes,
        client_protocol: client.map_or(0, |client| client.client_protocol),
        capabilities: capabilities.into_iter().map(Into::into).collect(),
        ..proto::ParticipantInfo::default()
    }
}

fn kind(claim: &str) -> Kind {
    Kind::from_str_name(&claim.to_ascii_uppercase()).unwrap_or(Kind::Standard)
}

/// What a room is made with that a join creates.
fn settings(claims: &Claims) -> Settings<'_> {
    claims.room_config.as_ref().map_or_else(Settings::default, |configured| Settings {
        empty_timeout: configured.empty_timeout,
        departure_timeout: configured.departure_timeout,
        max_participants: configured.max_participants,
        metadata: &configured.metadata,
    })
}

pub(crate) fn server_info() -> proto::ServerInfo {
    proto::ServerInfo {
        edition: proto::server_info::Edition::Standard.into(),
        version: SERVER_VERSION.to_owned(),
        protocol: PROTOCOL,
        ..proto::ServerInfo::default()
    }
}

impl JoinParams {
    fn issued_at(&self) -> TokenIssuedAt<'_> {
        TokenIssuedAt { epoch: self.claims.epoch.as_ref(), not_before: self.claims.not_before() }
    }

    /// Takes the place in the room, which is made if need be.
    ///
    /// # Errors
    /// What [`crate::registry::rooms::Rooms::join`] refuses.
    pub(crate) fn admit(&self, services: &Services) -> Result<crate::registry::rooms::JoinOutcome, ApiError> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        let settings = settings(&self.claims);
        services.rooms(|rooms, now| rooms.join(&self.grants.room, &settings, participant, self.issued_at(), now))
    }

    /// Whether it may come back.
    ///
    /// # Errors
    /// [`ApiError::Revoked`]
    pub(crate) fn check(&self, services: &Services) -> Result<(), ApiError> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        services.rooms(|rooms, now| rooms.check(&self.grants.room, &participant, self.issued_at(), now))
    }
}

impl Room {
    /// Lets a participant in that the rooms have let in.
    pub(crate) fn add_participant(
        &mut self,
        context: &mut Context<'_>,
        (id, signal_id): (SessionId, SignalConnectionId),
        params: JoinParams,
        joined: crate::registry::rooms::JoinOutcome,
    ) {
        #[cfg(test)]
        crate::session::panics::on_join(&joined.participant.identity);
        self.broadcast_departures();
        let sid = joined.replaced.map(|replaced| replaced.sid.clone());
        let mut was_known = false;
        if let Some(replaced) = self
            .by_identity(&joined.participant.identity)
            .and_then(|id| self.participants.get(&id))
            .filter(|participant| Some(&participant.info.sid) == sid.as_ref())
        {
            was_known = replaced.announced > Announced::No && !replaced.is_hidden();
            let (replaced, was_hidden) = (replaced.id, replaced.is_hidden());
            // Whoever comes back hidden has gone for the others.
            if !was_hidden && joined.participant.permission.as_ref().is_some_and(|granted| granted.hidden) {
                self.broadcast_as_left(replaced);
            }
            let removal = Removal { notify_others: false, ..Removal::disconnect(DisconnectReason::DuplicateIdentity) };
            self.remove(context, replaced, removal);
        }
        let JoinParams { claims, grants, is_single, request, signal_sink } = params;
        let wished = request.connection_settings.unwrap_or_else(|| proto::ConnectionSettings {
            auto_subscribe: true,
            ..proto::ConnectionSettings::default()
        });
        let reception = Reception::of(request.client_info.as_ref().unwrap_or(&proto::ClientInfo::default()));
        let offers = !is_single && joined.participant.permission.as_ref().is_some_and(|granted| granted.can_subscribe);
        let candidate_filter = if self.tcp_only.contains(&joined.participant.identity) {
            CandidateFilter::Tcp
        } else {
            CandidateFilter::All
        };
        let configuration = request.client_info.as_ref().and_then(client_configuration::of);
        let reuse = request.client_info.as_ref().map(SectionReuse::of).unwrap_or_default();
        let setup = (candidate_filter, client_configuration::has_av1(configuration.as_ref()));
        let targets = [SignalTarget::Publisher, SignalTarget::Subscriber];
        for target in targets.into_iter().take(if is_single { 1 } else { 2 }) {
            let connection = PeerConnection::new(id, target, &mut context.io, setup);
            self.connections.insert((id, target), connection);
        }
        let mut participant = Participant {
            id,
            info: Arc::unwrap_or_clone(joined.participant),
            credentials: Credentials { claims, grants },
            protocol: request.client_info.map_or(0, |client| client.protocol),
            configuration,
            signal: Some((signal_id, signal_sink)),
            pending_updates: BTreeSet::new(),
            joined: context.io.now,
            announced: Announced::No,
            signal_lost_at: None,
            media_closed_at: None,
            is_single,
            is_subscriber_primary: offers,
            negotiation: Negotiation::new(reuse),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            auto_subscribe: wished.auto_subscribe,
            subscription_overrides: HashMap::new(),
            track_settings: HashMap::new(),
            subscription_permission: SubscriptionPermission::all(),
            denied: Vec::new(),
            data: DataChannelState::default(),
            reception,
            sif_trailer: rand::random(),
            quality: Quality::default(),
            token: TokenState::new(context.io.now),
            breaks_resume: None,
        };
        participant.send(Message::Join(proto::JoinResponse {
            room: Some(joined.room.to_proto()),
            participant: Some(participant.info.clone()),
            other_participants: self.visible_participants(id),
            server_version: SERVER_VERSION.to_owned(),
            subscriber_primary: offers,
            ping_timeout: PING_TIMEOUT_SECS,
            ping_interval: PING_INTERVAL_SECS,
            server_info: Some(server_info()),
            client_configuration: participant.configuration.clone(),
            enabled_publish_codecs: crate::session::publications::codecs(participant.configuration.as_ref()),
            fast_publish: true,
            sif_trailer: participant.sif_trailer.to_vec(),
            ..proto::JoinResponse::default()
        }));
        self.insert(participant);
        for track in request.add_track_requests {
            self.add_track(context, id, track);
        }
        self.reconcile(context, id);
        if offers {
            self.offer_data_channels(context, id);
        }
        match request.publisher_offer.filter(|offer| !offer.sdp.is_empty()) {
            Some(offer) => self.on_join_offer(context, id, offer),
            None => self.negotiate(context, id),
        }
        self.refresh_token(context, id);
        // The others know the session that this one replaces.
        if was_known {
            self.broadcast_participant(context, id, false);
        } else {
            self.update_info(context, id);
        }
        self.broadcast_room_update(context.services);
    }

    /// Goes on with a participant whose signalling comes by a new connection now.
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
        let breaks = participant.breaks_resume.take();
        participant.close_signal();
        if breaks == Some(BreaksResume::BeforeMessages) {
            return;
        }
        participant.signal = Some((signal_id, params.signal_sink));
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
        if breaks == Some(BreaksResume::AfterMessages) {
            participant.close_signal();
            return;
        }
        let ids: Vec<SessionId> = self.participants.keys().copied().collect();
        for id in ids {
            self.notify_track_subscribed(id);
        }
        // Before what may make it join anew, with that token.
        self.refresh_token(context, id);
        self.restart_ice(context, id);
        if let Some(state) = params.request.sync_state {
            self.sync(context, id, state);
        }
    }

    /// Sends a participant the token that it will come back with; none if the participant or the room is gone by now.
    pub(crate) fn refresh_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.token.sent_at = context.io.now;
        participant.token.is_stale = false;
        // A room is deleted on another thread, and its participants go later. Marked with the deletions so far, a token that is
        // made meanwhile would be one from after the deletion.
        let epoch = context.services.rooms(|rooms, now| rooms.epoch_for(&self.name, &self.sid, &participant.info, now));
        if let Some(token) =
            epoch.and_then(|epoch| participant.credentials.refresh_token(context.services, &participant.info, epoch))
        {
            participant.send(Message::RefreshToken(token));
        }
    }

    /// Sends a participant a token with what has changed about it, at once or within [`MIN_TOKEN_INTERVAL`].
    pub(crate) fn token_changed(&mut self, context: &mut Context<'_>, id: SessionId) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.token.is_stale = true;
            self.tick_token(context, id);
        }
    }

    /// Sends a participant a new token if it is time for one.
    pub(crate) fn tick_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.token.is_stale && participant.token.may_change(now) && !participant.is_congested() {
            participant.token.changed_at = Some(now);
        } else if now.saturating_duration_since(participant.token.sent_at) < TOKEN_REFRESH {
            return;
        }
        self.refresh_token(context, id);
    }

    /// Sends a participant the token that waits, before it is told to join anew.
    pub(crate) fn flush_token(&mut self, context: &mut Context<'_>, id: SessionId) {
        if self.participants.get(&id).is_some_and(|participant| participant.token.is_stale) {
            self.refresh_token(context, id);
        }
    }
}

/// Which token a participant was sent last.
#[derive(Debug)]
pub(crate) struct TokenState {
    sent_at: Instant,
    /// When the last one was sent because something had changed.
    changed_at: Option<Instant>,
    /// Whether something has changed since.
    is_stale: bool,
}

impl TokenState {
    fn new(sent_at: Instant) -> Self {
        Self { sent_at, changed_at: None, is_stale: false }
    }

    fn may_change(&self, now: Instant) -> bool {
        self.changed_at.is_none_or(|at| now.saturating_duration_since(at) >= MIN_TOKEN_INTERVAL)
    }
}

/// Tells a client that the session it would resume is no more: it joins anew at once.
pub(crate) fn refuse_resume(signal_sink: &SignalSink) {
    let leave = proto::LeaveRequest {
        can_reconnect: true,
        reason: DisconnectReason::StateMismatch.into(),
        action: Action::Reconnect.into(),
        regions: None,
    };
    signal_sink.send(&crate::session::signal_channel::SignalMessage::new(Message::Leave(leave)));
}

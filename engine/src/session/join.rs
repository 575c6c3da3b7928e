//! How participants come into a room, and come back to it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::{Kind, State};
use proto::signal_response::Message;

use crate::auth::token::Claims;
use crate::engine::Shared;
use crate::error::Refusal;
use crate::net::peer_connection::{Transport, Ways};
use crate::registry::revocation::Mark;
use crate::registry::rooms::{Minted, Settings};
use crate::session::client_configuration::{Reception, SectionReuse};
use crate::session::data::Mail;
use crate::session::negotiation::Negotiation;
use crate::session::participant::{Announced, BreaksResume, Peer};
use crate::session::permissions::{self, Audience};
use crate::session::quality::Quality;
use crate::session::room::{Context, Farewell, Room, update};
use crate::session::signal_channel::Outbox;
use crate::session::{LinkId, PeerId, Side, client_configuration};

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
pub(crate) struct Joining {
    pub(crate) claims: Claims,
    pub(crate) grants: VideoGrants,
    /// With one peer connection, of which the client is always the offerer.
    pub(crate) is_single: bool,
    /// What it asks for, however it was asked.
    pub(crate) request: proto::JoinRequest,
    pub(crate) outbox: Outbox,
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
    fn refreshed(&self, shared: &Shared, info: &proto::ParticipantInfo, mark: Mark) -> Option<String> {
        let mut claims = self.claims.clone();
        claims.name.clone_from(&info.name);
        claims.metadata.clone_from(&info.metadata);
        claims.attributes.clone_from(&info.attributes);
        let mut grants = self.grants.clone();
        if let Some(permission) = &info.permission {
            permissions::write(permission, &mut grants);
        }
        claims.video = Some(grants);
        claims.mark = Some(mark);
        shared.keys.sign(claims)
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
        permission: Some(permissions::read(grants)),
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

impl Joining {
    fn minted(&self) -> Minted<'_> {
        Minted { mark: self.claims.mark.as_ref(), not_before: self.claims.not_before() }
    }

    /// Takes the place in the room, which is made if need be.
    ///
    /// # Errors
    /// What [`crate::registry::rooms::Rooms::join`] refuses.
    pub(crate) fn admit(&self, shared: &Shared) -> Result<crate::registry::rooms::Joined, Refusal> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        let settings = settings(&self.claims);
        shared.rooms(|rooms, now| rooms.join(&self.grants.room, &settings, participant, self.minted(), now))
    }

    /// Whether it may come back.
    ///
    /// # Errors
    /// [`Refusal::Revoked`]
    pub(crate) fn check(&self, shared: &Shared) -> Result<(), Refusal> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        shared.rooms(|rooms, now| rooms.check(&self.grants.room, &participant, self.minted(), now))
    }
}

impl Room {
    /// Lets a participant in that the rooms have let in.
    pub(crate) fn join(
        &mut self,
        context: &mut Context<'_>,
        (id, link): (PeerId, LinkId),
        joining: Joining,
        joined: crate::registry::rooms::Joined,
    ) {
        #[cfg(test)]
        crate::session::panics::on_join(&joined.participant.identity);
        let sid = joined.replaced.map(|replaced| replaced.sid);
        let mut was_known = false;
        if let Some(replaced) = self.peers.values().find(|peer| Some(&peer.info.sid) == sid.as_ref()) {
            was_known = replaced.announced > Announced::No && !replaced.is_hidden();
            let (replaced, was_hidden) = (replaced.id, replaced.is_hidden());
            // Whoever comes back hidden has gone for the others.
            if !was_hidden && joined.participant.permission.as_ref().is_some_and(|granted| granted.hidden) {
                self.vanish(replaced);
            }
            let farewell = Farewell { is_seen: false, ..Farewell::for_good(DisconnectReason::DuplicateIdentity) };
            self.remove(context, replaced, farewell);
        }
        let Joining { claims, grants, is_single, request, outbox } = joining;
        let wished = request.connection_settings.unwrap_or_else(|| proto::ConnectionSettings {
            auto_subscribe: true,
            ..proto::ConnectionSettings::default()
        });
        let reception = Reception::of(request.client_info.as_ref().unwrap_or(&proto::ClientInfo::default()));
        let offers = !is_single && joined.participant.permission.as_ref().is_some_and(|granted| granted.can_subscribe);
        let ways = if self.over_tcp.contains(&joined.participant.identity) { Ways::Tcp } else { Ways::All };
        let configuration = request.client_info.as_ref().and_then(client_configuration::of);
        let reuse = request.client_info.as_ref().map(SectionReuse::of).unwrap_or_default();
        let setup = (ways, client_configuration::has_av1(configuration.as_ref()));
        let mut peer = Peer {
            id,
            info: joined.participant,
            credentials: Credentials { claims, grants },
            protocol: request.client_info.map_or(0, |client| client.protocol),
            configuration,
            link: Some((link, outbox)),
            untold: BTreeSet::new(),
            joined: context.io.now,
            announced: Announced::No,
            silent_since: None,
            closed: None,
            publisher: Transport::new(id, Side::Publisher, &mut context.io, setup),
            subscriber: (!is_single).then(|| Transport::new(id, Side::Subscriber, &mut context.io, setup)),
            is_subscriber_primary: offers,
            negotiation: Negotiation::new(reuse),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            subscribes_to_all: wished.auto_subscribe,
            choices: HashMap::new(),
            settings: HashMap::new(),
            audience: Audience::everybody(),
            denied: Vec::new(),
            plis: HashMap::new(),
            mail: Mail::default(),
            reception,
            sif_trailer: rand::random(),
            quality: Quality::default(),
            token: TokenState::new(context.io.now),
            breaks_resume: None,
        };
        peer.send(Message::Join(proto::JoinResponse {
            room: Some(joined.room.describe()),
            participant: Some(peer.info.clone()),
            other_participants: self.list_others(id),
            server_version: SERVER_VERSION.to_owned(),
            subscriber_primary: offers,
            ping_timeout: PING_TIMEOUT_SECS,
            ping_interval: PING_INTERVAL_SECS,
            server_info: Some(server_info()),
            client_configuration: peer.configuration.clone(),
            enabled_publish_codecs: crate::session::publications::codecs(peer.configuration.as_ref()),
            fast_publish: true,
            sif_trailer: peer.sif_trailer.to_vec(),
            ..proto::JoinResponse::default()
        }));
        self.peers.insert(id, peer);
        for track in request.add_track_requests {
            self.add_track(context, id, track);
        }
        self.reconcile(context, id);
        if offers {
            self.offer_channels(context, id);
        }
        match request.publisher_offer.filter(|offer| !offer.sdp.is_empty()) {
            Some(offer) => self.take_first_offer(context, id, offer),
            None => self.negotiate(context, id),
        }
        self.refresh_token(context, id);
        // The others know the session that this one replaces.
        if was_known {
            self.announce(context, id, false);
        } else {
            self.update_info(context, id);
        }
        self.announce_room(context.shared);
    }

    /// Goes on with a participant whose signalling comes by a new connection now.
    pub(crate) fn resume(&mut self, context: &mut Context<'_>, (id, link): (PeerId, LinkId), joining: Joining) {
        let others = self.list_others(id);
        let Some(departed) = self.peers.get(&id).map(|peer| self.departed_since(peer.joined)) else { return };
        let room = self.to_proto(context.shared);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let breaks = peer.breaks_resume.take();
        peer.hang_up();
        if breaks == Some(BreaksResume::BeforeMessages) {
            return;
        }
        peer.link = Some((link, joining.outbox));
        peer.untold.clear();
        peer.silent_since = None;
        peer.quality.forget_told();
        peer.send(Message::Reconnect(proto::ReconnectResponse {
            server_info: Some(server_info()),
            client_configuration: peer.configuration.clone(),
            last_message_seq: peer.mail.last_received(),
            ..proto::ReconnectResponse::default()
        }));
        let known: Vec<_> = departed.into_iter().chain(others).chain([peer.info.clone()]).collect();
        peer.send_shared(&update(known));
        peer.send(Message::RoomUpdate(proto::RoomUpdate { room }));
        if breaks == Some(BreaksResume::AfterMessages) {
            peer.hang_up();
            return;
        }
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.tell_publishers(id);
        }
        // Before what may make it join anew, with that token.
        self.refresh_token(context, id);
        self.restart_ice(context, id);
        if let Some(state) = joining.request.sync_state {
            self.sync(context, id, state);
        }
    }

    /// Sends a participant the token that it will come back with; none if the participant or the room is gone by now.
    pub(crate) fn refresh_token(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.token.sent_at = context.io.now;
        peer.token.is_stale = false;
        // A room is deleted on another thread, and its participants go later. Marked with the deletions so far, a token that is
        // made meanwhile would be one from after the deletion.
        let mark = context.shared.rooms(|rooms, now| rooms.mark_for(&self.name, &self.sid, &peer.info, now));
        if let Some(token) = mark.and_then(|mark| peer.credentials.refreshed(context.shared, &peer.info, mark)) {
            peer.send(Message::RefreshToken(token));
        }
    }

    /// Sends a participant a token with what has changed about it, at once or within [`MIN_TOKEN_INTERVAL`].
    pub(crate) fn token_changed(&mut self, context: &mut Context<'_>, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.token.is_stale = true;
            self.tick_token(context, id);
        }
    }

    /// Sends a participant a new token if it is time for one.
    pub(crate) fn tick_token(&mut self, context: &mut Context<'_>, id: PeerId) {
        let now = context.io.now;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.token.is_stale && peer.token.may_change(now) && !peer.is_behind() {
            peer.token.changed_at = Some(now);
        } else if now.saturating_duration_since(peer.token.sent_at) < TOKEN_REFRESH {
            return;
        }
        self.refresh_token(context, id);
    }

    /// Sends a participant the token that waits, before it is told to join anew.
    pub(crate) fn flush_token(&mut self, context: &mut Context<'_>, id: PeerId) {
        if self.peers.get(&id).is_some_and(|peer| peer.token.is_stale) {
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
pub(crate) fn refuse_resume(outbox: &Outbox) {
    let leave = proto::LeaveRequest {
        can_reconnect: true,
        reason: DisconnectReason::StateMismatch.into(),
        action: Action::Reconnect.into(),
        regions: None,
    };
    outbox.send(&crate::session::signal_channel::Signal::new(Message::Leave(leave)));
}

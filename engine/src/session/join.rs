//! Parameters of a join, and its admission to the rooms of the server API.

use std::collections::BTreeSet;

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::{Kind, State};
use proto::signal_response::Message;

use crate::auth::grants;
use crate::auth::token::Claims;
use crate::error::ApiError;
use crate::registry::rooms::{JoinOutcome, Settings, TokenIssuedAt};
use crate::services::Services;
use crate::session::signal_channel::{SignalMessage, SignalSink};

/// The livekit-server version that clients are sent. They derive the features of a server from it.
pub(crate) const SERVER_VERSION: &str = "1.13.5";
/// Version of the signalling protocol.
const PROTOCOL: i32 = 17;

/// Parameters of a join or resume.
pub(crate) struct JoinParams {
    pub(crate) claims: Claims,
    pub(crate) grants: VideoGrants,
    /// Whether the client uses one peer connection, which it always offers, instead of two.
    pub(crate) is_single: bool,
    pub(crate) request: proto::JoinRequest,
    pub(crate) signal_sink: SignalSink,
}

/// The participant that joins with these claims and this request.
pub(crate) fn participant(
    claims: &Claims,
    grants: &VideoGrants,
    request: &proto::JoinRequest,
) -> proto::ParticipantInfo {
    let or = |requested: &str, claimed: &str| if requested.is_empty() { claimed } else { requested }.to_owned();
    let mut attributes = claims.attributes.clone();
    // An empty value would delete an attribute, but a join request cannot delete attributes of the token.
    let own = request.participant_attributes.iter().filter(|(_, value)| !value.is_empty());
    attributes.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    let client = request.client_info.as_ref();
    // Known capabilities, without duplicates, because each update of the participant repeats them.
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

/// Settings of a room that a join creates.
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

    /// Adds the participant to its room in the server API; creates the room if necessary.
    ///
    /// # Errors
    /// Those of [`crate::registry::rooms::Rooms::join`].
    pub(crate) fn admit(&self, services: &Services) -> Result<JoinOutcome, ApiError> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        let settings = settings(&self.claims);
        services.rooms(|rooms, now| rooms.join(&self.grants.room, &settings, participant, self.issued_at(), now))
    }

    /// Checks whether the participant may resume.
    ///
    /// # Errors
    /// [`ApiError::Revoked`]
    pub(crate) fn check(&self, services: &Services) -> Result<(), ApiError> {
        let participant = participant(&self.claims, &self.grants, &self.request);
        services.rooms(|rooms, now| rooms.check(&self.grants.room, &participant, self.issued_at(), now))
    }
}

/// Makes a client rejoin at once, because the session that it resumes no longer exists.
pub(crate) fn refuse_resume(signal_sink: &SignalSink) {
    let leave = proto::LeaveRequest {
        can_reconnect: true,
        reason: DisconnectReason::StateMismatch.into(),
        action: Action::Reconnect.into(),
        regions: None,
    };
    signal_sink.send(&SignalMessage::new(Message::Leave(leave)));
}

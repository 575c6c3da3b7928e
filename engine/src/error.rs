use std::time::Duration;

use livekit_protocol as proto;
use thiserror::Error;

/// The most bytes of UTF-8 in the name of a room or participant; the limits are livekit-server's own defaults.
pub const MAX_NAME_BYTES: usize = 256;
/// The most bytes of metadata.
pub const MAX_METADATA_BYTES: usize = 512 * 1024;
/// The most bytes of attributes, keys and values together.
pub const MAX_ATTRIBUTES_BYTES: usize = 64 * 1024;

/// Why a request is refused, in livekit-server's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The token does not allow it.
    #[error("permissions denied")]
    Permissions,
    /// There is no such room.
    #[error("requested room does not exist")]
    NoRoom,
    /// There is no such participant.
    #[error("participant does not exist")]
    NoParticipant,
    /// The room's name is too long.
    #[error("room name length exceeds limits: max length {MAX_NAME_BYTES}")]
    RoomName,
    /// A participant's name is too long.
    #[error("name length exceeds limits {MAX_NAME_BYTES}")]
    Name,
    /// The metadata is too long.
    #[error("metadata size exceeds limits {MAX_METADATA_BYTES}")]
    Metadata,
    /// The attributes are too long.
    #[error("attribute size exceeds limits {MAX_ATTRIBUTES_BYTES}")]
    Attributes,
    /// A named configuration: there are none here.
    #[error("unknown room configuration in create room request")]
    RoomPreset,
    /// A call of a method without its callee.
    #[error("destination identity is required")]
    NoDestinationIdentity,
    /// From a room into itself.
    #[error("destination room cannot be the same as source room ")]
    SameRoom,
    /// A nonce is a UUID.
    #[error("nonce should be 16-bytes or not present, got: {0} bytes")]
    Nonce(usize),
    /// A feature that the engine does not have.
    #[error("{0}: not supported by this server")]
    Unsupported(&'static str),
    /// What livekit-server has not either.
    #[error("not implemented")]
    NotImplemented,
    /// The token is older than the last deletion of its room that revokes, or does not say that it is not.
    #[error("invalid authorization token: it was minted before its room was deleted, or has no nbf from after that")]
    Revoked,
    /// Who was muted unmutes itself.
    #[error("remote unmute not enabled")]
    RemoteUnmute,
    /// The engine carries as many connections as it may, or its media has ended.
    #[error("the engine takes no more participants")]
    Overloaded,
    /// The machine gives no sockets or thread for media.
    #[error("the engine cannot open its media ports")]
    NoNetwork,
    /// The participant has not answered in time.
    #[error("{0}")]
    Rpc(RpcError),
    /// The room has as many participants as it may have.
    #[error("room has exceeded its max participants")]
    RoomFull,
}

impl ApiError {
    /// The code of the Twirp error, and its HTTP status.
    #[must_use]
    pub fn code(&self) -> (&'static str, u16) {
        match self {
            Self::Permissions | Self::Revoked => ("unauthenticated", 401),
            Self::NoRoom | Self::NoParticipant => ("not_found", 404),
            Self::RoomName
            | Self::Name
            | Self::Metadata
            | Self::Attributes
            | Self::RoomPreset
            | Self::NoDestinationIdentity
            | Self::SameRoom
            | Self::Nonce(_) => ("invalid_argument", 400),
            Self::RoomFull => ("permission_denied", 403),
            Self::Unsupported(_) => ("unimplemented", 501),
            Self::NotImplemented => ("unknown", 500),
            Self::RemoteUnmute => ("failed_precondition", 412),
            Self::Overloaded | Self::NoNetwork => ("unavailable", 503),
            Self::Rpc(fault) => fault.code(),
        }
    }

    /// What the Twirp error names as the wrong argument, where livekit-server does.
    #[must_use]
    pub fn argument(&self) -> Option<&'static str> {
        match self {
            Self::Name => Some("name length exceeds limits"),
            Self::Metadata => Some("metadata size exceeds limits"),
            Self::Attributes => Some("attribute size exceeds limits"),
            Self::SameRoom => Some("destination room cannot be the same as source room"),
            _ => None,
        }
    }
}

/// Refuses what a room may not be created with, as far as [`crate::registry::rooms`] does not look at it. A feature that the engine does
/// not have is refused also for a live room, because the caller would wait for what never comes.
pub(crate) fn check_creation(request: &proto::CreateRoomRequest) -> Result<(), ApiError> {
    if request.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::RoomName);
    }
    check_metadata(&request.metadata)?;
    for agent in &request.agents {
        check_metadata(&agent.metadata)?;
        check_attributes(agent.attributes.iter())?;
    }
    let records =
        |egress: &proto::RoomEgress| egress.room.is_some() || egress.participant.is_some() || egress.tracks.is_some();
    let unsupported = [
        ("agents", !request.agents.is_empty()),
        ("egress", request.egress.as_ref().is_some_and(records)),
        ("a playout delay", request.min_playout_delay > 0 || request.max_playout_delay > 0),
        ("synchronized streams", request.sync_streams),
        ("replay", request.replay_enabled),
    ];
    match unsupported.into_iter().find(|(_, is_wanted)| *is_wanted) {
        Some((feature, _)) => Err(ApiError::Unsupported(feature)),
        None => Ok(()),
    }
}

/// Refuses a participant with a longer name, metadata or attributes than an update could give it.
pub(crate) fn check_participant(participant: &proto::ParticipantInfo) -> Result<(), ApiError> {
    if participant.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::Name);
    }
    check_metadata(&participant.metadata)?;
    check_attributes(participant.attributes.iter())
}

pub(crate) fn check_metadata(metadata: &str) -> Result<(), ApiError> {
    if metadata.len() > MAX_METADATA_BYTES { Err(ApiError::Metadata) } else { Ok(()) }
}

pub(crate) fn check_attributes<'a>(attributes: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), ApiError> {
    let bytes: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTES_BYTES { Err(ApiError::Attributes) } else { Ok(()) }
}

/// Why a participant's method has given no answer, by LiveKit's codes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("RpcError {code}: {message}{}{data}", if data.is_empty() { "" } else { ": " })]
pub struct RpcError {
    code: u32,
    message: String,
    data: String,
}

impl RpcError {
    /// The most bytes of a call's payload.
    pub(crate) const MAX_PAYLOAD_BYTES: usize = 15 * 1024;
    /// How soon a participant has to say that it has got the call.
    pub(crate) const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

    fn new(code: u32, message: &str) -> Self {
        Self { code, message: message.to_owned(), data: String::new() }
    }

    pub(crate) fn too_large() -> Self {
        Self::new(1402, "Request payload too large")
    }

    pub(crate) fn application() -> Self {
        Self::new(1500, "Application error in method handler")
    }

    pub(crate) fn no_connection() -> Self {
        Self::new(1501, "Connection timeout")
    }

    pub(crate) fn no_response() -> Self {
        Self::new(1502, "Response timeout")
    }

    pub(crate) fn disconnected() -> Self {
        Self::new(1503, "Recipient disconnected")
    }

    fn code(&self) -> (&'static str, u16) {
        match self.code {
            1400 | 1402 => ("invalid_argument", 400),
            1401 => ("not_found", 404),
            1403 | 1404 => ("unimplemented", 501),
            1501 | 1502 => ("canceled", 408),
            1503 => ("unavailable", 503),
            _ => ("internal", 500),
        }
    }
}

impl From<&proto::RpcError> for RpcError {
    fn from(error: &proto::RpcError) -> Self {
        Self { code: error.code, message: error.message.clone(), data: error.data.clone() }
    }
}

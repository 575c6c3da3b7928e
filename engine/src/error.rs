use std::time::Duration;

use livekit_protocol as proto;
use thiserror::Error;

/// Maximum bytes of UTF-8 in the name or identity of a room or participant, the default of livekit-server. Past it, requests
/// are rejected.
pub const MAX_NAME_BYTES: usize = 256;
/// Maximum bytes of metadata, the default of livekit-server. Past it, requests are rejected.
pub const MAX_METADATA_BYTES: usize = 512 * 1024;
/// Maximum bytes of attributes, keys and values together, the default of livekit-server. Past it, requests are rejected.
pub const MAX_ATTRIBUTES_BYTES: usize = 64 * 1024;

/// Why a request is rejected, with livekit-server's message where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The token lacks a permission.
    #[error("permissions denied")]
    Permissions,
    /// The room is not open.
    #[error("requested room does not exist")]
    NoRoom,
    /// No participant with this identity is in the room.
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
    /// The request names a room configuration; the engine has none.
    #[error("unknown room configuration in create room request")]
    RoomPreset,
    /// `PerformRpc` without a destination.
    #[error("destination identity is required")]
    NoDestinationIdentity,
    /// Source and destination room are the same.
    #[error("destination room cannot be the same as source room ")]
    SameRoom,
    /// The nonce of a data packet is neither empty nor 16 bytes long.
    #[error("nonce should be 16-bytes or not present, got: {0} bytes")]
    Nonce(usize),
    /// The request needs a feature that the engine lacks.
    #[error("{0}: not supported by this server")]
    Unsupported(&'static str),
    /// A method that livekit-server lacks as well.
    #[error("not implemented")]
    NotImplemented,
    /// The token was revoked when its room was deleted, or has no `nbf` that shows otherwise.
    #[error("invalid authorization token: it was minted before its room was deleted, or has no nbf from after that")]
    Revoked,
    /// The server API may mute tracks only.
    #[error("remote unmute not enabled")]
    RemoteUnmute,
    /// A limit of the engine is reached, or the engine is closing.
    #[error("the engine accepts no more participants")]
    Overloaded,
    /// The sockets or the thread for media could not be created.
    #[error("the engine cannot open its media ports")]
    NoNetwork,
    /// The RPC failed.
    #[error("{0}")]
    Rpc(RpcError),
    /// The room has reached its `max_participants`.
    #[error("room has exceeded its max participants")]
    RoomFull,
}

impl ApiError {
    /// The Twirp error code and its HTTP status.
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
            Self::Rpc(error) => error.code(),
        }
    }

    /// The `argument` in the metadata of the Twirp error, as livekit-server sets it.
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

/// Checks the fields of a request that [`crate::registry::rooms`] does not store.
///
/// # Errors
/// The error for a name, metadata or attributes that are too long; [`ApiError::Unsupported`] for a feature that the engine
/// lacks, even if the room is open, because the caller would wait for it in vain.
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

/// Checks the name, metadata and attributes of a participant against the limits for updates.
pub(crate) fn check_participant(participant: &proto::ParticipantInfo) -> Result<(), ApiError> {
    if participant.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::Name);
    }
    check_metadata(&participant.metadata)?;
    check_attributes(participant.attributes.iter())
}

/// Checks the lengths of a new name, metadata and attributes.
pub(crate) fn check_update(request: &proto::UpdateParticipantRequest) -> Result<(), ApiError> {
    if request.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::Name);
    }
    check_metadata(&request.metadata)?;
    check_attributes(request.attributes.iter())
}

pub(crate) fn check_metadata(metadata: &str) -> Result<(), ApiError> {
    if metadata.len() > MAX_METADATA_BYTES { Err(ApiError::Metadata) } else { Ok(()) }
}

pub(crate) fn check_attributes<'a>(attributes: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), ApiError> {
    let bytes: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTES_BYTES { Err(ApiError::Attributes) } else { Ok(()) }
}

/// An RPC error with LiveKit's code, from the engine or from the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("RpcError {code}: {message}{}{data}", if data.is_empty() { "" } else { ": " })]
pub struct RpcError {
    code: u32,
    message: String,
    data: String,
}

impl RpcError {
    /// Maximum bytes of an RPC request's payload. Past it, the error is [`too_large`](Self::too_large).
    pub(crate) const MAX_PAYLOAD_BYTES: usize = 15 * 1024;
    /// Time for the recipient to acknowledge a request. Past it, the error is [`no_connection`](Self::no_connection).
    pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(2);

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

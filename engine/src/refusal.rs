use livekit_protocol as proto;
use thiserror::Error;

/// The most bytes of UTF-8 in the name of a room or participant; the limits are livekit-server's own defaults.
pub const MOST_NAME_BYTES: usize = 256;
/// The most bytes of metadata.
pub const MOST_METADATA_BYTES: usize = 512 * 1024;
/// The most bytes of attributes, keys and values together.
pub const MOST_ATTRIBUTES_BYTES: usize = 64 * 1024;

/// Why a request is refused, in livekit-server's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
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
    #[error("room name length exceeds limits: max length {MOST_NAME_BYTES}")]
    RoomName,
    /// A participant's name is too long.
    #[error("name length exceeds limits {MOST_NAME_BYTES}")]
    Name,
    /// The metadata is too long.
    #[error("metadata size exceeds limits {MOST_METADATA_BYTES}")]
    Metadata,
    /// The attributes are too long.
    #[error("attribute size exceeds limits {MOST_ATTRIBUTES_BYTES}")]
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
    /// It needs a participant's connection.
    #[error("this engine carries no media yet")]
    NoMedia,
    /// The room has as many participants as it may have.
    #[error("room has exceeded its max participants")]
    RoomFull,
}

impl Refusal {
    /// The code of the Twirp error, and its HTTP status.
    #[must_use]
    pub fn code(&self) -> (&'static str, u16) {
        match self {
            Self::Permissions => ("unauthenticated", 401),
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
            Self::NoMedia => ("unimplemented", 501),
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

/// Refuses what a room may not be created with, as far as [`crate::rooms`] does not look at it.
pub(crate) fn check_creation(request: &proto::CreateRoomRequest) -> Result<(), Refusal> {
    if request.name.len() > MOST_NAME_BYTES {
        return Err(Refusal::RoomName);
    }
    check_metadata(&request.metadata)?;
    for agent in &request.agents {
        check_metadata(&agent.metadata)?;
        check_attributes(agent.attributes.iter())?;
    }
    Ok(())
}

pub(crate) fn check_metadata(metadata: &str) -> Result<(), Refusal> {
    if metadata.len() > MOST_METADATA_BYTES { Err(Refusal::Metadata) } else { Ok(()) }
}

pub(crate) fn check_attributes<'a>(attributes: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), Refusal> {
    let bytes: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MOST_ATTRIBUTES_BYTES { Err(Refusal::Attributes) } else { Ok(()) }
}

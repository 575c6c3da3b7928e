use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ArgumentFault, MediaError};
use super::room::check_name;

/// A participant's identity, unique within its room, validated: 1 to 256 bytes of UTF-8, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// Validates the argument `parameter`.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] if it is empty, too long, or contains control characters.
    pub fn parse(parameter: &str, identity: String) -> Result<Self, MediaError> {
        check_name(parameter, &identity, identity.len())?;
        Ok(Self(identity))
    }

    /// The identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A participant on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Unique within the room.
    pub identity: String,
    /// Display name; may be empty.
    pub name: String,
    /// State of its connection.
    pub state: ParticipantState,
    /// Time of the join, in milliseconds since the epoch.
    pub joined_at: i64,
    /// Text that all participants receive.
    pub metadata: String,
    /// Key-value pairs that all participants receive.
    pub attributes: BTreeMap<String, String>,
    /// May publish audio and video.
    pub can_publish: bool,
    /// May subscribe to tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// Its published tracks.
    pub tracks: Vec<Track>,
}

/// Changes of a participant. Fields that are `None` stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantChange {
    /// Display name; not empty.
    pub name: Option<String>,
    /// Text that all participants receive; not empty.
    pub metadata: Option<String>,
    /// Key-value pairs to set; an empty value removes the key. Other keys stay.
    pub attributes: Vec<(String, String)>,
    /// Changes of the permissions.
    pub permissions: PermissionChange,
}

impl ParticipantChange {
    /// Validates the texts.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] for an empty name or empty metadata, which LiveKit ignores.
    pub fn check(&self) -> Result<(), MediaError> {
        for (field, text) in [("name", &self.name), ("metadata", &self.metadata)] {
            if text.as_ref().is_some_and(String::is_empty) {
                let parameter = format!("change.{field}");
                return Err(MediaError::InvalidArgument { parameter, fault: ArgumentFault::CannotClear });
            }
        }
        Ok(())
    }
}

/// Changes of a participant's permissions. Fields that are `None` stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermissionChange {
    /// May publish audio and video.
    pub can_publish: Option<bool>,
    /// May subscribe to tracks.
    pub can_subscribe: Option<bool>,
    /// May send data messages.
    pub can_publish_data: Option<bool>,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: Option<bool>,
    /// Hidden from the other participants.
    pub hidden: Option<bool>,
    /// Sources that it may publish.
    pub sources: Option<Vec<TrackSource>>,
}

impl PermissionChange {
    /// Whether no permission changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A data message to the participants of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// The payload.
    pub data: Vec<u8>,
    /// Identities of the recipients; empty: all participants.
    pub to: Vec<Identity>,
    /// The topic; `None` if the message has none.
    pub topic: Option<String>,
    /// Whether lost packets are retransmitted.
    pub reliable: bool,
}

/// State of a participant's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParticipantState {
    /// Signalling is connected.
    Joining,
    /// The server has received an offer.
    Joined,
    /// Media is connected.
    Active,
    /// Signalling is disconnected.
    Disconnected,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Track SID.
    pub sid: String,
    /// Its source.
    pub source: TrackSource,
    /// Its kind.
    pub kind: TrackKind,
    /// Whether it is muted.
    pub muted: bool,
}

/// Source of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackSource {
    /// The client named no source.
    Unknown,
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// Video of a shared screen.
    ScreenShare,
    /// Audio of a shared screen.
    ScreenShareAudio,
}

impl TrackSource {
    /// The sources that a grant can name.
    pub const GRANTABLE: [Self; 4] = [Self::Camera, Self::Microphone, Self::ScreenShare, Self::ScreenShareAudio];

    /// The source's name in a grant.
    #[must_use]
    pub fn as_grant(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::ScreenShare => "screen_share",
            Self::ScreenShareAudio => "screen_share_audio",
        }
    }
}

/// Kind of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
    /// Data.
    Data,
}

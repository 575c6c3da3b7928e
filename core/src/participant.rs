use std::collections::BTreeMap;

use serde::Serialize;

use super::error::MediaError;
use super::room::check_name;

/// Who a participant is within a room: 1 to 256 bytes, no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// Parses what the caller passed as `parameter`.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] if it is empty, too long, or holds control characters.
    pub fn parse(parameter: &str, identity: String) -> Result<Self, MediaError> {
        check_name(parameter, &identity, identity.len())?;
        Ok(Self(identity))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A participant as the server has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Unique within the room.
    pub identity: String,
    /// The name others see.
    pub name: String,
    /// How far its connection is.
    pub state: ParticipantState,
    /// Milliseconds since the epoch.
    pub joined_at: i64,
    /// Text handed to everyone in the room.
    pub metadata: String,
    /// Key and value texts handed to everyone in the room.
    pub attributes: BTreeMap<String, String>,
    /// May publish audio and video.
    pub can_publish: bool,
    /// May receive others' tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// What it has published.
    pub tracks: Vec<Track>,
}

/// How far a participant's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParticipantState {
    /// Signalling is connected.
    Joining,
    /// The server has the client's offer.
    Joined,
    /// Media can flow.
    Active,
    /// Signalling is gone.
    Disconnected,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Track {
    /// The server's id for it.
    pub sid: String,
    /// Where it comes from.
    pub source: TrackSource,
    /// What it carries.
    pub kind: TrackKind,
    /// Whether it is muted now.
    pub muted: bool,
}

/// Where a track comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackSource {
    /// The client did not say.
    Unknown,
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen's picture.
    ScreenShare,
    /// A shared screen's sound.
    ScreenShareAudio,
}

impl TrackSource {
    /// The sources that a token can name, in the order of their permission bits.
    pub const GRANTABLE: [Self; 4] = [Self::Camera, Self::Microphone, Self::ScreenShare, Self::ScreenShareAudio];

    /// The source as a grant names it.
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

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Neither.
    Data,
}

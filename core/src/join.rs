use super::participant::{Identity, TrackSource};
use super::room::{RoomName, RoomSettings};

/// Content of a join token: one room, one participant and its permissions.
#[derive(Debug, Clone)]
pub struct Join {
    /// The room.
    pub room: RoomName,
    /// The participant's identity.
    pub identity: Identity,
    /// Display name; may be empty.
    pub name: String,
    /// Permissions in the room.
    pub permissions: Permissions,
    /// Time of issue, in seconds since the epoch.
    pub now: u64,
    /// Seconds from then on until the token expires.
    pub ttl_secs: u32,
    /// Text that all participants receive; may be empty.
    pub metadata: String,
    /// Key-value pairs that all participants receive.
    pub attributes: Vec<(String, String)>,
    /// Settings of the room if the join creates it.
    pub room_settings: RoomSettings,
}

impl Join {
    /// Time of expiry, in seconds since the epoch.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.now + u64::from(self.ttl_secs)
    }
}

/// Permissions of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "five independent permissions, as LiveKit names them")]
pub struct Permissions {
    /// May publish audio and video.
    pub can_publish: bool,
    /// May subscribe to tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Hidden from the other participants.
    pub hidden: bool,
    /// Sources that it may publish; empty: all.
    pub sources: Vec<TrackSource>,
}

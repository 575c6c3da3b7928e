use super::participant::{Identity, TrackSource};
use super::room::{RoomName, RoomSettings};

/// What a join token is to say: one room, one participant, what it may do there.
#[derive(Debug, Clone)]
pub struct Join {
    /// The only room the token opens.
    pub room: RoomName,
    /// Whom it is for.
    pub identity: Identity,
    /// The name others see; may be empty.
    pub name: String,
    /// What it allows.
    pub permissions: Permissions,
    /// When it is minted, in seconds since the epoch.
    pub now: u64,
    /// Seconds from then on that it is good for joining.
    pub ttl_secs: u32,
    /// Text handed to everyone in the room; may be empty.
    pub metadata: String,
    /// Key and value texts handed to everyone in the room.
    pub attributes: Vec<(String, String)>,
    /// What the room is made with if this join creates it.
    pub room_settings: RoomSettings,
}

/// What a participant may do in its room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "five independent permissions, as LiveKit names them")]
pub struct Permissions {
    /// May publish audio and video.
    pub can_publish: bool,
    /// May receive others' tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Not shown to the others.
    pub hidden: bool,
    /// The only sources it may publish; empty: all.
    pub sources: Vec<TrackSource>,
}

//! Media rooms and tokens, on a LiveKit server or on an engine in this process. Knows nothing of Node.js.
//!
//! [`Provider`] is the boundary: [`livekit::LiveKit`] calls a server, [`embedded::Embedded`] calls the engine. Values
//! that cross it are plain types of this crate.

mod convert;
mod deadline;
pub mod embedded;
mod error;
mod join;
pub mod livekit;
mod participant;
mod provider;
mod room;
mod secret;
mod token;
pub mod webhook;

#[cfg(test)]
mod behaviour;

pub use deadline::Deadline;
pub use error::{ArgumentFault, BadResponseReason, ConfigFault, MediaError, Unreachable, Upstream, WebhookFault};
pub use join::{Join, Permissions};
pub use participant::{
    DataMessage, Identity, Participant, ParticipantChange, ParticipantState, PermissionChange, Track, TrackKind,
    TrackSource,
};
pub use provider::{Call, KeepAlive, MAX_RESULT_BYTES, Outcome, PendingCall, Provider};
pub use room::{Room, RoomName, RoomPrefix, RoomSettings, by_name};
pub use secret::Secret;

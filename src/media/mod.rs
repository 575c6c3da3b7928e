//! What rooms, participants and tokens are, whoever provides them: no network, no clock, no Node.

mod error;
mod join;
mod participant;
mod room;
mod secret;

pub use error::{ArgumentFault, ConfigFault, MediaError, Mismatch, Unreachable, Upstream};
pub use join::{Join, Permissions};
pub use participant::{Identity, Participant, ParticipantState, Track, TrackKind, TrackSource};
pub use room::{Room, RoomName, RoomPrefix, RoomSettings, by_name};
pub use secret::Secret;

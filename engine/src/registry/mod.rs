//! Rooms and their participants as the server API sees them, and revoked tokens: no clock, no lock, no network.

pub mod events;
pub mod revocation;
mod room;
mod room_list;
pub mod rooms;

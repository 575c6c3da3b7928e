//! What subscribers are sent of what is published.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

mod first_packets;
mod keyframes;
mod quality;
mod recycling;
mod retransmission;
mod sections;
mod settings;

const ROOM: &str = "r";

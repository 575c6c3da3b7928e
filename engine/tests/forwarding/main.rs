//! Forwarding of published tracks to subscribers.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

mod cpu;
mod first_packets;
mod keyframes;
mod large_rooms;
mod quality;
mod recycling;
mod retransmission;
mod sections;
mod settings;

const ROOM: &str = "r";

//! Rooms, participants, signalling, subscriptions and data messages. All of it runs on the media thread, which starts with the
//! first join. Other threads read and write signalling connections, and send API calls to the media thread.

mod api;
#[cfg(test)]
#[path = "../../tests/support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod client;
mod client_configuration;
mod data;
mod demux;
mod fair_queue;
mod join;
mod lane;
mod media_engine;
mod negotiation;
mod offer;
mod permissions;
mod publications;
mod quality;
mod reconcile_queue;
mod refresh_token;
mod removal;
mod room;
mod signal_channel;
#[cfg(test)]
mod stray_stun;
mod subscription;
mod worker;

pub(crate) use crate::net::sdp::shorten;
pub(crate) use client_configuration::augment;
pub(crate) use join::{JoinParams, participant};
pub(crate) use media_engine::MediaEngine;
pub(crate) use signal_channel::{OutgoingBudget, QueuedMessage, SignalStream, signal_channel};

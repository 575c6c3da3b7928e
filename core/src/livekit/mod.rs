//! Rooms on a LiveKit server, a cluster or LiveKit Cloud, over the Twirp API.

mod answer;
mod decode;
mod network;
mod regions;
mod rooms;
mod turns;
mod twirp;

pub use network::{Network, configure as configure_network};
pub use rooms::LiveKit;

use crate::Secret;

/// Where a LiveKit server is, and the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LiveKitConfig {
    /// Where clients connect; without it no token can be minted.
    pub url: Option<String>,
    /// Where the server API is reached, as http or https; without it no room can be reached.
    pub api_url: Option<String>,
    /// The API key.
    pub api_key: String,
    /// The API secret.
    pub api_secret: Secret,
}

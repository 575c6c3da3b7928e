//! Provider for LiveKit servers, clusters and LiveKit Cloud, over the Twirp API.

mod decode;
mod error_mapping;
mod network;
mod participants;
mod regions;
mod rooms;
mod single_flight;
mod twirp;

pub(crate) use error_mapping::is_permanent;
pub(crate) use network::webhook_client;
pub use network::{Network, configure as configure_network};
pub use rooms::LiveKit;

use crate::Secret;

/// URLs and credentials of a LiveKit server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LiveKitConfig {
    /// URL that clients connect to; without it no token can be generated.
    pub url: Option<String>,
    /// URL of the server API, http or https; without it room calls fail.
    pub api_url: Option<String>,
    /// The API key.
    pub api_key: String,
    /// The API secret.
    pub api_secret: Secret,
}

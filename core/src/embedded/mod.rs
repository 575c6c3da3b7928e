//! Provider on an engine in this process, without a server.

mod engines;
mod rooms;
mod webhooks;

use std::net::IpAddr;

pub use rooms::Embedded;

use crate::Secret;

/// Configuration of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmbeddedConfig {
    /// Use the shared engine of the process, instead of an own one.
    pub shared: bool,
    /// Address to listen on; `None`: loopback, or the address of the shared engine.
    pub host: Option<IpAddr>,
    /// Port to listen on; `None`: for the shared engine 7880 or the next free port, otherwise any free port.
    pub port: Option<u16>,
    /// Host that clients connect to, as in a URL; set together with `host`.
    pub advertised_host: Option<String>,
    /// URL that clients connect to, if a proxy is in front of the engine.
    pub public_url: Option<String>,
    /// UDP and TCP port for media; `None`: any free port, chosen at the first join.
    pub rtc_port: Option<u16>,
    /// Addresses that clients send media to; empty: the machine's own.
    pub rtc_addresses: Vec<IpAddr>,
    /// Receive media from other machines also while signalling listens on loopback.
    pub is_attached: bool,
    /// URLs that receive webhooks; they can contain a secret.
    pub webhook_urls: Vec<Secret>,
    /// API key and secret; `None`: a random pair.
    pub credentials: Option<(String, Secret)>,
}

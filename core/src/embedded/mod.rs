//! Rooms in an engine of this process: no server, no network.

mod engines;
mod rooms;

use std::net::IpAddr;

pub use rooms::Embedded;

use crate::Secret;

/// How to start the engine, or which one to share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmbeddedConfig {
    /// Share the process's one engine, rather than start one of its own.
    pub shared: bool,
    /// The address it listens on; `None`: loopback, or whichever a shared one listens on.
    pub host: Option<IpAddr>,
    /// The port it listens on; `None`: 7880 or the next free one if it is shared, else any free one.
    pub port: Option<u16>,
    /// What stands for `host` where clients connect, as a URL writes it; given with it.
    pub advertised_host: Option<String>,
    /// Where clients connect, if a proxy stands before the engine.
    pub public_url: Option<String>,
    /// The UDP and TCP port for media; `None`: any free one, chosen at the first join.
    pub rtc_port: Option<u16>,
    /// The addresses that clients send media to, if they are not the machine's own.
    pub rtc_addresses: Vec<IpAddr>,
    /// The API key and its secret; `None`: a random pair.
    pub credentials: Option<(String, Secret)>,
}

//! Configuration of an engine, and its limits.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::webhooks::WebhookConfig;

/// Limits of an engine: numbers, times and bytes. The defaults suit every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of HTTP connections. Past it, the longest idle connection is closed. Default 1,024.
    pub connections: usize,
    /// Maximum number of participants in all rooms together. Past it, joins are rejected with 503. Default 1,024.
    pub participants: usize,
    /// Maximum time from the end of one request to the end of the next one's headers. Past it, the connection is closed.
    /// Default 30 s.
    pub header_timeout: Duration,
    /// Maximum time to receive a body. Past it, the request is rejected with 408. Default 30 s.
    pub body_timeout: Duration,
    /// Maximum time during which a client reads nothing of its response. Past it, the connection is closed. Default 30 s.
    pub write_timeout: Duration,
    /// Maximum bytes of all large requests with a valid token. Past it, requests are rejected with 429. Requests without a
    /// valid token have half as much of their own. Default 64 MiB.
    pub request_bytes: usize,
    /// Maximum bytes of all large responses that clients have not read yet. Past it, requests are rejected with 429. A single
    /// response may be longer. Default 64 MiB.
    pub response_bytes: usize,
    /// Maximum time from the first to the last byte of a client's signalling message. Past it, the connection is closed.
    /// Default 30 s.
    pub signal_timeout: Duration,
    /// Maximum bytes of all clients' signalling messages that are incomplete or not decoded yet. Past it, the connection with
    /// the oldest message is closed. Default 64 MiB.
    pub incomplete_bytes: usize,
    /// Maximum bytes of all decoded messages that are not handled yet. A participant may hold a quarter, and 256 KiB in any
    /// case. Past it, messages wait. Default 64 MiB.
    pub decoded_bytes: usize,
    /// Maximum bytes of the messages that are queued for all clients. The more is in use, the less may be queued for one
    /// client; past that, its signalling connection is closed. Default 64 MiB.
    pub outgoing_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            participants: 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            request_bytes: 64 * 1024 * 1024,
            response_bytes: 64 * 1024 * 1024,
            signal_timeout: Duration::from_secs(30),
            incomplete_bytes: 64 * 1024 * 1024,
            decoded_bytes: 64 * 1024 * 1024,
            outgoing_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Configuration of an engine.
pub struct Config<'a> {
    /// The address to listen on for HTTP and signalling.
    pub host: IpAddr,
    /// The TCP port to listen on for HTTP and signalling.
    pub port: Port,
    /// API keys and their secrets.
    pub keys: &'a [(&'a str, &'a str)],
    /// Limits of requests, connections, rooms and participants.
    pub limits: Limits,
    /// The addresses and ports for media.
    pub rtc: RtcConfig,
    /// Receivers of webhooks, signed with the first key; `None`: no events are recorded.
    pub webhooks: Option<WebhookConfig>,
}

impl fmt::Debug for Config<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, keys: _, limits, rtc, webhooks } = self;
        let mut shown = formatter.debug_struct("Config");
        shown.field("host", host).field("port", port).field("limits", limits).field("rtc", rtc);
        shown.field("webhooks", webhooks).finish_non_exhaustive()
    }
}

/// Addresses and ports for media. The default is any free port on each of the machine's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RtcConfig {
    /// The UDP and TCP port; `None` selects a free one at the first join.
    pub port: Option<u16>,
    /// The addresses to send to clients as candidates instead of the machine's own, such as those of a container's host or a
    /// NAT.
    pub addresses: Vec<IpAddr>,
    /// Whether only clients on this machine can connect. The engine then listens on loopback and on one other address, because
    /// Firefox does not connect to loopback, and drops packets from other machines there.
    pub local_only: bool,
}

/// A port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// This port only.
    Exactly(u16),
    /// The first free port from this one up; any free port if none is.
    From(u16),
    /// Any free port.
    Any,
}

/// Why an engine failed to start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Listening on the address or port failed.
    #[error("cannot listen there")]
    Listen(#[source] io::Error),
    /// Binding the port for media failed.
    #[error("cannot receive media there")]
    Media(#[source] io::Error),
    /// A key or secret is empty, so anybody could sign tokens.
    #[error("a key or its secret is empty")]
    EmptyKey,
    /// Starting a thread failed.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

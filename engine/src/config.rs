//! Configuration of an engine, and its limits.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// Limits of an engine: past them it rejects requests, or closes connections that take too long. The default suits every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once: one more ends the one that has been idle for longest.
    pub connections: usize,
    /// Participants at once, in all rooms together.
    pub participants: usize,
    /// The longest time from one request's end to the end of the next one's head.
    pub header_timeout: Duration,
    /// The longest time a body may take.
    pub body_timeout: Duration,
    /// The longest time in which a client takes nothing of its answer.
    pub write_timeout: Duration,
    /// The most bytes that all large requests with a good token may hold together; those without may hold half as many besides.
    pub request_bytes: usize,
    /// The most bytes that all large answers may hold together until they are taken; a single one may be longer.
    pub response_bytes: usize,
    /// Maximum time from the beginning to the end of a client's message on a signalling connection; past it the connection
    /// is closed.
    pub signal_timeout: Duration,
    /// Maximum bytes of the messages of all clients that are incomplete or not decoded yet; past it the connection with the
    /// oldest one is closed.
    pub incomplete_bytes: usize,
    /// Maximum memory of all decoded messages that are not dealt with; past it the next one waits.
    pub decoded_bytes: usize,
    /// Maximum bytes of the messages that wait for all clients; the more there are, the fewer may wait for one client.
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

/// How an engine is started.
pub struct Config<'a> {
    /// The address it listens on.
    pub host: IpAddr,
    /// The port it listens on.
    pub port: Port,
    /// API keys and their secrets.
    pub keys: &'a [(&'a str, &'a str)],
    /// Limits of requests, connections, rooms and participants.
    pub limits: Limits,
    /// Where it receives media.
    pub rtc: RtcConfig,
}

impl fmt::Debug for Config<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, keys: _, limits, rtc } = self;
        let mut shown = formatter.debug_struct("Config");
        shown.field("host", host).field("port", port).field("limits", limits).field("rtc", rtc).finish_non_exhaustive()
    }
}

/// Where an engine receives media. By default at each of the machine's addresses, on any port that is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RtcConfig {
    /// The port, of UDP and TCP both; `None`: one that is free, chosen at the first join.
    pub port: Option<u16>,
    /// The addresses that clients connect to, if they are not the machine's own: those of a container's host, or a NAT.
    pub addresses: Vec<IpAddr>,
    /// Whether only clients on this machine can connect. The engine then receives at loopback and at one other address,
    /// because Firefox does not connect to loopback, and drops what other machines send there.
    pub local_only: bool,
}

/// Which port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// That one and no other.
    Exactly(u16),
    /// The first free one, from that one up.
    From(u16),
    /// Any that is free.
    Any,
}

/// Why an engine could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address or port cannot be listened on.
    #[error("cannot listen there")]
    Listen(#[source] io::Error),
    /// The port for media cannot be bound.
    #[error("cannot receive media there")]
    Media(#[source] io::Error),
    /// With that, everyone could sign tokens.
    #[error("a key or its secret is empty")]
    EmptyKey,
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

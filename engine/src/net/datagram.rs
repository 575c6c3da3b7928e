//! Received datagrams, whichever way they came.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::net::Protocol;

use crate::net::udp::Datagram;

/// What has come from somewhere.
pub(crate) struct ReceivedDatagram {
    pub(crate) protocol: Protocol,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// When it was received, as far as the system tells.
    pub(crate) arrived_at: Instant,
    pub(crate) bytes: Vec<u8>,
}

impl From<Datagram> for ReceivedDatagram {
    fn from(Datagram { source, destination, arrived_at, bytes }: Datagram) -> Self {
        Self { protocol: Protocol::Udp, source, destination, arrived_at, bytes }
    }
}

//! Datagrams received over UDP or TCP.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::net::Protocol;

use crate::net::udp::Datagram;

/// A datagram received over UDP or TCP.
pub(crate) struct ReceivedDatagram {
    pub(crate) protocol: Protocol,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// When the system received it, or when it was read if the system has no timestamp.
    pub(crate) arrived_at: Instant,
    pub(crate) bytes: Vec<u8>,
}

impl From<Datagram> for ReceivedDatagram {
    fn from(Datagram { source, destination, arrived_at, bytes }: Datagram) -> Self {
        Self { protocol: Protocol::Udp, source, destination, arrived_at, bytes }
    }
}

//! Datagrams and timers of peer connections.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{SLICE, Worker};
use crate::ids::{PeerConnectionId, SessionId, SignalTarget};
use crate::net::datagram::ReceivedDatagram;
use crate::net::peer_connection::{Io, PeerConnection};
use crate::net::stun::is_stun;

/// Maximum number of datagrams that are read and sorted by participant before any is handled.
const MAX_READS: usize = 512;
/// Bytes of one participant's datagrams that are queued in any case; past it, the two limits below apply.
const MIN_PACKET_BYTES: usize = 64 * 1024;
/// Maximum bytes of one participant's queued datagrams; past it, the newest is dropped.
const MAX_PACKET_BYTES: usize = 1024 * 1024;
/// Maximum bytes of all participants' queued datagrams; past it, each participant has `MIN_PACKET_BYTES`.
const MAX_TOTAL_PACKET_BYTES: usize = 16 * 1024 * 1024;

impl Worker {
    /// Reads datagrams and queues them by participant. Datagrams for no participant are dropped.
    pub(super) fn read_datagrams(&mut self) {
        for _ in 0..MAX_READS {
            let Some(received) = self.network.receive() else { return };
            let now = Instant::now();
            let Some((id, _)) = self.demux.route((received.protocol, received.source), &received.bytes, now) else {
                continue;
            };
            let own = self.packets.weight_of(id);
            let has_room = self.packets.weight() < MAX_TOTAL_PACKET_BYTES && own < MAX_PACKET_BYTES;
            if has_room || own < MIN_PACKET_BYTES {
                let weight = size_of::<ReceivedDatagram>() + received.bytes.len();
                self.packets.push(id, received, weight, now);
            } else {
                debug!(session = id, bytes = received.bytes.len(), reason = "queue full", "packet dropped");
            }
        }
    }

    /// Handles queued datagrams for a [`SLICE`].
    pub(super) fn serve_packets(&mut self) {
        let start = Instant::now();
        let mut now = start;
        while now.saturating_duration_since(start) < SLICE
            && let Some((id, received)) = self.packets.pop(now)
        {
            self.on_datagram(&received);
            self.process_events();
            let end = Instant::now();
            self.packets.charge(id, end.saturating_duration_since(now), Duration::ZERO, end);
            now = end;
        }
    }

    /// Routes a datagram to the peer connection that its source or, in STUN, its username belongs to.
    pub(crate) fn on_datagram(&mut self, received: &ReceivedDatagram) {
        let now = Instant::now();
        let source = (received.protocol, received.source);
        let Some(connection) = self.demux.route(source, &received.bytes, now) else { return };
        let is_verified =
            |peer_connection: &mut PeerConnection| !is_stun(&received.bytes) || peer_connection.accepts(received, now);
        if !self.peer_connection(connection).is_some_and(is_verified) {
            return;
        }
        self.demux.accept(source, connection, now);
        let (id, _) = connection;
        if is_stun(&received.bytes) {
            self.network.authenticate(received, id);
        }
        self.with_participant(id, |room, context| {
            if let Some(peer_connection) = room.connection(connection) {
                peer_connection.handle_datagram(&mut context.io, received);
            }
        });
    }

    fn peer_connection(&mut self, id: PeerConnectionId) -> Option<&mut PeerConnection> {
        let room = self.sessions.get(&id.0).and_then(|session| self.rooms.get_mut(&session.room));
        room.and_then(|room| room.connection(id))
    }

    /// Registers the ICE username fragments of a participant's connections. Called after each step that may change them.
    pub(super) fn register(&mut self, id: SessionId) {
        let Some(room) = self.sessions.get(&id).and_then(|session| self.rooms.get_mut(&session.room)) else { return };
        let now = Instant::now();
        for connection in [(id, SignalTarget::Publisher), (id, SignalTarget::Subscriber)] {
            if let Some(peer_connection) = room.connection(connection) {
                self.demux.register(connection, peer_connection.ufrag(), now);
            }
        }
    }

    /// Runs the peer connections whose timers are due. This also sends what earlier steps have enqueued.
    pub(super) fn handle_timeouts(&mut self) {
        let now = Instant::now();
        while let Some((deadline, connection)) = self.timers.pop(now) {
            let room = self.sessions.get(&connection.0).and_then(|session| self.rooms.get_mut(&session.room));
            if let Some(peer_connection) = room.and_then(|room| room.connection(connection)) {
                let (network, events, timers) = (&mut self.network, &mut self.events, &mut self.timers);
                peer_connection.handle_timeout(&mut Io { network, events, timers, now }, deadline);
            }
        }
        self.process_events();
    }
}

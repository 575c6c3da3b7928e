//! The peer connections of a room.

use std::collections::HashMap;

use crate::ids::{PeerConnectionId, SessionId, SignalTarget};
use crate::net::peer_connection::PeerConnection;

/// Peer connections by their ids.
#[derive(Default)]
pub(crate) struct Connections {
    by_id: HashMap<PeerConnectionId, PeerConnection>,
}

impl Connections {
    pub(crate) fn insert(&mut self, id: PeerConnectionId, connection: PeerConnection) {
        self.by_id.insert(id, connection);
    }

    pub(crate) fn get(&self, id: PeerConnectionId) -> Option<&PeerConnection> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerConnectionId) -> Option<&mut PeerConnection> {
        self.by_id.get_mut(&id)
    }

    /// Removes the connections of a session.
    pub(crate) fn remove_session(&mut self, session_id: SessionId) -> Vec<PeerConnection> {
        let targets = [SignalTarget::Publisher, SignalTarget::Subscriber];
        targets.into_iter().filter_map(|target| self.by_id.remove(&(session_id, target))).collect()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PeerConnection> {
        self.by_id.values_mut()
    }
}

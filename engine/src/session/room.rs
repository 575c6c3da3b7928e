//! A room: its participants, their peer connections, and the state that they share.

#[cfg(test)]
mod crowd;
mod data;
mod events;
mod join;
mod negotiation;
#[cfg(test)]
mod panics;
mod participant;
mod permissions;
mod publications;
mod quality;
mod removal;
pub(crate) mod requests;
mod subscriptions;
mod updates;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::participant_info::State;

use crate::clock::Now;
use crate::ids::{PeerConnectionId, SessionId};
use crate::net::connections::Connections;
use crate::net::peer_connection::{Io, PeerConnection};
use crate::services::Services;
use crate::session::data::DataChannelState;
use crate::session::lane::Lane;
use crate::session::reconcile_queue::ReconcileQueue;
use crate::session::removal::Removal;
use crate::sfu::router::Router;
use participant::Participant;

/// The state of the media thread that a room uses during one step.
pub(crate) struct Context<'a> {
    pub(crate) io: Io<'a>,
    pub(crate) services: &'a Services,
    pub(crate) now: Now,
    /// The lane whose work this step is.
    pub(crate) lane: Lane,
    /// Sessions that this step has removed from the room.
    pub(crate) removed: &'a mut Vec<SessionId>,
    /// `sid`s of the rooms to settle, each once.
    pub(crate) unsettled: &'a mut VecDeque<String>,
}

pub(crate) struct Room {
    name: String,
    sid: String,
    /// In the order of their joins.
    participants: BTreeMap<SessionId, Participant>,
    /// The peer connections of the participants.
    connections: Connections,
    by_identity: HashMap<String, SessionId>,
    router: Router,
    /// Identities whose next session is offered TCP candidates only.
    tcp_only: HashSet<String>,
    /// The latest departed participants, and when they left.
    disconnected: VecDeque<(Instant, proto::ParticipantInfo)>,
    #[cfg(test)]
    fault: Option<panics::Fault>,
    /// Whether the number of publishers has changed since the last room update.
    publisher_count_changed: bool,
    /// Departed participants that the others have not been notified of.
    departures: Vec<proto::ParticipantInfo>,
    /// The lanes that removed participants since the room was settled.
    removed_by: HashSet<Lane>,
    unreconciled: ReconcileQueue,
    /// Whether the room is among those to settle.
    is_scheduled: bool,
}

impl Room {
    pub(crate) fn new(name: String, sid: String) -> Self {
        Self {
            name,
            sid,
            participants: BTreeMap::new(),
            connections: Connections::default(),
            by_identity: HashMap::new(),
            router: Router::default(),
            tcp_only: HashSet::new(),
            disconnected: VecDeque::new(),
            #[cfg(test)]
            fault: None,
            publisher_count_changed: false,
            departures: Vec::new(),
            removed_by: HashSet::new(),
            is_scheduled: false,
            unreconciled: ReconcileQueue::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// A participant's state as others see it.
    pub(crate) fn participant_info(&self, id: SessionId) -> Option<&proto::ParticipantInfo> {
        self.participants.get(&id).map(|participant| &participant.info)
    }

    pub(crate) fn connection(&mut self, id: PeerConnectionId) -> Option<&mut PeerConnection> {
        self.connections.get_mut(id)
    }

    pub(crate) fn connections_mut(&mut self) -> impl Iterator<Item = &mut PeerConnection> {
        self.connections.iter_mut()
    }

    /// The data messages that are queued for each participant.
    pub(crate) fn data_queues(&self) -> impl Iterator<Item = (SessionId, &DataChannelState)> {
        self.participants.values().map(|participant| (participant.id, &participant.data))
    }

    /// Handles the end of a participant's signalling connection. A participant that is not connected yet is removed; another one
    /// may resume.
    pub(crate) fn on_signal_closed(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.signal = None;
        participant.signal_lost_at = Some(context.io.now);
        if !participant.is_active() {
            self.remove(context, id, Removal::without_leave(DisconnectReason::SignalClose));
        }
    }

    /// Excludes a time in which the media thread did not run from the participants' timeouts.
    pub(crate) fn discount_stall(&mut self, later: impl Fn(Instant) -> Instant + Copy) {
        for participant in self.participants.values_mut() {
            participant.signal_lost_at = participant.signal_lost_at.map(later);
            participant.negotiation.discount_stall(later);
        }
        self.connections.iter_mut().for_each(|peer_connection| peer_connection.discount_stall(later));
    }

    /// The session of the participant with that identity.
    pub(crate) fn by_identity(&self, identity: &str) -> Option<SessionId> {
        self.by_identity.get(identity).copied().filter(|id| self.participants.contains_key(id))
    }

    fn insert(&mut self, participant: Participant) {
        self.by_identity.insert(participant.info.identity.clone(), participant.id);
        self.participants.insert(participant.id, participant);
    }

    /// Handles the connection of a participant's media: the participant becomes active.
    pub(crate) fn on_connected(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !participant.is_active() && participant.is_connected(&self.connections) {
            participant.info.set_state(State::Active);
            self.broadcast_participant(context, id, true);
        }
        self.notify_track_subscribed(id);
        self.request_keyframes(context, id);
    }
}

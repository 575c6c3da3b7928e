//! Removal of participants, and what follows from it for the others.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;
use tracing::{info, warn};

#[cfg(test)]
use super::panics::Fault;
use super::participant::{Announcement, Participant};
use super::updates::participant_update;
use super::{Context, Room};
use crate::ids::{SessionId, SignalTarget};
use crate::session::lane::Lane;
use crate::session::removal::{Removal, leave_registry};

/// Maximum number of departed participants that a room remembers for resumes; past it, the oldest is forgotten.
const MAX_DISCONNECTED: usize = 128;
/// Minimum size in bytes at which a batch of departures is sent; further ones follow in the next message.
const MAX_DEPARTURE_BYTES: usize = 16 * 1024;

impl Room {
    /// Takes out what is left of a participant whose step has panicked. The caller drops it, which may panic as well.
    pub(crate) fn purge(&mut self, context: &mut Context<'_>, id: SessionId) -> impl Sized + use<> {
        // A second panic must not keep the participant in the room.
        let taken =
            catch_unwind(AssertUnwindSafe(|| self.take_notifying(context, id, DisconnectReason::StateMismatch)));
        self.by_identity.retain(|_, known| *known != id);
        let _ = catch_unwind(AssertUnwindSafe(|| self.remove_routes(id)));
        (taken, self.participants.remove(&id), self.connections.remove_session(id))
    }

    /// Removes a participant from this room and from the registry. [`Room::settle`] notifies and reconciles the others, once
    /// per iteration of the event loop.
    pub(crate) fn remove(&mut self, context: &mut Context<'_>, id: SessionId, removal: Removal) {
        #[cfg(test)]
        assert_ne!(self.fault, Some(Fault::Removal(id)), "injected");
        if removal.action == Some(Action::Reconnect) {
            self.flush_token(context, id);
        }
        let taken = if removal.notify_others {
            self.take_notifying(context, id, removal.reason)
        } else {
            self.take(context, id)
        };
        let Some(mut participant) = taken else { return };
        log_removal(&self.name, &participant, removal);
        self.remove_routes(id);
        self.connections.remove_session(id);
        if let Some(action) = removal.action {
            participant.leave(removal.reason, action);
        }
        let proto::ParticipantInfo { identity, sid, .. } = &participant.info;
        leave_registry(context.services, &self.name, identity, sid, removal.reason);
    }

    /// Takes a participant out of the room, and schedules the room to be settled. This is the first step of a removal, so that a
    /// panic in a later one does not keep the others from being reconciled.
    fn take(&mut self, context: &mut Context<'_>, id: SessionId) -> Option<Participant> {
        let participant = self.participants.remove(&id)?;
        if self.by_identity.get(&participant.info.identity) == Some(&id) {
            self.by_identity.remove(&participant.info.identity);
        }
        context.removed.push(id);
        self.removed_by.insert(context.lane);
        self.schedule(context);
        Some(participant)
    }

    /// As [`take`](Self::take), and queues the departure for the others, if any was sent the participant.
    fn take_notifying(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        reason: DisconnectReason,
    ) -> Option<Participant> {
        let mut participant = self.take(context, id)?;
        if participant.announced > Announcement::No && !participant.is_hidden() {
            participant.info.version += 1;
            participant.info.tracks.clear();
            participant.info.set_state(State::Disconnected);
            participant.info.set_disconnect_reason(reason);
            self.remember_disconnected(context.io.now, &participant.info);
            self.departures.push(participant.info.clone());
        }
        Some(participant)
    }

    /// Makes all participants leave, because the engine ends.
    pub(crate) fn shut_down(&mut self) {
        for participant in self.participants.values_mut() {
            log_removal(&self.name, participant, Removal::disconnect(DisconnectReason::ServerShutdown));
            participant.leave(DisconnectReason::ServerShutdown, Action::Disconnect);
        }
    }

    /// Removes the published tracks and the subscriptions of a session's connections from the router.
    fn remove_routes(&mut self, id: SessionId) {
        #[cfg(test)]
        assert_ne!(self.fault, Some(Fault::RemovalOfRoutes(id)), "injected");
        for target in [SignalTarget::Publisher, SignalTarget::Subscriber] {
            self.router.remove_connection((id, target));
        }
    }

    /// Schedules the room to be settled in this turn of the event loop.
    pub(crate) fn schedule(&mut self, context: &mut Context<'_>) {
        if !std::mem::replace(&mut self.is_scheduled, true) {
            context.unsettled.push_back(self.sid.clone());
        }
    }

    /// Notifies the remaining participants of removals, and reconciles queued ones until `deadline`; further ones wait for the
    /// next turn of the event loop. Returns the lanes that share the cost.
    pub(crate) fn settle(&mut self, context: &mut Context<'_>, deadline: Instant) -> Vec<Lane> {
        self.is_scheduled = false;
        self.broadcast_departures();
        let removed_by = std::mem::take(&mut self.removed_by);
        if !removed_by.is_empty() && !self.participants.is_empty() {
            self.unreconciled.push_all(self.participants.keys().copied(), None, removed_by);
            self.broadcast_room_update(context.services);
        }
        let payers = self.unreconciled.payers();
        self.reconcile_until(context, deadline);
        if !self.unreconciled.is_empty() {
            self.schedule(context);
        }
        payers
    }

    /// Notifies the remaining participants of departures. A rejoin calls it first, because clients tell participants apart by
    /// their identity.
    pub(crate) fn broadcast_departures(&mut self) {
        let mut departures = std::mem::take(&mut self.departures).into_iter().peekable();
        while departures.peek().is_some() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while bytes < MAX_DEPARTURE_BYTES
                && let Some(info) = departures.next()
            {
                bytes += info.encoded_len();
                batch.push(info);
            }
            let signal = participant_update(batch);
            self.participants.values_mut().for_each(|participant| participant.send_shared(&signal));
        }
    }

    fn remember_disconnected(&mut self, left: Instant, info: &proto::ParticipantInfo) {
        if self.disconnected.len() == MAX_DISCONNECTED {
            self.disconnected.pop_front();
        }
        let kept = proto::ParticipantInfo {
            sid: info.sid.clone(),
            identity: info.identity.clone(),
            state: info.state,
            disconnect_reason: info.disconnect_reason,
            version: info.version,
            ..proto::ParticipantInfo::default()
        };
        self.disconnected.push_back((left, kept));
    }

    /// Participants that have left since `joined`. They are sent again on resume, because updates in flight when the connection
    /// broke are lost.
    pub(crate) fn disconnected_since(&self, joined: Instant) -> Vec<proto::ParticipantInfo> {
        let seen: HashSet<_> = self
            .participants
            .values()
            .filter(|participant| !participant.is_hidden())
            .map(|participant| participant.info.identity.as_str())
            .collect();
        let since = self.disconnected.iter().filter(|(left, _)| *left >= joined).map(|(_, info)| info);
        since.filter(|info| !seen.contains(info.identity.as_str())).cloned().collect()
    }
}

fn log_removal(room: &str, participant: &Participant, removal: Removal) {
    let (session, reason) = (participant.id, removal.reason.as_str_name());
    let participant = &participant.info.identity;
    match removal.cause {
        Some(cause) => warn!(room, participant, session, reason, cause, "participant removed"),
        None if removal.reason == DisconnectReason::ClientInitiated => {
            info!(room, participant, session, reason, "participant left");
        }
        None => info!(room, participant, session, reason, "participant removed"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn remembers_the_last_departed_participants_for_those_that_joined_before() {
        let mut room = Room::new("r".into(), "RM_1".into());
        let begun = Instant::now();
        let at = |second: usize| begun + Duration::from_secs(u64::try_from(second).unwrap());
        for second in 0..=MAX_DISCONNECTED {
            let info = proto::ParticipantInfo {
                identity: second.to_string(),
                metadata: "long".into(),
                ..proto::ParticipantInfo::default()
            };
            room.remember_disconnected(at(second), &info);
        }
        let departed = room.disconnected_since(begun);
        assert_eq!(
            (departed.len(), departed[0].identity.as_str(), departed[0].metadata.as_str()),
            (MAX_DISCONNECTED, "1", "")
        );
        assert_eq!(room.disconnected_since(at(MAX_DISCONNECTED)).len(), 1);
        assert!(room.disconnected_since(at(MAX_DISCONNECTED + 1)).is_empty());
    }
}

//! A room with participants in it: who is told what, and who comes and goes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;
use proto::signal_response::Message;

use crate::clock::Now;
use crate::ids::{SessionId, SignalTarget};
use crate::net::connections::Connections;
use crate::net::peer_connection::Io;
use crate::services::Services;
use crate::session::lane::Lane;
use crate::session::participant::{Announced, Participant};
use crate::session::reconcile_queue::ReconcileQueue;
use crate::session::signal_channel::SignalMessage;
use crate::sfu::router::Router;

/// So many of those who have left are remembered for those who resume, each by its identity and its `sid`.
const MAX_DISCONNECTED: usize = 128;

/// Time after which a participant is announced to the others though it has neither tracks nor connected media, as livekit-server's
/// batches of updates have it. One that leaves before is never seen: React's `StrictMode` joins, leaves and joins again.
const ANNOUNCE_DELAY: Duration = Duration::from_secs(3);

/// Size in bytes from which a message about departed participants takes no further one.
const MAX_DEPARTURE_BYTES: usize = 16 * 1024;

/// What a step in a room needs of its surroundings.
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
    pub(crate) name: String,
    pub(crate) sid: String,
    /// In the order in which they came.
    pub(crate) participants: BTreeMap<SessionId, Participant>,
    /// The peer connections of the participants.
    pub(crate) connections: Connections,
    by_identity: HashMap<String, SessionId>,
    pub(crate) router: Router,
    /// The identities of those who have asked to be connected over TCP from now on.
    pub(crate) tcp_only: HashSet<String>,
    /// The last who left for all to see, and when.
    disconnected: VecDeque<(Instant, proto::ParticipantInfo)>,
    /// Whose reconciliation panics, in tests.
    #[cfg(test)]
    pub(crate) faulty: Option<SessionId>,
    /// Whether somebody has begun or ceased to publish since all were told how many do.
    publisher_count_changed: bool,
    /// Departed participants that the others have not been notified of.
    departures: Vec<proto::ParticipantInfo>,
    /// The lanes that removed participants since the room was settled.
    removed_by: HashSet<Lane>,
    pub(crate) unreconciled: ReconcileQueue,
    /// Whether the room is among those to settle.
    is_scheduled: bool,
}

/// How a participant goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) reason: DisconnectReason,
    /// What the participant is told to do; `None`: it is told nothing.
    pub(crate) action: Option<Action>,
    /// Whether the others see it go. They do not if it is back already.
    pub(crate) notify_others: bool,
}

impl Removal {
    /// It goes for good, and is told why.
    pub(crate) fn disconnect(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Disconnect), notify_others: true }
    }

    /// It has to come back as a new one.
    pub(crate) fn full_reconnect(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Reconnect), notify_others: true }
    }

    /// It is gone, or is to believe that the server is.
    pub(crate) fn without_leave(reason: DisconnectReason) -> Self {
        Self { reason, action: None, notify_others: true }
    }
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
            faulty: None,
            publisher_count_changed: false,
            departures: Vec::new(),
            removed_by: HashSet::new(),
            is_scheduled: false,
            unreconciled: ReconcileQueue::default(),
        }
    }

    /// The session of the participant with that identity.
    pub(crate) fn by_identity(&self, identity: &str) -> Option<SessionId> {
        self.by_identity.get(identity).copied().filter(|id| self.participants.contains_key(id))
    }

    pub(crate) fn insert(&mut self, participant: Participant) {
        self.by_identity.insert(participant.info.identity.clone(), participant.id);
        self.participants.insert(participant.id, participant);
    }

    /// Takes a participant out of the room, without any of the consequences.
    pub(crate) fn take(&mut self, id: SessionId) -> Option<Participant> {
        let participant = self.participants.remove(&id)?;
        if self.by_identity.get(&participant.info.identity) == Some(&id) {
            self.by_identity.remove(&participant.info.identity);
        }
        Some(participant)
    }

    /// Tells all but that one.
    pub(crate) fn broadcast_except(&mut self, than: SessionId, message: Message) {
        let signal = SignalMessage::new(message);
        for participant in self.participants.values_mut().filter(|participant| participant.id != than) {
            participant.send_shared(&signal);
        }
    }

    /// Publishes a participant's state as it is now: to the server API, to the others unless it is hidden, and to itself
    /// where it waits for that.
    pub(crate) fn broadcast_participant(&mut self, context: &mut Context<'_>, id: SessionId, to_itself: bool) {
        self.update_info(context, id);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.announced = Announced::Broadcast;
        let signal = participant_update(vec![participant.info.clone()]);
        let is_hidden = participant.is_hidden();
        let told = |participant: &&mut Participant| if participant.id == id { to_itself } else { !is_hidden };
        for participant in self.participants.values_mut().filter(told) {
            if participant.is_congested() {
                participant.pending_updates.insert(id);
            } else {
                participant.send_shared(&signal);
            }
        }
    }

    /// Announces a participant that is not announced yet, once [`ANNOUNCE_DELAY`] has passed.
    pub(crate) fn tick_announcement(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let is_due = |participant: &Participant| {
            participant.announced < Announced::Broadcast
                && now.saturating_duration_since(participant.joined) >= ANNOUNCE_DELAY
        };
        if self.participants.get(&id).is_some_and(is_due) {
            self.broadcast_participant(context, id, false);
        }
    }

    /// Brings a participant's state up to date, also in the server API. The other participants are not sent it.
    pub(crate) fn update_info(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.info.version += 1;
        participant.info.tracks =
            participant.tracks.iter().filter(|track| track.is_published).map(|track| track.info.clone()).collect();
        let was_publisher = participant.info.is_publisher;
        participant.info.is_publisher = !participant.info.tracks.is_empty();
        let publisher_count_changed = participant.info.is_publisher != was_publisher;
        let info = Arc::new(participant.info.clone());
        context.services.rooms(|rooms, now| rooms.update(&self.name, info, now));
        self.publisher_count_changed |= publisher_count_changed;
    }

    /// Tells how many publish, if that has changed, whoever takes it.
    pub(crate) fn flush_room_update(&mut self, services: &Services) {
        if std::mem::take(&mut self.publisher_count_changed) {
            self.broadcast_room_update_to(services, |participant| !participant.is_congested());
        }
    }

    /// Tells a participant what it has missed, once it takes it.
    pub(crate) fn flush_pending_updates(&mut self, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.pending_updates.is_empty() || participant.is_congested() {
            return;
        }
        let pending_updates = std::mem::take(&mut participant.pending_updates);
        // Of those who have gone it was told at once.
        let known = pending_updates
            .iter()
            .filter_map(|of| self.participants.get(of))
            .filter(|of| of.id == id || !of.is_hidden());
        let signal = participant_update(known.map(|of| of.info.clone()).collect());
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.send_shared(&signal);
        }
    }

    /// Tells everybody the room's metadata and how many are in it.
    pub(crate) fn broadcast_room_update(&mut self, services: &Services) {
        self.broadcast_room_update_to(services, |_| true);
    }

    fn broadcast_room_update_to(&mut self, services: &Services, is_told: impl Fn(&Participant) -> bool) {
        let Some(room) = self.to_proto(services) else { return };
        let signal = SignalMessage::new(Message::RoomUpdate(proto::RoomUpdate { room: Some(room) }));
        self.participants
            .values_mut()
            .filter(|participant| is_told(participant))
            .for_each(|participant| participant.send_shared(&signal));
    }

    /// The room as the server API shows it; `None` if it is gone, though another one may have its name.
    pub(crate) fn to_proto(&self, services: &Services) -> Option<proto::Room> {
        let room = services.rooms(|rooms, now| rooms.get(&self.name, now).cloned());
        room.filter(|room| room.sid() == self.sid).map(|room| room.to_proto())
    }

    /// The participants that a participant is sent when it joins or resumes, those that are not announced yet included.
    pub(crate) fn visible_participants(&mut self, than: SessionId) -> Vec<proto::ParticipantInfo> {
        let listed =
            self.participants.values_mut().filter(|participant| participant.id != than && !participant.is_hidden());
        let info = |participant: &mut Participant| {
            participant.announced = participant.announced.max(Announced::Listed);
            participant.info.clone()
        };
        listed.map(info).collect()
    }

    /// Those who have left since a participant joined and are not back for it to see. It may have missed that: what is on its
    /// way when a connection breaks is lost.
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

    /// Removes a participant, also from the rooms of the server API. The others are notified and reconciled by
    /// [`Room::settle`], once for all removals of a turn of the event loop.
    pub(crate) fn remove(&mut self, context: &mut Context<'_>, id: SessionId, removal: Removal) {
        if removal.action == Some(Action::Reconnect) {
            self.flush_token(context, id);
        }
        let Some(mut participant) = self.take(id) else { return };
        context.removed.push(id);
        self.remove_media(id);
        if let Some(action) = removal.action {
            participant.leave(removal.reason, action);
        }
        leave_registry(context.services, &self.name, &participant.info.identity, &participant.info.sid);
        if removal.notify_others && participant.announced > Announced::No && !participant.is_hidden() {
            let mut info = std::mem::take(&mut participant.info);
            info.version += 1;
            info.tracks.clear();
            info.set_state(State::Disconnected);
            info.set_disconnect_reason(removal.reason);
            self.remember_disconnected(context.io.now, &info);
            self.departures.push(info);
        }
        self.removed_by.insert(context.lane);
        self.schedule(context);
    }

    /// Has the room settled in this turn of the event loop.
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

    /// Removes the connections of a session, and what is forwarded from and to them.
    pub(crate) fn remove_media(&mut self, id: SessionId) {
        for target in [SignalTarget::Publisher, SignalTarget::Subscriber] {
            self.router.remove_connection((id, target));
        }
        self.connections.remove_session(id);
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

    /// Connected: from now on it counts as there.
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

/// Has a participant leave the rooms of the server API, unless another one of that identity has taken its place.
pub(crate) fn leave_registry(services: &Services, room: &str, identity: &str, sid: &str) {
    services.rooms(|rooms, now| {
        let known = rooms.get(room, now).and_then(|room| room.participant(identity));
        if known.is_some_and(|known| known.sid == sid) {
            // It is there: that was just looked at.
            let _ = rooms.leave(room, identity, now);
        }
    });
}

/// The news of some participants.
pub(crate) fn participant_update(participants: Vec<proto::ParticipantInfo>) -> Arc<SignalMessage> {
    SignalMessage::new(Message::Update(proto::ParticipantUpdate { participants }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_have_left_the_last_are_remembered_and_told_to_those_who_were_there() {
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
        let told = room.disconnected_since(begun);
        assert_eq!((told.len(), told[0].identity.as_str(), told[0].metadata.as_str()), (MAX_DISCONNECTED, "1", ""));
        assert_eq!(room.disconnected_since(at(MAX_DISCONNECTED)).len(), 1);
        assert!(room.disconnected_since(at(MAX_DISCONNECTED + 1)).is_empty());
    }
}

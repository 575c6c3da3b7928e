//! A room with participants in it: who is told what, and who comes and goes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;
use proto::signal_response::Message;

use crate::clock::Now;
use crate::engine::Shared;
use crate::net::peer_connection::Io;
use crate::session::PeerId;
use crate::session::participant::{Announced, Peer};
use crate::session::permissions::Unreconciled;
use crate::session::signal_channel::Signal;
use crate::sfu::active_speakers::Speakers;

/// So many of those who have left are remembered for those who resume, each by its identity and its `sid`.
const MOST_DEPARTED: usize = 128;

/// Time after which a participant is announced to the others though it has neither tracks nor connected media, as livekit-server's
/// batches of updates have it. One that leaves before is never seen: React's `StrictMode` joins, leaves and joins again.
const ANNOUNCE_DELAY: Duration = Duration::from_secs(3);

/// What a step in a room needs of its surroundings.
pub(crate) struct Context<'a> {
    pub(crate) io: Io<'a>,
    pub(crate) shared: &'a Shared,
    pub(crate) now: Now,
    /// Those who have gone for good in this step.
    pub(crate) gone: &'a mut Vec<PeerId>,
    /// `sid`s of rooms with participants that this step has not reconciled yet.
    pub(crate) unreconciled: &'a mut Vec<String>,
}

pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) sid: String,
    /// In the order in which they came.
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) speakers: Speakers<PeerId>,
    /// The identities of those who have asked to be connected over TCP from now on.
    pub(crate) over_tcp: HashSet<String>,
    /// The last who left for all to see, and when.
    departed: VecDeque<(Instant, proto::ParticipantInfo)>,
    /// Whose reconciliation panics, in tests.
    #[cfg(test)]
    pub(crate) faulty: Option<PeerId>,
    /// Whether somebody has begun or ceased to publish since all were told how many do.
    is_counted_anew: bool,
    pub(crate) unreconciled: Unreconciled,
}

/// How a participant goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Farewell {
    pub(crate) reason: DisconnectReason,
    /// What the participant is told to do; `None`: it is told nothing.
    pub(crate) action: Option<Action>,
    /// Whether the others see it go. They do not if it is back already.
    pub(crate) is_seen: bool,
}

impl Farewell {
    /// It goes for good, and is told why.
    pub(crate) fn for_good(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Disconnect), is_seen: true }
    }

    /// It has to come back as a new one.
    pub(crate) fn to_rejoin(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Reconnect), is_seen: true }
    }

    /// It is gone, or is to believe that the server is.
    pub(crate) fn silent(reason: DisconnectReason) -> Self {
        Self { reason, action: None, is_seen: true }
    }
}

impl Room {
    pub(crate) fn new(name: String, sid: String) -> Self {
        Self {
            name,
            sid,
            peers: BTreeMap::new(),
            speakers: Speakers::default(),
            over_tcp: HashSet::new(),
            departed: VecDeque::new(),
            #[cfg(test)]
            faulty: None,
            is_counted_anew: false,
            unreconciled: Unreconciled::default(),
        }
    }

    pub(crate) fn by_identity(&self, identity: &str) -> Option<PeerId> {
        self.peers.values().find(|peer| peer.info.identity == identity).map(|peer| peer.id)
    }

    /// Tells all but that one.
    pub(crate) fn tell_others(&mut self, than: PeerId, message: Message) {
        let signal = Signal::new(message);
        for peer in self.peers.values_mut().filter(|peer| peer.id != than) {
            peer.send_shared(&signal);
        }
    }

    /// Publishes a participant's state as it is now: to the server API, to the others unless it is hidden, and to itself
    /// where it waits for that.
    pub(crate) fn announce(&mut self, context: &mut Context<'_>, id: PeerId, to_itself: bool) {
        self.update_info(context, id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.announced = Announced::Broadcast;
        let signal = update(vec![peer.info.clone()]);
        let is_hidden = peer.is_hidden();
        let told = |peer: &&mut Peer| if peer.id == id { to_itself } else { !is_hidden };
        for peer in self.peers.values_mut().filter(told) {
            if peer.is_behind() {
                peer.untold.insert(id);
            } else {
                peer.send_shared(&signal);
            }
        }
    }

    /// Announces a participant that is not announced yet, once [`ANNOUNCE_DELAY`] has passed.
    pub(crate) fn tick_announcement(&mut self, context: &mut Context<'_>, id: PeerId) {
        let now = context.io.now;
        let is_due = |peer: &Peer| {
            peer.announced < Announced::Broadcast && now.saturating_duration_since(peer.joined) >= ANNOUNCE_DELAY
        };
        if self.peers.get(&id).is_some_and(is_due) {
            self.announce(context, id, false);
        }
    }

    /// Brings a participant's state up to date, also in the server API. The other participants are not sent it.
    pub(crate) fn update_info(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.info.version += 1;
        peer.info.tracks = peer.tracks.iter().filter(|track| track.is_public).map(|track| track.info.clone()).collect();
        let was_publisher = peer.info.is_publisher;
        peer.info.is_publisher = !peer.info.tracks.is_empty();
        let is_counted_anew = peer.info.is_publisher != was_publisher;
        context.shared.rooms(|rooms, now| rooms.update(&self.name, &peer.info, now));
        self.is_counted_anew |= is_counted_anew;
    }

    /// Tells how many publish, if that has changed, whoever takes it.
    pub(crate) fn announce_counts(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_counted_anew) {
            self.tell_room(shared, |peer| !peer.is_behind());
        }
    }

    /// Tells a participant what it has missed, once it takes it.
    pub(crate) fn catch_up(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.untold.is_empty() || peer.is_behind() {
            return;
        }
        let untold = std::mem::take(&mut peer.untold);
        // Of those who have gone it was told at once.
        let known = untold.iter().filter_map(|of| self.peers.get(of)).filter(|of| of.id == id || !of.is_hidden());
        let signal = update(known.map(|of| of.info.clone()).collect());
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.send_shared(&signal);
        }
    }

    /// Tells everybody the room's metadata and how many are in it.
    pub(crate) fn announce_room(&mut self, shared: &Shared) {
        self.tell_room(shared, |_| true);
    }

    fn tell_room(&mut self, shared: &Shared, is_told: impl Fn(&Peer) -> bool) {
        let Some(room) = self.to_proto(shared) else { return };
        let signal = Signal::new(Message::RoomUpdate(proto::RoomUpdate { room: Some(room) }));
        self.peers.values_mut().filter(|peer| is_told(peer)).for_each(|peer| peer.send_shared(&signal));
    }

    /// The room as the server API shows it; `None` if it is gone, though another one may have its name.
    pub(crate) fn to_proto(&self, shared: &Shared) -> Option<proto::Room> {
        let room = shared.rooms(|rooms, now| rooms.get(&self.name, now).map(crate::registry::rooms::Room::snapshot));
        room.filter(|room| room.sid() == self.sid).map(crate::registry::rooms::Snapshot::describe)
    }

    /// The participants that a participant is sent when it joins or resumes, those that are not announced yet included.
    pub(crate) fn list_others(&mut self, than: PeerId) -> Vec<proto::ParticipantInfo> {
        let listed = self.peers.values_mut().filter(|peer| peer.id != than && !peer.is_hidden());
        let info = |peer: &mut Peer| {
            peer.announced = peer.announced.max(Announced::Listed);
            peer.info.clone()
        };
        listed.map(info).collect()
    }

    /// Those who have left since a participant joined and are not back for it to see. It may have missed that: what is on its
    /// way when a connection breaks is lost.
    pub(crate) fn departed_since(&self, joined: Instant) -> Vec<proto::ParticipantInfo> {
        let seen: HashSet<_> =
            self.peers.values().filter(|peer| !peer.is_hidden()).map(|peer| peer.info.identity.as_str()).collect();
        let since = self.departed.iter().filter(|(left, _)| *left >= joined).map(|(_, info)| info);
        since.filter(|info| !seen.contains(info.identity.as_str())).cloned().collect()
    }

    /// Lets a participant go. The rooms of the server API must have let it go already, or it goes there, too.
    pub(crate) fn remove(&mut self, context: &mut Context<'_>, id: PeerId, farewell: Farewell) {
        if self.detach(context, id, farewell) {
            self.reconcile_all(context);
            self.announce_room(context.shared);
        }
    }

    /// The same, without what follows for those who stay: whoever removes many does that once. Whether it was there.
    pub(crate) fn detach(&mut self, context: &mut Context<'_>, id: PeerId, farewell: Farewell) -> bool {
        if farewell.action == Some(Action::Reconnect) {
            self.flush_token(context, id);
        }
        let Some(mut peer) = self.peers.remove(&id) else { return false };
        context.gone.push(id);
        if let Some(action) = farewell.action {
            peer.leave(farewell.reason, action);
        }
        leave(context.shared, &self.name, &peer.info.identity, &peer.info.sid);
        self.speakers.forget(id);
        if farewell.is_seen && peer.announced > Announced::No && !peer.is_hidden() {
            let mut info = std::mem::take(&mut peer.info);
            info.version += 1;
            info.tracks.clear();
            info.set_state(State::Disconnected);
            info.set_disconnect_reason(farewell.reason);
            self.remember(context.io.now, &info);
            self.tell_others(id, Message::Update(proto::ParticipantUpdate { participants: vec![info] }));
        }
        true
    }

    fn remember(&mut self, left: Instant, info: &proto::ParticipantInfo) {
        if self.departed.len() == MOST_DEPARTED {
            self.departed.pop_front();
        }
        let kept = proto::ParticipantInfo {
            sid: info.sid.clone(),
            identity: info.identity.clone(),
            state: info.state,
            disconnect_reason: info.disconnect_reason,
            version: info.version,
            ..proto::ParticipantInfo::default()
        };
        self.departed.push_back((left, kept));
    }

    /// Connected: from now on it counts as there.
    pub(crate) fn connected(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.is_active() && peer.is_connected() {
            peer.info.set_state(State::Active);
            self.announce(context, id, true);
        }
        self.tell_publishers(id);
        self.request_keyframes(context, id);
    }
}

/// Has a participant leave the rooms of the server API, unless another one of that identity has taken its place.
pub(crate) fn leave(shared: &Shared, room: &str, identity: &str, sid: &str) {
    shared.rooms(|rooms, now| {
        let known = rooms.get(room, now).and_then(|room| room.participant(identity));
        if known.is_some_and(|known| known.sid == sid) {
            // It is there: that was just looked at.
            let _ = rooms.leave(room, identity, now);
        }
    });
}

/// The news of some participants.
pub(crate) fn update(participants: Vec<proto::ParticipantInfo>) -> Arc<Signal> {
    Signal::new(Message::Update(proto::ParticipantUpdate { participants }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_have_left_the_last_are_remembered_and_told_to_those_who_were_there() {
        let mut room = Room::new("r".into(), "RM_1".into());
        let begun = Instant::now();
        let at = |second: usize| begun + Duration::from_secs(u64::try_from(second).unwrap());
        for second in 0..=MOST_DEPARTED {
            let info = proto::ParticipantInfo {
                identity: second.to_string(),
                metadata: "long".into(),
                ..proto::ParticipantInfo::default()
            };
            room.remember(at(second), &info);
        }
        let told = room.departed_since(begun);
        assert_eq!((told.len(), told[0].identity.as_str(), told[0].metadata.as_str()), (MOST_DEPARTED, "1", ""));
        assert_eq!(room.departed_since(at(MOST_DEPARTED)).len(), 1);
        assert!(room.departed_since(at(MOST_DEPARTED + 1)).is_empty());
    }
}

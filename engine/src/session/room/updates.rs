//! Updates of participants and of the room.

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::participant::{Announcement, Participant};
use super::{Context, Room};
use crate::ids::SessionId;
use crate::services::Services;
use crate::session::signal_channel::SignalMessage;

/// Time from a join until a participant without tracks or connected media is announced to the others, as in livekit-server. One
/// that leaves earlier is never announced: React's `StrictMode` joins, leaves and rejoins.
const ANNOUNCE_DELAY: Duration = Duration::from_secs(3);

impl Room {
    /// Sends a message to all participants except one.
    pub(crate) fn broadcast_except(&mut self, except: SessionId, message: Message) {
        let signal = SignalMessage::new(message);
        for participant in self.participants.values_mut().filter(|participant| participant.id != except) {
            participant.send_shared(&signal);
        }
    }

    /// Sends a participant's state to the server API, to the others unless the participant is hidden, and to itself if
    /// `to_itself`. Congested clients are sent it later.
    pub(crate) fn broadcast_participant(&mut self, context: &mut Context<'_>, id: SessionId, to_itself: bool) {
        self.update_info(context, id);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.announced = Announcement::Broadcast;
        let signal = participant_update(vec![participant.info.clone()]);
        let is_hidden = participant.is_hidden();
        let is_recipient = |participant: &&mut Participant| if participant.id == id { to_itself } else { !is_hidden };
        for participant in self.participants.values_mut().filter(is_recipient) {
            if participant.is_congested() {
                participant.pending_updates.insert(id);
            } else {
                participant.send_shared(&signal);
            }
        }
    }

    /// Announces a participant that is not announced [`ANNOUNCE_DELAY`] after its join.
    pub(crate) fn tick_announcement(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let is_due = |participant: &Participant| {
            participant.announced < Announcement::Broadcast
                && now.saturating_duration_since(participant.joined) >= ANNOUNCE_DELAY
        };
        if self.participants.get(&id).is_some_and(is_due) {
            self.broadcast_participant(context, id, false);
        }
    }

    /// Updates a participant's state, also in the server API. Other participants are not sent it.
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

    /// Sends the room's state if the number of publishers has changed. Congested clients are skipped.
    pub(crate) fn flush_room_update(&mut self, services: &Services) {
        if std::mem::take(&mut self.publisher_count_changed) {
            self.broadcast_room_update_to(services, |participant| !participant.is_congested());
        }
    }

    /// Sends a participant the updates that it was not sent while its client was congested.
    pub(crate) fn flush_pending_updates(&mut self, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.pending_updates.is_empty() || participant.is_congested() {
            return;
        }
        let pending_updates = std::mem::take(&mut participant.pending_updates);
        // Departures are never deferred.
        let known = pending_updates
            .iter()
            .filter_map(|of| self.participants.get(of))
            .filter(|of| of.id == id || !of.is_hidden());
        let signal = participant_update(known.map(|of| of.info.clone()).collect());
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.send_shared(&signal);
        }
    }

    /// Sends the room's metadata and participant count to all participants.
    pub(crate) fn broadcast_room_update(&mut self, services: &Services) {
        self.broadcast_room_update_to(services, |_| true);
    }

    fn broadcast_room_update_to(&mut self, services: &Services, is_recipient: impl Fn(&Participant) -> bool) {
        let Some(room) = self.to_proto(services) else { return };
        let signal = SignalMessage::new(Message::RoomUpdate(proto::RoomUpdate { room: Some(room) }));
        self.participants
            .values_mut()
            .filter(|participant| is_recipient(participant))
            .for_each(|participant| participant.send_shared(&signal));
    }

    /// The room as the server API shows it; `None` if it is closed, even if another room has its name.
    pub(crate) fn to_proto(&self, services: &Services) -> Option<proto::Room> {
        let room = services.rooms(|rooms, now| rooms.get(&self.name, now).cloned());
        room.filter(|room| room.sid() == self.sid).map(|room| room.to_proto())
    }

    /// The other participants that are sent to one that joins or resumes, including those that are not announced yet.
    pub(crate) fn visible_participants(&mut self, except: SessionId) -> Vec<proto::ParticipantInfo> {
        let listed =
            self.participants.values_mut().filter(|participant| participant.id != except && !participant.is_hidden());
        let info = |participant: &mut Participant| {
            participant.announced = participant.announced.max(Announcement::Listed);
            participant.info.clone()
        };
        listed.map(info).collect()
    }
}

/// An update of participants, to be shared by several recipients.
pub(crate) fn participant_update(participants: Vec<proto::ParticipantInfo>) -> Arc<SignalMessage> {
    SignalMessage::new(Message::Update(proto::ParticipantUpdate { participants }))
}

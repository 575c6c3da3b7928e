//! Events of rooms and participants, as webhooks report them.

use std::sync::Arc;

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::{DisconnectReason, RoomEndReason};

use super::room::Room;
use crate::clock::Now;

/// An event in the life of a room or of a participant in it, for webhooks.
#[derive(Debug, Clone)]
pub struct RoomEvent {
    /// The room after the event.
    pub room: Arc<Room>,
    /// Time of the event, in seconds since the Unix epoch.
    pub unix_secs: i64,
    /// The event.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The room is open.
    RoomStarted,
    /// The room is closed.
    RoomFinished(RoomEndReason),
    /// The participant's media is connected.
    ParticipantJoined(Arc<proto::ParticipantInfo>),
    /// The participant, in its last state, has left.
    ParticipantLeft(Arc<proto::ParticipantInfo>, DisconnectReason),
    /// The participant has published a track.
    TrackPublished(Arc<proto::ParticipantInfo>, proto::TrackInfo),
    /// The participant, or its leave, has unpublished a track.
    TrackUnpublished(Arc<proto::ParticipantInfo>, proto::TrackInfo),
}

/// Collects events until they are taken; nothing if it is off.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    pub(super) is_on: bool,
    events: Vec<RoomEvent>,
}

impl EventLog {
    pub(super) fn take(&mut self) -> Vec<RoomEvent> {
        std::mem::take(&mut self.events)
    }

    fn push(&mut self, room: &Arc<Room>, now: Now, kind: EventKind) {
        self.events.push(RoomEvent { room: room.clone(), unix_secs: now.unix_secs(), kind });
    }

    pub(super) fn started(&mut self, room: &Arc<Room>, now: Now) {
        if self.is_on {
            self.push(room, now, EventKind::RoomStarted);
        }
    }

    /// The room is closed, and its participants leave with it.
    pub(super) fn finished(&mut self, room: &Arc<Room>, reason: RoomEndReason, left: DisconnectReason, now: Now) {
        if self.is_on {
            for participant in room.participant_snapshots() {
                self.left(room, participant, left, now);
            }
            self.push(room, now, EventKind::RoomFinished(reason));
        }
    }

    /// The state of a participant has changed.
    pub(super) fn updated(
        &mut self,
        room: &Arc<Room>,
        before: &proto::ParticipantInfo,
        after: &Arc<proto::ParticipantInfo>,
        now: Now,
    ) {
        if !self.is_on {
            return;
        }
        if before.state() != State::Active && after.state() == State::Active {
            self.push(room, now, EventKind::ParticipantJoined(after.clone()));
        }
        for track in not_among(&before.tracks, &after.tracks) {
            self.push(room, now, EventKind::TrackUnpublished(after.clone(), track.clone()));
        }
        for track in not_among(&after.tracks, &before.tracks) {
            self.push(room, now, EventKind::TrackPublished(after.clone(), track.clone()));
        }
    }

    /// A participant has left, with its tracks.
    pub(super) fn left(
        &mut self,
        room: &Arc<Room>,
        participant: &Arc<proto::ParticipantInfo>,
        reason: DisconnectReason,
        now: Now,
    ) {
        if self.is_on {
            for track in &participant.tracks {
                self.push(room, now, EventKind::TrackUnpublished(participant.clone(), track.clone()));
            }
            self.push(room, now, EventKind::ParticipantLeft(participant.clone(), reason));
        }
    }
}

/// The tracks of `some` that are not among `others`.
fn not_among<'a>(
    some: &'a [proto::TrackInfo],
    others: &'a [proto::TrackInfo],
) -> impl Iterator<Item = &'a proto::TrackInfo> {
    some.iter().filter(|track| others.iter().all(|other| other.sid != track.sid))
}

impl RoomEvent {
    /// LiveKit's name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.kind {
            EventKind::RoomStarted => "room_started",
            EventKind::RoomFinished(_) => "room_finished",
            EventKind::ParticipantJoined(_) => "participant_joined",
            EventKind::ParticipantLeft(participant, _) if participant.state() == State::Active => "participant_left",
            EventKind::ParticipantLeft(..) => "participant_connection_aborted",
            EventKind::TrackPublished(..) => "track_published",
            EventKind::TrackUnpublished(..) => "track_unpublished",
        }
    }

    /// The event as livekit-server sends it. With events of tracks it sends only the ids of room and participant.
    #[must_use]
    pub fn to_proto(&self, id: String) -> proto::WebhookEvent {
        let event = proto::WebhookEvent {
            event: self.name().to_owned(),
            id,
            created_at: self.unix_secs,
            ..proto::WebhookEvent::default()
        };
        match &self.kind {
            EventKind::RoomStarted => proto::WebhookEvent { room: Some(self.room.to_proto()), ..event },
            EventKind::RoomFinished(reason) => {
                let room_end_reason = (*reason).into();
                proto::WebhookEvent { room: Some(self.room.to_proto()), room_end_reason, ..event }
            }
            EventKind::ParticipantJoined(participant) => {
                let participant = Some((**participant).clone());
                proto::WebhookEvent { room: Some(self.room.to_proto()), participant, ..event }
            }
            EventKind::ParticipantLeft(participant, reason) => {
                let mut participant = (**participant).clone();
                participant.tracks.clear();
                participant.version += 1;
                participant.set_state(State::Disconnected);
                participant.set_disconnect_reason(*reason);
                proto::WebhookEvent { room: Some(self.room.to_proto()), participant: Some(participant), ..event }
            }
            EventKind::TrackPublished(participant, track) | EventKind::TrackUnpublished(participant, track) => {
                self.track_event(event, participant, track)
            }
        }
    }

    fn track_event(
        &self,
        event: proto::WebhookEvent,
        participant: &proto::ParticipantInfo,
        track: &proto::TrackInfo,
    ) -> proto::WebhookEvent {
        let room = proto::Room {
            sid: self.room.sid().to_owned(),
            name: self.room.name().to_owned(),
            ..proto::Room::default()
        };
        let participant = proto::ParticipantInfo {
            sid: participant.sid.clone(),
            identity: participant.identity.clone(),
            ..proto::ParticipantInfo::default()
        };
        proto::WebhookEvent { room: Some(room), participant: Some(participant), track: Some(track.clone()), ..event }
    }

    /// Upper bound of the event's size in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        use prost::Message as _;
        let details = match &self.kind {
            EventKind::RoomStarted | EventKind::RoomFinished(_) => 0,
            EventKind::ParticipantJoined(participant) | EventKind::ParticipantLeft(participant, _) => {
                participant.encoded_len()
            }
            EventKind::TrackPublished(_, track) | EventKind::TrackUnpublished(_, track) => track.encoded_len(),
        };
        EVENT_BYTES + self.room.info().metadata.len() + details
    }
}

/// Bytes of an event beside the room's metadata and the participant or the track.
const EVENT_BYTES: usize = 1024;

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
    /// The name of the room.
    pub room: Arc<str>,
    /// Time of the event, in seconds since the Unix epoch.
    pub unix_secs: i64,
    /// The event.
    pub kind: EventKind,
}

/// The kinds of events, with the room after the event.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// The room is open.
    RoomStarted(Arc<Room>),
    /// The room is closed.
    RoomFinished(Arc<Room>, RoomEndReason),
    /// The participant's media is connected.
    ParticipantJoined(Arc<Room>, Arc<proto::ParticipantInfo>),
    /// The participant, in its last state, has left.
    ParticipantLeft(Arc<Room>, Arc<proto::ParticipantInfo>, DisconnectReason),
    /// The participant has published a track.
    TrackPublished(Box<TrackEvent>),
    /// The participant, or its leave, has unpublished a track.
    TrackUnpublished(Box<TrackEvent>),
}

/// A track with the ids of its room and participant. It holds no snapshot of them, because their metadata can be large and
/// tracks change often.
#[derive(Debug, Clone)]
pub struct TrackEvent {
    room_sid: String,
    participant_sid: String,
    identity: String,
    track: proto::TrackInfo,
}

impl TrackEvent {
    fn new(room: &Room, participant: &proto::ParticipantInfo, track: &proto::TrackInfo) -> Box<Self> {
        Box::new(Self {
            room_sid: room.sid().to_owned(),
            participant_sid: participant.sid.clone(),
            identity: participant.identity.clone(),
            track: track.clone(),
        })
    }
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

    fn push(&mut self, room: &Room, now: Now, kind: EventKind) {
        self.events.push(RoomEvent { room: room.name.clone(), unix_secs: now.unix_secs(), kind });
    }

    pub(super) fn started(&mut self, room: &Arc<Room>, now: Now) {
        if self.is_on {
            self.push(room, now, EventKind::RoomStarted(room.clone()));
        }
    }

    /// The room is closed, and its participants leave with it.
    pub(super) fn finished(&mut self, room: &Arc<Room>, reason: RoomEndReason, left: DisconnectReason, now: Now) {
        if self.is_on {
            for participant in room.participant_snapshots() {
                self.left(room, participant, left, now);
            }
            self.push(room, now, EventKind::RoomFinished(room.clone(), reason));
        }
    }

    /// The state of a participant has changed. Its tracks are reported while it is active: those that it has published before
    /// follow its join.
    pub(super) fn updated(
        &mut self,
        room: &Arc<Room>,
        before: &proto::ParticipantInfo,
        after: &Arc<proto::ParticipantInfo>,
        now: Now,
    ) {
        if !self.is_on || after.state() != State::Active {
            return;
        }
        let reported = if before.state() == State::Active {
            &*before.tracks
        } else {
            self.push(room, now, EventKind::ParticipantJoined(room.clone(), after.clone()));
            &[]
        };
        for track in not_among(reported, &after.tracks) {
            self.push(room, now, EventKind::TrackUnpublished(TrackEvent::new(room, after, track)));
        }
        for track in not_among(&after.tracks, reported) {
            self.push(room, now, EventKind::TrackPublished(TrackEvent::new(room, after, track)));
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
        if !self.is_on {
            return;
        }
        if participant.state() == State::Active {
            for track in &participant.tracks {
                self.push(room, now, EventKind::TrackUnpublished(TrackEvent::new(room, participant, track)));
            }
        }
        self.push(room, now, EventKind::ParticipantLeft(room.clone(), participant.clone(), reason));
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
            EventKind::RoomStarted(_) => "room_started",
            EventKind::RoomFinished(..) => "room_finished",
            EventKind::ParticipantJoined(..) => "participant_joined",
            EventKind::ParticipantLeft(_, participant, _) if participant.state() == State::Active => "participant_left",
            EventKind::ParticipantLeft(..) => "participant_connection_aborted",
            EventKind::TrackPublished(_) => "track_published",
            EventKind::TrackUnpublished(_) => "track_unpublished",
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
            EventKind::RoomStarted(room) => proto::WebhookEvent { room: Some(room.to_proto()), ..event },
            EventKind::RoomFinished(room, reason) => {
                let room_end_reason = (*reason).into();
                proto::WebhookEvent { room: Some(room.to_proto()), room_end_reason, ..event }
            }
            EventKind::ParticipantJoined(room, participant) => {
                let participant = Some((**participant).clone());
                proto::WebhookEvent { room: Some(room.to_proto()), participant, ..event }
            }
            EventKind::ParticipantLeft(room, participant, reason) => {
                let mut participant = (**participant).clone();
                participant.tracks.clear();
                participant.version += 1;
                participant.set_state(State::Disconnected);
                participant.set_disconnect_reason(*reason);
                proto::WebhookEvent { room: Some(room.to_proto()), participant: Some(participant), ..event }
            }
            EventKind::TrackPublished(track) | EventKind::TrackUnpublished(track) => self.track_event(event, track),
        }
    }

    fn track_event(&self, event: proto::WebhookEvent, track: &TrackEvent) -> proto::WebhookEvent {
        let room = proto::Room { sid: track.room_sid.clone(), name: (*self.room).to_owned(), ..proto::Room::default() };
        let participant = proto::ParticipantInfo {
            sid: track.participant_sid.clone(),
            identity: track.identity.clone(),
            ..proto::ParticipantInfo::default()
        };
        let track = Some(track.track.clone());
        proto::WebhookEvent { room: Some(room), participant: Some(participant), track, ..event }
    }

    /// Upper bound of the event's size in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        use prost::Message as _;
        let details = match &self.kind {
            EventKind::RoomStarted(room) | EventKind::RoomFinished(room, _) => room.info().metadata.len(),
            EventKind::ParticipantJoined(room, participant) | EventKind::ParticipantLeft(room, participant, _) => {
                room.info().metadata.len() + participant.encoded_len()
            }
            EventKind::TrackPublished(track) | EventKind::TrackUnpublished(track) => {
                track.identity.len() + track.track.encoded_len()
            }
        };
        EVENT_BYTES + details
    }
}

/// Bytes of an event besides the room's metadata and the participant or the track.
const EVENT_BYTES: usize = 1024;

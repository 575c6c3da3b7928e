//! A room as the server API sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;

use super::revocation::RevokedBefore;
use crate::clock::Now;
use crate::ids::new_sid;

/// Seconds that a room stays open before the first join, unless its settings say otherwise.
const EMPTY_TIMEOUT_SECS: u32 = 300;
/// Seconds that a room stays open after the last leave, unless its settings say otherwise.
const DEPARTURE_TIMEOUT_SECS: u32 = 20;

/// Codecs that livekit-server enables by default.
const CODECS: [&str; 10] = [
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "video/rtx",
];

/// A room and its participants. An `Arc<Room>` is a snapshot: changes go to a copy of a room that is shared.
#[derive(Debug, Clone)]
pub struct Room {
    pub(super) name: Arc<str>,
    /// All fields but `name` and `enabled_codecs`.
    pub(super) info: proto::Room,
    /// Sorted by identity.
    participants: Vec<Arc<proto::ParticipantInfo>>,
    /// `None` while a participant that counts is in the room.
    pub(super) closes_at: Option<Instant>,
    /// Tokens minted earlier are rejected.
    pub(super) revoked_before: Option<RevokedBefore>,
}

/// Settings of a new room; 0 stands for the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// Seconds that the room stays open before the first join; default 300.
    pub empty_timeout: u32,
    /// Seconds that the room stays open after the last leave; default 20.
    pub departure_timeout: u32,
    /// Maximum number of participants at the same time; default: no limit.
    pub max_participants: u32,
    /// Text that all participants receive.
    pub metadata: &'a str,
}

impl Room {
    /// The name of the room.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unique id of the room. A later room of the same name has another one.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.info.sid
    }

    /// The room without its `name` and `enabled_codecs`, which [`to_proto`](Self::to_proto) adds.
    #[must_use]
    pub fn info(&self) -> &proto::Room {
        &self.info
    }

    /// The room as the server API returns it.
    #[must_use]
    pub fn to_proto(&self) -> proto::Room {
        let codec = |mime: &str| proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() };
        let enabled_codecs = CODECS.into_iter().map(codec).collect();
        proto::Room { name: self.name.to_string(), enabled_codecs, ..self.info.clone() }
    }

    /// The participants, sorted by identity.
    pub fn participants(&self) -> impl Iterator<Item = &proto::ParticipantInfo> {
        self.participants.iter().map(AsRef::as_ref)
    }

    /// The participants, sorted by identity. A clone of an `Arc` is a snapshot.
    pub(super) fn participant_snapshots(&self) -> &[Arc<proto::ParticipantInfo>] {
        &self.participants
    }

    /// The participant with this identity.
    #[must_use]
    pub fn participant(&self, identity: &str) -> Option<&Arc<proto::ParticipantInfo>> {
        self.position(identity).ok().and_then(|position| self.participants.get(position))
    }

    pub(super) fn new(
        name: Arc<str>,
        settings: &Settings<'_>,
        revoked_before: Option<RevokedBefore>,
        now: Now,
    ) -> Self {
        let or_default = |secs, default| if secs == 0 { default } else { secs };
        let info = proto::Room {
            sid: new_sid("RM_"),
            empty_timeout: or_default(settings.empty_timeout, EMPTY_TIMEOUT_SECS),
            departure_timeout: or_default(settings.departure_timeout, DEPARTURE_TIMEOUT_SECS),
            max_participants: settings.max_participants,
            creation_time: now.unix_secs(),
            creation_time_ms: now.unix_millis,
            metadata: settings.metadata.to_owned(),
            ..proto::Room::default()
        };
        let closes_at = after(now.instant, info.empty_timeout);
        Self { name, info, participants: Vec::new(), closes_at, revoked_before }
    }

    pub(super) fn is_expired(&self, now: Now) -> bool {
        self.closes_at.is_some_and(|at| at <= now.instant)
    }

    /// Whether `max_participants` rejects a participant. A participant that joins again replaces itself.
    pub(super) fn is_full_for(&self, participant: &proto::ParticipantInfo) -> bool {
        let max = self.info.max_participants;
        let is_counted_already = self.participant(&participant.identity).is_some_and(|own| is_counted(own));
        max > 0 && is_counted(participant) && self.info.num_participants - u32::from(is_counted_already) >= max
    }

    /// Adds a participant. Returns the one of the same identity that it replaces.
    pub(super) fn insert(&mut self, participant: Arc<proto::ParticipantInfo>) -> Option<Arc<proto::ParticipantInfo>> {
        self.info.num_participants += u32::from(is_counted(&participant));
        self.info.num_publishers += u32::from(participant.is_publisher);
        match self.position(&participant.identity) {
            Ok(position) => {
                let replaced = std::mem::replace(&mut self.participants[position], participant);
                self.subtract(&replaced);
                Some(replaced)
            }
            Err(position) => {
                self.participants.insert(position, participant);
                None
            }
        }
    }

    /// Removes the participant with this identity. After the last one that counts, the room closes at the end of its
    /// departure timeout.
    pub(super) fn remove(&mut self, identity: &str, now: Now) -> Option<Arc<proto::ParticipantInfo>> {
        let removed = self.participants.remove(self.position(identity).ok()?);
        self.subtract(&removed);
        if self.closes_at.is_none() && self.info.num_participants == 0 {
            self.closes_at = after(now.instant, self.info.departure_timeout);
        }
        Some(removed)
    }

    /// Keeps the room open until the participants that count have left.
    pub(super) fn keep_open(&mut self) {
        if self.info.num_participants > 0 {
            self.closes_at = None;
        }
    }

    fn subtract(&mut self, participant: &proto::ParticipantInfo) {
        self.info.num_participants -= u32::from(is_counted(participant));
        self.info.num_publishers -= u32::from(participant.is_publisher);
    }

    fn position(&self, identity: &str) -> Result<usize, usize> {
        self.participants.binary_search_by(|participant| participant.identity.as_str().cmp(identity))
    }
}

/// `None` past the end of the clock.
fn after(instant: Instant, secs: u32) -> Option<Instant> {
    instant.checked_add(Duration::from_secs(secs.into()))
}

/// Whether a participant keeps the room open and counts in `num_participants`: all but agents and recorders.
#[expect(deprecated, reason = "older tokens still set `recorder` and `agent` among the permissions")]
fn is_counted(participant: &proto::ParticipantInfo) -> bool {
    use proto::participant_info::Kind;
    let is_agent = participant.permission.as_ref().is_some_and(|permission| permission.recorder || permission.agent);
    !is_agent && !matches!(participant.kind(), Kind::Agent | Kind::Egress)
}

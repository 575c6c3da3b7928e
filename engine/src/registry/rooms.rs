//! The rooms of one engine: a state machine without clock, lock or network. Each step is told the time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;

use crate::clock::Now;
use crate::error::{ApiError, MAX_NAME_BYTES, check_metadata, check_participant};
use crate::ids::new_sid;
use crate::registry::revocation::{Revocations, RevokedBefore, TokenEpoch};

const EMPTY_TIMEOUT_SECS: u32 = 300;
const DEPARTURE_TIMEOUT_SECS: u32 = 20;

/// What livekit-server lets clients publish unless it is told otherwise.
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

/// The live rooms, sorted by name, and the deletions that tokens are held against.
#[derive(Debug)]
pub struct Rooms {
    /// Boxed: the map's nodes hold their values side by side, and move them for each that is put between.
    live: BTreeMap<Arc<str>, Box<Room>>,
    /// No room closes before that.
    next_closing: Option<Instant>,
    revocations: Revocations,
    /// Those who have to go, until whoever carries their connections has taken note.
    evicted: Vec<Evicted>,
}

/// A participant that is in its room no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The participant's `sid`.
    pub sid: String,
    /// What the participant is told.
    pub reason: proto::DisconnectReason,
}

/// When a token was minted, as far as its claims say.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenIssuedAt<'a> {
    /// That of an engine of ours.
    pub epoch: Option<&'a TokenEpoch>,
    /// The claim `nbf`.
    pub not_before: Option<i64>,
}

/// A live room, which owns its participants.
#[derive(Debug)]
pub struct Room {
    name: Arc<str>,
    /// Without the name, and without [`Room::to_proto`]'s list of codecs.
    info: proto::Room,
    participants: BTreeMap<String, proto::ParticipantInfo>,
    /// When it closes, unless somebody joins.
    closes_at: Option<Instant>,
    /// Tokens minted before are refused.
    revoked_before: Option<RevokedBefore>,
}

impl Room {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the room is, but for its name and [`Room::to_proto`]'s list of codecs.
    #[must_use]
    pub fn info(&self) -> &proto::Room {
        &self.info
    }

    /// What the room is, as the server API tells it.
    #[must_use]
    pub fn to_proto(&self) -> proto::Room {
        self.snapshot().to_proto()
    }

    /// What the room is now, to be described once others may use the rooms again.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { name: self.name.clone(), info: self.info.clone() }
    }

    /// Those in the room, sorted by identity.
    pub fn participants(&self) -> impl Iterator<Item = &proto::ParticipantInfo> {
        self.participants.values()
    }

    /// The participant of that identity.
    #[must_use]
    pub fn participant(&self, identity: &str) -> Option<&proto::ParticipantInfo> {
        self.participants.get(identity)
    }

    fn new(name: Arc<str>, settings: &Settings<'_>, revoked_before: Option<RevokedBefore>, now: Now) -> Self {
        let or_default = |secs, standard| if secs == 0 { standard } else { secs };
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
        Self { name, info, participants: BTreeMap::new(), closes_at, revoked_before }
    }

    fn is_expired(&self, now: Now) -> bool {
        self.closes_at.is_some_and(|at| at <= now.instant)
    }

    fn evict(&self, reason: proto::DisconnectReason) -> impl Iterator<Item = Evicted> {
        self.participants.values().map(move |participant| Evicted { sid: participant.sid.clone(), reason })
    }

    fn count(&mut self) {
        let count = |is_counted: fn(&proto::ParticipantInfo) -> bool| {
            let counted = self.participants.values().filter(|participant| is_counted(participant)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        self.info.num_participants = count(|participant| !is_uncounted(participant));
        self.info.num_publishers = count(|participant| participant.is_publisher);
    }
}

/// What a room was.
#[derive(Debug)]
pub struct Snapshot {
    name: Arc<str>,
    info: proto::Room,
}

impl Snapshot {
    /// The room's `sid`: another room of the same name has another.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.info.sid
    }

    /// As the server API tells it.
    #[must_use]
    pub fn to_proto(self) -> proto::Room {
        let codec = |mime: &str| proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() };
        let enabled_codecs = CODECS.into_iter().map(codec).collect();
        proto::Room { name: self.name.to_string(), enabled_codecs, ..self.info }
    }
}

/// What a new room is made with; 0 is the server's default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// Seconds it lives before the first join; default 300.
    pub empty_timeout: u32,
    /// Seconds it lives after the last leave; default 20.
    pub departure_timeout: u32,
    /// Most participants at once; default: no limit.
    pub max_participants: u32,
    /// Text handed to everyone in the room.
    pub metadata: &'a str,
}

/// A participant that has joined.
#[derive(Debug)]
pub struct JoinOutcome {
    /// The participant as it is in the room.
    pub participant: proto::ParticipantInfo,
    /// The one of the same identity that had to go.
    pub replaced: Option<proto::ParticipantInfo>,
    /// The room, with the participant in it.
    pub room: Snapshot,
}

impl Rooms {
    /// None yet, for the engine of that name.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self { live: BTreeMap::new(), next_closing: None, revocations: Revocations::new(engine), evicted: Vec::new() }
    }

    /// Creates the room, or gives the live one of that name back unchanged.
    ///
    /// # Errors
    /// [`ApiError::RoomName`] or [`ApiError::Metadata`] if that is too long.
    pub fn create(&mut self, name: &str, settings: &Settings<'_>, now: Now) -> Result<&mut Room, ApiError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(ApiError::RoomName);
        }
        check_metadata(settings.metadata)?;
        let name: Arc<str> = name.into();
        let revoked_before = self.revocations.revoked_before(&name);
        let room = match self.live.entry(name.clone()) {
            Entry::Occupied(live) => {
                let live = live.into_mut();
                if live.is_expired(now) {
                    self.evicted.extend(live.evict(proto::DisconnectReason::RoomClosed));
                    **live = Room::new(name, settings, revoked_before, now);
                }
                live
            }
            Entry::Vacant(free) => free.insert(Box::new(Room::new(name, settings, revoked_before, now))),
        };
        self.next_closing = earlier(self.next_closing, room.closes_at);
        Ok(room)
    }

    /// Removes the room with all in it, as LiveKit does: tokens stay good, and create the room anew by joining.
    pub fn delete(&mut self, name: &str, now: Now) -> Option<Box<Room>> {
        let room = self.live.remove(name)?;
        self.evicted.extend(room.evict(proto::DisconnectReason::RoomDeleted));
        Some(room).filter(|room| !room.is_expired(now))
    }

    /// Removes the room with all in it, and revokes every token minted for it until now, also where there is no such room.
    pub fn delete_and_revoke(&mut self, name: &str, now: Now) -> Option<Box<Room>> {
        // A longer name is none of a room, and each deletion is remembered.
        if name.len() <= MAX_NAME_BYTES {
            self.revocations.revoke(name.into(), now);
        }
        self.delete(name, now)
    }

    /// Lets go of the rooms whose time is over. They can be seen no more in any case; this gives their memory back.
    pub fn sweep(&mut self, now: Now) {
        if self.next_closing.is_some_and(|at| at <= now.instant) {
            let Self { live, evicted, .. } = self;
            live.retain(|_, room| {
                let is_expired = room.is_expired(now);
                if is_expired {
                    evicted.extend(room.evict(proto::DisconnectReason::RoomClosed));
                }
                !is_expired
            });
            self.next_closing = self.live.values().filter_map(|room| room.closes_at).min();
        }
    }

    /// Puts new metadata on the room.
    ///
    /// # Errors
    /// [`ApiError::NoRoom`], or [`ApiError::Metadata`] if it is too long.
    pub fn update_metadata(&mut self, name: &str, metadata: String, now: Now) -> Result<&Room, ApiError> {
        check_metadata(&metadata)?;
        let room = self.get_mut(name, now).ok_or(ApiError::NoRoom)?;
        room.info.metadata = metadata;
        Ok(room)
    }

    /// Lets a participant in with a token that was minted then, and creates the room if need be. A participant of the same
    /// identity has to go. The room sets `sid` and times.
    ///
    /// # Errors
    /// What [`Rooms::check`] or [`Rooms::create`] refuses.
    pub fn join(
        &mut self,
        name: &str,
        settings: &Settings<'_>,
        participant: proto::ParticipantInfo,
        issued_at: TokenIssuedAt<'_>,
        now: Now,
    ) -> Result<JoinOutcome, ApiError> {
        self.check(name, &participant, issued_at, now)?;
        let room = self.create(name, settings, now)?;
        let identity = participant.identity.clone();
        let participant = proto::ParticipantInfo {
            sid: new_sid("PA_"),
            joined_at: now.unix_secs(),
            joined_at_ms: now.unix_millis,
            ..participant
        };
        let replaced = room.participants.insert(identity, participant.clone());
        room.count();
        if !is_uncounted(&participant) {
            room.closes_at = None;
        }
        Ok(JoinOutcome { participant, replaced, room: room.snapshot() })
    }

    /// Whether [`Rooms::join`] would let that participant in.
    ///
    /// # Errors
    /// [`ApiError::Revoked`], [`ApiError::RoomFull`], or what is too long about the participant.
    pub fn check(
        &self,
        name: &str,
        participant: &proto::ParticipantInfo,
        issued_at: TokenIssuedAt<'_>,
        now: Now,
    ) -> Result<(), ApiError> {
        check_participant(participant)?;
        let live = self.get(name, now);
        let revoked_before = live.map_or_else(|| self.revocations.revoked_before(name), |live| live.revoked_before);
        if !self.revocations.allows(revoked_before, issued_at.epoch, issued_at.not_before) {
            return Err(ApiError::Revoked);
        }
        let Some(live) = live else { return Ok(()) };
        let is_other = |other: &&proto::ParticipantInfo| other.identity != participant.identity && !is_uncounted(other);
        let max = usize::try_from(live.info.max_participants).unwrap_or(usize::MAX);
        if max > 0 && !is_uncounted(participant) && live.participants.values().filter(is_other).count() >= max {
            return Err(ApiError::RoomFull);
        }
        Ok(())
    }

    /// Puts a participant's new state in place of what the room had of it. One that is gone stays gone.
    pub fn update(&mut self, name: &str, participant: &proto::ParticipantInfo, now: Now) {
        let Some(room) = self.get_mut(name, now) else { return };
        let known = room.participants.get_mut(&participant.identity);
        if let Some(known) = known.filter(|known| known.sid == participant.sid) {
            known.clone_from(participant);
            room.count();
        }
    }

    /// Makes the participant of that identity go.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], also where there is no such room.
    pub fn remove(&mut self, name: &str, identity: &str, now: Now) -> Result<(), ApiError> {
        let gone = self.leave(name, identity, now)?;
        self.evicted.push(Evicted { sid: gone.sid, reason: proto::DisconnectReason::ParticipantRemoved });
        Ok(())
    }

    /// Whether somebody has to go.
    #[must_use]
    pub fn has_evicted(&self) -> bool {
        !self.evicted.is_empty()
    }

    /// Those who have to go, each once.
    pub fn take_evicted(&mut self) -> Vec<Evicted> {
        std::mem::take(&mut self.evicted)
    }

    /// Lets the participant of that identity go, and gives what it was.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], also where there is no such room.
    pub fn leave(&mut self, name: &str, identity: &str, now: Now) -> Result<proto::ParticipantInfo, ApiError> {
        let room = self.get_mut(name, now).ok_or(ApiError::NoParticipant)?;
        let gone = room.participants.remove(identity).ok_or(ApiError::NoParticipant)?;
        room.count();
        if room.closes_at.is_none() && room.participants.values().all(is_uncounted) {
            room.closes_at = after(now.instant, room.info.departure_timeout);
            let closes_at = room.closes_at;
            self.next_closing = earlier(self.next_closing, closes_at);
        }
        Ok(gone)
    }

    /// The live room of that name.
    #[must_use]
    pub fn get(&self, name: &str, now: Now) -> Option<&Room> {
        self.live.get(name).map(AsRef::as_ref).filter(|room: &&Room| !room.is_expired(now))
    }

    /// The live rooms, sorted by name.
    pub fn iter(&self, now: Now) -> impl Iterator<Item = &Room> {
        self.live.values().map(AsRef::as_ref).filter(move |room: &&Room| !room.is_expired(now))
    }

    /// The epoch that a token minted now contains.
    #[must_use]
    pub fn epoch(&self) -> TokenEpoch {
        self.revocations.epoch()
    }

    /// The mark for a token that a participant is given now; `None` if the participant or its room is gone.
    ///
    /// Both are compared by `sid`, because a room or a participant of the same name may have taken the place of this one, and
    /// a deletion that came between would otherwise not revoke the token.
    #[must_use]
    pub fn epoch_for(
        &self,
        name: &str,
        room_sid: &str,
        participant: &proto::ParticipantInfo,
        now: Now,
    ) -> Option<TokenEpoch> {
        let room = self.get(name, now).filter(|room| room.info.sid == room_sid)?;
        let known = room.participant(&participant.identity)?;
        (known.sid == participant.sid).then(|| self.epoch())
    }

    /// Closes every room.
    pub fn clear(&mut self) {
        self.live.clear();
    }

    fn get_mut(&mut self, name: &str, now: Now) -> Option<&mut Room> {
        self.live.get_mut(name).map(AsMut::as_mut).filter(|room: &&mut Room| !room.is_expired(now))
    }
}

/// `None` if that is past the end of the clock.
fn after(instant: Instant, secs: u32) -> Option<Instant> {
    instant.checked_add(Duration::from_secs(secs.into()))
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Agents and recorders do not keep a room open, are not counted, and do not count against its limit.
#[expect(deprecated, reason = "older tokens still say `recorder` and `agent` among the permissions")]
fn is_uncounted(participant: &proto::ParticipantInfo) -> bool {
    use proto::participant_info::Kind;
    participant.permission.as_ref().is_some_and(|permission| permission.recorder || permission.agent)
        || matches!(participant.kind(), Kind::Agent | Kind::Egress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms() -> Rooms {
        Rooms::new("e".into())
    }

    fn timeouts(empty_timeout: u32, departure_timeout: u32) -> Settings<'static> {
        Settings { empty_timeout, departure_timeout, ..Settings::default() }
    }

    fn participant(identity: &str) -> proto::ParticipantInfo {
        proto::ParticipantInfo { identity: identity.into(), ..Default::default() }
    }

    fn agent() -> proto::ParticipantInfo {
        let kind = proto::participant_info::Kind::Agent.into();
        proto::ParticipantInfo { kind, ..participant("agent") }
    }

    fn join(rooms: &mut Rooms, participant: proto::ParticipantInfo, now: Now) -> Result<JoinOutcome, ApiError> {
        rooms.join("r", &Settings::default(), participant, TokenIssuedAt::default(), now)
    }

    fn takes(rooms: &Rooms, epoch: &TokenEpoch, now: Now) -> bool {
        let issued_at = TokenIssuedAt { epoch: Some(epoch), not_before: None };
        rooms.check("r", &participant("ann"), issued_at, now) != Err(ApiError::Revoked)
    }

    fn later(now: Now, secs: u64) -> Now {
        let added = Duration::from_secs(secs);
        Now { instant: now.instant + added, unix_millis: now.unix_millis + i64::try_from(added.as_millis()).unwrap() }
    }

    fn lives_at(rooms: &mut Rooms, now: Now) -> bool {
        let seen = rooms.get("r", now).is_some();
        assert_eq!(rooms.iter(now).count(), usize::from(seen));
        rooms.sweep(now);
        assert_eq!(rooms.live.len(), usize::from(seen), "a room that is over gives its memory back");
        seen
    }

    #[test]
    fn a_room_that_is_never_joined_closes_after_its_empty_timeout() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(7, 1), now).unwrap();
        assert!(lives_at(&mut rooms, later(now, 6)));
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_room_closes_after_its_departure_timeout_once_all_have_left() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(1, 7), now).unwrap();
        for identity in ["ann", "ben"] {
            join(&mut rooms, participant(identity), now).unwrap();
        }
        assert!(lives_at(&mut rooms, later(now, 1000)));
        rooms.leave("r", "ann", later(now, 1000)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 2000)));
        rooms.leave("r", "ben", later(now, 2000)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 2006)));
        join(&mut rooms, participant("ann"), later(now, 2006)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 3000)));
        rooms.leave("r", "ann", later(now, 3000)).unwrap();
        assert!(!lives_at(&mut rooms, later(now, 3007)));
    }

    #[test]
    fn a_room_whose_time_is_over_is_made_anew() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = rooms.create("r", &timeouts(7, 0), now).unwrap().to_proto();
        let second = rooms.create("r", &timeouts(0, 0), later(now, 7)).unwrap().to_proto();
        assert_ne!(first.sid, second.sid);
        assert_eq!(rooms.update_metadata("r", "new".into(), later(now, 307)).unwrap_err(), ApiError::NoRoom);
        assert!(rooms.delete("r", later(now, 307)).is_none());
    }

    #[test]
    fn zero_is_the_servers_default() {
        let mut rooms = rooms();
        let info = rooms.create("r", &Settings::default(), Now::read()).unwrap().to_proto();
        assert_eq!((info.empty_timeout, info.departure_timeout, info.max_participants), (300, 20, 0));
        assert_eq!((info.name.as_str(), info.enabled_codecs.len()), ("r", 10));
    }

    #[test]
    fn a_live_room_comes_back_unchanged_and_its_timer_runs_on() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = rooms.create("r", &timeouts(7, 0), now).unwrap().to_proto();
        let other = Settings { metadata: "new", ..timeouts(99, 0) };
        assert_eq!(rooms.create("r", &other, later(now, 5)).unwrap().to_proto(), first);
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_full_room_lets_in_agents_and_who_was_in_it_but_no_other() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &Settings { max_participants: 1, ..Settings::default() }, now).unwrap();
        let first = join(&mut rooms, participant("ann"), now).unwrap();
        assert_eq!(join(&mut rooms, participant("ben"), now).unwrap_err(), ApiError::RoomFull);
        let again = join(&mut rooms, participant("ann"), now).unwrap();
        assert_eq!(again.replaced.unwrap().sid, first.participant.sid);
        join(&mut rooms, agent(), now).unwrap();
        assert_eq!(rooms.get("r", now).unwrap().info().num_participants, 1);
        assert_eq!(rooms.get("r", now).unwrap().participants().count(), 2);
    }

    #[test]
    fn an_agent_does_not_keep_a_room_open() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(0, 7), now).unwrap();
        join(&mut rooms, agent(), now).unwrap();
        join(&mut rooms, participant("ann"), now).unwrap();
        rooms.leave("r", "ann", now).unwrap();
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_deletion_revokes_nothing_unless_it_is_meant_to() {
        let (mut rooms, now) = (rooms(), Now::read());
        let before = rooms.epoch();
        let revoked = |rooms: &Rooms, not_before| {
            let issued_at = TokenIssuedAt { epoch: None, not_before };
            rooms.check("r", &participant("ann"), issued_at, now) == Err(ApiError::Revoked)
        };
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(rooms.delete("r", now).is_some());
        assert!(rooms.delete("r", now).is_none());
        assert!(takes(&rooms, &before, now) && !revoked(&rooms, None) && !revoked(&rooms, Some(0)));
        join(&mut rooms, participant("ann"), now).unwrap();
        assert!(rooms.delete_and_revoke("r", now).is_some());
        // A later deletion of LiveKit's kind takes nothing back.
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(rooms.delete("r", now).is_some());
        assert!(!takes(&rooms, &before, now) && revoked(&rooms, None) && revoked(&rooms, Some(0)));
        assert!(takes(&rooms, &rooms.epoch(), now));
    }

    #[test]
    fn a_deleted_room_is_gone_with_its_timer_and_takes_no_older_token() {
        let (mut rooms, now) = (rooms(), Now::read());
        let before = rooms.epoch();
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(takes(&rooms, &before, now));
        assert!(rooms.delete_and_revoke("r", now).is_some());
        assert!(rooms.delete_and_revoke("r", now).is_none());
        rooms.create("r", &timeouts(99, 0), now).unwrap();
        assert!(lives_at(&mut rooms, later(now, 7)), "the first room's timer does not close the second");
        assert!(!takes(&rooms, &before, now));
        assert!(takes(&rooms, &rooms.epoch(), now));
    }

    #[test]
    fn gives_a_mark_to_participants_that_are_in_their_room_only() {
        let (mut rooms, now) = (rooms(), Now::read());
        let sid = |rooms: &Rooms| rooms.get("r", now).unwrap().info().sid.clone();
        let ann = join(&mut rooms, participant("ann"), now).unwrap().participant;
        let first = sid(&rooms);
        assert_eq!(rooms.epoch_for("r", &first, &ann, now), Some(rooms.epoch()));
        let again = join(&mut rooms, participant("ann"), now).unwrap().participant;
        assert_eq!(rooms.epoch_for("r", &first, &ann, now), None, "another one has its identity");
        assert_eq!(rooms.epoch_for("r", &first, &again, now), Some(rooms.epoch()));
        rooms.remove("r", "ann", now).unwrap();
        assert_eq!(rooms.epoch_for("r", &first, &again, now), None, "it was removed");
        let ben = join(&mut rooms, participant("ben"), now).unwrap().participant;
        rooms.delete_and_revoke("r", now);
        assert_eq!(rooms.epoch_for("r", &first, &ben, now), None, "the room was deleted");
        let third = rooms.join(
            "r",
            &Settings::default(),
            participant("ben"),
            TokenIssuedAt { epoch: Some(&rooms.epoch()), not_before: None },
            now,
        );
        let (ben, third) = (third.unwrap().participant, sid(&rooms));
        assert_eq!(rooms.epoch_for("r", &first, &ben, now), None, "another room has the name");
        assert_eq!(rooms.epoch_for("r", &third, &ben, now), Some(rooms.epoch()));
    }

    #[test]
    fn gives_no_mark_to_a_participant_of_a_room_whose_time_is_over() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(7, 7), now).unwrap();
        let agent = join(&mut rooms, agent(), now).unwrap();
        let epoch = |rooms: &Rooms, now| rooms.epoch_for("r", agent.room.sid(), &agent.participant, now);
        assert!(epoch(&rooms, now).is_some());
        assert_eq!(epoch(&rooms, later(now, 7)), None);
        rooms.create("r", &timeouts(7, 7), later(now, 7)).unwrap();
        assert_eq!(epoch(&rooms, later(now, 7)), None);
    }

    #[test]
    fn whoever_has_to_go_is_told_so_once_and_why() {
        let (mut rooms, now) = (rooms(), Now::read());
        let sid = |rooms: &mut Rooms, identity| join(rooms, participant(identity), now).unwrap().participant.sid;
        let (ann, ben) = (sid(&mut rooms, "ann"), sid(&mut rooms, "ben"));
        rooms.remove("r", "ann", now).unwrap();
        rooms.delete("r", now);
        let evicted = |sid, reason| Evicted { sid, reason };
        let removed = evicted(ann, proto::DisconnectReason::ParticipantRemoved);
        assert_eq!(rooms.take_evicted(), [removed, evicted(ben, proto::DisconnectReason::RoomDeleted)]);
        assert!(!rooms.has_evicted());
        rooms.create("s", &timeouts(1, 1), now).unwrap();
        let joined = rooms.join("s", &Settings::default(), agent(), TokenIssuedAt::default(), now).unwrap();
        let agent = joined.participant.sid;
        rooms.sweep(later(now, 1));
        assert_eq!(rooms.take_evicted(), [evicted(agent, proto::DisconnectReason::RoomClosed)]);
    }

    #[test]
    fn a_participants_state_is_kept_up_to_date_until_it_is_gone() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = join(&mut rooms, participant("ann"), now).unwrap().participant;
        rooms.update("r", &proto::ParticipantInfo { name: "Ann".into(), ..first.clone() }, now);
        assert_eq!(rooms.get("r", now).unwrap().participant("ann").unwrap().name, "Ann");
        join(&mut rooms, participant("ann"), now).unwrap();
        rooms.update("r", &proto::ParticipantInfo { name: "Old".into(), ..first }, now);
        assert_eq!(rooms.get("r", now).unwrap().participant("ann").unwrap().name, "");
    }

    #[test]
    fn nobody_leaves_twice() {
        let (mut rooms, now) = (rooms(), Now::read());
        join(&mut rooms, participant("ann"), now).unwrap();
        assert_eq!(rooms.leave("r", "ann", now).unwrap().identity, "ann");
        assert_eq!(rooms.leave("r", "ann", now).unwrap_err(), ApiError::NoParticipant);
        assert_eq!(rooms.leave("none", "ann", now).unwrap_err(), ApiError::NoParticipant);
    }
}

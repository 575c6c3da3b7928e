//! The rooms of one engine: a state machine without clock, lock or network. Each step is told the time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::clock::Now;
use crate::refusal::{Refusal, check_creation, check_metadata};
use crate::revocation::{Cut, Mark, Revocations};

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
    live: BTreeMap<Arc<str>, Room>,
    /// When each empty room closes, the next one first.
    closing: BTreeSet<(Instant, Arc<str>)>,
    revocations: Revocations,
}

/// A live room, which owns its participants.
#[derive(Debug)]
pub struct Room {
    info: proto::Room,
    participants: BTreeMap<String, proto::ParticipantInfo>,
    /// When it closes, unless somebody joins.
    closes_at: Option<Instant>,
    /// Tokens minted before are refused.
    cut: Option<Cut>,
}

impl Room {
    /// What the room is, without [`Room::describe`]'s list of codecs.
    #[must_use]
    pub fn info(&self) -> &proto::Room {
        &self.info
    }

    /// What the room is, as the server API tells it.
    #[must_use]
    pub fn describe(&self) -> proto::Room {
        let codec = |mime: &str| proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() };
        proto::Room { enabled_codecs: CODECS.into_iter().map(codec).collect(), ..self.info.clone() }
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

    fn count(&mut self) {
        let counted = self.participants.values().filter(|participant| !is_agent(participant)).count();
        self.info.num_participants = u32::try_from(counted).unwrap_or(u32::MAX);
    }
}

/// Who wants to join, and how the room is made if it is not there.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// Its name says which room.
    pub room: proto::CreateRoomRequest,
    /// The joiner; `sid` and times are given by the room.
    pub participant: proto::ParticipantInfo,
}

/// A participant that has joined.
#[derive(Debug)]
pub struct Joined {
    /// The participant as it is in the room.
    pub participant: proto::ParticipantInfo,
    /// The one of the same identity that had to go.
    pub replaced: Option<proto::ParticipantInfo>,
}

impl Rooms {
    /// None yet, for the engine of that name.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self { live: BTreeMap::new(), closing: BTreeSet::new(), revocations: Revocations::new(engine) }
    }

    /// Creates the room, or gives the live one of that name back unchanged.
    ///
    /// # Errors
    /// A [`Refusal`] if a limit is passed, or the request needs what this engine has not.
    pub fn create(&mut self, request: &proto::CreateRoomRequest, now: Now) -> Result<&Room, Refusal> {
        self.get_or_create(request, now).map(|room| &*room)
    }

    fn get_or_create(&mut self, request: &proto::CreateRoomRequest, now: Now) -> Result<&mut Room, Refusal> {
        check_creation(request)?;
        let name: Arc<str> = request.name.as_str().into();
        match self.live.entry(name.clone()) {
            Entry::Occupied(live) => Ok(live.into_mut()),
            Entry::Vacant(_) if !request.room_preset.is_empty() => Err(Refusal::RoomPreset),
            Entry::Vacant(free) => {
                let info = new_room(request, now);
                let closes_at = after(now.instant, info.empty_timeout);
                self.closing.extend(closes_at.map(|at| (at, name.clone())));
                let cut = self.revocations.cut(&name);
                Ok(free.insert(Room { info, participants: BTreeMap::new(), closes_at, cut }))
            }
        }
    }

    /// Removes the room with all in it; also where there is no such room, no token minted until now opens it again.
    pub fn delete(&mut self, name: &str, now: Now) -> Option<Room> {
        self.revocations.revoke(name.into(), now);
        self.close(name)
    }

    /// Closes the rooms whose time is over.
    pub fn expire(&mut self, now: Now) {
        while let Some((at, name)) = self.closing.first().cloned()
            && at <= now.instant
        {
            self.closing.pop_first();
            self.live.remove(&name);
        }
    }

    /// Puts new metadata on the room.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`], or [`Refusal::Metadata`] if it is too long.
    pub fn update_metadata(&mut self, name: &str, metadata: String) -> Result<&Room, Refusal> {
        check_metadata(&metadata)?;
        let room = self.live.get_mut(name).ok_or(Refusal::NoRoom)?;
        room.info.metadata = metadata;
        Ok(room)
    }

    /// Lets a participant in, and creates the room if need be. A participant of the same identity has to go.
    ///
    /// # Errors
    /// [`Refusal::RoomFull`], or what [`Rooms::create`] refuses.
    pub fn join(&mut self, joining: Joining, now: Now) -> Result<Joined, Refusal> {
        let name = joining.room.name.clone();
        let room = self.get_or_create(&joining.room, now)?;
        let identity = joining.participant.identity.clone();
        let others = room.participants.values().filter(|other| other.identity != identity && !is_dependent(other));
        let most = usize::try_from(room.info.max_participants).unwrap_or(usize::MAX);
        if most > 0 && !is_dependent(&joining.participant) && others.count() >= most {
            return Err(Refusal::RoomFull);
        }
        let participant = proto::ParticipantInfo {
            sid: new_id("PA_"),
            joined_at: now.unix_secs(),
            joined_at_ms: now.unix_millis,
            ..joining.participant
        };
        let replaced = room.participants.insert(identity, participant.clone());
        room.count();
        let stays_open = !is_dependent(&participant);
        if stays_open && let Some(at) = room.closes_at.take() {
            self.closing.remove(&(at, name.as_str().into()));
        }
        Ok(Joined { participant, replaced })
    }

    /// Lets the participant of that identity go, and gives what it was.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`], also where there is no such room.
    pub fn leave(&mut self, name: &str, identity: &str, now: Now) -> Result<proto::ParticipantInfo, Refusal> {
        let room = self.live.get_mut(name).ok_or(Refusal::NoParticipant)?;
        let gone = room.participants.remove(identity).ok_or(Refusal::NoParticipant)?;
        room.count();
        if room.closes_at.is_none() && room.participants.values().all(is_dependent) {
            room.closes_at = after(now.instant, room.info.departure_timeout);
            self.closing.extend(room.closes_at.map(|at| (at, name.into())));
        }
        Ok(gone)
    }

    /// The live room of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Room> {
        self.live.get(name)
    }

    /// The live rooms, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Room> {
        self.live.values()
    }

    /// What a token that is minted now is marked with.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.revocations.mark()
    }

    /// Whether the room still takes a token of that mark and that `nbf` claim.
    #[must_use]
    pub fn takes(&self, room: &str, mark: Option<&Mark>, not_before: Option<i64>) -> bool {
        let cut = self.live.get(room).map_or_else(|| self.revocations.cut(room), |live| live.cut);
        self.revocations.allows(cut, mark, not_before)
    }

    /// Closes every room.
    pub fn clear(&mut self) {
        self.live.clear();
        self.closing.clear();
    }

    fn close(&mut self, name: &str) -> Option<Room> {
        let (name, room) = self.live.remove_entry(name)?;
        if let Some(at) = room.closes_at {
            self.closing.remove(&(at, name));
        }
        Some(room)
    }
}

fn new_room(request: &proto::CreateRoomRequest, now: Now) -> proto::Room {
    let or_default = |secs, standard| if secs == 0 { standard } else { secs };
    proto::Room {
        sid: new_id("RM_"),
        name: request.name.clone(),
        empty_timeout: or_default(request.empty_timeout, EMPTY_TIMEOUT_SECS),
        departure_timeout: or_default(request.departure_timeout, DEPARTURE_TIMEOUT_SECS),
        max_participants: request.max_participants,
        creation_time: now.unix_secs(),
        creation_time_ms: now.unix_millis,
        metadata: request.metadata.clone(),
        ..proto::Room::default()
    }
}

/// `None` if that is past the end of the clock.
fn after(instant: Instant, secs: u32) -> Option<Instant> {
    instant.checked_add(Duration::from_secs(secs.into()))
}

fn new_id(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + 12);
    id.push_str(prefix);
    id.extend(rand::rng().sample_iter(Alphanumeric).take(12).map(char::from));
    id
}

fn is_agent(participant: &proto::ParticipantInfo) -> bool {
    participant.kind() == proto::participant_info::Kind::Agent
}

/// Agents and recorders do not keep a room open, and do not count against its limit.
#[expect(deprecated, reason = "older tokens still say `recorder` and `agent` among the permissions")]
fn is_dependent(participant: &proto::ParticipantInfo) -> bool {
    let recorder = participant.permission.as_ref().is_some_and(|permission| permission.recorder || permission.agent);
    recorder || is_agent(participant) || participant.kind() == proto::participant_info::Kind::Egress
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms() -> Rooms {
        Rooms::new("e".into())
    }

    fn request(name: &str) -> proto::CreateRoomRequest {
        proto::CreateRoomRequest { name: name.into(), ..Default::default() }
    }

    fn joining(identity: &str) -> Joining {
        let participant = proto::ParticipantInfo { identity: identity.into(), ..Default::default() };
        Joining { room: request("r"), participant }
    }

    fn later(now: Now, secs: u64) -> Now {
        let added = Duration::from_secs(secs);
        Now { instant: now.instant + added, unix_millis: now.unix_millis + i64::try_from(added.as_millis()).unwrap() }
    }

    fn lives_at(rooms: &mut Rooms, now: Now) -> bool {
        rooms.expire(now);
        rooms.get("r").is_some()
    }

    #[test]
    fn a_room_that_is_never_joined_closes_after_its_empty_timeout() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms
            .create(&proto::CreateRoomRequest { empty_timeout: 7, departure_timeout: 1, ..request("r") }, now)
            .unwrap();
        assert!(lives_at(&mut rooms, later(now, 6)));
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_room_closes_after_its_departure_timeout_once_all_have_left() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms
            .create(&proto::CreateRoomRequest { empty_timeout: 1, departure_timeout: 7, ..request("r") }, now)
            .unwrap();
        for identity in ["ann", "ben"] {
            rooms.join(joining(identity), now).unwrap();
        }
        assert!(lives_at(&mut rooms, later(now, 1000)));
        rooms.leave("r", "ann", later(now, 1000)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 2000)));
        rooms.leave("r", "ben", later(now, 2000)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 2006)));
        rooms.join(joining("ann"), later(now, 2006)).unwrap();
        assert!(lives_at(&mut rooms, later(now, 3000)));
        rooms.leave("r", "ann", later(now, 3000)).unwrap();
        assert!(!lives_at(&mut rooms, later(now, 3007)));
    }

    #[test]
    fn zero_is_the_servers_default() {
        let mut rooms = rooms();
        let info = rooms.create(&request("r"), Now::read()).unwrap().describe();
        assert_eq!((info.empty_timeout, info.departure_timeout, info.max_participants), (300, 20, 0));
        assert_eq!(info.enabled_codecs.len(), 10);
    }

    #[test]
    fn a_live_room_comes_back_unchanged_and_its_timer_runs_on() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = rooms.create(&proto::CreateRoomRequest { empty_timeout: 7, ..request("r") }, now).unwrap();
        let first = first.info().clone();
        let other = proto::CreateRoomRequest { empty_timeout: 99, metadata: "new".into(), ..request("r") };
        assert_eq!(*rooms.create(&other, later(now, 5)).unwrap().info(), first);
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_full_room_lets_in_agents_and_who_was_in_it_but_no_other() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create(&proto::CreateRoomRequest { max_participants: 1, ..request("r") }, now).unwrap();
        let first = rooms.join(joining("ann"), now).unwrap();
        assert_eq!(rooms.join(joining("ben"), now).unwrap_err(), Refusal::RoomFull);
        let again = rooms.join(joining("ann"), now).unwrap();
        assert_eq!(again.replaced.unwrap().sid, first.participant.sid);
        let mut agent = joining("agent");
        agent.participant.set_kind(proto::participant_info::Kind::Agent);
        rooms.join(agent, now).unwrap();
        assert_eq!(rooms.get("r").unwrap().info().num_participants, 1);
        assert_eq!(rooms.get("r").unwrap().participants().count(), 2);
    }

    #[test]
    fn an_agent_does_not_keep_a_room_open() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create(&proto::CreateRoomRequest { departure_timeout: 7, ..request("r") }, now).unwrap();
        let mut agent = joining("agent");
        agent.participant.set_kind(proto::participant_info::Kind::Agent);
        rooms.join(agent, now).unwrap();
        rooms.join(joining("ann"), now).unwrap();
        rooms.leave("r", "ann", now).unwrap();
        assert!(!lives_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_deleted_room_is_gone_with_its_timer_and_takes_no_older_token() {
        let (mut rooms, now) = (rooms(), Now::read());
        let before = rooms.mark();
        rooms.create(&proto::CreateRoomRequest { empty_timeout: 7, ..request("r") }, now).unwrap();
        assert!(rooms.takes("r", Some(&before), None));
        assert!(rooms.delete("r", now).is_some());
        assert!(rooms.closing.is_empty());
        assert!(rooms.delete("r", now).is_none());
        rooms.create(&request("r"), now).unwrap();
        assert!(!rooms.takes("r", Some(&before), None));
        assert!(rooms.takes("r", Some(&rooms.mark()), None));
    }

    #[test]
    fn nobody_leaves_twice() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.join(joining("ann"), now).unwrap();
        assert_eq!(rooms.leave("r", "ann", now).unwrap().identity, "ann");
        assert_eq!(rooms.leave("r", "ann", now).unwrap_err(), Refusal::NoParticipant);
        assert_eq!(rooms.leave("none", "ann", now).unwrap_err(), Refusal::NoParticipant);
    }
}

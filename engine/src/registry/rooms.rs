//! The rooms of one engine: a state machine without a clock, lock or network. The caller passes the time.

use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::RoomEndReason;

pub use super::room::{Room, Settings};
pub use super::room_list::RoomList;

use crate::clock::Now;
use crate::error::{ApiError, MAX_NAME_BYTES, check_metadata, check_participant};
use crate::ids::new_sid;
use crate::registry::events::{EventLog, RoomEvent};
use crate::registry::revocation::{Revocations, TokenEpoch};

/// The open rooms of an engine, and the deletions that revoked tokens.
#[derive(Debug)]
pub struct Rooms {
    live: RoomList,
    /// No room closes before this time.
    next_closing: Option<Instant>,
    revocations: Revocations,
    /// Participants to disconnect, until [`take_evicted`](Self::take_evicted).
    evicted: Vec<Evicted>,
    events: EventLog,
}

/// A participant that was removed from its room and has to be disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The `sid` of the participant.
    pub sid: String,
    /// The reason to send in `LeaveRequest`.
    pub reason: proto::DisconnectReason,
}

/// When a token was minted, according to its claims.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenIssuedAt<'a> {
    /// Private claim of tokens that an engine of this crate minted.
    pub epoch: Option<&'a TokenEpoch>,
    /// The `nbf` claim, in seconds since the Unix epoch.
    pub not_before: Option<i64>,
}

/// Result of a join.
#[derive(Debug)]
pub struct JoinOutcome {
    /// The participant, with its `sid` and join time.
    pub participant: Arc<proto::ParticipantInfo>,
    /// The participant of the same identity that it replaced.
    pub replaced: Option<Arc<proto::ParticipantInfo>>,
    /// The room, including the new participant.
    pub room: Arc<Room>,
}

impl Rooms {
    /// An engine's rooms at its start. `engine` is the name in the epoch claim of its tokens.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self {
            live: RoomList::default(),
            next_closing: None,
            revocations: Revocations::new(engine),
            evicted: Vec::new(),
            events: EventLog::default(),
        }
    }

    /// Records events from now on, for [`take_events`](Self::take_events).
    pub fn record_events(&mut self) {
        self.events.is_on = true;
    }

    /// Takes the events since the last call, in their order.
    pub fn take_events(&mut self) -> Vec<RoomEvent> {
        self.events.take()
    }

    /// Creates a room. If a room of this name is open, returns it unchanged.
    ///
    /// # Errors
    /// [`ApiError::RoomName`] or [`ApiError::Metadata`] if the name or the metadata is too long.
    pub fn create(&mut self, name: &str, settings: &Settings<'_>, now: Now) -> Result<Arc<Room>, ApiError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(ApiError::RoomName);
        }
        check_metadata(settings.metadata)?;
        if let Some(open) = self.live.get(name, now) {
            return Ok(open.clone());
        }
        let room = Arc::new(Room::new(name.into(), settings, self.revocations.revoked_before(name), now));
        self.next_closing = earlier(self.next_closing, room.closes_at);
        if let Some(expired) = self.live.insert(room.clone()) {
            self.close(&expired, RoomEndReason::RoomEndIdleTimeout, now);
        }
        self.events.started(&room, now);
        Ok(room)
    }

    /// Removes a room and evicts its participants, as LiveKit does: no token is revoked, and a join creates the room again.
    /// Returns the removed room, if it was open.
    pub fn delete(&mut self, name: &str, now: Now) -> Option<Arc<Room>> {
        let room = self.live.remove(name)?;
        let is_expired = room.is_expired(now);
        let idle_or_deleted =
            if is_expired { RoomEndReason::RoomEndIdleTimeout } else { RoomEndReason::RoomEndApiDelete };
        self.close(&room, idle_or_deleted, now);
        (!is_expired).then_some(room)
    }

    /// Removes a room, evicts its participants, and revokes all tokens minted for this name so far, even if no such room is
    /// open. Returns the removed room, if it was open.
    pub fn delete_and_revoke(&mut self, name: &str, now: Now) -> Option<Arc<Room>> {
        // No room has a longer name, and revocations take memory.
        if name.len() <= MAX_NAME_BYTES {
            self.revocations.revoke(name.into(), now);
        }
        self.delete(name, now)
    }

    /// Removes expired rooms and evicts their participants. Expired rooms are invisible already; this frees their memory.
    /// Returns them, so that the caller can drop them without holding a lock.
    pub fn sweep(&mut self, now: Now) -> Vec<Arc<Room>> {
        if self.next_closing.is_none_or(|at| at > now.instant) {
            return Vec::new();
        }
        let expired = self.live.remove_expired(now);
        for room in &expired {
            self.close(room, RoomEndReason::RoomEndIdleTimeout, now);
        }
        self.next_closing = self.live.iter().filter_map(|room| room.closes_at).min();
        expired
    }

    /// Replaces the metadata of a room.
    ///
    /// # Errors
    /// [`ApiError::NoRoom`], or [`ApiError::Metadata`] if the metadata is too long.
    pub fn update_metadata(&mut self, name: &str, metadata: String, now: Now) -> Result<Arc<Room>, ApiError> {
        check_metadata(&metadata)?;
        self.live.get_mut(name, now).ok_or(ApiError::NoRoom)?.info.metadata = metadata;
        self.get(name, now).cloned().ok_or(ApiError::NoRoom)
    }

    /// Adds a participant to a room, with a new `sid` and join time. Creates the room if it is not open. A participant of the
    /// same identity is replaced, and is not among the evicted ones.
    ///
    /// # Errors
    /// As [`Rooms::check`] and [`Rooms::create`].
    pub fn join(
        &mut self,
        name: &str,
        settings: &Settings<'_>,
        participant: proto::ParticipantInfo,
        issued_at: TokenIssuedAt<'_>,
        now: Now,
    ) -> Result<JoinOutcome, ApiError> {
        self.check(name, &participant, issued_at, now)?;
        self.create(name, settings, now)?;
        let participant = Arc::new(proto::ParticipantInfo {
            sid: new_sid("PA_"),
            joined_at: now.unix_secs(),
            joined_at_ms: now.unix_millis,
            ..participant
        });
        let room = self.live.get_mut(name, now).ok_or(ApiError::NoRoom)?;
        let replaced = room.insert(participant.clone());
        room.keep_open();
        let room = self.get(name, now).cloned().ok_or(ApiError::NoRoom)?;
        if let Some(replaced) = &replaced {
            self.events.left(&room, replaced, proto::DisconnectReason::DuplicateIdentity, now);
        }
        Ok(JoinOutcome { participant, replaced, room })
    }

    /// Checks whether [`Rooms::join`] would admit a participant.
    ///
    /// # Errors
    /// [`ApiError::Revoked`], [`ApiError::RoomFull`], or the error for a name, metadata or attributes that are too long.
    pub fn check(
        &self,
        name: &str,
        participant: &proto::ParticipantInfo,
        issued_at: TokenIssuedAt<'_>,
        now: Now,
    ) -> Result<(), ApiError> {
        check_participant(participant)?;
        let room = self.get(name, now);
        let of_room = room.map_or_else(|| self.revocations.revoked_before(name), |room| room.revoked_before);
        let of_participant = self.revocations.participant_revoked_before(name, &participant.identity);
        for revoked_before in [of_room, of_participant] {
            if !self.revocations.allows(revoked_before, issued_at.epoch, issued_at.not_before) {
                return Err(ApiError::Revoked);
            }
        }
        if room.is_some_and(|room| room.is_full_for(participant)) { Err(ApiError::RoomFull) } else { Ok(()) }
    }

    /// Replaces the state of a participant. Does nothing if the participant with this `sid` has left.
    pub fn update(&mut self, name: &str, participant: Arc<proto::ParticipantInfo>, now: Now) {
        let known = self.get(name, now).and_then(|room| room.participant(&participant.identity));
        let before = known.filter(|known| known.sid == participant.sid).cloned();
        if let Some(before) = before
            && let Some(room) = self.live.get_mut(name, now)
        {
            let after = self.events.is_on.then(|| participant.clone());
            room.insert(participant);
            if let (Some(after), Some(room)) = (after, self.live.get(name, now)) {
                self.events.updated(room, &before, &after, now);
            }
        }
    }

    /// Removes the participant with this identity and evicts it.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], also if the room is not open.
    pub fn remove(&mut self, name: &str, identity: &str, now: Now) -> Result<(), ApiError> {
        let removed = self.leave(name, identity, proto::DisconnectReason::ParticipantRemoved, now)?;
        self.evicted.push(Evicted { sid: removed.sid.clone(), reason: proto::DisconnectReason::ParticipantRemoved });
        Ok(())
    }

    /// As [`remove`](Self::remove), and revokes all tokens minted for this identity and room so far.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], also if the room is not open. The tokens are revoked nevertheless: an absent participant could
    /// join with them.
    pub fn remove_and_revoke(&mut self, name: &str, identity: &str, now: Now) -> Result<(), ApiError> {
        self.revocations.revoke_participant(name, identity, now);
        self.remove(name, identity, now)
    }

    /// Whether participants were evicted since the last [`take_evicted`](Self::take_evicted).
    #[must_use]
    pub fn has_evicted(&self) -> bool {
        !self.evicted.is_empty()
    }

    /// Takes the participants that were evicted since the last call.
    pub fn take_evicted(&mut self) -> Vec<Evicted> {
        std::mem::take(&mut self.evicted)
    }

    /// Removes the participant with this identity, and returns its last state.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], also if the room is not open.
    pub fn leave(
        &mut self,
        name: &str,
        identity: &str,
        reason: proto::DisconnectReason,
        now: Now,
    ) -> Result<Arc<proto::ParticipantInfo>, ApiError> {
        let room = self.live.get_mut(name, now).ok_or(ApiError::NoParticipant)?;
        let removed = room.remove(identity, now).ok_or(ApiError::NoParticipant)?;
        let closes_at = room.closes_at;
        self.next_closing = earlier(self.next_closing, closes_at);
        if self.events.is_on
            && let Some(room) = self.live.get(name, now)
        {
            self.events.left(room, &removed, reason, now);
        }
        Ok(removed)
    }

    /// The open room of this name. A clone of the `Arc` is a snapshot.
    #[must_use]
    pub fn get(&self, name: &str, now: Now) -> Option<&Arc<Room>> {
        self.live.get(name, now)
    }

    /// All rooms as they are now. Takes about a microsecond, however many rooms there are.
    #[must_use]
    pub fn snapshot(&self) -> RoomList {
        self.live.clone()
    }

    /// The epoch claim for a token that is minted now.
    #[must_use]
    pub fn epoch(&self) -> TokenEpoch {
        self.revocations.epoch()
    }

    /// The epoch claim for a token that a participant receives now; `None` if the participant or its room is gone.
    ///
    /// Room and participant are compared by `sid`: if the room was deleted meanwhile, and a new room or participant has the
    /// same name, a token with the current epoch would escape the revocation.
    #[must_use]
    pub fn epoch_for(
        &self,
        name: &str,
        room_sid: &str,
        participant: &proto::ParticipantInfo,
        now: Now,
    ) -> Option<TokenEpoch> {
        let room = self.get(name, now).filter(|room| room.sid() == room_sid)?;
        let known = room.participant(&participant.identity)?;
        (known.sid == participant.sid).then(|| self.epoch())
    }

    /// Evicts the participants of a room that was removed.
    fn close(&mut self, room: &Arc<Room>, reason: RoomEndReason, now: Now) {
        let disconnect = disconnect_reason(reason);
        self.evicted.extend(evict(room, disconnect));
        self.events.finished(room, reason, disconnect, now);
    }

    /// Removes all rooms without evicting their participants, after the engine has ended.
    pub fn clear(&mut self) {
        self.live = RoomList::default();
    }
}

/// The reason that a closed room's participants receive.
fn disconnect_reason(reason: RoomEndReason) -> proto::DisconnectReason {
    match reason {
        RoomEndReason::RoomEndApiDelete => proto::DisconnectReason::RoomDeleted,
        _ => proto::DisconnectReason::RoomClosed,
    }
}

fn evict(room: &Room, reason: proto::DisconnectReason) -> impl Iterator<Item = Evicted> {
    room.participants().map(move |participant| Evicted { sid: participant.sid.clone(), reason })
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REASON: proto::DisconnectReason = proto::DisconnectReason::ClientInitiated;

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

    fn admits(rooms: &Rooms, epoch: &TokenEpoch, now: Now) -> bool {
        let issued_at = TokenIssuedAt { epoch: Some(epoch), not_before: None };
        rooms.check("r", &participant("ann"), issued_at, now) != Err(ApiError::Revoked)
    }

    fn later(now: Now, secs: u64) -> Now {
        let added = Duration::from_secs(secs);
        Now { instant: now.instant + added, unix_millis: now.unix_millis + i64::try_from(added.as_millis()).unwrap() }
    }

    fn is_open_at(rooms: &mut Rooms, now: Now) -> bool {
        let is_open = rooms.get("r", now).is_some();
        assert_eq!(rooms.snapshot().sorted(now).len(), usize::from(is_open));
        rooms.sweep(now);
        assert_eq!(rooms.live.iter().count(), usize::from(is_open), "expired rooms are freed");
        is_open
    }

    #[test]
    fn removes_a_participant_and_revokes_its_tokens() {
        let (mut rooms, now) = (rooms(), Now::read());
        let epoch = rooms.epoch();
        join(&mut rooms, participant("ann"), now).unwrap();
        rooms.remove_and_revoke("r", "ann", now).unwrap();
        assert!(!admits(&rooms, &epoch, now));
        assert!(admits(&rooms, &rooms.epoch(), now));
        assert_eq!(rooms.take_evicted().len(), 1);
        let issued_at = TokenIssuedAt { epoch: Some(&epoch), not_before: None };
        assert_eq!(rooms.check("r", &participant("ben"), issued_at, now), Ok(()));
        rooms.delete("r", now);
        rooms.create("r", &Settings::default(), now).unwrap();
        assert!(!admits(&rooms, &epoch, now), "also in a later room of this name");
    }

    #[test]
    fn revokes_the_tokens_of_an_absent_participant() {
        let (mut rooms, now) = (rooms(), Now::read());
        let epoch = rooms.epoch();
        assert_eq!(rooms.remove_and_revoke("r", "ann", now), Err(ApiError::NoParticipant), "no room");
        assert!(!admits(&rooms, &epoch, now));
        rooms.create("r", &Settings::default(), now).unwrap();
        let epoch = rooms.epoch();
        assert_eq!(rooms.remove_and_revoke("r", "ann", now), Err(ApiError::NoParticipant), "an empty room");
        assert!(!admits(&rooms, &epoch, now));
        assert!(admits(&rooms, &rooms.epoch(), now));
        let issued_at = TokenIssuedAt { epoch: Some(&epoch), not_before: None };
        assert_eq!(rooms.check("r", &participant("ben"), issued_at, now), Ok(()));
    }

    #[test]
    fn closes_a_room_without_a_join_after_its_empty_timeout() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(7, 1), now).unwrap();
        assert!(is_open_at(&mut rooms, later(now, 6)));
        assert!(!is_open_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn closes_a_room_at_the_departure_timeout_after_the_last_leave() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(1, 7), now).unwrap();
        for identity in ["ann", "ben"] {
            join(&mut rooms, participant(identity), now).unwrap();
        }
        assert!(is_open_at(&mut rooms, later(now, 1000)));
        rooms.leave("r", "ann", REASON, later(now, 1000)).unwrap();
        assert!(is_open_at(&mut rooms, later(now, 2000)));
        rooms.leave("r", "ben", REASON, later(now, 2000)).unwrap();
        assert!(is_open_at(&mut rooms, later(now, 2006)));
        join(&mut rooms, participant("ann"), later(now, 2006)).unwrap();
        assert!(is_open_at(&mut rooms, later(now, 3000)));
        rooms.leave("r", "ann", REASON, later(now, 3000)).unwrap();
        assert!(!is_open_at(&mut rooms, later(now, 3007)));
    }

    #[test]
    fn creates_a_new_room_in_place_of_an_expired_one() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = rooms.create("r", &timeouts(7, 0), now).unwrap().to_proto();
        let second = rooms.create("r", &timeouts(0, 0), later(now, 7)).unwrap().to_proto();
        assert_ne!(first.sid, second.sid);
        assert_eq!(rooms.update_metadata("r", "new".into(), later(now, 307)).unwrap_err(), ApiError::NoRoom);
        assert!(rooms.delete("r", later(now, 307)).is_none());
    }

    #[test]
    fn zero_settings_select_the_defaults() {
        let mut rooms = rooms();
        let info = rooms.create("r", &Settings::default(), Now::read()).unwrap().to_proto();
        assert_eq!((info.empty_timeout, info.departure_timeout, info.max_participants), (300, 20, 0));
        assert_eq!((info.name.as_str(), info.enabled_codecs.len()), ("r", 10));
    }

    #[test]
    fn creating_an_open_room_changes_neither_its_settings_nor_its_timer() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = rooms.create("r", &timeouts(7, 0), now).unwrap().to_proto();
        let other = Settings { metadata: "new", ..timeouts(99, 0) };
        assert_eq!(rooms.create("r", &other, later(now, 5)).unwrap().to_proto(), first);
        assert!(!is_open_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn a_full_room_admits_agents_and_rejoins_only() {
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
    fn an_agent_alone_does_not_keep_a_room_open() {
        let (mut rooms, now) = (rooms(), Now::read());
        rooms.create("r", &timeouts(0, 7), now).unwrap();
        join(&mut rooms, agent(), now).unwrap();
        join(&mut rooms, participant("ann"), now).unwrap();
        rooms.leave("r", "ann", REASON, now).unwrap();
        assert!(!is_open_at(&mut rooms, later(now, 7)));
    }

    #[test]
    fn delete_revokes_no_tokens_and_lifts_no_revocation() {
        let (mut rooms, now) = (rooms(), Now::read());
        let before = rooms.epoch();
        let revoked = |rooms: &Rooms, not_before| {
            let issued_at = TokenIssuedAt { epoch: None, not_before };
            rooms.check("r", &participant("ann"), issued_at, now) == Err(ApiError::Revoked)
        };
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(rooms.delete("r", now).is_some());
        assert!(rooms.delete("r", now).is_none());
        assert!(admits(&rooms, &before, now) && !revoked(&rooms, None) && !revoked(&rooms, Some(0)));
        join(&mut rooms, participant("ann"), now).unwrap();
        assert!(rooms.delete_and_revoke("r", now).is_some());
        // A later `delete` does not lift the revocation.
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(rooms.delete("r", now).is_some());
        assert!(!admits(&rooms, &before, now) && revoked(&rooms, None) && revoked(&rooms, Some(0)));
        assert!(admits(&rooms, &rooms.epoch(), now));
    }

    #[test]
    fn delete_and_revoke_removes_the_timer_and_rejects_earlier_tokens() {
        let (mut rooms, now) = (rooms(), Now::read());
        let before = rooms.epoch();
        rooms.create("r", &timeouts(7, 0), now).unwrap();
        assert!(admits(&rooms, &before, now));
        assert!(rooms.delete_and_revoke("r", now).is_some());
        assert!(rooms.delete_and_revoke("r", now).is_none());
        rooms.create("r", &timeouts(99, 0), now).unwrap();
        assert!(is_open_at(&mut rooms, later(now, 7)), "the first room's timer does not close the second");
        assert!(!admits(&rooms, &before, now));
        assert!(admits(&rooms, &rooms.epoch(), now));
    }

    #[test]
    fn epoch_for_is_none_after_removal_replacement_or_deletion() {
        let (mut rooms, now) = (rooms(), Now::read());
        let sid = |rooms: &Rooms| rooms.get("r", now).unwrap().info().sid.clone();
        let ann = join(&mut rooms, participant("ann"), now).unwrap().participant;
        let first = sid(&rooms);
        assert_eq!(rooms.epoch_for("r", &first, &ann, now), Some(rooms.epoch()));
        let again = join(&mut rooms, participant("ann"), now).unwrap().participant;
        assert_eq!(rooms.epoch_for("r", &first, &ann, now), None, "another session has its identity");
        assert_eq!(rooms.epoch_for("r", &first, &again, now), Some(rooms.epoch()));
        rooms.remove("r", "ann", now).unwrap();
        assert_eq!(rooms.epoch_for("r", &first, &again, now), None, "the participant was removed");
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
    fn epoch_for_is_none_in_an_expired_room() {
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
    fn take_evicted_returns_each_participant_once_with_its_reason() {
        let (mut rooms, now) = (rooms(), Now::read());
        let sid =
            |rooms: &mut Rooms, identity| join(rooms, participant(identity), now).unwrap().participant.sid.clone();
        let (ann, ben) = (sid(&mut rooms, "ann"), sid(&mut rooms, "ben"));
        rooms.remove("r", "ann", now).unwrap();
        rooms.delete("r", now);
        let evicted = |sid, reason| Evicted { sid, reason };
        let removed = evicted(ann, proto::DisconnectReason::ParticipantRemoved);
        assert_eq!(rooms.take_evicted(), [removed, evicted(ben, proto::DisconnectReason::RoomDeleted)]);
        assert!(!rooms.has_evicted());
        rooms.create("s", &timeouts(1, 1), now).unwrap();
        let joined = rooms.join("s", &Settings::default(), agent(), TokenIssuedAt::default(), now).unwrap();
        let agent = joined.participant.sid.clone();
        rooms.sweep(later(now, 1));
        assert_eq!(rooms.take_evicted(), [evicted(agent, proto::DisconnectReason::RoomClosed)]);
    }

    #[test]
    fn update_ignores_participants_that_were_replaced() {
        let (mut rooms, now) = (rooms(), Now::read());
        let first = join(&mut rooms, participant("ann"), now).unwrap().participant;
        let update = |name: &str| Arc::new(proto::ParticipantInfo { name: name.into(), ..(*first).clone() });
        rooms.update("r", update("Ann"), now);
        assert_eq!(rooms.get("r", now).unwrap().participant("ann").unwrap().name, "Ann");
        join(&mut rooms, participant("ann"), now).unwrap();
        rooms.update("r", update("Old"), now);
        assert_eq!(rooms.get("r", now).unwrap().participant("ann").unwrap().name, "");
    }

    #[test]
    fn leaving_again_is_an_error() {
        let (mut rooms, now) = (rooms(), Now::read());
        join(&mut rooms, participant("ann"), now).unwrap();
        assert_eq!(rooms.leave("r", "ann", REASON, now).unwrap().identity, "ann");
        assert_eq!(rooms.leave("r", "ann", REASON, now).unwrap_err(), ApiError::NoParticipant);
        assert_eq!(rooms.leave("none", "ann", REASON, now).unwrap_err(), ApiError::NoParticipant);
    }

    #[test]
    fn counts_participants_and_publishers_through_join_update_and_leave() {
        let (mut rooms, now) = (rooms(), Now::read());
        let counts = |rooms: &Rooms| {
            let room = rooms.get("r", now).unwrap();
            (room.info().num_participants, room.info().num_publishers)
        };
        let ann = join(&mut rooms, participant("ann"), now).unwrap().participant;
        join(&mut rooms, agent(), now).unwrap();
        assert_eq!(counts(&rooms), (1, 0));
        rooms.update("r", Arc::new(proto::ParticipantInfo { is_publisher: true, ..(*ann).clone() }), now);
        assert_eq!(counts(&rooms), (1, 1));
        join(&mut rooms, participant("ann"), now).unwrap();
        assert_eq!(counts(&rooms), (1, 0), "the new session replaces the old one");
        rooms.leave("r", "agent", REASON, now).unwrap();
        assert_eq!(counts(&rooms), (1, 0));
        rooms.leave("r", "ann", REASON, now).unwrap();
        assert_eq!(counts(&rooms), (0, 0));
    }

    #[test]
    fn a_snapshot_of_a_room_does_not_see_later_changes() {
        let (mut rooms, now) = (rooms(), Now::read());
        let joined = join(&mut rooms, participant("ann"), now).unwrap();
        let list = rooms.snapshot();
        rooms.leave("r", "ann", REASON, now).unwrap();
        rooms.delete("r", now);
        assert_eq!(joined.room.participants().count(), 1);
        assert_eq!(list.sorted(now).iter().map(|room| room.info().num_participants).collect::<Vec<_>>(), [1]);
        assert!(rooms.get("r", now).is_none());
    }
}

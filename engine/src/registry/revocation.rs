//! Revocation of the tokens that were minted before a room was deleted, or a participant removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// The claim that holds a token's [`TokenEpoch`].
pub const EPOCH_CLAIM: &str = "maravilla";

/// Maximum number of revocations of rooms, and as many of participants; each of the two tables takes about 10 MB. Past it, the
/// oldest entry is dropped, and its revocation applies to all keys without an entry.
const MAX_REVOCATIONS: usize = 65_536;

/// When a token was minted, as a position in the sequence of an engine's revocations. The `nbf` claim is too coarse: a room can
/// be deleted, and a token for the next room of this name minted, within one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEpoch {
    /// Name of the engine that minted the token.
    pub engine: String,
    /// Number of revocations in that engine so far.
    pub deletions: u64,
}

/// The last revocation for a room or a participant. Tokens minted later are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedBefore {
    /// Number of the revocation, counted from 1.
    number: u64,
    /// Time of the revocation, in seconds since the Unix epoch.
    unix_secs: i64,
}

/// The revocations of one engine, in bounded memory.
#[derive(Debug)]
pub struct Revocations {
    engine: String,
    /// Number of revocations so far.
    count: u64,
    rooms: Latest,
    participants: Latest,
}

/// The latest revocation for each of a kind. When the oldest one is dropped, it applies to all without one of their own: this
/// rejects more tokens than necessary, never fewer.
#[derive(Debug)]
struct Latest {
    by_key: HashMap<Arc<str>, RevokedBefore>,
    by_age: BTreeMap<u64, Arc<str>>,
    /// The latest revocation that was dropped.
    dropped: Option<RevokedBefore>,
    max: usize,
}

impl Latest {
    fn new() -> Self {
        Self { by_key: HashMap::new(), by_age: BTreeMap::new(), dropped: None, max: MAX_REVOCATIONS }
    }

    fn insert(&mut self, key: Arc<str>, revoked_before: RevokedBefore) {
        if let Some(before) = self.by_key.insert(key.clone(), revoked_before) {
            self.by_age.remove(&before.number);
        }
        self.by_age.insert(revoked_before.number, key);
        if self.by_key.len() > self.max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.dropped = self.by_key.remove(&oldest);
        }
    }

    fn get(&self, key: &str) -> Option<RevokedBefore> {
        self.by_key.get(key).copied().or(self.dropped)
    }
}

impl Revocations {
    /// Starts without revocations. `engine` is the name in the epoch claims.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self { engine, count: 0, rooms: Latest::new(), participants: Latest::new() }
    }

    /// The epoch claim for a token that is minted now.
    #[must_use]
    pub fn epoch(&self) -> TokenEpoch {
        TokenEpoch { engine: self.engine.clone(), deletions: self.count }
    }

    /// Revokes all tokens minted for `room` so far.
    pub fn revoke(&mut self, room: Arc<str>, now: Now) {
        let revoked_before = self.next(now);
        self.rooms.insert(room, revoked_before);
    }

    /// Revokes all tokens minted for `identity` in `room` so far.
    pub fn revoke_participant(&mut self, room: &str, identity: &str, now: Now) {
        let revoked_before = self.next(now);
        self.participants.insert(participant_key(room, identity).into(), revoked_before);
    }

    fn next(&mut self, now: Now) -> RevokedBefore {
        self.count += 1;
        RevokedBefore { number: self.count, unix_secs: now.unix_secs() }
    }

    /// The revocation that applies to tokens for `room`; `None` if there is none.
    #[must_use]
    pub fn revoked_before(&self, room: &str) -> Option<RevokedBefore> {
        self.rooms.get(room)
    }

    /// The revocation that applies to tokens for `identity` in `room`; `None` if there is none.
    #[must_use]
    pub fn participant_revoked_before(&self, room: &str, identity: &str) -> Option<RevokedBefore> {
        self.participants.get(&participant_key(room, identity))
    }

    /// Whether a token was minted after `revoked_before`. A token with the epoch of another engine, or without one, is compared
    /// by its `nbf` claim (`not_before`, in whole seconds since the Unix epoch), and rejected without it.
    #[must_use]
    pub fn allows(
        &self,
        revoked_before: Option<RevokedBefore>,
        epoch: Option<&TokenEpoch>,
        not_before: Option<i64>,
    ) -> bool {
        let Some(revoked_before) = revoked_before else { return true };
        match epoch {
            Some(epoch) if epoch.engine == self.engine => epoch.deletions >= revoked_before.number,
            _ => not_before.is_some_and(|not_before| not_before > revoked_before.unix_secs),
        }
    }
}

/// The length of the room's name keeps the two names apart.
fn participant_key(room: &str, identity: &str) -> String {
    format!("{} {room} {identity}", room.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocations() -> Revocations {
        Revocations::new("e".into())
    }

    fn at(unix_secs: i64) -> Now {
        Now { unix_millis: unix_secs * 1000 + 999, ..Now::read() }
    }

    fn allows(revocations: &Revocations, room: &str, epoch: &TokenEpoch) -> bool {
        revocations.allows(revocations.revoked_before(room), Some(epoch), None)
    }

    #[test]
    fn allows_tokens_minted_after_the_deletion_within_the_same_second() {
        let mut revocations = revocations();
        let before = revocations.epoch();
        assert!(allows(&revocations, "r", &before));
        revocations.revoke("r".into(), at(100));
        let after = revocations.epoch();
        assert!(!allows(&revocations, "r", &before));
        assert!(allows(&revocations, "r", &after));
        assert!(allows(&revocations, "other", &before));
        revocations.revoke("r".into(), at(100));
        assert!(!allows(&revocations, "r", &after));
    }

    #[test]
    fn compares_foreign_tokens_by_their_nbf() {
        let mut revocations = revocations();
        revocations.revoke("r".into(), at(100));
        let revoked_before = revocations.revoked_before("r");
        let foreign = TokenEpoch { engine: "another".into(), deletions: 9 };
        for epoch in [None, Some(&foreign)] {
            assert!(!revocations.allows(revoked_before, epoch, None));
            assert!(!revocations.allows(revoked_before, epoch, Some(100)));
            assert!(revocations.allows(revoked_before, epoch, Some(101)));
        }
    }

    #[test]
    fn bounds_memory_and_keeps_dropped_revocations_in_force() {
        let mut revocations = Revocations { rooms: Latest { max: 3, ..Latest::new() }, ..revocations() };
        let before = revocations.epoch();
        for room in ["a", "b", "c", "a", "d", "e"] {
            revocations.revoke(room.into(), at(100));
        }
        assert_eq!((revocations.rooms.by_key.len(), revocations.rooms.by_age.len()), (3, 3));
        for room in ["a", "b", "c", "d", "e"] {
            assert!(!allows(&revocations, room, &before), "{room}");
        }
        assert!(allows(&revocations, "b", &revocations.epoch()));
    }

    #[test]
    fn revokes_the_tokens_of_one_participant_in_one_room() {
        let mut revocations = revocations();
        let before = revocations.epoch();
        revocations.revoke_participant("r", "ann", at(100));
        let is_allowed = |revocations: &Revocations, room, identity, epoch: &TokenEpoch| {
            revocations.allows(revocations.participant_revoked_before(room, identity), Some(epoch), None)
        };
        assert!(!is_allowed(&revocations, "r", "ann", &before));
        for (room, identity) in [("r", "ben"), ("s", "ann"), ("r ann", ""), ("", "r ann")] {
            assert!(is_allowed(&revocations, room, identity, &before), "{room:?} {identity:?}");
        }
        assert!(is_allowed(&revocations, "r", "ann", &revocations.epoch()));
        assert!(allows(&revocations, "r", &before), "tokens of others for the room stay valid");
    }
}

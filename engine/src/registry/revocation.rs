//! Revocation of the tokens that were minted before a room was deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// The claim that holds a token's [`TokenEpoch`].
pub const EPOCH_CLAIM: &str = "maravilla";

/// Maximum number of rooms with a revocation of their own, about 10 MB. Past it, the oldest revocation applies to all rooms
/// without one.
const MAX_ROOMS: usize = 65_536;

/// When a token was minted, as a position in the sequence of an engine's deletions. The `nbf` claim is too coarse: a room can
/// be deleted, and a token for the next room of this name minted, within one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEpoch {
    /// Name of the engine that minted the token.
    pub engine: String,
    /// Number of revoking deletions in that engine so far.
    pub deletions: u64,
}

/// The last revocation for a room. Tokens minted later are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedBefore {
    /// Number of the deletion, counted from 1.
    deletion: u64,
    /// Time of the deletion, in seconds since the Unix epoch.
    unix_secs: i64,
}

/// The revocations of one engine, in bounded memory. When the oldest one is dropped, it applies to every room without a
/// revocation of its own: this rejects more tokens than necessary, never fewer.
#[derive(Debug)]
pub struct Revocations {
    engine: String,
    deletions: u64,
    rooms: HashMap<Arc<str>, RevokedBefore>,
    by_age: BTreeMap<u64, Arc<str>>,
    /// The latest revocation that was dropped.
    dropped: Option<RevokedBefore>,
    max_rooms: usize,
}

impl Revocations {
    /// Starts without revocations. `engine` is the name in the epoch claims.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self {
            engine,
            deletions: 0,
            rooms: HashMap::new(),
            by_age: BTreeMap::new(),
            dropped: None,
            max_rooms: MAX_ROOMS,
        }
    }

    /// The epoch claim for a token that is minted now.
    #[must_use]
    pub fn epoch(&self) -> TokenEpoch {
        TokenEpoch { engine: self.engine.clone(), deletions: self.deletions }
    }

    /// Revokes all tokens minted for `room` so far.
    pub fn revoke(&mut self, room: Arc<str>, now: Now) {
        self.deletions += 1;
        let revoked_before = RevokedBefore { deletion: self.deletions, unix_secs: now.unix_secs() };
        if let Some(before) = self.rooms.insert(room.clone(), revoked_before) {
            self.by_age.remove(&before.deletion);
        }
        self.by_age.insert(revoked_before.deletion, room);
        if self.rooms.len() > self.max_rooms
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.dropped = self.rooms.remove(&oldest);
        }
    }

    /// The revocation that applies to tokens for `room`; `None` if there is none.
    #[must_use]
    pub fn revoked_before(&self, room: &str) -> Option<RevokedBefore> {
        self.rooms.get(room).copied().or(self.dropped)
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
            Some(epoch) if epoch.engine == self.engine => epoch.deletions >= revoked_before.deletion,
            _ => not_before.is_some_and(|not_before| not_before > revoked_before.unix_secs),
        }
    }
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
        let mut revocations = Revocations { max_rooms: 3, ..revocations() };
        let before = revocations.epoch();
        for room in ["a", "b", "c", "a", "d", "e"] {
            revocations.revoke(room.into(), at(100));
        }
        assert_eq!((revocations.rooms.len(), revocations.by_age.len()), (3, 3));
        for room in ["a", "b", "c", "d", "e"] {
            assert!(!allows(&revocations, room, &before), "{room}");
        }
        assert!(allows(&revocations, "b", &revocations.epoch()));
    }
}

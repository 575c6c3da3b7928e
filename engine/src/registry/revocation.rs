//! Which tokens a room still takes after a deletion that revokes: none minted before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// The claim that holds a token's [`TokenEpoch`].
pub const EPOCH_CLAIM: &str = "maravilla";

/// The most rooms whose deletion is remembered one by one: some 10 MB.
const MAX_ROOMS: usize = 65_536;

/// When a token was minted, among the deletions of one engine. A clock is too coarse: a room can be deleted and a token
/// for its next life minted within one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEpoch {
    /// The engine that counts.
    pub engine: String,
    /// How many deletions it had seen.
    pub deletions: u64,
}

/// The point from which on tokens are taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedBefore {
    /// The number of the deletion.
    deletion: u64,
    /// When it was, in seconds since the epoch.
    unix_secs: i64,
}

/// The deletions of one engine, in bounded memory. Once there are too many, the oldest is forgotten and its point holds for
/// every room that is not remembered: that refuses more tokens than it need, never fewer.
#[derive(Debug)]
pub struct Revocations {
    engine: String,
    deletions: u64,
    rooms: HashMap<Arc<str>, RevokedBefore>,
    by_age: BTreeMap<u64, Arc<str>>,
    forgotten: Option<RevokedBefore>,
    max_rooms: usize,
}

impl Revocations {
    /// None yet, for the engine of that name.
    #[must_use]
    pub fn new(engine: String) -> Self {
        Self {
            engine,
            deletions: 0,
            rooms: HashMap::new(),
            by_age: BTreeMap::new(),
            forgotten: None,
            max_rooms: MAX_ROOMS,
        }
    }

    /// The epoch that a token minted now contains.
    #[must_use]
    pub fn epoch(&self) -> TokenEpoch {
        TokenEpoch { engine: self.engine.clone(), deletions: self.deletions }
    }

    /// Refuses from now on what was minted for `room` until now.
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
            self.forgotten = self.rooms.remove(&oldest);
        }
    }

    /// The point from which on `room` takes tokens; `None`: it takes all.
    #[must_use]
    pub fn revoked_before(&self, room: &str) -> Option<RevokedBefore> {
        self.rooms.get(room).copied().or(self.forgotten)
    }

    /// Whether a token with that epoch and that `nbf` claim was minted after `revoked_before`. What another engine or a foreign
    /// library has minted is judged by its `nbf`, in whole seconds.
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
    fn a_token_is_taken_if_it_was_minted_after_the_deletion_also_within_one_second() {
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
    fn a_foreign_token_is_judged_by_its_not_before() {
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
    fn memory_is_bounded_and_what_is_forgotten_stays_revoked() {
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

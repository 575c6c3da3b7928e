//! Which tokens a room still takes after a deletion that revokes: none minted before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// The claim that holds a token's [`Mark`].
pub const MARK_CLAIM: &str = "maravilla";

/// The most rooms whose deletion is remembered one by one: some 10 MB.
const MOST_ROOMS: usize = 65_536;

/// When a token was minted, among the deletions of one engine. A clock is too coarse: a room can be deleted and a token
/// for its next life minted within one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The engine that counts.
    pub engine: String,
    /// How many deletions it had seen.
    pub deletions: u64,
}

/// The point from which on tokens are taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
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
    rooms: HashMap<Arc<str>, Cut>,
    by_age: BTreeMap<u64, Arc<str>>,
    forgotten: Option<Cut>,
    most_rooms: usize,
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
            most_rooms: MOST_ROOMS,
        }
    }

    /// What a token that is minted now is marked with.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { engine: self.engine.clone(), deletions: self.deletions }
    }

    /// Refuses from now on what was minted for `room` until now.
    pub fn revoke(&mut self, room: Arc<str>, now: Now) {
        self.deletions += 1;
        let cut = Cut { deletion: self.deletions, unix_secs: now.unix_secs() };
        if let Some(before) = self.rooms.insert(room.clone(), cut) {
            self.by_age.remove(&before.deletion);
        }
        self.by_age.insert(cut.deletion, room);
        if self.rooms.len() > self.most_rooms
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.forgotten = self.rooms.remove(&oldest);
        }
    }

    /// The point from which on `room` takes tokens; `None`: it takes all.
    #[must_use]
    pub fn cut(&self, room: &str) -> Option<Cut> {
        self.rooms.get(room).copied().or(self.forgotten)
    }

    /// Whether a token with that mark and that `nbf` claim was minted after `cut`. What another engine or a foreign
    /// library has minted is judged by its `nbf`, in whole seconds.
    #[must_use]
    pub fn allows(&self, cut: Option<Cut>, mark: Option<&Mark>, not_before: Option<i64>) -> bool {
        let Some(cut) = cut else { return true };
        match mark {
            Some(mark) if mark.engine == self.engine => mark.deletions >= cut.deletion,
            _ => not_before.is_some_and(|not_before| not_before > cut.unix_secs),
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

    fn allows(revocations: &Revocations, room: &str, mark: &Mark) -> bool {
        revocations.allows(revocations.cut(room), Some(mark), None)
    }

    #[test]
    fn a_token_is_taken_if_it_was_minted_after_the_deletion_also_within_one_second() {
        let mut revocations = revocations();
        let before = revocations.mark();
        assert!(allows(&revocations, "r", &before));
        revocations.revoke("r".into(), at(100));
        let after = revocations.mark();
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
        let cut = revocations.cut("r");
        let foreign = Mark { engine: "another".into(), deletions: 9 };
        for mark in [None, Some(&foreign)] {
            assert!(!revocations.allows(cut, mark, None));
            assert!(!revocations.allows(cut, mark, Some(100)));
            assert!(revocations.allows(cut, mark, Some(101)));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_stays_revoked() {
        let mut revocations = Revocations { most_rooms: 3, ..revocations() };
        let before = revocations.mark();
        for room in ["a", "b", "c", "a", "d", "e"] {
            revocations.revoke(room.into(), at(100));
        }
        assert_eq!((revocations.rooms.len(), revocations.by_age.len()), (3, 3));
        for room in ["a", "b", "c", "d", "e"] {
            assert!(!allows(&revocations, room, &before), "{room}");
        }
        assert!(allows(&revocations, "b", &revocations.mark()));
    }
}

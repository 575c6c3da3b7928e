//! The rooms of an engine by name, with cheap snapshots.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::room::Room;
use crate::clock::Now;

/// Number of shards. A snapshot copies a pointer per shard; the first change to a shard after a snapshot copies the shard.
const SHARDS: usize = 256;

type Shard = HashMap<Arc<str>, Arc<Room>>;

/// Rooms by name. A clone is a snapshot: shards and rooms are copied on write.
#[derive(Debug, Clone)]
pub struct RoomList {
    shards: Vec<Arc<Shard>>,
    hasher: RandomState,
}

impl Default for RoomList {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), hasher: RandomState::new() }
    }
}

impl RoomList {
    /// The rooms that are open at `now`, sorted by name.
    #[must_use]
    pub fn sorted(&self, now: Now) -> Vec<&Room> {
        let mut rooms: Vec<&Room> = self.iter().filter(|room| !room.is_expired(now)).collect();
        rooms.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        rooms
    }

    /// Number of rooms, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there are no rooms at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The room of this name, if it is open at `now`.
    #[must_use]
    pub fn get(&self, name: &str, now: Now) -> Option<&Arc<Room>> {
        self.shards[self.shard(name)].get(name).filter(|room| !room.is_expired(now))
    }

    /// The room of this name, if it is open at `now`, for a change that earlier snapshots do not see.
    pub(super) fn get_mut(&mut self, name: &str, now: Now) -> Option<&mut Room> {
        self.get(name, now)?;
        let shard = self.shard(name);
        Arc::make_mut(&mut self.shards[shard]).get_mut(name).map(Arc::make_mut)
    }

    /// Inserts a room. Returns the one of the same name that it replaces.
    pub(super) fn insert(&mut self, room: Arc<Room>) -> Option<Arc<Room>> {
        let shard = self.shard(room.name());
        Arc::make_mut(&mut self.shards[shard]).insert(room.name.clone(), room)
    }

    /// Removes a room, even if it has expired.
    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Room>> {
        let shard = self.shard(name);
        if self.shards[shard].contains_key(name) { Arc::make_mut(&mut self.shards[shard]).remove(name) } else { None }
    }

    /// Removes the rooms that have expired, and returns them.
    pub(super) fn remove_expired(&mut self, now: Now) -> Vec<Arc<Room>> {
        let mut removed = Vec::new();
        for shard in &mut self.shards {
            if shard.values().any(|room| room.is_expired(now)) {
                removed.extend(Arc::make_mut(shard).extract_if(|_, room| room.is_expired(now)).map(|(_, room)| room));
            }
        }
        removed
    }

    /// All rooms in any order, expired ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Room> {
        self.shards.iter().flat_map(|shard| shard.values()).map(AsRef::as_ref)
    }

    fn shard(&self, name: &str) -> usize {
        usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::room::Settings;

    fn rooms(count: usize, now: Now) -> RoomList {
        let mut list = RoomList::default();
        for number in 0..count {
            let name = format!("{:04}", number * 389 % count);
            assert!(list.insert(Arc::new(Room::new(name.into(), &Settings::default(), None, now))).is_none());
        }
        list
    }

    #[test]
    fn lists_rooms_sorted_by_name() {
        let now = Now::read();
        let list = rooms(1000, now);
        let names: Vec<&str> = list.sorted(now).into_iter().map(Room::name).collect();
        assert_eq!(names, (0..1000).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes_and_shares_the_other_rooms() {
        let now = Now::read();
        let mut list = rooms(1000, now);
        let snapshot = list.clone();
        list.remove("0500").unwrap();
        list.insert(Arc::new(Room::new("new".into(), &Settings::default(), None, now)));
        list.get_mut("0700", now).unwrap().info.metadata = "changed".into();
        assert_eq!((snapshot.iter().count(), snapshot.get("new", now).is_some()), (1000, false));
        assert_eq!(snapshot.get("0700", now).unwrap().info().metadata, "");
        assert_eq!((list.iter().count(), list.get("0500", now).is_some()), (1000, false));
        assert_eq!(list.get("0700", now).unwrap().info().metadata, "changed");
        let is_shared = |(one, other): &(&Arc<Shard>, &Arc<Shard>)| Arc::ptr_eq(one, other);
        assert!(snapshot.shards.iter().zip(&list.shards).filter(is_shared).count() >= SHARDS - 3);
        assert!(Arc::ptr_eq(snapshot.get("0001", now).unwrap(), list.get("0001", now).unwrap()));
    }
}

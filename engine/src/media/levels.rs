use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

pub(crate) struct Speakers<K>(HashMap<K, (bool, u8, Option<Instant>)>);
impl<K> Default for Speakers<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
impl<K: Copy + Eq + Hash> Speakers<K> {
    pub(crate) fn forget(&mut self, id: K) {
        self.0.remove(&id);
    }
    pub(crate) fn simulate(&mut self, _id: K, _until: Instant) {}
    pub(crate) fn observe(&mut self, _id: K, _level: u8, _ms: u32) {}
    pub(crate) fn changes(&mut self, _now: Instant) -> Vec<(K, f32, bool)> {
        Vec::new()
    }
}

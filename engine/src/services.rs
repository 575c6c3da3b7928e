//! State that the HTTP server and the media thread share: the rooms of the server API, API keys, limits and ids.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::auth::token::Keys;
use crate::clock::Now;
use crate::config::Limits;
use crate::registry::rooms::Rooms;
use crate::webhooks::Webhooks;

/// Services of an engine that do not depend on participants' media.
#[derive(Debug)]
pub(crate) struct Services {
    rooms: Mutex<Rooms>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    ids: AtomicU64,
    evicted: Notify,
    webhooks: Option<Webhooks>,
}

impl Services {
    pub(crate) fn new(rooms: Rooms, keys: Keys, limits: Limits, webhooks: Option<Webhooks>) -> Self {
        Self { rooms: Mutex::new(rooms), keys, limits, ids: AtomicU64::new(1), evicted: Notify::new(), webhooks }
    }

    /// Accesses the rooms of the server API. The lock is held during `work` only.
    pub(crate) fn rooms<T>(&self, work: impl FnOnce(&mut Rooms, Now) -> T) -> T {
        // A panic during one access leaves the other rooms unchanged.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut rooms, Now::read());
        if rooms.has_evicted() {
            self.evicted.notify_one();
        }
        if let Some(webhooks) = &self.webhooks {
            // While the rooms are locked, so that events of several threads keep their order.
            rooms.take_events().into_iter().for_each(|event| webhooks.enqueue(event));
        }
        outcome
    }

    /// Resolves when participants were evicted: see [`Rooms::take_evicted`].
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// An id that is unique in this engine.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

//! Participants of a room whose subscriptions have to be reconciled, and the lanes that share the cost.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::ids::SessionId;
use crate::session::lane::Lane;

/// Queue of participants. Each is in it at most once.
#[derive(Debug, Default)]
pub(crate) struct ReconcileQueue {
    queue: VecDeque<SessionId>,
    pending: HashMap<SessionId, Pending>,
    /// The number of each lane's latest change.
    changes: HashMap<Lane, u64>,
    last_change: u64,
}

#[derive(Debug)]
struct Pending {
    /// The publisher whose tracks have changed; `None`: several publishers.
    publisher: Option<SessionId>,
    /// The first change that the participant is not reconciled with.
    since: u64,
}

impl ReconcileQueue {
    /// Queues participants after changes that `lanes` have made. If a publisher is given, only its tracks have changed.
    pub(crate) fn push_all(
        &mut self,
        ids: impl IntoIterator<Item = SessionId>,
        publisher: Option<SessionId>,
        lanes: impl IntoIterator<Item = Lane>,
    ) {
        self.last_change += 1;
        self.changes.extend(lanes.into_iter().map(|lane| (lane, self.last_change)));
        for id in ids {
            match self.pending.entry(id) {
                Entry::Vacant(new) => {
                    new.insert(Pending { publisher, since: self.last_change });
                    self.queue.push_back(id);
                }
                Entry::Occupied(mut known) if known.get().publisher != publisher => known.get_mut().publisher = None,
                Entry::Occupied(_) => (),
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(SessionId, Option<SessionId>)> {
        let id = self.queue.pop_front()?;
        Some((id, self.pending.remove(&id).and_then(|pending| pending.publisher)))
    }

    /// The lanes whose changes the next participant is not reconciled with. They share the cost of what is popped next.
    pub(crate) fn payers(&mut self) -> Vec<Lane> {
        let since = self.queue.front().and_then(|id| self.pending.get(id)).map(|pending| pending.since);
        self.changes.retain(|_, change| since.is_some_and(|since| *change >= since));
        self.changes.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Lane = Lane::Participant(1);
    const BEN: Lane = Lane::Participant(2);

    fn payers(queue: &mut ReconcileQueue) -> Vec<Lane> {
        let mut payers = queue.payers();
        payers.sort();
        payers
    }

    #[test]
    fn shares_the_cost_between_all_lanes_that_caused_it() {
        let mut queue = ReconcileQueue::default();
        queue.push_all([1, 2, 3], None, [ANN]);
        assert_eq!(payers(&mut queue), [ANN]);
        queue.push_all([1, 2, 3], None, [BEN]);
        assert_eq!(payers(&mut queue), [ANN, BEN]);
        queue.push_all([1, 2, 3], None, [ANN]);
        assert_eq!(payers(&mut queue), [ANN, BEN], "each lane has one share");
    }

    #[test]
    fn charges_a_lane_only_for_reconciliations_that_it_caused() {
        let mut queue = ReconcileQueue::default();
        queue.push_all([1, 2], None, [ANN]);
        // The other lane goes on with changes, so that the queue is never empty.
        for _ in 0..2 {
            queue.pop();
            queue.push_all([1, 2], None, [BEN]);
        }
        assert_eq!(payers(&mut queue), [BEN]);
        while queue.pop().is_some() {}
        assert!(payers(&mut queue).is_empty());
    }

    #[test]
    fn merges_changes_of_two_publishers() {
        let mut queue = ReconcileQueue::default();
        queue.push_all([1, 2], Some(7), [ANN]);
        queue.push_all([1], Some(8), [ANN]);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some((1, None)), Some((2, Some(7))), None]);
    }
}

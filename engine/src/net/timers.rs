//! When peer connections want to be driven next. Costs grow with what is due, and not with the number of connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::ids::PeerConnectionId;

/// Deadlines of connections. A connection has at most one that counts; those before it are skipped as they come up.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, PeerConnectionId)>>,
}

impl Timers {
    /// Wakes a connection at a time. An earlier deadline of its own, `scheduled`, would wake it anyway.
    pub(crate) fn set(&mut self, id: PeerConnectionId, scheduled: &mut Option<Instant>, deadline: Instant) {
        if scheduled.is_none_or(|scheduled| deadline < scheduled) {
            *scheduled = Some(deadline);
            self.heap.push(Reverse((deadline, id)));
        }
    }

    /// The next connection that may be due. It is, if this is the deadline that it is scheduled for.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, PeerConnectionId)> {
        let Reverse((deadline, id)) = *self.heap.peek()?;
        if deadline > now {
            return None;
        }
        self.heap.pop();
        Some((deadline, id))
    }

    /// When the next one may be due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::SignalTarget;

    #[test]
    fn a_connection_comes_up_at_its_earliest_deadline_and_only_once_scheduled() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let (ann, ben) = ((1, SignalTarget::Publisher), (2, SignalTarget::Publisher));
        let (mut timers, mut anns, mut bens) = (Timers::default(), None, None);
        timers.set(ann, &mut anns, at(5));
        timers.set(ben, &mut bens, at(4));
        timers.set(ann, &mut anns, at(3));
        timers.set(ann, &mut anns, at(6));
        assert_eq!((anns, timers.heap.len(), timers.next()), (Some(at(3)), 3, Some(at(3))));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(9)), Some((at(3), ann)));
        assert_eq!(timers.pop(at(9)), Some((at(4), ben)));
        assert_eq!(timers.pop(at(9)), Some((at(5), ann)), "its own that counts no more");
        assert_eq!((timers.pop(at(9)), timers.next()), (None, None));
    }
}

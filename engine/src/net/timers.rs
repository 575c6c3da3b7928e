//! Timers of peer connections. A turn of the event loop costs what is due, not what exists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::ids::PeerConnectionId;

/// Deadlines of connections. A connection has at most one valid deadline; the caller skips outdated ones.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, PeerConnectionId)>>,
}

impl Timers {
    /// Schedules a connection, unless its current deadline, `scheduled`, is earlier.
    pub(crate) fn set(&mut self, id: PeerConnectionId, scheduled: &mut Option<Instant>, deadline: Instant) {
        if scheduled.is_none_or(|scheduled| deadline < scheduled) {
            *scheduled = Some(deadline);
            self.heap.push(Reverse((deadline, id)));
        }
    }

    /// Takes the next deadline that has passed. It is outdated if it is not the one that the connection is scheduled for.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, PeerConnectionId)> {
        let Reverse((deadline, id)) = *self.heap.peek()?;
        if deadline > now {
            return None;
        }
        self.heap.pop();
        Some((deadline, id))
    }

    /// The earliest deadline, which may be outdated.
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
    fn returns_a_connection_at_its_earliest_deadline() {
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
        assert_eq!(timers.pop(at(9)), Some((at(5), ann)), "an outdated deadline");
        assert_eq!((timers.pop(at(9)), timers.next()), (None, None));
    }
}

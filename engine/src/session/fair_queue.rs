//! Fair queue: the lane that has used the least time is served next. A lane waits for at most one item of another lane, however
//! much work that one has.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::token_bucket::TokenBucket;

/// Queued work by lane. A lane is usually a participant.
pub(crate) struct FairQueue<K, T> {
    lanes: HashMap<K, Lane<T>>,
    /// Lanes with work, by the time that they have used. A lane with work is here, in `delayed`, or being served.
    ready: BinaryHeap<Reverse<(Duration, K)>>,
    /// Lanes with work that owe tokens, by the time at which they continue.
    delayed: BinaryHeap<Reverse<(Instant, K)>>,
    /// Time used by the lane that was served last. A lane without work continues from there, because unused time is not saved up.
    clock: Duration,
    /// Capacity of each lane's token bucket.
    capacity: Duration,
    weight: usize,
}

struct Lane<T> {
    items: VecDeque<(T, usize)>,
    /// Sum of the items' weights.
    weight: usize,
    used: Duration,
    tokens: TokenBucket,
    /// Whether the lane is in `ready` or `delayed`, or is being served.
    is_scheduled: bool,
}

impl<T> Lane<T> {
    fn new(capacity: Duration, now: Instant) -> Self {
        Self {
            items: VecDeque::new(),
            weight: 0,
            used: Duration::ZERO,
            tokens: TokenBucket::new(capacity, now),
            is_scheduled: false,
        }
    }
}

impl<K: Copy + Eq + Hash + Ord, T> FairQueue<K, T> {
    pub(crate) fn new(capacity: Duration) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: BinaryHeap::new(),
            delayed: BinaryHeap::new(),
            clock: Duration::ZERO,
            capacity,
            weight: 0,
        }
    }

    /// Adds an item. The weight is what the caller limits, such as bytes.
    pub(crate) fn push(&mut self, key: K, item: T, weight: usize, now: Instant) {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane::new(self.capacity, now));
        lane.items.push_back((item, weight));
        lane.weight += weight;
        self.weight += weight;
        if !lane.is_scheduled {
            self.schedule(key, now);
        }
    }

    /// Takes the next item. [`charge`](Self::charge) must follow once it is served.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(K, T)> {
        while let Some(Reverse((at, key))) = self.delayed.peek().copied()
            && at <= now
        {
            self.delayed.pop();
            self.schedule(key, now);
        }
        while let Some(Reverse((used, key))) = self.ready.pop() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Some((item, weight)) = lane.items.pop_front() else {
                // All items were dropped.
                lane.is_scheduled = false;
                continue;
            };
            lane.weight -= weight;
            self.weight -= weight;
            self.clock = self.clock.max(used);
            return Some((key, item));
        }
        None
    }

    /// Charges a lane for its served item. A lane that owes tokens waits until they are refilled.
    pub(crate) fn charge(&mut self, key: K, time: Duration, tokens: Duration, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.used += time;
        lane.tokens.take(tokens, now);
        lane.is_scheduled = false;
        if !lane.items.is_empty() {
            self.schedule(key, now);
        }
    }

    /// Charges a lane for work besides its items, up to a debt of `max_debt`. A scheduled lane serves one more item before the
    /// debt delays it.
    pub(crate) fn debit(&mut self, key: K, time: Duration, tokens: Duration, max_debt: Duration, now: Instant) {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane::new(self.capacity, now));
        lane.used = lane.used.max(self.clock) + time;
        let debt = lane.tokens.ready_at().saturating_duration_since(now);
        lane.tokens.take(tokens.min(max_debt.saturating_sub(debt)), now);
    }

    /// The earliest time at which there is an item to serve; `None` if there is no item.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.delayed.peek().map(|Reverse((at, _))| *at) } else { Some(now) }
    }

    /// Drops items of a lane. Takes time proportional to the lane's items.
    pub(crate) fn retain(&mut self, key: K, is_kept: impl Fn(&T) -> bool) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let before = lane.weight;
        lane.items.retain(|(item, _)| is_kept(item));
        lane.weight = lane.items.iter().map(|(_, weight)| weight).sum();
        self.weight = self.weight - before + lane.weight;
    }

    /// The weight of all queued items.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// The weight of a lane's queued items.
    pub(crate) fn weight_of(&self, key: K) -> usize {
        self.lanes.get(&key).map_or(0, |lane| lane.weight)
    }

    /// Forgets lanes without work, debts or used time ahead of others. Takes time proportional to the number of lanes.
    pub(crate) fn sweep(&mut self, now: Instant) {
        // If there is no work at all, used time no longer matters.
        let is_idle = self.ready.is_empty() && self.delayed.is_empty();
        self.lanes.retain(|_, lane| {
            let is_ahead = !is_idle && lane.used > self.clock;
            lane.is_scheduled || is_ahead || !lane.tokens.is_full(now)
        });
    }

    fn schedule(&mut self, key: K, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.is_scheduled = true;
        lane.used = lane.used.max(self.clock);
        if lane.tokens.ready_at() > now {
            self.delayed.push(Reverse((lane.tokens.ready_at(), key)));
        } else {
            self.ready.push(Reverse((lane.used, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const CAPACITY: Duration = Duration::from_secs(1);

    /// The lanes served, in order, if each item takes its own value in milliseconds.
    fn serve(queue: &mut FairQueue<char, u32>, items: usize, now: Instant) -> String {
        let serve = |_| {
            let (key, cost) = queue.pop(now)?;
            queue.charge(key, MS * cost, Duration::ZERO, now);
            Some(key)
        };
        (0..items).map_while(serve).collect()
    }

    #[test]
    fn serves_a_new_lane_next_whatever_is_queued_for_others() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        for _ in 0..1000 {
            queue.push('a', 1, 1, now);
            queue.push('b', 1, 1, now);
        }
        serve(&mut queue, 500, now);
        queue.push('c', 1, 1, now);
        assert!(serve(&mut queue, 2, now).contains('c'));
        assert_eq!(
            (queue.weight(), queue.weight_of('a') + queue.weight_of('b'), queue.weight_of('c')),
            (1499, 1499, 0)
        );
    }

    #[test]
    fn shares_time_rather_than_items_between_lanes() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        for _ in 0..1000 {
            queue.push('a', 10, 1, now);
            queue.push('b', 1, 1, now);
        }
        let served = serve(&mut queue, 110, now);
        assert!((9..=11).contains(&served.matches('a').count()), "{served}");
    }

    #[test]
    fn keeps_the_order_of_a_lane_and_saves_up_no_unused_time() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        queue.push('a', 5, 1, now);
        queue.push('a', 6, 1, now);
        assert_eq!(queue.pop(now), Some(('a', 5)));
        queue.charge('a', MS * 1000, Duration::ZERO, now);
        queue.push('b', 1, 1, now);
        queue.push('b', 1, 1, now);
        queue.push('a', 7, 1, now);
        assert_eq!(serve(&mut queue, 2, now), "bb", "it has used less");
        assert_eq!(queue.pop(now), Some(('a', 6)));
        queue.charge('a', MS * 1000, Duration::ZERO, now);
        assert_eq!(queue.pop(now), Some(('a', 7)));
        queue.charge('a', MS * 1000, Duration::ZERO, now);
        for _ in 0..100 {
            queue.push('b', 100, 1, now);
            queue.push('a', 100, 1, now);
        }
        let served = serve(&mut queue, 60, now);
        assert!(served.matches('a').count() >= 20, "{served}");
    }

    #[test]
    fn delays_only_the_lane_that_owes_tokens() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        queue.push('a', 1, 1, now);
        queue.push('a', 1, 1, now);
        let (key, _) = queue.pop(now).unwrap();
        queue.charge(key, MS, CAPACITY * 3, now);
        queue.push('b', 1, 1, now);
        assert_eq!(queue.next_at(now), Some(now));
        assert_eq!(serve(&mut queue, 9, now), "b");
        assert_eq!(queue.next_at(now), Some(now + CAPACITY * 2));
        assert_eq!(serve(&mut queue, 9, now + CAPACITY), "");
        assert_eq!(serve(&mut queue, 9, now + CAPACITY * 2), "a");
        assert_eq!(queue.next_at(now), None);
    }

    #[test]
    fn serves_new_items_of_a_lane_whose_items_were_dropped() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        for item in [1, 2, 3] {
            queue.push('a', item, 10, now);
        }
        queue.retain('a', |item| *item == 2);
        assert_eq!((queue.weight(), queue.weight_of('a')), (10, 10));
        queue.retain('a', |_| false);
        queue.push('b', 1, 1, now);
        assert_eq!(serve(&mut queue, 9, now), "b");
        queue.push('a', 1, 1, now);
        assert_eq!(serve(&mut queue, 9, now), "a");
    }

    #[test]
    fn limits_the_debt_of_a_lane() {
        let now = Instant::now();
        let mut queue: FairQueue<char, u32> = FairQueue::new(CAPACITY);
        for _ in 0..100 {
            queue.debit('a', MS, CAPACITY, CAPACITY * 3, now);
        }
        queue.push('a', 1, 1, now);
        queue.push('b', 1, 1, now);
        assert_eq!(serve(&mut queue, 9, now), "b");
        let paid = queue.next_at(now).unwrap() - now;
        assert!(paid >= CAPACITY * 2 && paid <= CAPACITY * 3, "{paid:?}");
    }

    #[test]
    fn keeps_only_lanes_with_debts_in_a_sweep() {
        let now = Instant::now();
        let mut queue = FairQueue::new(CAPACITY);
        for (key, tokens) in [('a', CAPACITY * 3), ('b', Duration::ZERO)] {
            queue.push(key, 1, 1, now);
            queue.pop(now).unwrap();
            queue.charge(key, MS, tokens, now);
        }
        queue.sweep(now);
        assert_eq!(queue.lanes.len(), 1);
        queue.push('a', 1, 1, now);
        assert_eq!(serve(&mut queue, 9, now), "");
        queue.sweep(now + CAPACITY * 9);
        assert_eq!(serve(&mut queue, 9, now + CAPACITY * 9), "a");
        queue.sweep(now + CAPACITY * 9);
        assert!(queue.lanes.is_empty());
    }
}

//! Work that is due at regular times.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracing::error;

use super::{Context, Io, Now, SLICE, TICK, TickTarget, Worker};
use crate::session::data;
use crate::session::removal::Removal;
use crate::session::room::Room;

/// Interval at which the machine's addresses are read while there are participants.
const INTERFACE_INTERVAL: Duration = Duration::from_secs(5);
/// Time without a turn of this thread, beyond [`TICK`], that counts as a stall: the process was suspended, or the machine had no
/// processor for it. Shorter gaps count as silence of the participants.
const MIN_STALL: Duration = Duration::from_secs(2);

impl Worker {
    /// Runs what is due at a tick, for a [`SLICE`]; the rest follows in the next turns.
    pub(super) fn tick(&mut self) {
        let start = Instant::now();
        let stall = start.saturating_duration_since(self.last_turn_at + TICK);
        self.last_turn_at = start;
        if stall >= MIN_STALL {
            self.discount_stall(stall, start);
        }
        if self.tick_targets.is_empty() {
            if self.sessions.is_empty() || start < self.last_tick_at + TICK {
                return;
            }
            self.last_tick_at = start;
            self.tick_targets.extend(self.sessions.keys().copied().map(TickTarget::Participant));
            self.tick_targets.extend(self.rooms.keys().cloned().map(TickTarget::Room));
            self.shed_data(data::MAX_TOTAL_BYTES);
            self.packets.sweep(start);
            self.commands.sweep(start);
            self.read_interfaces(INTERFACE_INTERVAL);
        }
        while start.elapsed() < SLICE
            && let Some(target) = self.tick_targets.pop_front()
        {
            match target {
                TickTarget::Participant(id) => {
                    self.with_participant(id, |room, context| room.tick_participant(context, id));
                    // An offer that was delayed may restart ICE.
                    self.register(id);
                }
                TickTarget::Room(sid) => {
                    let Some(room) = self.rooms.get_mut(&sid) else { continue };
                    let mut context = context!(self);
                    // A panic loses the updates of this tick and no participant.
                    if catch_unwind(AssertUnwindSafe(|| room.tick_room(&mut context))).is_err() {
                        error!(room = room.name(), "panic in a step of a room");
                    }
                }
            }
            self.process_events();
        }
    }

    /// Excludes a time in which this thread did not run from the participants' timeouts, because it could not read their packets.
    fn discount_stall(&mut self, stall: Duration, now: Instant) {
        let later = |then: Instant| (then + stall).min(now);
        self.rooms.values_mut().for_each(|room| room.discount_stall(later));
    }

    /// While more than `max_bytes` of data messages are queued, removes the participants with the most: they receive more than they
    /// read.
    fn shed_data(&mut self, max_bytes: usize) {
        let queues = || self.rooms.values().flat_map(Room::data_queues);
        let mut held: Vec<_> = queues().map(|(id, data)| (data.held_bytes(), id)).collect();
        let mut sum: usize = held.iter().map(|(bytes, _)| bytes).sum();
        // A message for many participants is held once.
        if sum <= max_bytes || data::distinct_bytes(queues().map(|(_, data)| data)) <= max_bytes {
            return;
        }
        held.sort_unstable();
        while sum > max_bytes
            && let Some((bytes, id)) = held.pop()
        {
            sum -= bytes;
            let removal = Removal::failure("data queues of all participants full");
            self.with_participant(id, |room, context| room.remove(context, id, removal));
        }
        self.process_events();
    }

    /// Reads the machine's addresses, at most once per `interval`, and updates the candidates of all connections.
    pub(super) fn read_interfaces(&mut self, interval: Duration) {
        let now = Instant::now();
        if now.saturating_duration_since(self.interfaces_read) < interval {
            return;
        }
        self.interfaces_read = now;
        let changes = self.network.refresh();
        if changes.is_empty() {
            return;
        }
        for room in self.rooms.values_mut() {
            let (network, events, timers) = (&mut self.network, &mut self.events, &mut self.timers);
            let mut io = Io { network, events, timers, now };
            for peer_connection in room.connections_mut() {
                peer_connection.change_candidates(&mut io, &changes);
            }
        }
    }
}

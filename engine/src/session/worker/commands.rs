//! Commands: queues by lane, and what each lane is charged for.

use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracing::error;

use super::{Command, SLICE, Worker};
use crate::error::ApiError;
use crate::session::lane::Lane;
use crate::session::signal_channel;

/// Maximum number of queued commands of one participant; past it, abandoned joins are dropped, and then new joins are rejected.
const MAX_WAITING: usize = 64;
/// Maximum bytes per second of signalling that the requests of one participant cause for all recipients together, beyond the burst;
/// past it, its requests wait.
const FAN_OUT_BYTES_PER_SEC: u32 = 8 * 1024 * 1024;
/// Maximum share of the thread's time for one participant's requests, as a divisor, beyond the burst; past it, its requests wait.
const TIME_SHARE: u32 = 2;
/// Maximum time that a participant's requests wait for the cost of one of them.
const MAX_DEBT: Duration = Duration::from_secs(10);

/// Cost of one step of a lane.
pub(super) struct Cost {
    pub(super) time: Duration,
    /// Tokens to take from the lane's bucket.
    tokens: Duration,
}

/// Whether a command is a join whose client has disconnected.
fn is_abandoned(command: &Command) -> bool {
    matches!(command, Command::Join(_, reply, _) if reply.is_closed())
}

impl Worker {
    pub(super) fn enqueue(&mut self, command: Command) {
        let lane = match &command {
            Command::Run(_) => Lane::Api,
            Command::Join(params, ..) => self.lane_of(&params.grants.room, params.claims.identity()),
            Command::Signal(signal_id, ..) => {
                let known = self.signal_connections.get(signal_id).and_then(|id| self.sessions.get(id));
                let Some(known) = known else { return };
                known.lane
            }
            // Bypasses the queue: a connection waits for each of its requests before it closes, so that none is queued, and a
            // closed one needs no rate limit.
            Command::SignalClosed(signal_id) => {
                self.on_signal_closed(*signal_id);
                self.process_events();
                return;
            }
        };
        if self.commands.weight_of(lane) >= MAX_WAITING && matches!(command, Command::Join(..)) {
            self.commands.retain(lane, |waiting| !is_abandoned(waiting));
            if self.commands.weight_of(lane) >= MAX_WAITING {
                if let Command::Join(_, reply, _) = command {
                    // The client may have disconnected.
                    let _ = reply.send(Err(ApiError::Overloaded));
                }
                return;
            }
        }
        self.commands.push(lane, command, 1, Instant::now());
    }

    pub(super) fn lane_of(&self, room: &str, identity: &str) -> Lane {
        Lane::Participant(self.lanes.hash_one((room, identity)))
    }

    pub(super) fn serve_commands(&mut self) {
        let start = Instant::now();
        let mut now = start;
        while now.saturating_duration_since(start) < SLICE
            && let Some((lane, command)) = self.commands.pop(now)
        {
            let cost = self.cost_of(lane, now, |worker| worker.on_command(command));
            now += cost.time;
            let tokens = if lane == Lane::Api { Duration::ZERO } else { cost.tokens };
            self.commands.charge(lane, cost.time, tokens, now);
        }
    }

    /// Runs a step of a lane, handles the events that it causes, and returns what that cost.
    pub(super) fn cost_of(&mut self, lane: Lane, start: Instant, step: impl FnOnce(&mut Self)) -> Cost {
        let sent = signal_channel::sent_bytes();
        self.lane = lane;
        step(self);
        self.process_events();
        self.lane = Lane::Api;
        let time = start.elapsed();
        let bytes = u32::try_from(signal_channel::sent_bytes() - sent).unwrap_or(u32::MAX);
        let tokens = time * TIME_SHARE + Duration::from_secs(1) * bytes / FAN_OUT_BYTES_PER_SEC;
        Cost { time, tokens: tokens.min(MAX_DEBT) }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Join(..) if is_abandoned(&command) => (),
            // The client may have disconnected meanwhile; `SignalClosed` then cleans up.
            Command::Join(params, reply, _memory) => drop(reply.send(self.join(*params))),
            Command::Signal(signal_id, request, handled, _memory) => {
                if let Some(id) = self.signal_connections.get(&signal_id).copied() {
                    self.with_participant(id, |room, context| room.on_signal_request(context, id, request.message));
                    self.register(id);
                }
                // The connection may have ended meanwhile.
                let _ = handled.send(());
            }
            Command::SignalClosed(signal_id) => self.on_signal_closed(signal_id),
            // A panic must not end the thread.
            Command::Run(work) => {
                if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
                    error!("panic in a call of the server API");
                }
            }
        }
    }

    /// Charges lanes for work that they caused together, each for an equal share.
    pub(super) fn debit(&mut self, lanes: &[Lane], cost: &Cost, now: Instant) {
        let shares = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        for lane in lanes.iter().copied().filter(|lane| *lane != Lane::Api) {
            self.commands.debit(lane, cost.time / shares, cost.tokens / shares, MAX_DEBT, now);
        }
    }
}

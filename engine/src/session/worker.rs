//! The media thread. It serves participants fairly: packets and commands are queued by participant, and each queue is served for
//! a slice of time in turn.

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock::Now;
use crate::decoded_memory::Memory;
use crate::error::ApiError;
use crate::ids::{SessionId, SignalConnectionId};
use crate::net::datagram::ReceivedDatagram;
use crate::net::peer_connection::{EventQueue, Io};
use crate::net::sockets::Network;
use crate::net::timers::Timers;
use crate::registry::rooms::Evicted;
use crate::services::Services;
use crate::session::demux::Demux;
use crate::session::fair_queue::FairQueue;
use crate::session::join::JoinParams;
use crate::session::lane::Lane;
use crate::session::removal::{Removal, leave_registry};
use crate::session::room::{Context, Room};

/// The [`Context`] of a step in a room. A macro, because it borrows all parts of the worker except its rooms.
macro_rules! context {
    ($worker:ident) => {
        Context {
            io: Io {
                network: &mut $worker.network,
                events: &mut $worker.events,
                timers: &mut $worker.timers,
                now: Instant::now(),
            },
            services: &$worker.services,
            now: Now::read(),
            lane: $worker.lane,
            removed: &mut $worker.removed,
            unsettled: &mut $worker.unsettled,
        }
    };
}

mod commands;
mod media;
mod sessions;
mod tick;

/// Interval of ticks while there are participants.
const TICK: Duration = Duration::from_millis(200);
/// Maximum time for one kind of work before the next kind is served.
pub(crate) const SLICE: Duration = Duration::from_millis(2);
/// Maximum number of queued calls of the server API; past it, callers wait.
const MAX_CALLS: usize = 64;
/// Burst of a participant's requests, before their limits apply: 32 MiB of signalling, or two seconds of the thread.
const BURST: Duration = Duration::from_secs(4);

/// Index entry of a session. It suffices to remove a participant whose state in the room is lost.
struct SessionEntry {
    /// The room's `sid`.
    room: String,
    /// The room's name.
    name: String,
    identity: String,
    sid: String,
    /// The signalling connection that its requests come from.
    signal: Option<SignalConnectionId>,
    lane: Lane,
}

enum TickTarget {
    Participant(SessionId),
    Room(String),
}

pub(crate) struct Worker {
    services: Arc<Services>,
    network: Network,
    events: EventQueue,
    timers: Timers,
    /// By `sid`.
    rooms: HashMap<String, Room>,
    sessions: HashMap<SessionId, SessionEntry>,
    by_participant_sid: HashMap<String, SessionId>,
    signal_connections: HashMap<SignalConnectionId, SessionId>,
    demux: Demux,
    packets: FairQueue<SessionId, ReceivedDatagram>,
    commands: FairQueue<Lane, Command>,
    lanes: RandomState,
    removed: Vec<SessionId>,
    /// Time of the last turn. While there are participants, there is at least one per [`TICK`].
    last_turn_at: Instant,
    last_tick_at: Instant,
    /// Participants that were evicted from the rooms of the server API and are not removed yet.
    evicted: VecDeque<Evicted>,
    /// `sid`s of the rooms to settle at the end of the turn, each once.
    unsettled: VecDeque<String>,
    /// The lane whose work the current step is.
    lane: Lane,
    /// Targets of the current tick that are not served yet.
    tick_targets: VecDeque<TickTarget>,
    interfaces_read: Instant,
}

/// A call of the server API.
pub(crate) type ApiCall = Box<dyn FnOnce(&mut Worker) + Send>;

/// Work for the media thread.
pub(crate) enum Command {
    Join(Box<JoinParams>, oneshot::Sender<Result<SignalConnectionId, ApiError>>, Memory),
    /// A request of a client, and the sender that is completed once it is handled.
    Signal(SignalConnectionId, Box<proto::SignalRequest>, oneshot::Sender<()>, Memory),
    /// The signalling connection has ended. All of its requests were handled.
    SignalClosed(SignalConnectionId),
    Run(ApiCall),
}

pub(crate) struct Receivers {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) calls: mpsc::Receiver<ApiCall>,
}

/// Runs the event loop until `stop` is cancelled or all command senders are dropped. First sends on `opened`, as the sign that
/// the thread runs.
pub(crate) async fn run(
    services: Arc<Services>,
    network: Network,
    mut receivers: Receivers,
    stop: &CancellationToken,
    opened: oneshot::Sender<()>,
) {
    // The join that waits for it may be cancelled.
    let _ = opened.send(());
    let mut worker = Worker::new(services.clone(), network);
    loop {
        let now = Instant::now();
        let next = worker.next_at(now);
        let is_busy = next.is_some_and(|at| at <= now);
        if is_busy {
            // Tasks of TCP connections and the sockets' events get their turn.
            yield_now().await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = services.evicted() => worker.evict(),
            command = receivers.commands.recv() => match command {
                Some(command) => worker.enqueue(command),
                None => break,
            },
            Some(call) = receivers.calls.recv(), if worker.takes_calls() => worker.enqueue(Command::Run(call)),
            () = worker.network.readable() => (),
            () = std::future::ready(()), if is_busy => (),
            () = sleep_until(next.unwrap_or(now).into()), if next.is_some() && !is_busy => (),
        }
        worker.turn(&mut receivers);
    }
    worker.shutdown();
}

impl Worker {
    fn new(services: Arc<Services>, network: Network) -> Self {
        let now = Instant::now();
        Self {
            services,
            network,
            events: EventQueue::new(),
            timers: Timers::default(),
            rooms: HashMap::new(),
            sessions: HashMap::new(),
            by_participant_sid: HashMap::new(),
            signal_connections: HashMap::new(),
            demux: Demux::default(),
            packets: FairQueue::new(BURST),
            commands: FairQueue::new(BURST),
            lanes: RandomState::new(),
            removed: Vec::new(),
            last_turn_at: now,
            last_tick_at: now,
            evicted: VecDeque::new(),
            unsettled: VecDeque::new(),
            lane: Lane::Api,
            tick_targets: VecDeque::new(),
            interfaces_read: now,
        }
    }

    /// The time of the next turn if no event arrives before; `None` while there are no participants.
    fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.tick_targets.is_empty() || !self.evicted.is_empty() || !self.unsettled.is_empty() {
            return Some(now);
        }
        let tick = (!self.sessions.is_empty()).then(|| self.last_tick_at + TICK);
        [self.packets.next_at(now), self.commands.next_at(now), self.timers.next(), tick].into_iter().flatten().min()
    }

    /// Serves each kind of work for a [`SLICE`].
    fn turn(&mut self, receivers: &mut Receivers) {
        self.remove_evicted();
        self.read_datagrams();
        self.serve_packets();
        // Sends what the packets have enqueued, as one burst.
        self.handle_timeouts();
        while let Ok(command) = receivers.commands.try_recv() {
            self.enqueue(command);
        }
        while self.takes_calls()
            && let Ok(call) = receivers.calls.try_recv()
        {
            self.enqueue(Command::Run(call));
        }
        self.serve_commands();
        self.settle_rooms();
        self.handle_timeouts();
        self.tick();
    }

    fn takes_calls(&self) -> bool {
        self.commands.weight_of(Lane::Api) < MAX_CALLS
    }

    /// Runs a step for a participant in its room. If the step panics, only this participant is removed.
    fn with_participant<T>(&mut self, id: SessionId, work: impl FnOnce(&mut Room, &mut Context<'_>) -> T) -> Option<T> {
        let room = self.rooms.get_mut(&self.sessions.get(&id)?.room)?;
        let mut context = context!(self);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        if outcome.is_err() {
            self.purge(id);
        }
        outcome.ok()
    }

    /// As [`with_participant`](Self::with_participant); what follows from the step is charged to the participant.
    fn with_own_lane(&mut self, id: SessionId, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let Some(lane) = self.sessions.get(&id).map(|session| session.lane) else { return };
        let before = std::mem::replace(&mut self.lane, lane);
        self.with_participant(id, work);
        self.lane = before;
    }

    /// Removes what is left of a participant whose step has panicked.
    fn purge(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        error!(room = session.name, participant = session.identity, session = id, "panic in a step of a participant");
        let removal = Removal::failure("panic");
        if let Some(room) = self.rooms.get_mut(&session.room) {
            let mut context = context!(self);
            // A second panic must not stop what follows.
            let _ = catch_unwind(AssertUnwindSafe(|| room.remove(&mut context, id, removal)));
            let left = room.purge(&mut context, id);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
        }
        // `Room::remove` does this only if the participant was in the room already.
        leave_registry(&self.services, &session.name, &session.identity, &session.sid, removal.reason);
        self.removed.push(id);
    }

    /// Runs a step for the participant with that identity.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]; errors of `work`.
    pub(crate) fn with_identity<T>(
        &mut self,
        room: &str,
        identity: &str,
        work: impl FnOnce(&mut Room, &mut Context<'_>, SessionId) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let id = self.room(room).and_then(|room| room.by_identity(identity)).ok_or(ApiError::NoParticipant)?;
        let outcome =
            self.with_participant(id, |room, context| work(room, context, id)).ok_or(ApiError::NoParticipant)?;
        self.process_events();
        outcome
    }

    /// Runs a step in a room that has participants. A panic removes no participant, because the step is for none of them.
    pub(crate) fn with_room(&mut self, room: &str, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let Some(sid) = self.room(room).map(|room| room.sid().to_owned()) else { return };
        let Some(room) = self.rooms.get_mut(&sid) else { return };
        let mut context = context!(self);
        if catch_unwind(AssertUnwindSafe(|| work(room, &mut context))).is_err() {
            error!(room = room.name(), "panic in a step of a room");
        }
        self.process_events();
    }

    /// Whether no state of any participant is left.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.signal_connections.is_empty() && self.rooms.is_empty()
    }

    /// The open room with that name, if it has participants.
    fn room(&mut self, name: &str) -> Option<&mut Room> {
        let sid = self.services.rooms(|rooms, now| rooms.get(name, now).map(|room| room.info().sid.clone()))?;
        self.rooms.get_mut(&sid)
    }

    /// Handles the events of peer connections, and cleans up after removed participants.
    fn process_events(&mut self) {
        while let Some((id, target, event)) = self.events.pop_front() {
            self.with_own_lane(id, |room, context| room.on_transport_event(context, id, target, event));
        }
        for id in std::mem::take(&mut self.removed) {
            let Some(session) = self.sessions.remove(&id) else { continue };
            if self.rooms.get(&session.room).is_some_and(Room::is_empty) {
                self.rooms.remove(&session.room);
            }
            self.by_participant_sid.remove(&session.sid);
            session.signal.and_then(|signal_id| self.signal_connections.remove(&signal_id));
            self.demux.remove(id);
            self.network.remove(id);
        }
    }

    /// Makes all participants leave.
    fn shutdown(mut self) {
        self.rooms.values_mut().for_each(Room::shut_down);
    }
}

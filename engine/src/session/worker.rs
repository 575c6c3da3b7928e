//! The thread that carries all participants of an engine. It serves them fairly: packets by participant and commands by
//! participant, each for a slice of time in turn.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::decoded_memory::Memory;
use crate::error::ApiError;
use crate::ids::PeerConnectionId;
use crate::ids::{SessionId, SignalConnectionId, SignalTarget, StreamId};
use crate::net::datagram::ReceivedDatagram;
use crate::net::peer_connection::{EventQueue, Io, PeerConnection, TransportEvent};
use crate::net::sockets::Network;
use crate::net::stun::is_stun;
use crate::net::timers::Timers;
use crate::registry::rooms::Evicted;
use crate::services::Services;
use crate::session::data;
use crate::session::demux::Demux;
use crate::session::fair_queue::FairQueue;
use crate::session::join::{JoinParams, refuse_resume};
use crate::session::lane::Lane;
use crate::session::room::{Context, Removal, Room, leave_registry};
use crate::session::signal_channel;

/// How often rooms are looked after while somebody is in one.
const TICK: Duration = Duration::from_millis(200);
/// Time for which one kind of work is served before another kind gets its turn.
pub(crate) const SLICE: Duration = Duration::from_millis(2);
/// Datagrams that are read and sorted by participant before any is handled.
const MAX_READS: usize = 512;
/// Bytes of one participant's datagrams that wait in any case. Past it, they wait as far as the two limits below allow it.
const MIN_PACKET_BYTES: usize = 64 * 1024;
/// Bytes of one participant's datagrams that may wait. Past it, the newest is dropped.
const MAX_PACKET_BYTES: usize = 1024 * 1024;
/// Bytes of all participants' datagrams that may wait. Past it, each has `MIN_PACKET_BYTES`.
const MAX_TOTAL_PACKET_BYTES: usize = 16 * 1024 * 1024;
/// Calls of the server API that wait beside what participants signal. Past it, callers wait.
const MAX_CALLS: usize = 64;
/// Commands of one participant that wait. Past it, joins whose clients have gone are dropped, and then new ones refused.
const MAX_WAITING: usize = 64;
/// Bytes per second that the messages of one participant may cause to be sent, to everybody together. Past it, and past the
/// burst, its signalling is not read until that is paid off.
const FAN_OUT_BYTES_PER_SEC: u32 = 8 * 1024 * 1024;
/// The share of the thread that one participant's messages may take, as a divisor. Past it, and past the burst, its signalling
/// is not read until that is paid off.
const TIME_SHARE: u32 = 2;
/// The burst of both: 32 MiB, or two seconds of the thread.
const BURST: Duration = Duration::from_secs(4);
/// The longest time that one message costs its sender.
const MAX_DEBT: Duration = Duration::from_secs(10);
/// How often the machine's addresses are read while somebody is in a room, and at the most when somebody joins.
const INTERFACE_INTERVAL: Duration = Duration::from_secs(5);
const MIN_INTERFACE_INTERVAL: Duration = Duration::from_millis(100);
/// Whoever has not connected its media by then has failed to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Whoever was not heard for so long is gone. Clients are heard several times in it.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(20);
/// Whoever has closed its media has so long to say by signalling why: that is slower.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Whoever has no signalling connection has so long to come back,
const RESUME_TIMEOUT: Duration = Duration::from_secs(15);
/// and if its media is still heard, so long.
const MAX_RESUME_TIMEOUT: Duration = Duration::from_secs(60);
/// Time without a turn of this thread, beyond [`TICK`], that counts as a stall: the process was suspended, or the machine has no
/// processor for it. Shorter gaps count as silence of the participants.
const MIN_STALL: Duration = Duration::from_secs(2);
/// What counts as still heard.
const RECENTLY: Duration = Duration::from_secs(5);

/// A participant, as far as it has to be known to remove it if its state in the room is lost.
struct Membership {
    /// The room's `sid`, and its name.
    room: String,
    name: String,
    identity: String,
    sid: String,
    /// The signalling connection that its requests come from.
    signal: Option<SignalConnectionId>,
    lane: Lane,
}

/// Cost of one step of a lane.
struct Cost {
    time: Duration,
    /// Tokens to take from the lane's bucket.
    tokens: Duration,
}

/// What is looked after with every tick.
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
    /// The room of each participant.
    memberships: HashMap<SessionId, Membership>,
    by_participant_sid: HashMap<String, SessionId>,
    signal_connections: HashMap<SignalConnectionId, SessionId>,
    demux: Demux,
    packets: FairQueue<SessionId, ReceivedDatagram>,
    commands: FairQueue<Lane, Command>,
    lanes: RandomState,
    removed: Vec<SessionId>,
    /// When this thread was last seen to run. While participants are there, it runs at least once per [`TICK`].
    last_turn_at: Instant,
    last_tick_at: Instant,
    /// Participants that their rooms have let go, and that are still to be removed.
    evicted: VecDeque<Evicted>,
    /// `sid`s of the rooms to settle at the end of the turn, each once.
    unsettled: VecDeque<String>,
    /// The lane whose work the current step is.
    lane: Lane,
    /// What is left of the tick.
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

/// Where work comes from.
pub(crate) struct Receivers {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) calls: mpsc::Receiver<ApiCall>,
}

/// Carries participants until `stop`. Says so once it can; without sockets it ends at once.
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

/// Whether a command is a join whose client has gone.
fn is_abandoned(command: &Command) -> bool {
    matches!(command, Command::Join(_, reply, _) if reply.is_closed())
}

/// What a step in a room needs, of a worker's parts that are not the rooms.
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

impl Worker {
    fn new(services: Arc<Services>, network: Network) -> Self {
        let now = Instant::now();
        Self {
            services,
            network,
            events: EventQueue::new(),
            timers: Timers::default(),
            rooms: HashMap::new(),
            memberships: HashMap::new(),
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

    /// When there is something to do though nothing comes in; never while nobody is there.
    fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.tick_targets.is_empty() || !self.evicted.is_empty() || !self.unsettled.is_empty() {
            return Some(now);
        }
        let tick = (!self.memberships.is_empty()).then(|| self.last_tick_at + TICK);
        [self.packets.next_at(now), self.commands.next_at(now), self.timers.next(), tick].into_iter().flatten().min()
    }

    /// Serves each kind of work for a slice of time at the most.
    fn turn(&mut self, receivers: &mut Receivers) {
        self.remove_evicted();
        self.read_datagrams();
        self.serve_packets();
        // What they have caused to be sent goes out together.
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

    /// Sorts what has come by participant. What is for nobody here ends here.
    fn read_datagrams(&mut self) {
        for _ in 0..MAX_READS {
            let Some(received) = self.network.receive() else { return };
            let now = Instant::now();
            let Some((id, _)) = self.demux.route((received.protocol, received.source), &received.bytes, now) else {
                continue;
            };
            let own = self.packets.weight_of(id);
            let has_room = self.packets.weight() < MAX_TOTAL_PACKET_BYTES && own < MAX_PACKET_BYTES;
            if has_room || own < MIN_PACKET_BYTES {
                let weight = size_of::<ReceivedDatagram>() + received.bytes.len();
                self.packets.push(id, received, weight, now);
            }
        }
    }

    fn serve_packets(&mut self) {
        let start = Instant::now();
        let mut now = start;
        while now.saturating_duration_since(start) < SLICE
            && let Some((id, received)) = self.packets.pop(now)
        {
            self.on_datagram(&received);
            self.process_events();
            let end = Instant::now();
            self.packets.charge(id, end.saturating_duration_since(now), Duration::ZERO, end);
            now = end;
        }
    }

    fn takes_calls(&self) -> bool {
        self.commands.weight_of(Lane::Api) < MAX_CALLS
    }

    fn enqueue(&mut self, command: Command) {
        let lane = match &command {
            Command::Run(_) => Lane::Api,
            Command::Join(params, ..) => self.lane_of(&params.grants.room, params.claims.identity()),
            Command::Signal(signal_id, ..) => {
                let known = self.signal_connections.get(signal_id).and_then(|id| self.memberships.get(id));
                let Some(known) = known else { return };
                known.lane
            }
            // Nothing of that connection waits any more, and however much it owes, it is gone.
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
                    // The client may have gone.
                    let _ = reply.send(Err(ApiError::Overloaded));
                }
                return;
            }
        }
        self.commands.push(lane, command, 1, Instant::now());
    }

    fn lane_of(&self, room: &str, identity: &str) -> Lane {
        Lane::Participant(self.lanes.hash_one((room, identity)))
    }

    fn serve_commands(&mut self) {
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
    fn cost_of(&mut self, lane: Lane, start: Instant, step: impl FnOnce(&mut Self)) -> Cost {
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

    /// Does something for a participant in its room. If that panics, only the participant is lost.
    fn with_participant<T>(&mut self, id: SessionId, work: impl FnOnce(&mut Room, &mut Context<'_>) -> T) -> Option<T> {
        let room = self.rooms.get_mut(&self.memberships.get(&id)?.room)?;
        let mut context = context!(self);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        if outcome.is_err() {
            self.purge(id);
        }
        outcome.ok()
    }

    /// As [`with_participant`](Self::with_participant); what follows from the step is charged to the participant.
    fn with_own_lane(&mut self, id: SessionId, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let Some(lane) = self.memberships.get(&id).map(|home| home.lane) else { return };
        let before = std::mem::replace(&mut self.lane, lane);
        self.with_participant(id, work);
        self.lane = before;
    }

    /// Removes a participant whose step has panicked, whatever that has left of it.
    fn purge(&mut self, id: SessionId) {
        let Some(home) = self.memberships.get(&id) else { return };
        if let Some(room) = self.rooms.get_mut(&home.room) {
            let mut context = context!(self);
            let removal = Removal::full_reconnect(DisconnectReason::StateMismatch);
            // A second panic must not stop what follows.
            let _ = catch_unwind(AssertUnwindSafe(|| room.remove(&mut context, id, removal)));
            let _ = catch_unwind(AssertUnwindSafe(|| room.remove_media(id)));
            let participant = room.take(id);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(participant)));
        }
        // Had it not been in the room yet, that would not have let it go.
        leave_registry(&self.services, &home.name, &home.identity, &home.sid);
        self.removed.push(id);
    }

    /// Does something for a participant, if it is there.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], or what `work` refuses.
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

    /// Does something in a room, if anybody is in it. If that panics, nobody is lost, because it is nobody's fault.
    pub(crate) fn with_room(&mut self, room: &str, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let Some(sid) = self.room(room).map(|room| room.sid.clone()) else { return };
        let Some(room) = self.rooms.get_mut(&sid) else { return };
        let mut context = context!(self);
        let _ = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        self.process_events();
    }

    /// Whether nothing is left of any participant.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.memberships.is_empty() && self.signal_connections.is_empty() && self.rooms.is_empty()
    }

    /// The live room of that name, if anybody is in it.
    fn room(&mut self, name: &str) -> Option<&mut Room> {
        let sid = self.services.rooms(|rooms, now| rooms.get(name, now).map(|room| room.info().sid.clone()))?;
        self.rooms.get_mut(&sid)
    }

    fn on_command(&mut self, command: Command) {
        match command {
            // Its client has gone while it waited.
            Command::Join(..) if is_abandoned(&command) => (),
            // Whoever asked may have gone; the participant is then as good as lost, and treated so.
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
            // It must not take the others with it.
            Command::Run(work) => drop(catch_unwind(AssertUnwindSafe(|| work(self)))),
        }
    }

    fn join(&mut self, params: JoinParams) -> Result<SignalConnectionId, ApiError> {
        let signal_id = self.services.next_id();
        if params.request.reconnect {
            params.check(&self.services)?;
            self.resume(signal_id, params);
            return Ok(signal_id);
        }
        if self.memberships.len() >= self.services.limits.participants && !self.replaces(&params) {
            return Err(ApiError::Overloaded);
        }
        self.read_interfaces(MIN_INTERFACE_INTERVAL);
        let joined = params.admit(&self.services)?;
        let (name, sid) = (params.grants.room.clone(), joined.room.sid().to_owned());
        let id = self.services.next_id();
        let identity = joined.participant.identity.clone();
        let home = Membership {
            room: sid.clone(),
            sid: joined.participant.sid.clone(),
            signal: Some(signal_id),
            lane: self.lane_of(&name, &identity),
            name: name.clone(),
            identity,
        };
        self.by_participant_sid.insert(home.sid.clone(), id);
        self.signal_connections.insert(signal_id, id);
        self.memberships.insert(id, home);
        self.rooms.entry(sid.clone()).or_insert_with(|| Room::new(name, sid));
        self.with_participant(id, |room, context| room.add_participant(context, (id, signal_id), params, joined));
        self.register(id);
        Ok(signal_id)
    }

    /// Whether a join takes the place of a participant of the same identity, so that there are no more than before.
    fn replaces(&mut self, params: &JoinParams) -> bool {
        self.room(&params.grants.room).is_some_and(|room| room.by_identity(params.claims.identity()).is_some())
    }

    fn resume(&mut self, signal_id: SignalConnectionId, params: JoinParams) {
        let identity = params.claims.identity();
        let known = self.room(&params.grants.room).and_then(|room| {
            let participant = room.participants.get(&room.by_identity(identity)?)?;
            (participant.info.sid == params.request.participant_sid).then_some(participant.id)
        });
        match known {
            Some(id) => {
                self.read_interfaces(MIN_INTERFACE_INTERVAL);
                let replaced = self.memberships.get_mut(&id).and_then(|home| home.signal.replace(signal_id));
                replaced.and_then(|replaced| self.signal_connections.remove(&replaced));
                self.signal_connections.insert(signal_id, id);
                self.with_participant(id, |room, context| room.resume(context, (id, signal_id), params));
            }
            None => refuse_resume(&params.signal_sink),
        }
    }

    fn on_signal_closed(&mut self, signal_id: SignalConnectionId) {
        let Some(id) = self.signal_connections.remove(&signal_id) else { return };
        let now = Instant::now();
        self.with_own_lane(id, |room, context| {
            let Some(participant) = room.participants.get_mut(&id) else { return };
            participant.signal = None;
            participant.signal_lost_at = Some(now);
            if !participant.is_active() {
                room.remove(context, id, Removal::without_leave(DisconnectReason::SignalClose));
            }
        });
    }

    /// Takes over the participants that were evicted from the rooms of the server API.
    fn evict(&mut self) {
        self.evicted.extend(self.services.rooms(|rooms, _| rooms.take_evicted()));
    }

    /// Removes evicted participants for a [`SLICE`].
    fn remove_evicted(&mut self) {
        let start = Instant::now();
        while start.elapsed() < SLICE
            && let Some(evicted) = self.evicted.pop_front()
        {
            if let Some(id) = self.by_participant_sid.get(&evicted.sid).copied() {
                let removal = Removal::disconnect(evicted.reason);
                self.with_participant(id, |room, context| room.remove(context, id, removal));
            }
        }
        self.process_events();
    }

    /// Settles the rooms that have changed in this turn, for a [`SLICE`]. Waits for the end of evictions, because participants
    /// that are evicted next need no updates.
    fn settle_rooms(&mut self) {
        let start = Instant::now();
        let deadline = start + SLICE;
        let mut now = start;
        while now < deadline
            && self.evicted.is_empty()
            && let Some(sid) = self.unsettled.pop_front()
        {
            let mut payers = Vec::new();
            let cost = self.cost_of(Lane::Api, now, |worker| {
                let Some(room) = worker.rooms.get_mut(&sid) else { return };
                let mut context = context!(worker);
                // A panic must not keep the rest of the room from being reconciled.
                let settled = catch_unwind(AssertUnwindSafe(|| room.settle(&mut context, deadline)));
                match settled {
                    Ok(lanes) => payers = lanes,
                    Err(_) => room.schedule(&mut context),
                }
            });
            now += cost.time;
            self.debit(&payers, &cost, now);
        }
    }

    /// Charges lanes for work that they caused together, each for an equal share.
    fn debit(&mut self, lanes: &[Lane], cost: &Cost, now: Instant) {
        let shares = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        for lane in lanes.iter().copied().filter(|lane| *lane != Lane::Api) {
            self.commands.debit(lane, cost.time / shares, cost.tokens / shares, MAX_DEBT, now);
        }
    }

    pub(crate) fn on_datagram(&mut self, received: &ReceivedDatagram) {
        let now = Instant::now();
        let source = (received.protocol, received.source);
        let Some(connection) = self.demux.route(source, &received.bytes, now) else { return };
        let is_verified =
            |peer_connection: &mut PeerConnection| !is_stun(&received.bytes) || peer_connection.accepts(received, now);
        if !self.peer_connection(connection).is_some_and(is_verified) {
            return;
        }
        self.demux.accept(source, connection, now);
        let (id, _) = connection;
        if is_stun(&received.bytes) {
            self.network.authenticate(received, id);
        }
        self.with_participant(id, |room, context| {
            if let Some(peer_connection) = room.connections.get_mut(connection) {
                peer_connection.handle_datagram(&mut context.io, received);
            }
        });
    }

    fn peer_connection(&mut self, id: PeerConnectionId) -> Option<&mut PeerConnection> {
        let room = self.memberships.get(&id.0).and_then(|home| self.rooms.get_mut(&home.room));
        room.and_then(|room| room.connections.get_mut(id))
    }

    /// Registers the ICE credentials of a participant's connections, after whatever may have changed them.
    fn register(&mut self, id: SessionId) {
        let Some(room) = self.memberships.get(&id).and_then(|home| self.rooms.get_mut(&home.room)) else { return };
        let now = Instant::now();
        for connection in [(id, SignalTarget::Publisher), (id, SignalTarget::Subscriber)] {
            if let Some(peer_connection) = room.connections.get_mut(connection) {
                self.demux.register(connection, peer_connection.ufrag(), now);
            }
        }
    }

    /// Lets time pass for the connections that wait for that.
    fn handle_timeouts(&mut self) {
        let now = Instant::now();
        while let Some((deadline, connection)) = self.timers.pop(now) {
            let room = self.memberships.get(&connection.0).and_then(|home| self.rooms.get_mut(&home.room));
            if let Some(peer_connection) = room.and_then(|room| room.connections.get_mut(connection)) {
                let (network, events, timers) = (&mut self.network, &mut self.events, &mut self.timers);
                peer_connection.handle_timeout(&mut Io { network, events, timers, now }, deadline);
            }
        }
        self.process_events();
    }

    /// Looks after everybody now and then, for a slice of time at once.
    fn tick(&mut self) {
        let start = Instant::now();
        let stall = start.saturating_duration_since(self.last_turn_at + TICK);
        self.last_turn_at = start;
        if stall >= MIN_STALL {
            self.discount_stall(stall, start);
        }
        if self.tick_targets.is_empty() {
            if self.memberships.is_empty() || start < self.last_tick_at + TICK {
                return;
            }
            self.last_tick_at = start;
            self.tick_targets.extend(self.memberships.keys().copied().map(TickTarget::Participant));
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
                    // An offer that had to wait may have restarted ICE.
                    self.register(id);
                }
                TickTarget::Room(sid) => {
                    let Some(room) = self.rooms.get_mut(&sid) else { continue };
                    let mut context = context!(self);
                    // A fault in what is said of speakers costs nothing but that.
                    let _ = catch_unwind(AssertUnwindSafe(|| room.tick_room(&mut context)));
                }
            }
            self.process_events();
        }
    }

    /// Excludes the time in which this thread did not run from the silence of participants. Nothing that they sent could be read
    /// meanwhile.
    fn discount_stall(&mut self, stall: Duration, now: Instant) {
        let later = |then: Instant| (then + stall).min(now);
        for room in self.rooms.values_mut() {
            for participant in room.participants.values_mut() {
                participant.signal_lost_at = participant.signal_lost_at.map(later);
                participant.negotiation.discount_stall(later);
            }
            room.connections.iter_mut().for_each(|peer_connection| peer_connection.discount_stall(later));
        }
    }

    /// While more bytes of data messages are held than that, lets those participants go that hold most: they take less than
    /// they are sent.
    fn shed_data(&mut self, max_bytes: usize) {
        let participants = || self.rooms.values().flat_map(|room| room.participants.values());
        let mut held: Vec<_> =
            participants().map(|participant| (participant.data.held_bytes(), participant.id)).collect();
        let mut sum: usize = held.iter().map(|(bytes, _)| bytes).sum();
        // A message that waits for many participants is there once.
        if sum <= max_bytes || data::distinct_bytes(participants().map(|participant| &participant.data)) <= max_bytes {
            return;
        }
        held.sort_unstable();
        while sum > max_bytes
            && let Some((bytes, id)) = held.pop()
        {
            sum -= bytes;
            let removal = Removal::full_reconnect(DisconnectReason::StateMismatch);
            self.with_participant(id, |room, context| room.remove(context, id, removal));
        }
        self.process_events();
    }

    /// Follows a change of the machine's addresses, unless they were read lately.
    fn read_interfaces(&mut self, interval: Duration) {
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
            for peer_connection in room.connections.iter_mut() {
                peer_connection.change_candidates(&mut io, &changes);
            }
        }
    }

    /// Deals with all that has happened, and with what comes of that.
    fn process_events(&mut self) {
        while let Some((id, target, event)) = self.events.pop_front() {
            self.with_own_lane(id, |room, context| room.on_transport_event(context, id, target, event));
        }
        for id in std::mem::take(&mut self.removed) {
            let Some(home) = self.memberships.remove(&id) else { continue };
            if self.rooms.get(&home.room).is_some_and(|room| room.participants.is_empty()) {
                self.rooms.remove(&home.room);
            }
            self.by_participant_sid.remove(&home.sid);
            home.signal.and_then(|signal_id| self.signal_connections.remove(&signal_id));
            self.demux.remove(id);
            self.network.remove(id);
        }
    }

    /// Says good-bye to all.
    fn shutdown(mut self) {
        for participant in self.rooms.values_mut().flat_map(|room| room.participants.values_mut()) {
            participant.leave(DisconnectReason::ServerShutdown, Action::Disconnect);
        }
    }
}

impl Room {
    fn on_transport_event(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        target: SignalTarget,
        event: TransportEvent,
    ) {
        match event {
            TransportEvent::Packet { mid, rid, packet } => {
                self.on_rtp(context, StreamId { connection: (id, target), mid }, rid, &packet);
            }
            TransportEvent::KeyframeRequest(mid) => {
                let stream = StreamId { connection: (id, target), mid };
                self.router.on_pli(&mut context.io, &mut self.connections, stream);
            }
            TransportEvent::Nack { mid, entries } => {
                let stream = StreamId { connection: (id, target), mid };
                self.router.on_nack(&mut context.io, &mut self.connections, stream, &entries);
            }
            TransportEvent::Data { reliable, bytes } => self.on_data_packet(context, id, reliable, &bytes),
            TransportEvent::RawData(bytes) => self.on_raw_data(context, id, bytes),
            TransportEvent::Connected => self.on_connected(context, id),
            TransportEvent::ChannelOpen | TransportEvent::ChannelLow => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.flush_data(&mut context.io, &mut self.connections);
                }
            }
            TransportEvent::Stats(stats) => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.quality.on_stats(target, &stats);
                }
            }
            TransportEvent::Closed => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.media_closed_at.get_or_insert(context.io.now);
                }
            }
            TransportEvent::Failed => {
                self.remove(context, id, Removal::full_reconnect(DisconnectReason::StateMismatch));
            }
        }
    }

    /// What has to be done for a participant now and then.
    fn tick_participant(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        let unheard = since(participant.last_received_at(&self.connections));
        let timeout = DisconnectReason::ConnectionTimeout;
        if participant.media_closed_at.is_some_and(|closed| since(closed) >= CLOSE_GRACE) {
            self.remove(context, id, Removal::full_reconnect(DisconnectReason::StateMismatch));
            return;
        }
        if !participant.is_active() {
            if since(participant.joined) >= JOIN_TIMEOUT {
                self.remove(context, id, Removal::disconnect(DisconnectReason::JoinFailure));
                return;
            }
        } else if unheard >= MEDIA_TIMEOUT {
            self.remove(context, id, Removal::full_reconnect(timeout));
            return;
        } else if let Some(silent) = participant.signal_lost_at.filter(|_| participant.signal.is_none()).map(since)
            && (silent >= MAX_RESUME_TIMEOUT || (silent >= RESUME_TIMEOUT && unheard >= RECENTLY))
        {
            self.remove(context, id, Removal::without_leave(timeout));
            return;
        }
        participant.expire_rpcs(now);
        if participant.signal.is_some() && participant.negotiation.is_unanswered(now) {
            self.remove(context, id, Removal::full_reconnect(DisconnectReason::StateMismatch));
            return;
        }
        self.tick_announcement(context, id);
        self.flush_pending_updates(id);
        self.tick_token(context, id);
        self.request_keyframes(context, id);
        self.send_fillers(context, id);
        self.retry_waiting_offer(context, id);
        self.negotiate(context, id);
    }
}

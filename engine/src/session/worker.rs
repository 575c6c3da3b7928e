//! The thread that carries all participants of an engine. It serves them fairly: packets by participant and commands by
//! participant, each for a slice of time in turn.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::clock::Now;
use crate::engine::Shared;
use crate::error::Refusal;
use crate::net::peer_connection::{Happening, Happenings, Io, Transport};
use crate::net::sockets::{Network, Received};
use crate::net::stun::is_stun;
use crate::net::timers::Timers;
use crate::registry::rooms::Evicted;
use crate::session::data;
use crate::session::demux::{ConnectionId, Demux};
use crate::session::fair_queue::FairQueue;
use crate::session::join::{Joining, refuse_resume};
use crate::session::room::{Context, Farewell, Room, leave};
use crate::session::signal_channel;
use crate::session::{Call, Command, LinkId, PeerId, Side};

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
const MAX_PACKET_BYTES_IN_ALL: usize = 16 * 1024 * 1024;
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
const SILENCE: Duration = Duration::from_secs(20);
/// Whoever has closed its media has so long to say by signalling why: that is slower.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Whoever has no signalling connection has so long to come back,
const RESUME_TIMEOUT: Duration = Duration::from_secs(15);
/// and if its media is still heard, so long.
const LONGEST_RESUME_TIMEOUT: Duration = Duration::from_secs(60);
/// Time without a turn of this thread, beyond [`TICK`], that counts as a stall: the process was suspended, or the machine has no
/// processor for it. Shorter gaps count as silence of the participants.
const MIN_STALL: Duration = Duration::from_secs(2);
/// What counts as still heard.
const LATELY: Duration = Duration::from_secs(5);

/// Whose work a command is. A participant keeps its lane when it joins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Lane {
    /// Calls of the server API.
    Api,
    /// A hash of room and identity.
    Participant(u64),
}

/// A participant, as far as it has to be known to remove it if its state in the room is lost.
struct Home {
    /// The room's `sid`, and its name.
    room: String,
    name: String,
    identity: String,
    sid: String,
}

/// Cost of one step of a lane.
struct Cost {
    time: Duration,
    /// Tokens to take from the lane's bucket.
    tokens: Duration,
}

/// What is looked after with every tick.
enum Due {
    Participant(PeerId),
    Room(String),
}

pub(crate) struct Worker {
    shared: Arc<Shared>,
    network: Network,
    happenings: Happenings,
    timers: Timers,
    /// By `sid`.
    rooms: HashMap<String, Room>,
    /// The room of each participant.
    homes: HashMap<PeerId, Home>,
    links: HashMap<LinkId, (PeerId, Lane)>,
    demux: Demux,
    packets: FairQueue<PeerId, Received>,
    commands: FairQueue<Lane, Command>,
    lanes: RandomState,
    gone: Vec<PeerId>,
    /// When this thread was last seen to run. While participants are there, it runs at least once per [`TICK`].
    turned: Instant,
    ticked: Instant,
    /// Participants that their rooms have let go, and that are still to be removed.
    evicted: VecDeque<Evicted>,
    /// Rooms whose participants have not been brought in line with that yet.
    reduced: HashSet<String>,
    /// `sid`s of rooms with queued reconciliations, and the lane that is charged for them.
    unreconciled: VecDeque<(String, Lane)>,
    /// Rooms that the current step has added to them.
    left: Vec<String>,
    /// Lane of the current step.
    payer: Lane,
    /// What is left of the tick.
    due: VecDeque<Due>,
    interfaces_read: Instant,
}

/// Where work comes from.
pub(crate) struct Sources {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) calls: mpsc::Receiver<Call>,
}

/// Carries participants until `stop`. Says so once it can; without sockets it ends at once.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut sources: Sources,
    wake: &Notify,
    stop: &CancellationToken,
    opened: oneshot::Sender<()>,
) {
    let Ok(network) = shared.media.open_network() else { return };
    // Whoever waits for it may have gone.
    let _ = opened.send(());
    let mut worker = Worker::new(shared, network);
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
            () = wake.notified() => worker.evict(),
            command = sources.commands.recv() => match command {
                Some(command) => worker.enqueue(command),
                None => break,
            },
            Some(call) = sources.calls.recv(), if worker.takes_calls() => worker.enqueue(Command::Run(call)),
            () = worker.network.readable() => (),
            () = std::future::ready(()), if is_busy => (),
            () = sleep_until(next.unwrap_or(now).into()), if next.is_some() && !is_busy => (),
        }
        worker.turn(&mut sources);
    }
    worker.end();
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
                happenings: &mut $worker.happenings,
                timers: &mut $worker.timers,
                now: Instant::now(),
            },
            shared: &$worker.shared,
            now: Now::read(),
            gone: &mut $worker.gone,
            unreconciled: &mut $worker.left,
        }
    };
}

impl Worker {
    fn new(shared: Arc<Shared>, network: Network) -> Self {
        let now = Instant::now();
        Self {
            shared,
            network,
            happenings: Happenings::new(),
            timers: Timers::default(),
            rooms: HashMap::new(),
            homes: HashMap::new(),
            links: HashMap::new(),
            demux: Demux::default(),
            packets: FairQueue::new(BURST),
            commands: FairQueue::new(BURST),
            lanes: RandomState::new(),
            gone: Vec::new(),
            turned: now,
            ticked: now,
            evicted: VecDeque::new(),
            reduced: HashSet::new(),
            unreconciled: VecDeque::new(),
            left: Vec::new(),
            payer: Lane::Api,
            due: VecDeque::new(),
            interfaces_read: now,
        }
    }

    /// When there is something to do though nothing comes in; never while nobody is there.
    fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.due.is_empty() || !self.evicted.is_empty() || !self.unreconciled.is_empty() {
            return Some(now);
        }
        let tick = (!self.homes.is_empty()).then(|| self.ticked + TICK);
        [self.packets.next_at(now), self.commands.next_at(now), self.timers.next(), tick].into_iter().flatten().min()
    }

    /// Serves each kind of work for a slice of time at the most.
    fn turn(&mut self, sources: &mut Sources) {
        self.remove_evicted();
        self.reconcile_rest();
        self.read();
        self.serve_packets();
        // What they have caused to be sent goes out together.
        self.pass_time();
        while let Ok(command) = sources.commands.try_recv() {
            self.enqueue(command);
        }
        while self.takes_calls()
            && let Ok(call) = sources.calls.try_recv()
        {
            self.enqueue(Command::Run(call));
        }
        self.serve_commands();
        self.pass_time();
        self.tick();
    }

    /// Sorts what has come by participant. What is for nobody here ends here.
    fn read(&mut self) {
        for _ in 0..MAX_READS {
            let Some(received) = self.network.receive() else { return };
            let now = Instant::now();
            let Some((id, _)) = self.demux.route((received.protocol, received.source), &received.bytes, now) else {
                continue;
            };
            let own = self.packets.weight_of(id);
            let has_room = self.packets.weight() < MAX_PACKET_BYTES_IN_ALL && own < MAX_PACKET_BYTES;
            if has_room || own < MIN_PACKET_BYTES {
                let weight = size_of::<Received>() + received.bytes.len();
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
            self.hand_over(&received);
            self.settle();
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
            Command::Join(joining, ..) => self.lane(&joining.grants.room, joining.claims.identity()),
            Command::Signal(link, ..) => match self.links.get(link) {
                Some((_, lane)) => *lane,
                None => return,
            },
            // Nothing of that connection waits any more, and however much it owes, it is gone.
            Command::Lost(link) => {
                self.lose(*link);
                self.settle();
                return;
            }
        };
        if self.commands.weight_of(lane) >= MAX_WAITING && matches!(command, Command::Join(..)) {
            self.commands.retain(lane, |waiting| !is_abandoned(waiting));
            if self.commands.weight_of(lane) >= MAX_WAITING {
                if let Command::Join(_, reply, _) = command {
                    // The client may have gone.
                    let _ = reply.send(Err(Refusal::Overloaded));
                }
                return;
            }
        }
        self.commands.push(lane, command, 1, Instant::now());
    }

    fn lane(&self, room: &str, identity: &str) -> Lane {
        Lane::Participant(self.lanes.hash_one((room, identity)))
    }

    fn serve_commands(&mut self) {
        let start = Instant::now();
        let mut now = start;
        while now.saturating_duration_since(start) < SLICE
            && let Some((lane, command)) = self.commands.pop(now)
        {
            let cost = self.cost_of(lane, now, |worker| worker.obey(command));
            now += cost.time;
            self.commands.charge(lane, cost.time, cost.tokens, now);
        }
    }

    /// Runs a step of a lane and handles the events that it causes. The lane is also charged for reconciliations that the step
    /// leaves queued.
    fn cost_of(&mut self, lane: Lane, start: Instant, step: impl FnOnce(&mut Self)) -> Cost {
        let sent = signal_channel::sent_bytes();
        self.payer = lane;
        step(self);
        self.settle();
        self.payer = Lane::Api;
        let time = start.elapsed();
        let bytes = u32::try_from(signal_channel::sent_bytes() - sent).unwrap_or(u32::MAX);
        let tokens = time * TIME_SHARE + Duration::from_secs(1) * bytes / FAN_OUT_BYTES_PER_SEC;
        Cost { time, tokens: if lane == Lane::Api { Duration::ZERO } else { tokens.min(MAX_DEBT) } }
    }

    /// Does something for a participant in its room. If that panics, only the participant is lost.
    fn with<T>(&mut self, id: PeerId, work: impl FnOnce(&mut Room, &mut Context<'_>) -> T) -> Option<T> {
        let room = self.rooms.get_mut(&self.homes.get(&id)?.room)?;
        let mut context = context!(self);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        if outcome.is_err() {
            self.purge(id);
        }
        outcome.ok()
    }

    /// Removes a participant whose step has panicked, whatever that has left of it.
    fn purge(&mut self, id: PeerId) {
        let Some(home) = self.homes.get(&id) else { return };
        if let Some(room) = self.rooms.get_mut(&home.room) {
            let mut context = context!(self);
            let farewell = Farewell::to_rejoin(DisconnectReason::StateMismatch);
            // A second panic must not stop what follows.
            let _ = catch_unwind(AssertUnwindSafe(|| room.remove(&mut context, id, farewell)));
            let left = room.peers.remove(&id);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
        }
        // Had it not been in the room yet, that would not have let it go.
        leave(&self.shared, &home.name, &home.identity, &home.sid);
        self.gone.push(id);
    }

    /// Does something for a participant, if it is there.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`], or what `work` refuses.
    pub(crate) fn among<T>(
        &mut self,
        room: &str,
        identity: &str,
        work: impl FnOnce(&mut Room, &mut Context<'_>, PeerId) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let id = self.room(room).and_then(|room| room.by_identity(identity)).ok_or(Refusal::NoParticipant)?;
        let outcome = self.with(id, |room, context| work(room, context, id)).ok_or(Refusal::NoParticipant)?;
        self.settle();
        outcome
    }

    /// Does something in a room, if anybody is in it. If that panics, nobody is lost, because it is nobody's fault.
    pub(crate) fn within(&mut self, room: &str, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let Some(sid) = self.room(room).map(|room| room.sid.clone()) else { return };
        let Some(room) = self.rooms.get_mut(&sid) else { return };
        let mut context = context!(self);
        let _ = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        self.settle();
    }

    /// Whether nothing is left of any participant.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.homes.is_empty() && self.links.is_empty() && self.rooms.is_empty()
    }

    /// The live room of that name, if anybody is in it.
    fn room(&mut self, name: &str) -> Option<&mut Room> {
        let sid = self.shared.rooms(|rooms, now| rooms.get(name, now).map(|room| room.info().sid.clone()))?;
        self.rooms.get_mut(&sid)
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Its client has gone while it waited.
            Command::Join(..) if is_abandoned(&command) => (),
            // Whoever asked may have gone; the participant is then as good as lost, and treated so.
            Command::Join(joining, reply, _memory) => drop(reply.send(self.join(*joining))),
            Command::Signal(link, request, handled, _memory) => {
                if let Some((id, _)) = self.links.get(&link).copied() {
                    self.with(id, |room, context| room.asked(context, id, request.message));
                    self.register(id);
                }
                // The connection may have ended meanwhile.
                let _ = handled.send(());
            }
            Command::Lost(link) => self.lose(link),
            // It must not take the others with it.
            Command::Run(work) => drop(catch_unwind(AssertUnwindSafe(|| work(self)))),
        }
    }

    fn join(&mut self, joining: Joining) -> Result<LinkId, Refusal> {
        let link = self.shared.media.next_id();
        if joining.request.reconnect {
            joining.check(&self.shared)?;
            self.resume(link, joining);
            return Ok(link);
        }
        if self.homes.len() >= self.shared.limits.participants && !self.replaces(&joining) {
            return Err(Refusal::Overloaded);
        }
        self.read_interfaces(MIN_INTERFACE_INTERVAL);
        let joined = joining.admit(&self.shared)?;
        let (name, sid) = (joining.grants.room.clone(), joined.room.sid().to_owned());
        let id = self.shared.media.next_id();
        let home = Home {
            room: sid.clone(),
            name: name.clone(),
            identity: joined.participant.identity.clone(),
            sid: joined.participant.sid.clone(),
        };
        self.links.insert(link, (id, self.lane(&home.name, &home.identity)));
        self.homes.insert(id, home);
        self.rooms.entry(sid.clone()).or_insert_with(|| Room::new(name, sid));
        self.with(id, |room, context| room.join(context, (id, link), joining, joined));
        self.register(id);
        Ok(link)
    }

    /// Whether a join takes the place of a participant of the same identity, so that there are no more than before.
    fn replaces(&mut self, joining: &Joining) -> bool {
        self.room(&joining.grants.room).is_some_and(|room| room.by_identity(joining.claims.identity()).is_some())
    }

    fn resume(&mut self, link: LinkId, joining: Joining) {
        let identity = joining.claims.identity();
        let known = self.room(&joining.grants.room).and_then(|room| {
            let peer = room.peers.values().find(|peer| peer.info.identity == identity)?;
            (peer.info.sid == joining.request.participant_sid).then_some(peer.id)
        });
        match known {
            Some(id) => {
                self.read_interfaces(MIN_INTERFACE_INTERVAL);
                self.links.retain(|_, (known, _)| *known != id);
                self.links.insert(link, (id, self.lane(&joining.grants.room, identity)));
                self.with(id, |room, context| room.resume(context, (id, link), joining));
            }
            None => refuse_resume(&joining.outbox),
        }
    }

    fn lose(&mut self, link: LinkId) {
        let Some((id, _)) = self.links.remove(&link) else { return };
        let now = Instant::now();
        self.with(id, |room, context| {
            let Some(peer) = room.peers.get_mut(&id) else { return };
            peer.link = None;
            peer.silent_since = Some(now);
            if !peer.is_active() {
                room.remove(context, id, Farewell::silent(DisconnectReason::SignalClose));
            }
        });
    }

    /// Lets those go whom the rooms have let go.
    fn evict(&mut self) {
        self.evicted.extend(self.shared.rooms(|rooms, _| rooms.take_evicted()));
    }

    /// Removes them, for a slice of time at once: a room of a thousand may be deleted.
    fn remove_evicted(&mut self) {
        let start = Instant::now();
        while start.elapsed() < SLICE
            && let Some(evicted) = self.evicted.pop_front()
        {
            let of = |room: &Room| {
                let peer = room.peers.values().find(|peer| peer.info.sid == evicted.sid)?;
                Some(peer.id)
            };
            if let Some(id) = self.rooms.values().find_map(of) {
                let room = self.homes.get(&id).map(|home| home.room.clone());
                self.reduced.extend(room);
                self.with(id, |room, context| room.detach(context, id, Farewell::for_good(evicted.reason)));
            }
        }
        if self.evicted.is_empty() {
            for sid in std::mem::take(&mut self.reduced) {
                let Some(room) = self.rooms.get_mut(&sid) else { continue };
                let mut context = context!(self);
                // Whoever panics in it is lost alone.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    room.reconcile_all(&mut context);
                    room.announce_room(context.shared);
                }));
            }
        }
        self.settle();
    }

    /// Continues the queued reconciliations of one room for a [`SLICE`].
    fn reconcile_rest(&mut self) {
        let Some((sid, lane)) = self.unreconciled.pop_front() else { return };
        let now = Instant::now();
        let cost = self.cost_of(lane, now, |worker| {
            let Some(room) = worker.rooms.get_mut(&sid) else { return };
            let mut context = context!(worker);
            // A panic must not keep the rest of the room from being reconciled.
            let _ = catch_unwind(AssertUnwindSafe(|| room.reconcile_some(&mut context)));
            if !room.unreconciled.is_empty() {
                worker.left.push(sid);
            }
        });
        if lane != Lane::Api {
            self.commands.debit(lane, cost.time, cost.tokens, MAX_DEBT, now);
        }
    }

    pub(crate) fn hand_over(&mut self, received: &Received) {
        let now = Instant::now();
        let source = (received.protocol, received.source);
        let Some(connection) = self.demux.route(source, &received.bytes, now) else { return };
        let is_verified = |transport: &mut Transport| !is_stun(&received.bytes) || transport.is_named_by(received, now);
        if !self.transport(connection).is_some_and(is_verified) {
            return;
        }
        self.demux.accept(source, connection, now);
        let (id, side) = connection;
        if is_stun(&received.bytes) {
            self.network.authenticate(received, id);
        }
        self.with(id, |room, context| {
            if let Some(transport) = room.peers.get_mut(&id).and_then(|peer| peer.transport(side)) {
                transport.input(&mut context.io, received);
            }
        });
    }

    fn transport(&mut self, (id, side): ConnectionId) -> Option<&mut Transport> {
        let room = self.homes.get(&id).and_then(|home| self.rooms.get_mut(&home.room));
        room.and_then(|room| room.peers.get_mut(&id)).and_then(|peer| peer.transport(side))
    }

    /// Registers the ICE credentials of a participant's connections, after whatever may have changed them.
    fn register(&mut self, id: PeerId) {
        let room = self.homes.get(&id).and_then(|home| self.rooms.get_mut(&home.room));
        let Some(peer) = room.and_then(|room| room.peers.get_mut(&id)) else { return };
        let now = Instant::now();
        for (side, transport) in peer.transports() {
            self.demux.register((id, side), transport.ufrag(), now);
        }
    }

    /// Lets time pass for the connections that wait for that.
    fn pass_time(&mut self) {
        let now = Instant::now();
        while let Some((deadline, connection)) = self.timers.pop(now) {
            let (id, side) = connection;
            let room = self.homes.get(&id).and_then(|home| self.rooms.get_mut(&home.room));
            let peer = room.and_then(|room| room.peers.get_mut(&id));
            if let Some(transport) = peer.and_then(|peer| peer.transport(side)) {
                let (network, happenings, timers) = (&mut self.network, &mut self.happenings, &mut self.timers);
                transport.pass_time(&mut Io { network, happenings, timers, now }, deadline);
            }
        }
        self.settle();
    }

    /// Looks after everybody now and then, for a slice of time at once.
    fn tick(&mut self) {
        let start = Instant::now();
        let stall = start.saturating_duration_since(self.turned + TICK);
        self.turned = start;
        if stall >= MIN_STALL {
            self.discount_stall(stall, start);
        }
        if self.due.is_empty() {
            if self.homes.is_empty() || start < self.ticked + TICK {
                return;
            }
            self.ticked = start;
            self.due.extend(self.homes.keys().copied().map(Due::Participant));
            self.due.extend(self.rooms.keys().cloned().map(Due::Room));
            self.shed_data(data::MAX_BYTES_IN_ALL);
            self.packets.sweep(start);
            self.commands.sweep(start);
            self.read_interfaces(INTERFACE_INTERVAL);
        }
        while start.elapsed() < SLICE
            && let Some(due) = self.due.pop_front()
        {
            match due {
                Due::Participant(id) => {
                    self.with(id, |room, context| room.look_after(context, id));
                    // An offer that had to wait may have restarted ICE.
                    self.register(id);
                }
                Due::Room(sid) => {
                    let Some(room) = self.rooms.get_mut(&sid) else { continue };
                    let mut context = context!(self);
                    // A fault in what is said of speakers costs nothing but that.
                    let _ = catch_unwind(AssertUnwindSafe(|| room.look_around(&mut context)));
                }
            }
            self.settle();
        }
    }

    /// Excludes the time in which this thread did not run from the silence of participants. Nothing that they sent could be read
    /// meanwhile.
    fn discount_stall(&mut self, stall: Duration, now: Instant) {
        let later = |then: Instant| (then + stall).min(now);
        for peer in self.rooms.values_mut().flat_map(|room| room.peers.values_mut()) {
            peer.silent_since = peer.silent_since.map(later);
            peer.negotiation.discount_stall(later);
            peer.transports().for_each(|(_, transport)| transport.discount_stall(later));
        }
    }

    /// While more bytes of data messages are held than that, lets those participants go that hold most: they take less than
    /// they are sent.
    fn shed_data(&mut self, max_bytes: usize) {
        let peers = || self.rooms.values().flat_map(|room| room.peers.values());
        let mut held: Vec<_> = peers().map(|peer| (peer.mail.held_bytes(), peer.id)).collect();
        let mut sum: usize = held.iter().map(|(bytes, _)| bytes).sum();
        // A message that waits for many participants is there once.
        if sum <= max_bytes || data::distinct_bytes(peers().map(|peer| &peer.mail)) <= max_bytes {
            return;
        }
        held.sort_unstable();
        while sum > max_bytes
            && let Some((bytes, id)) = held.pop()
        {
            sum -= bytes;
            let farewell = Farewell::to_rejoin(DisconnectReason::StateMismatch);
            self.with(id, |room, context| room.remove(context, id, farewell));
        }
        self.settle();
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
            let (network, happenings, timers) = (&mut self.network, &mut self.happenings, &mut self.timers);
            let mut io = Io { network, happenings, timers, now };
            for (_, transport) in room.peers.values_mut().flat_map(crate::session::participant::Peer::transports) {
                transport.change_candidates(&mut io, &changes);
            }
        }
    }

    /// Deals with all that has happened, and with what comes of that.
    fn settle(&mut self) {
        while let Some((id, side, happening)) = self.happenings.pop_front() {
            self.with(id, |room, context| room.happened(context, id, side, happening));
        }
        for sid in std::mem::take(&mut self.left) {
            match self.unreconciled.iter_mut().find(|(known, _)| *known == sid) {
                Some(_) if self.payer == Lane::Api => (),
                // If several lanes caused reconciliations, the latest one is charged.
                Some((_, payer)) => *payer = self.payer,
                None => self.unreconciled.push_back((sid, self.payer)),
            }
        }
        for id in std::mem::take(&mut self.gone) {
            let Some(home) = self.homes.remove(&id) else { continue };
            if self.rooms.get(&home.room).is_some_and(|room| room.peers.is_empty()) {
                self.rooms.remove(&home.room);
            }
            self.links.retain(|_, (known, _)| *known != id);
            self.demux.remove(id);
            self.network.remove(id);
        }
    }

    /// Says good-bye to all.
    fn end(mut self) {
        for peer in self.rooms.values_mut().flat_map(|room| room.peers.values_mut()) {
            peer.leave(DisconnectReason::ServerShutdown, Action::Disconnect);
        }
    }
}

impl Room {
    fn happened(&mut self, context: &mut Context<'_>, id: PeerId, side: Side, happening: Happening) {
        match happening {
            Happening::Packet { mid, rid, packet } => self.forward(context, id, (mid, rid), &packet),
            Happening::KeyframeWanted(mid) => self.on_picture_loss(context, id, mid),
            Happening::Nack { mid, entries } => self.retransmit(context, id, mid, &entries),
            Happening::Data { reliable, bytes } => self.take_data(context, id, reliable, &bytes),
            Happening::RawData(bytes) => self.on_raw_data(context, id, bytes),
            Happening::Connected => self.connected(context, id),
            Happening::ChannelOpen | Happening::ChannelLow => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.flush(&mut context.io);
                }
            }
            Happening::Stats(stats) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.quality.note(side, &stats);
                }
            }
            Happening::Closed => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.closed.get_or_insert(context.io.now);
                }
            }
            Happening::Failed => self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch)),
        }
    }

    /// What has to be done for a participant now and then.
    fn look_after(&mut self, context: &mut Context<'_>, id: PeerId) {
        let now = context.io.now;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        let unheard = since(peer.heard());
        let timeout = DisconnectReason::ConnectionTimeout;
        if peer.closed.is_some_and(|closed| since(closed) >= LAST_WORDS) {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        }
        if !peer.is_active() {
            if since(peer.joined) >= JOIN_TIMEOUT {
                self.remove(context, id, Farewell::for_good(DisconnectReason::JoinFailure));
                return;
            }
        } else if unheard >= SILENCE {
            self.remove(context, id, Farewell::to_rejoin(timeout));
            return;
        } else if let Some(silent) = peer.silent_since.filter(|_| peer.link.is_none()).map(since)
            && (silent >= LONGEST_RESUME_TIMEOUT || (silent >= RESUME_TIMEOUT && unheard >= LATELY))
        {
            self.remove(context, id, Farewell::silent(timeout));
            return;
        }
        peer.give_up_calls(now);
        if peer.link.is_some() && peer.negotiation.is_unanswered(now) {
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        }
        self.tick_announcement(context, id);
        self.catch_up(id);
        self.tick_token(context, id);
        self.request_keyframes(context, id);
        self.fill_silent_tracks(context, id);
        self.take_waiting_offer(context, id);
        self.negotiate(context, id);
    }
}

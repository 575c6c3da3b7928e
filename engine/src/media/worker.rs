//! The thread that carries all participants of an engine.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::demux::{ConnectionId, Demux};
use super::joining::{Joining, refuse_resume};
use super::network::{Network, Received};
use super::room::{Context, Farewell, Room};
use super::stun::is_stun;
use super::transport::{Happening, Happenings, Io, Transport};
use super::{Command, LinkId, PeerId, Side};
use crate::clock::Now;
use crate::engine::Shared;
use crate::refusal::Refusal;

/// How often rooms are looked after while somebody is in one.
const TICK: Duration = Duration::from_millis(200);
/// How many datagrams are taken in before anything else is looked at.
const MOST_AT_ONCE: usize = 64;
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
/// What counts as still heard.
const LATELY: Duration = Duration::from_secs(5);

pub(crate) struct Worker {
    shared: Arc<Shared>,
    network: Network,
    happenings: Happenings,
    /// By `sid`.
    rooms: HashMap<String, Room>,
    /// The room of each participant.
    homes: HashMap<PeerId, String>,
    links: HashMap<LinkId, PeerId>,
    demux: Demux,
    gone: Vec<PeerId>,
    ticked: Instant,
}

/// Carries participants until `stop`. Says so once it can; without sockets it ends at once.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut commands: mpsc::Receiver<Command>,
    wake: &Notify,
    stop: &CancellationToken,
    opened: oneshot::Sender<()>,
) {
    let Ok(network) = Network::open().await else { return };
    // Whoever waits for it may have gone.
    let _ = opened.send(());
    let mut worker = Worker {
        shared,
        network,
        happenings: Happenings::new(),
        rooms: HashMap::new(),
        homes: HashMap::new(),
        links: HashMap::new(),
        demux: Demux::default(),
        gone: Vec::new(),
        ticked: Instant::now(),
    };
    loop {
        let deadline = worker.deadline();
        tokio::select! {
            () = stop.cancelled() => break,
            () = wake.notified() => worker.evict(),
            received = worker.network.receive() => worker.receive(received),
            command = commands.recv() => match command {
                Some(command) => worker.obey(command),
                None => break,
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => (),
        }
        worker.pass_time();
        worker.settle();
    }
    worker.end();
}

/// What a step in a room needs, of a worker's parts that are not the rooms.
macro_rules! context {
    ($worker:ident) => {
        Context {
            io: Io { network: &mut $worker.network, happenings: &mut $worker.happenings, now: Instant::now() },
            shared: &$worker.shared,
            now: Now::read(),
            gone: &mut $worker.gone,
        }
    };
}

impl Worker {
    /// Does something for a participant in its room. If that panics, only the participant is lost.
    fn with<T>(&mut self, id: PeerId, work: impl FnOnce(&mut Room, &mut Context<'_>) -> T) -> Option<T> {
        let room = self.rooms.get_mut(self.homes.get(&id)?)?;
        let mut context = context!(self);
        let outcome = catch_unwind(AssertUnwindSafe(|| work(room, &mut context)));
        if outcome.is_err() {
            let farewell = Farewell::to_rejoin(DisconnectReason::StateMismatch);
            // What panics twice is left where it is; time will clear it away.
            let _ = catch_unwind(AssertUnwindSafe(|| room.remove(&mut context, id, farewell)));
        }
        outcome.ok()
    }

    /// Does something for a participant, if it is there.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`], or what `work` refuses.
    pub(super) fn among<T>(
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

    /// Does something in a room, if anybody is in it.
    pub(super) fn within(&mut self, room: &str, work: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let somebody = self.room(room).and_then(|room| room.peers.keys().next().copied());
        if let Some(somebody) = somebody {
            self.with(somebody, work);
            self.settle();
        }
    }

    /// The live room of that name, if anybody is in it.
    fn room(&mut self, name: &str) -> Option<&mut Room> {
        let sid = self.shared.rooms(|rooms, now| rooms.get(name, now).map(|room| room.info().sid.clone()))?;
        self.rooms.get_mut(&sid)
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Whoever asked may have gone; the participant is then as good as lost, and treated so.
            Command::Join(joining, reply) => drop(reply.send(self.join(*joining))),
            Command::Signal(link, request) => {
                if let Some(id) = self.links.get(&link).copied() {
                    self.with(id, |room, context| room.asked(context, id, request.message));
                    self.register(id);
                }
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
        let joined = joining.admit(&self.shared)?;
        let (name, sid) = (joining.grants.room.clone(), joined.room.sid().to_owned());
        let id = self.shared.media.next_id();
        self.homes.insert(id, sid.clone());
        self.links.insert(link, id);
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
                self.links.retain(|_, known| *known != id);
                self.links.insert(link, id);
                self.with(id, |room, context| room.resume(context, (id, link), joining));
            }
            None => refuse_resume(&joining.outbox),
        }
    }

    fn lose(&mut self, link: LinkId) {
        let Some(id) = self.links.remove(&link) else { return };
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
        for evicted in self.shared.rooms(|rooms, _| rooms.take_evicted()) {
            let of = |room: &Room| {
                let peer = room.peers.values().find(|peer| peer.info.sid == evicted.sid)?;
                Some(peer.id)
            };
            if let Some(id) = self.rooms.values().find_map(of) {
                self.with(id, |room, context| room.remove(context, id, Farewell::for_good(evicted.reason)));
            }
        }
    }

    fn receive(&mut self, first: Received) {
        let mut next = Some(first);
        for _ in 0..MOST_AT_ONCE {
            let Some(received) = next else { return };
            self.hand_over(&received);
            self.settle();
            next = self.network.received();
        }
        if let Some(received) = next {
            self.hand_over(&received);
        }
    }

    pub(super) fn hand_over(&mut self, received: &Received) {
        let now = Instant::now();
        let source = (received.protocol, received.source);
        let Some(connection) = self.demux.route(source, &received.bytes, now) else { return };
        let is_verified = |transport: &mut Transport| !is_stun(&received.bytes) || transport.is_named_by(received, now);
        if !self.transport(connection).is_some_and(is_verified) {
            return;
        }
        self.demux.accept(source, connection, now);
        let (id, side) = connection;
        self.with(id, |room, context| {
            if let Some(transport) = room.peers.get_mut(&id).and_then(|peer| peer.transport(side)) {
                transport.input(&mut context.io, received);
            }
        });
    }

    fn transport(&mut self, (id, side): ConnectionId) -> Option<&mut Transport> {
        let room = self.homes.get(&id).and_then(|sid| self.rooms.get_mut(sid));
        room.and_then(|room| room.peers.get_mut(&id)).and_then(|peer| peer.transport(side))
    }

    /// Registers the ICE credentials of a participant's connections. Only what a client signals can have changed them.
    fn register(&mut self, id: PeerId) {
        let room = self.homes.get(&id).and_then(|sid| self.rooms.get_mut(sid));
        let Some(peer) = room.and_then(|room| room.peers.get_mut(&id)) else { return };
        let now = Instant::now();
        for (side, transport) in peer.transports() {
            self.demux.register((id, side), transport.ufrag(), now);
        }
    }

    /// When there is something to do though nothing comes in; never while nobody is there.
    fn deadline(&mut self) -> Option<Instant> {
        let transports =
            self.rooms.values_mut().flat_map(|room| room.peers.values_mut()).flat_map(super::peer::Peer::transports);
        let first = transports.filter_map(|(_, transport)| transport.deadline()).min();
        let tick = self.ticked + TICK;
        (!self.homes.is_empty()).then(|| first.map_or(tick, |first| first.min(tick)))
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        for room in self.rooms.values_mut() {
            let mut io = Io { network: &mut self.network, happenings: &mut self.happenings, now };
            for peer in room.peers.values_mut() {
                peer.transports().for_each(|(_, transport)| transport.pass_time(&mut io));
            }
        }
        if now.saturating_duration_since(self.ticked) >= TICK {
            self.ticked = now;
            let ids: Vec<PeerId> = self.homes.keys().copied().collect();
            for id in ids {
                self.with(id, |room, context| room.look_after(context, id));
            }
            for room in self.rooms.values_mut() {
                let mut context = context!(self);
                // A fault in what is said of speakers costs nothing but that.
                let _ = catch_unwind(AssertUnwindSafe(|| room.look_around(&mut context)));
            }
        }
    }

    /// Deals with all that has happened, and with what comes of that.
    fn settle(&mut self) {
        while let Some((id, side, happening)) = self.happenings.pop_front() {
            self.with(id, |room, context| room.happened(context, id, side, happening));
        }
        for id in std::mem::take(&mut self.gone) {
            if let Some(sid) = self.homes.remove(&id)
                && self.rooms.get(&sid).is_some_and(|room| room.peers.is_empty())
            {
                self.rooms.remove(&sid);
            }
            self.links.retain(|_, known| *known != id);
            self.demux.remove(id);
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
            Happening::Data { reliable, bytes } => self.take_data(context, id, reliable, &bytes),
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
        self.catch_up(id);
        self.tick_token(context, id);
        self.request_keyframes(context, id);
        self.take_waiting_offer(context, id);
        self.negotiate(context, id);
    }
}

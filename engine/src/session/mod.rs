//! Participants and what they send each other. All of it happens on one thread of its own, which starts with the first
//! participant: signalling is read and written elsewhere, and server calls hand their work over.

mod api;
#[cfg(test)]
#[path = "../../tests/support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
mod client_configuration;
mod data;
mod demux;
mod fair_queue;
mod forwarding;
mod join;
mod negotiation;
#[cfg(test)]
mod panics;
mod participant;
mod permissions;
mod publications;
mod quality;
mod requests;
mod room;
mod signal_channel;
#[cfg(test)]
mod stray_stun;
mod subscriptions;
mod worker;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use livekit_protocol as proto;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::RtcConfig;
use crate::engine::Shared;
use crate::error::ApiError;
use crate::ids::SignalConnectionId;
use crate::net::sockets::{self, Network, Socket};
use crate::work::Memory;
use worker::{Receivers, Worker};

pub(crate) use crate::net::sdp::shorten;
pub(crate) use client_configuration::augment;
pub(crate) use join::{JoinParams, participant};
pub(crate) use signal_channel::{OutgoingBudget, QueuedMessage, SignalStream, signal_channel};

/// Commands of participants, and calls of the server API, on their way to the thread. Past it, senders wait.
const MAX_COMMANDS: usize = 1024;

/// Work of the server API.
type ApiCall = Box<dyn FnOnce(&mut Worker) + Send>;

enum Command {
    Join(Box<JoinParams>, oneshot::Sender<Result<SignalConnectionId, ApiError>>, Memory),
    /// What a client says, and who waits until it is handled.
    Signal(SignalConnectionId, Box<proto::SignalRequest>, oneshot::Sender<()>, Memory),
    /// The signalling connection has ended. All that it has said is handled.
    SignalClosed(SignalConnectionId),
    Run(ApiCall),
}

/// What carries the participants of an engine.
pub(crate) struct MediaEngine {
    running: Mutex<Option<Running>>,
    /// Told when [`crate::registry::rooms::Rooms`] has evicted somebody.
    wake: Arc<Notify>,
    stop: CancellationToken,
    ids: AtomicU64,
    rtc: RtcConfig,
    /// The sockets of a configured port, until the thread serves them.
    bound: Mutex<Option<Vec<Socket>>>,
}

struct Running {
    commands: mpsc::Sender<Command>,
    calls: mpsc::Sender<ApiCall>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for MediaEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MediaEngine").finish_non_exhaustive()
    }
}

impl MediaEngine {
    /// Starts nothing yet. Ends with `stop`.
    ///
    /// # Errors
    /// If the configured port cannot be bound.
    pub(crate) fn new(rtc: RtcConfig, stop: CancellationToken) -> io::Result<Self> {
        let bound = rtc.port.map(|_| sockets::bind_configured(&rtc)).transpose()?;
        let (running, wake, ids) = (Mutex::default(), Arc::default(), AtomicU64::new(1));
        Ok(Self { running, wake, stop, ids, rtc, bound: Mutex::new(bound) })
    }

    fn open_network(&self) -> io::Result<Network> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner).take();
        Network::open(self.rtc.clone(), bound)
    }

    /// Makes those go who were evicted.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Lets a participant in, or takes a resumed one's new connection.
    ///
    /// # Errors
    /// What the rooms refuse; [`ApiError::NoNetwork`]; [`ApiError::Overloaded`], also when the engine ends.
    pub(crate) async fn join(
        &self,
        shared: &Arc<Shared>,
        params: JoinParams,
        memory: Memory,
    ) -> Result<SignalConnectionId, ApiError> {
        let commands = self.start(shared).await?;
        let (reply, outcome) = oneshot::channel();
        commands.send(Command::Join(Box::new(params), reply, memory)).await.map_err(|_| ApiError::Overloaded)?;
        outcome.await.map_err(|_| ApiError::Overloaded)?
    }

    /// Hands over what a client says, and waits until it is handled, so that the client has to wait, too.
    pub(crate) async fn signal(&self, signal_id: SignalConnectionId, request: proto::SignalRequest, memory: Memory) {
        let (reply, handled) = oneshot::channel();
        self.send_command(Command::Signal(signal_id, Box::new(request), reply, memory)).await;
        // It is not handled if the participant is gone, or the engine ends.
        let _ = handled.await;
    }

    /// Tells that a client's signalling connection has ended.
    pub(crate) async fn signal_closed(&self, signal_id: SignalConnectionId) {
        self.send_command(Command::SignalClosed(signal_id)).await;
    }

    /// Does something among the participants and waits for the outcome; `None` if there have never been any, or the engine ends.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker, oneshot::Sender<T>) + Send + 'static,
    ) -> Option<T> {
        let (reply, outcome) = oneshot::channel();
        let calls = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().map(|running| running.calls.clone())
        };
        calls?.send(Box::new(move |worker| work(worker, reply))).await.ok()?;
        outcome.await.ok()
    }

    /// A number that nothing else of the engine has had.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until the thread has ended, once it is told to stop.
    pub(crate) fn join_thread(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Had it panicked, it would be gone just the same.
        let _ = running.map(|running| running.thread.join());
    }

    async fn send_command(&self, command: Command) {
        let commands = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().map(|running| running.commands.clone())
        };
        if let Some(commands) = commands {
            // Once the engine ends there is nobody to be told.
            let _ = commands.send(command).await;
        }
    }

    async fn start(&self, shared: &Arc<Shared>) -> Result<mpsc::Sender<Command>, ApiError> {
        let (opened, is_open) = oneshot::channel();
        let commands = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = &*running
                && !running.commands.is_closed()
            {
                return Ok(running.commands.clone());
            }
            if self.stop.is_cancelled() {
                return Err(ApiError::Overloaded);
            }
            let (commands, received) = mpsc::channel(MAX_COMMANDS);
            let (calls, called) = mpsc::channel(MAX_COMMANDS);
            let receivers = Receivers { commands: received, calls: called };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|_| ApiError::NoNetwork)?;
            let (shared, wake, stop) = (shared.clone(), self.wake.clone(), self.stop.clone());
            let work = move || runtime.block_on(worker::run(shared, receivers, &wake, &stop, opened));
            let thread = Builder::new().name("maravilla-media".into()).spawn(work).map_err(|_| ApiError::NoNetwork)?;
            *running = Some(Running { commands: commands.clone(), calls, thread });
            commands
        };
        // Without sockets the thread has ended, and the next join tries again.
        is_open.await.map_err(|_| ApiError::NoNetwork)?;
        Ok(commands)
    }
}

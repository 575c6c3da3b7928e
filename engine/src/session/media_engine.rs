//! Handle of the media thread, which serves all participants of an engine.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use livekit_protocol as proto;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::RtcConfig;
use crate::decoded_memory::Memory;
use crate::error::ApiError;
use crate::ids::SignalConnectionId;
use crate::net::sockets::{self, Network, Socket};
use crate::services::Services;
use crate::session::join::JoinParams;
use crate::session::worker::{self, ApiCall, Command, Receivers, Worker};

/// Maximum number of commands, and of calls of the server API, queued for the media thread; past it, senders wait.
const MAX_COMMANDS: usize = 1024;

/// Handle of the media thread. The thread starts with the first join.
pub(crate) struct MediaEngine {
    running: Mutex<Option<Running>>,
    services: Arc<Services>,
    stop: CancellationToken,
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
    /// Starts no thread yet. A running thread ends when `stop` is cancelled.
    ///
    /// # Errors
    /// If the configured port cannot be bound.
    pub(crate) fn new(services: Arc<Services>, rtc: RtcConfig, stop: CancellationToken) -> io::Result<Self> {
        let bound = rtc.port.map(|_| sockets::bind_configured(&rtc)).transpose()?;
        Ok(Self { running: Mutex::default(), services, stop, rtc, bound: Mutex::new(bound) })
    }

    fn open_network(&self) -> io::Result<Network> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner).take();
        Network::open(self.rtc.clone(), bound)
    }

    /// Joins a participant, or resumes it on a new signalling connection.
    ///
    /// # Errors
    /// Errors of [`crate::registry::rooms::Rooms::join`]; [`ApiError::NoNetwork`]; [`ApiError::Overloaded`], also when the engine ends.
    pub(crate) async fn join(&self, params: JoinParams, memory: Memory) -> Result<SignalConnectionId, ApiError> {
        let commands = self.start().await?;
        let (reply, outcome) = oneshot::channel();
        commands.send(Command::Join(Box::new(params), reply, memory)).await.map_err(|_| ApiError::Overloaded)?;
        outcome.await.map_err(|_| ApiError::Overloaded)?
    }

    /// Sends a client's request to the media thread and waits until it is handled: the backpressure on that client.
    pub(crate) async fn signal(&self, signal_id: SignalConnectionId, request: proto::SignalRequest, memory: Memory) {
        let (reply, handled) = oneshot::channel();
        self.send_command(Command::Signal(signal_id, Box::new(request), reply, memory)).await;
        // Dropped unhandled if the participant has left or the engine ends.
        let _ = handled.await;
    }

    /// Reports that a signalling connection has ended.
    pub(crate) async fn signal_closed(&self, signal_id: SignalConnectionId) {
        self.send_command(Command::SignalClosed(signal_id)).await;
    }

    /// Runs `work` on the media thread and waits for its outcome; `None` if the thread has not started, or the engine ends.
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

    /// Waits for the end of the media thread. `stop` must be cancelled before.
    pub(crate) fn join_thread(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that has panicked has ended, too.
        let _ = running.map(|running| running.thread.join());
    }

    async fn send_command(&self, command: Command) {
        let commands = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().map(|running| running.commands.clone())
        };
        if let Some(commands) = commands {
            // Fails only once the thread has ended.
            let _ = commands.send(command).await;
        }
    }

    async fn start(&self) -> Result<mpsc::Sender<Command>, ApiError> {
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
            let network = {
                // The sockets register with the media thread's runtime.
                let _context = runtime.enter();
                self.open_network().map_err(|_| ApiError::NoNetwork)?
            };
            let (services, stop) = (self.services.clone(), self.stop.clone());
            let work = move || runtime.block_on(worker::run(services, network, receivers, &stop, opened));
            let thread = Builder::new().name("maravilla-media".into()).spawn(work).map_err(|_| ApiError::NoNetwork)?;
            *running = Some(Running { commands: commands.clone(), calls, thread });
            commands
        };
        // Fails if the thread has ended at once, because the engine is being closed.
        is_open.await.map_err(|_| ApiError::NoNetwork)?;
        Ok(commands)
    }
}

//! Delivery of events: one queue for each room and receiver, in order, with retries and bounds as in livekit-server.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::budget::{Budget, Reservation};
use super::message::{Signer, body};
use super::transport::{
    LossReason, LostWebhook, WebhookFailure, WebhookRequest, WebhookResponse, WebhookTransport, host,
};
use crate::registry::events::RoomEvent;

/// Maximum number of events of one room that wait for one receiver. Past it, new ones are dropped.
const MAX_WAITING: usize = 200;
/// Maximum memory of the events that wait for one receiver, in bytes. Past it, new ones are dropped.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of an event that waits, besides its body.
const EVENT_BYTES: usize = 256;
/// Minimum time between two searches of all queues for outdated events.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of attempts for one event. After the last one, the event is lost.
const MAX_ATTEMPTS: u32 = 5;
/// Maximum number of requests in flight to one receiver. Events of further rooms wait, so that a receiver that does not
/// respond takes few file descriptors.
const MAX_IN_FLIGHT: usize = 64;

const CONTENT_TYPE: &str = "application/webhook+json";
const USER_AGENT: &str = "LiveKit";

/// Times of the delivery. The default is livekit-server's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Maximum time for which an event waits. An older one is dropped.
    pub(super) max_age: Duration,
    /// Maximum time of one attempt.
    pub(super) attempt: Duration,
    /// Pause before the second attempt; doubled for each further one.
    pub(super) backoff: Duration,
    /// Maximum pause, also if the receiver's `Retry-After` is longer.
    pub(super) max_backoff: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
        }
    }
}

pub(super) struct Delivery {
    receivers: Vec<Arc<Receiver>>,
    transport: Arc<dyn WebhookTransport>,
    signer: Arc<Signer>,
}

struct Receiver {
    url: Arc<str>,
    transport: Arc<dyn WebhookTransport>,
    timing: Timing,
    in_flight: Semaphore,
    budget: Arc<Budget>,
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    /// The queues of rooms with events that wait or are being sent; a task sends the events of each.
    by_room: HashMap<Arc<str>, VecDeque<Waiting>>,
    /// When all queues were last searched for outdated events.
    purged_at: Option<Instant>,
}

/// An encoded event, shared by all receivers.
struct Event {
    name: &'static str,
    room: Arc<str>,
    body: Bytes,
    queued_at: Instant,
}

/// An event on its way to one receiver.
struct Waiting {
    event: Arc<Event>,
    /// Held until the event is sent or lost.
    _reservation: Reservation,
}

impl Delivery {
    pub(super) fn new(urls: &[String], transport: &Arc<dyn WebhookTransport>, signer: Signer, timing: Timing) -> Self {
        let receiver = |url: &String| {
            Arc::new(Receiver {
                url: url.as_str().into(),
                transport: transport.clone(),
                timing,
                in_flight: Semaphore::new(MAX_IN_FLIGHT),
                budget: Budget::new(MAX_WAITING_BYTES),
                queues: Mutex::default(),
            })
        };
        let receivers = urls.iter().map(receiver).collect();
        Self { receivers, transport: transport.clone(), signer: Arc::new(signer) }
    }

    /// Encodes an event and queues it for all receivers. Has to run on the runtime.
    pub(super) fn enqueue(&self, event: &RoomEvent) {
        let (name, room) = (event.name(), event.room.clone());
        let Some(body) = body(event) else {
            let reason = LossReason::Internal;
            self.transport.report(&LostWebhook { url: None, event: name, room: &room, reason });
            return;
        };
        let event = Arc::new(Event { name, room, body, queued_at: Instant::now() });
        for receiver in &self.receivers {
            receiver.enqueue(&event, &self.signer);
        }
    }
}

impl Receiver {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event, and starts the task that sends the events of its room unless it runs.
    fn enqueue(self: &Arc<Self>, event: &Arc<Event>, signer: &Arc<Signer>) {
        let mut outdated = Vec::new();
        let queued = self.try_enqueue(event, &mut outdated);
        self.report_outdated(&outdated);
        match queued {
            Ok(true) => {
                tokio::spawn(self.clone().send_all(event.room.clone(), signer.clone()));
            }
            Ok(false) => {}
            Err(reason) => self.report(event, reason),
        }
    }

    /// Queues an event, in place of outdated ones if there is no room for it. Returns whether the queue is new.
    fn try_enqueue(&self, event: &Arc<Event>, outdated: &mut Vec<Arc<Event>>) -> Result<bool, LossReason> {
        let mut queues = self.queues();
        if let Some(queue) = queues.by_room.get_mut(&event.room)
            && queue.len() >= MAX_WAITING
        {
            self.purge(queue, outdated);
            if queue.len() >= MAX_WAITING {
                return Err(LossReason::QueueFull);
            }
        }
        let bytes = EVENT_BYTES + event.body.len();
        let reservation = self.budget.reserve(&event.room, bytes).or_else(|| {
            self.purge_all(&mut queues, outdated);
            self.budget.reserve(&event.room, bytes)
        });
        let reservation = reservation.ok_or(LossReason::OutOfMemory)?;
        let waiting = Waiting { event: event.clone(), _reservation: reservation };
        let known = queues.by_room.get_mut(&event.room);
        let is_new = known.is_none();
        match known {
            Some(queue) => queue.push_back(waiting),
            None => {
                queues.by_room.insert(event.room.clone(), VecDeque::from([waiting]));
            }
        }
        Ok(is_new)
    }

    /// Removes the outdated events of all rooms.
    fn purge_all(&self, queues: &mut Queues, outdated: &mut Vec<Arc<Event>>) {
        if queues.purged_at.is_some_and(|purged_at| purged_at.elapsed() < PURGE_INTERVAL) {
            return;
        }
        queues.purged_at = Some(Instant::now());
        queues.by_room.values_mut().for_each(|queue| self.purge(queue, outdated));
    }

    /// Removes the outdated events of a room.
    fn purge(&self, queue: &mut VecDeque<Waiting>, outdated: &mut Vec<Arc<Event>>) {
        let is_outdated = |waiting: &Waiting| waiting.event.queued_at.elapsed() > self.timing.max_age;
        while queue.front().is_some_and(is_outdated) {
            outdated.extend(queue.pop_front().map(|waiting| waiting.event));
        }
    }

    /// Sends the events of a room in order, until none waits.
    async fn send_all(self: Arc<Self>, room: Arc<str>, signer: Arc<Signer>) {
        let _guard = QueueGuard { receiver: &self, room: &room };
        while !self.remove_if_empty(&room) {
            // Comes before the event, which can be purged as long as it waits for a permit.
            let Ok(permit) = self.permit().await else { return };
            let Some(waiting) = self.next(&room) else { continue };
            let sending = AssertUnwindSafe(self.send(&waiting.event, &signer, permit)).catch_unwind();
            if let Err(reason) = sending.await.unwrap_or(Err(LossReason::Internal)) {
                self.report(&waiting.event, reason);
            }
        }
    }

    /// Removes the queue of a room without events that wait. Returns whether it did.
    fn remove_if_empty(&self, room: &Arc<str>) -> bool {
        let mut queues = self.queues();
        let is_empty = queues.by_room.get(room).is_none_or(VecDeque::is_empty);
        if is_empty {
            queues.by_room.remove(room);
        }
        is_empty
    }

    /// The next event of a room that is not outdated.
    fn next(&self, room: &Arc<str>) -> Option<Waiting> {
        let mut outdated = Vec::new();
        let next = {
            let mut queues = self.queues();
            let queue = queues.by_room.get_mut(room)?;
            self.purge(queue, &mut outdated);
            queue.pop_front()
        };
        self.report_outdated(&outdated);
        next
    }

    /// Waits until fewer than the maximum number of requests are in flight.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, LossReason> {
        // The semaphore is never closed.
        self.in_flight.acquire().await.map_err(|_| LossReason::Internal)
    }

    /// Sends an event, in several attempts if need be. As in livekit-server, there is no further attempt after a status below
    /// 500, except for 429.
    async fn send<'a>(
        &'a self,
        event: &Event,
        signer: &Signer,
        mut permit: SemaphorePermit<'a>,
    ) -> Result<(), LossReason> {
        for attempt in 0..MAX_ATTEMPTS {
            let outcome = self.attempt(event, signer, permit).await?;
            let retry_after = match outcome {
                Ok(WebhookResponse { status: 200..=299, .. }) => return Ok(()),
                Ok(WebhookResponse { status: 429 | 503, retry_after }) => retry_after,
                Ok(WebhookResponse { status, .. }) if status < 500 || status == 501 => {
                    return Err(LossReason::Rejected(status));
                }
                Err(WebhookFailure::Permanent) => break,
                Ok(_) | Err(WebhookFailure::Temporary) => None,
            };
            let (room, receiver) = (&*event.room, host(&self.url));
            debug!(room, event = event.name, receiver, attempt, ?outcome, "webhook attempt failed");
            if attempt + 1 == MAX_ATTEMPTS {
                break;
            }
            let pause = retry_after.unwrap_or(self.timing.backoff * 2_u32.saturating_pow(attempt));
            sleep(pause.min(self.timing.max_backoff)).await;
            permit = self.permit().await?;
        }
        Err(LossReason::Failed)
    }

    /// One attempt. It is signed now, because an event can wait for longer than a signature is valid.
    async fn attempt(
        &self,
        event: &Event,
        signer: &Signer,
        _permit: SemaphorePermit<'_>,
    ) -> Result<Result<WebhookResponse, WebhookFailure>, LossReason> {
        let request = WebhookRequest {
            url: self.url.clone(),
            content_type: CONTENT_TYPE,
            user_agent: USER_AGENT,
            token: signer.sign(&event.body).ok_or(LossReason::Internal)?.into(),
            body: event.body.clone(),
        };
        let outcome = timeout(self.timing.attempt, self.transport.post(request)).await;
        Ok(outcome.unwrap_or(Err(WebhookFailure::Temporary)))
    }

    fn report_outdated(&self, outdated: &[Arc<Event>]) {
        for event in outdated {
            self.report(event, LossReason::TooOld);
        }
    }

    fn report(&self, event: &Event, reason: LossReason) {
        self.transport.report(&LostWebhook { url: Some(&self.url), event: event.name, room: &event.room, reason });
    }
}

/// Removes the queue of a room if the task that sends its events panics, so that later events start a new one.
struct QueueGuard<'a> {
    receiver: &'a Receiver,
    room: &'a Arc<str>,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lost = self.receiver.queues().by_room.remove(self.room).map_or(0, |queue| queue.len());
            warn!(room = &**self.room, receiver = host(&self.receiver.url), lost, "webhooks lost after a panic");
        }
    }
}

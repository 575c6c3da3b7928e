//! Delivery of events: one queue for each room and receiver, in order, with retries and bounds as in livekit-server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::message::{Signer, body};
use super::reservation::Reservation;
use super::transport::{LossReason, LostWebhook, WebhookFailure, WebhookRequest, WebhookResponse, WebhookTransport};
use crate::registry::events::RoomEvent;

/// Maximum number of events of one room that wait for one receiver. Past it, new ones are dropped.
const MAX_WAITING: usize = 200;
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
    signer: Arc<Signer>,
}

struct Receiver {
    url: Arc<str>,
    transport: Arc<dyn WebhookTransport>,
    timing: Timing,
    in_flight: Semaphore,
    /// The queues of rooms with events that wait or are being sent; a task sends the events of each.
    queues: Mutex<HashMap<Arc<str>, VecDeque<Arc<Event>>>>,
}

/// An encoded event, shared by all receivers.
struct Event {
    name: &'static str,
    room: Arc<str>,
    body: Bytes,
    queued_at: Instant,
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
                queues: Mutex::default(),
            })
        };
        Self { receivers: urls.iter().map(receiver).collect(), signer: Arc::new(signer) }
    }

    /// Queues an event for all receivers. Has to run on the runtime.
    pub(super) fn enqueue(&self, event: &RoomEvent, reservation: Reservation) {
        let Some(body) = body(event) else { return };
        let event = Arc::new(Event {
            name: event.name(),
            room: event.room.clone(),
            body,
            queued_at: Instant::now(),
            _reservation: reservation,
        });
        for receiver in &self.receivers {
            receiver.enqueue(event.clone(), &self.signer);
        }
    }
}

impl Receiver {
    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<str>, VecDeque<Arc<Event>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>, event: Arc<Event>, signer: &Arc<Signer>) {
        let mut queues = self.queues();
        if let Some(queue) = queues.get_mut(&event.room) {
            if queue.len() < MAX_WAITING {
                queue.push_back(event);
            } else {
                drop(queues);
                self.report(&event, LossReason::QueueFull);
            }
            return;
        }
        let room = event.room.clone();
        queues.insert(room.clone(), VecDeque::from([event]));
        tokio::spawn(self.clone().send_all(room, signer.clone()));
    }

    /// Sends the events of a room in order, until none waits.
    async fn send_all(self: Arc<Self>, room: Arc<str>, signer: Arc<Signer>) {
        loop {
            let event = {
                let mut queues = self.queues();
                let Some(event) = queues.get_mut(&room).and_then(VecDeque::pop_front) else {
                    queues.remove(&room);
                    return;
                };
                event
            };
            if let Err(reason) = self.send(&event, &signer).await {
                self.report(&event, reason);
            }
        }
    }

    /// Sends an event, in several attempts if need be. As in livekit-server, a status below 500, but for 429, counts as received.
    async fn send(&self, event: &Event, signer: &Signer) -> Result<(), LossReason> {
        let token = signer.sign(&event.body).ok_or(LossReason::Failed)?;
        let request = WebhookRequest {
            url: self.url.clone(),
            content_type: CONTENT_TYPE,
            user_agent: USER_AGENT,
            token: token.into(),
            body: event.body.clone(),
        };
        for attempt in 0..MAX_ATTEMPTS {
            let retry_after = match self.attempt(event, request.clone(), attempt == 0).await? {
                Ok(WebhookResponse { status: 429 | 503, retry_after }) => retry_after,
                Ok(WebhookResponse { status, .. }) if status < 500 || status == 501 => return Ok(()),
                Err(WebhookFailure::Permanent) => break,
                Ok(_) | Err(WebhookFailure::Temporary) => None,
            };
            if attempt + 1 < MAX_ATTEMPTS {
                let pause = retry_after.unwrap_or(self.timing.backoff * 2_u32.saturating_pow(attempt));
                sleep(pause.min(self.timing.max_backoff)).await;
            }
        }
        Err(LossReason::Failed)
    }

    /// One attempt, once fewer than the maximum number of requests are in flight.
    async fn attempt(
        &self,
        event: &Event,
        request: WebhookRequest,
        is_first: bool,
    ) -> Result<Result<WebhookResponse, WebhookFailure>, LossReason> {
        // The semaphore is never closed.
        let Ok(_permit) = self.in_flight.acquire().await else { return Err(LossReason::Failed) };
        if is_first && event.queued_at.elapsed() > self.timing.max_age {
            return Err(LossReason::TooOld);
        }
        let outcome = timeout(self.timing.attempt, self.transport.post(request)).await;
        Ok(outcome.unwrap_or(Err(WebhookFailure::Temporary)))
    }

    fn report(&self, event: &Event, reason: LossReason) {
        self.transport.report(&LostWebhook { url: Some(&self.url), event: event.name, room: &event.room, reason });
    }
}

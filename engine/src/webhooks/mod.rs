//! Webhooks: sends events of rooms to URLs, as livekit-server does. They run on a thread of their own, so that a receiver that
//! is slow or broken delays no room.

mod budget;
mod delivery;
mod message;
mod transport;

pub use transport::{LossReason, LostWebhook, WebhookFailure, WebhookRequest, WebhookResponse, WebhookTransport};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::registry::events::RoomEvent;
use budget::{Budget, Reservation};
use delivery::{Delivery, Timing};
use message::Signer;

/// Maximum memory of the events that are not encoded yet, in bytes. Past it, new ones are dropped.
const MAX_UNENCODED_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of threads that look up names. Past it, lookups wait within the time of their attempt.
const MAX_LOOKUP_THREADS: usize = 4;

/// Receivers of webhooks.
#[derive(Clone)]
pub struct WebhookConfig {
    /// The URLs, http or https.
    pub urls: Vec<String>,
    /// Sends the requests.
    pub transport: Arc<dyn WebhookTransport>,
}

impl fmt::Debug for WebhookConfig {
    // A URL can contain a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WebhookConfig").field("urls", &self.urls.len()).finish_non_exhaustive()
    }
}

/// Handle of the webhook thread.
pub(crate) struct Webhooks {
    queue: mpsc::UnboundedSender<Unencoded>,
    budget: Arc<Budget>,
    transport: Arc<dyn WebhookTransport>,
    stop: CancellationToken,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// An event on its way to the webhook thread.
struct Unencoded {
    event: RoomEvent,
    /// Held until the event is encoded.
    _reservation: Reservation,
}

impl Webhooks {
    /// Starts the thread, which ends when `stop` is cancelled; events that wait then are not sent. `key` is the API key with its
    /// secret, which signs the webhooks.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(config: &WebhookConfig, key: (&str, &str), stop: CancellationToken) -> io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(MAX_LOOKUP_THREADS).enable_all().build()?;
        let (queue, mut unencoded) = mpsc::unbounded_channel::<Unencoded>();
        let stopped = stop.clone();
        let delivery = Delivery::new(&config.urls, &config.transport, Signer::new(key.0, key.1), Timing::default());
        let work = move || {
            runtime.block_on(stopped.run_until_cancelled(async {
                while let Some(Unencoded { event, .. }) = unencoded.recv().await {
                    delivery.enqueue(&event);
                }
            }));
            // Name lookups run on threads that cannot be cancelled.
            runtime.shutdown_background();
        };
        Builder::new().name("maravilla-webhooks".into()).spawn(work)?;
        let budget = Budget::new(MAX_UNENCODED_BYTES);
        Ok(Self { queue, budget, transport: config.transport.clone(), stop })
    }

    /// Queues an event without waiting.
    pub(crate) fn enqueue(&self, event: RoomEvent) {
        let Some(reservation) = self.budget.reserve(&event.room, event.size()) else {
            self.report(&event, LossReason::OutOfMemory);
            return;
        };
        if let Err(unsent) = self.queue.send(Unencoded { event, _reservation: reservation })
            && !self.stop.is_cancelled()
        {
            self.report(&unsent.0.event, LossReason::Internal);
        }
    }

    /// Reports an event that no receiver gets.
    fn report(&self, event: &RoomEvent, reason: LossReason) {
        self.transport.report(&LostWebhook { url: None, event: event.name(), room: &event.room, reason });
    }
}

#[cfg(test)]
mod tests;

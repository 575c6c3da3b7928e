//! Webhooks: sends events of rooms to URLs, as livekit-server does. They run on a thread of their own, so that a receiver that
//! is slow or broken delays no room.

mod delivery;
mod message;
mod reservation;
mod transport;

pub use transport::{LossReason, LostWebhook, WebhookFailure, WebhookRequest, WebhookResponse, WebhookTransport};

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::Builder;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::registry::events::RoomEvent;
use delivery::{Delivery, Timing};
use message::Signer;
use reservation::Reservation;

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
    queue: mpsc::UnboundedSender<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
    transport: Arc<dyn WebhookTransport>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// An event on its way to the webhook thread.
struct Waiting {
    event: RoomEvent,
    reservation: Reservation,
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
        let (queue, mut waiting) = mpsc::unbounded_channel::<Waiting>();
        let delivery = Delivery::new(&config.urls, &config.transport, Signer::new(key.0, key.1), Timing::default());
        let work = move || {
            runtime.block_on(stop.run_until_cancelled(async {
                while let Some(Waiting { event, reservation }) = waiting.recv().await {
                    delivery.enqueue(&event, reservation);
                }
            }));
            // Name lookups run on threads that cannot be cancelled.
            runtime.shutdown_background();
        };
        Builder::new().name("maravilla-webhooks".into()).spawn(work)?;
        Ok(Self { queue, waiting_bytes: Arc::default(), transport: config.transport.clone() })
    }

    /// Queues an event without waiting.
    pub(crate) fn enqueue(&self, event: RoomEvent) {
        let bytes = event.size();
        let Some(reservation) = Reservation::new(&self.waiting_bytes, bytes) else {
            let (event, room) = (event.name(), &*event.room);
            self.transport.report(&LostWebhook { url: None, event, room, reason: LossReason::OutOfMemory });
            return;
        };
        // Fails only once the engine ends.
        let _ = self.queue.send(Waiting { event, reservation });
    }
}

#[cfg(test)]
mod tests;

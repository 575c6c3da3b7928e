//! How webhooks leave the engine, which has no HTTP client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::warn;

/// Sends webhooks over HTTP.
pub trait WebhookTransport: Send + Sync {
    /// Sends one request. The engine drops the future after its time for one attempt.
    fn post(&self, request: WebhookRequest) -> BoxFuture<'static, Result<WebhookResponse, WebhookFailure>>;

    /// Reports an event that a receiver does not get. By default, to the log.
    fn report(&self, lost: &LostWebhook<'_>) {
        let LostWebhook { url, event, room, reason } = lost;
        warn!(room, event, receiver = url.map(host), %reason, "webhook lost");
    }
}

/// Scheme and host of a URL, without path and query, which can contain a secret.
pub(super) fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// A `POST` request.
#[derive(Clone)]
pub struct WebhookRequest {
    /// The URL.
    pub url: Arc<str>,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The header `User-Agent`.
    pub user_agent: &'static str,
    /// The header `Authorization`. Secret.
    pub token: Arc<str>,
    /// The body, JSON.
    pub body: Bytes,
}

/// The response of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookResponse {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFailure {
    /// Another attempt may succeed.
    Temporary,
    /// Every attempt fails, for example because of the receiver's certificate.
    Permanent,
}

/// An event that a receiver does not get.
#[derive(Debug, Clone, Copy)]
pub struct LostWebhook<'a> {
    /// The receiver's URL; `None` for all.
    pub url: Option<&'a str>,
    /// The name of the event.
    pub event: &'a str,
    /// The name of the room.
    pub room: &'a str,
    /// Why.
    pub reason: LossReason,
}

/// Why an event is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LossReason {
    /// Too many events of the room wait for this receiver.
    #[error("too many events of this room wait")]
    QueueFull,
    /// The events that wait take too much memory.
    #[error("the events that wait take too much memory")]
    OutOfMemory,
    /// The event has waited for too long.
    #[error("it has waited for too long")]
    TooOld,
    /// The receiver has responded with this status, after which there is no further attempt. A redirect is not followed.
    #[error("the receiver has rejected it with status {0}")]
    Rejected(u16),
    /// An error of the engine.
    #[error("internal error")]
    Internal,
    /// The receiver has failed in every attempt.
    #[error("the receiver has failed in every attempt")]
    Failed,
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hides_path_and_query_of_a_url() {
        for url in
            ["https://app.example:8443/hook/secret?key=1", "https://app.example:8443?key=1", "https://app.example:8443"]
        {
            assert_eq!(host(url), "https://app.example:8443");
        }
    }
}

//! The HTTP client that sends the engine's webhooks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use maravilla_engine::webhooks::{WebhookConfig, WebhookFailure, WebhookRequest, WebhookResponse, WebhookTransport};
use reqwest::{Client, header};

use crate::livekit::{is_permanent, webhook_client};
use crate::{MediaError, Secret};

/// The configuration of an engine that sends webhooks to those URLs; `None` without URLs.
pub(super) fn webhook_config(urls: &[Secret]) -> Result<Option<WebhookConfig>, MediaError> {
    if urls.is_empty() {
        return Ok(None);
    }
    let is_secure = urls.iter().any(|url| url.expose().starts_with("https:"));
    let client = webhook_client(is_secure)?;
    let transport = Arc::new(HttpTransport(client));
    let urls = urls.iter().map(|url| url.expose().to_owned()).collect();
    Ok(Some(WebhookConfig { urls, transport }))
}

struct HttpTransport(Client);

impl WebhookTransport for HttpTransport {
    fn post(&self, request: WebhookRequest) -> BoxFuture<'static, Result<WebhookResponse, WebhookFailure>> {
        let WebhookRequest { url, content_type, user_agent, token, body } = request;
        let request = self
            .0
            .post(&*url)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, user_agent)
            .header(header::AUTHORIZATION, &*token)
            .body(body);
        async move {
            match request.send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    Ok(WebhookResponse { status, retry_after: retry_after(response.headers()) })
                }
                Err(error) if is_permanent(&error) => Err(WebhookFailure::Permanent),
                Err(_) => Err(WebhookFailure::Temporary),
            }
        }
        .boxed()
    }
}

/// The header `Retry-After` in seconds; a date counts as absent.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

//! One call of LiveKit's server API: Twirp, protobuf bodies.

use std::time::Duration;

use livekit_api::access_token::VideoGrants;
use prost::Message;
use reqwest::{Client, Response, StatusCode, Url, header};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::answer::{Failure, broken, refusal};
use super::token::Signer;
use super::{LiveKitConfig, network, regions};
use crate::media::{ConfigFault, MediaError, Mismatch, Secret, Upstream};
use crate::provider::Deadline;

pub(super) const REQUEST_ID: &str = "X-Livekit-Request-Id";

/// More would only queue in the server, and take sockets from the app. Later calls wait in order of arrival.
const MOST_IN_FLIGHT: usize = 64;
const MOST_REFUSAL_BYTES: usize = 16 * 1024;
const PROTOBUF: &str = "application/protobuf";

/// Failover, as LiveKit's own SDKs do it.
const MOST_ATTEMPTS: usize = 3;
const BACKOFF: Duration = Duration::from_millis(200);
/// Clients with less time than this would all fail over in lockstep, to no use.
const LEAST_BUDGET: Duration = Duration::from_secs(5);

/// One method of `livekit.RoomService`.
pub(super) struct Method {
    pub(super) name: &'static str,
    /// The most bytes a right answer can have.
    pub(super) most_bytes: usize,
}

/// The server API of one LiveKit server or project.
pub(super) struct Twirp {
    signer: Signer,
    base: Option<Url>,
    in_flight: Semaphore,
}

/// What the server answered.
pub(super) struct Answer<A> {
    pub(super) message: A,
    /// The request behind it, for an error that only the caller can see.
    pub(super) upstream: Upstream,
}

/// What one call sends, the same on every attempt.
struct Call<'a> {
    method: &'a Method,
    token: Secret,
    request_id: String,
    body: Vec<u8>,
}

impl Twirp {
    pub(super) fn new(config: &LiveKitConfig) -> Result<Self, MediaError> {
        let base = config.api_url.as_deref().map(Url::parse).transpose();
        let base = base.map_err(|_| MediaError::InvalidConfig(ConfigFault::Url))?;
        let signer = Signer::new(&config.api_key, &config.api_secret);
        Ok(Self { signer, base, in_flight: Semaphore::new(MOST_IN_FLIGHT) })
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Calls `method` with exactly `grants`; `deadline` bounds queue, connecting, retries and body together.
    pub(super) async fn call<A: Message + Default>(
        &self,
        method: &Method,
        grants: VideoGrants,
        request: &impl Message,
        deadline: &Deadline,
    ) -> Result<Answer<A>, Failure> {
        let base = self.base.as_ref().ok_or(MediaError::UrlNotConfigured)?;
        let call = Call {
            method,
            token: self.signer.call(grants)?,
            request_id: Uuid::new_v4().to_string(),
            body: request.encode_to_vec(),
        };
        let calling = async {
            let clients = network::clients(base.scheme() == "https").await?;
            let _place = self.in_flight.acquire().await.map_err(|_| MediaError::Internal)?;
            call.attempt_all(base, &clients, deadline).await
        };
        let body = tokio::select! {
            biased;
            body = calling => body?,
            () = deadline.passed() => return Err(call.timed_out(deadline).into()),
        };
        let upstream = call.upstream(200);
        match A::decode(body.as_slice()) {
            Ok(message) => Ok(Answer { message, upstream }),
            Err(_) => Err(bad(Mismatch::Undecodable, upstream).into()),
        }
    }
}

impl Call<'_> {
    /// Fails over to other regions where there are any; else tries once more what broke on the way. Every call is idempotent.
    async fn attempt_all(
        &self,
        base: &Url,
        clients: &network::Clients,
        deadline: &Deadline,
    ) -> Result<Vec<u8>, Failure> {
        let mut may_fail_over = regions::has_regions(base) && deadline.budget() >= LEAST_BUDGET;
        let mut tried = vec![base.clone()];
        let mut client = &clients.pooled;
        let mut repeated = false;
        loop {
            may_fail_over &= tried.len() < MOST_ATTEMPTS;
            // Another region may be quicker, so this one must leave time for it.
            let share = if may_fail_over { deadline.remaining() / 2 } else { Duration::MAX };
            let target = tried.last().unwrap_or(base);
            let outcome = tokio::time::timeout(share, self.attempt(target, client)).await;
            let failure = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => self.timed_out(deadline).into(),
            };
            if may_fail_over && wants_another_region(&failure) {
                if let Some(region) = self.next_region(base, &tried, &failure, client, deadline).await {
                    tried.push(region);
                    continue;
                }
                may_fail_over = false;
            }
            if repeated || tried.len() >= MOST_ATTEMPTS || !is_broken(&failure) {
                return Err(failure);
            }
            repeated = true;
            client = &clients.fresh;
        }
    }

    /// The next region to try, after the pause that keeps many clients from moving there at once.
    async fn next_region(
        &self,
        base: &Url,
        tried: &[Url],
        failure: &Failure,
        client: &Client,
        deadline: &Deadline,
    ) -> Option<Url> {
        if failure_status(failure) == Some(451) {
            regions::forget(base);
        }
        let region = regions::next(base, tried, client, &self.token, &self.request_id, deadline.remaining()).await?;
        let made = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(BACKOFF * 2_u32.saturating_pow(made - 1)).await;
        Some(region)
    }

    /// One request and its whole answer.
    async fn attempt(&self, base: &Url, client: &Client) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/twirp/livekit.RoomService/{}", base.as_str().trim_end_matches('/'), self.method.name);
        let sent = client
            .post(url)
            .bearer_auth(self.token.expose())
            .header(header::CONTENT_TYPE, PROTOBUF)
            .header(REQUEST_ID, &self.request_id)
            .body(self.body.clone())
            .send()
            .await;
        let lost = |error: reqwest::Error| Failure::Other(broken(&error, regions::host(base), &self.request_id));
        let mut response = sent.map_err(lost)?;
        let status = response.status();
        if status != StatusCode::OK {
            // Status alone tells most; a body that breaks off tells no more.
            let body = read(&mut response, MOST_REFUSAL_BYTES).await.ok().flatten().unwrap_or_default();
            return Err(refusal(status.as_u16(), &body, &self.request_id));
        }
        if !is_protobuf(&response) {
            return Err(bad(Mismatch::NotTwirp, self.upstream(200)).into());
        }
        let body = read(&mut response, self.method.most_bytes).await.map_err(lost)?;
        body.ok_or_else(|| bad(Mismatch::TooLarge, self.upstream(200)).into())
    }

    fn upstream(&self, status: u16) -> Upstream {
        Upstream { request_id: self.request_id.clone(), status: Some(status) }
    }

    fn timed_out(&self, deadline: &Deadline) -> MediaError {
        let upstream = Some(Upstream { request_id: self.request_id.clone(), status: None });
        MediaError::TimedOut { budget: deadline.budget(), upstream }
    }
}

fn bad(mismatch: Mismatch, upstream: Upstream) -> MediaError {
    MediaError::BadResponse { mismatch, upstream }
}

fn is_protobuf(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.starts_with(PROTOBUF))
}

/// The body, or `None` if it has more than `most` bytes; the rest of it is not read.
async fn read(response: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > most {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn failure_status(failure: &Failure) -> Option<u16> {
    match failure {
        Failure::NotFound(upstream) | Failure::NoNode(upstream) => upstream.status,
        Failure::Other(error) => error.upstream().and_then(|upstream| upstream.status),
    }
}

/// The connection broke, or took too long: the request may never have arrived.
fn is_broken(failure: &Failure) -> bool {
    matches!(failure, Failure::Other(MediaError::Unreachable { .. } | MediaError::TimedOut { .. }))
}

fn wants_another_region(failure: &Failure) -> bool {
    is_broken(failure) || failure_status(failure).is_some_and(|status| status >= 500 || status == 451)
}

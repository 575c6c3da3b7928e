//! Calls of LiveKit's server API: Twirp with protobuf bodies.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use livekit_api::access_token::VideoGrants;
use prost::Message;
use reqwest::{Client, StatusCode, Url, header};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::decode::{Shape, decode};
use super::error_mapping::{CallError, from_response, from_transport};
use super::{LiveKitConfig, network, regions};
use crate::token::Signer;
use crate::{BadResponseReason, ConfigFault, Deadline, MediaError, Secret, Upstream};

pub(super) const REQUEST_ID: &str = "X-Livekit-Request-Id";

/// Maximum number of requests in flight to one server. Later calls wait in order of arrival.
const MAX_IN_FLIGHT: usize = 64;
/// Maximum size of an error's body, in bytes. Of a longer one only the status counts.
const MAX_ERROR_BYTES: usize = 16 * 1024;
/// A response with more bytes than this is large.
const LARGE_RESPONSE_BYTES: usize = 1024 * 1024;
/// Maximum number of large responses that the process reads and decodes at a time. Others wait within their budget, so
/// that the memory of long lists does not add up.
const MAX_LARGE_RESPONSES: usize = 4;
const PROTOBUF: &str = "application/protobuf";

/// Maximum attempts of one call, as in LiveKit's SDKs.
const MAX_ATTEMPTS: usize = 3;
/// Time before the second region is tried, as in LiveKit's SDKs; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(200);
/// Minimum budget of a call that fails over, as in LiveKit's SDKs.
const MIN_FAILOVER_BUDGET: Duration = Duration::from_secs(5);

/// One method of `livekit.RoomService`.
pub(super) struct Method {
    pub(super) name: &'static str,
    /// Maximum size of the response's body, in bytes. A longer one is `BAD_RESPONSE`.
    pub(super) max_bytes: usize,
    /// The fields of the response to decode.
    pub(super) shape: &'static Shape,
}

/// The server API of one LiveKit server or project.
pub(super) struct Twirp {
    signer: Signer,
    base: Option<Url>,
    in_flight: Arc<Semaphore>,
}

/// A response of the server.
pub(super) struct Response<M> {
    pub(super) message: M,
    /// For an error that only the caller can detect.
    pub(super) upstream: Upstream,
}

/// Request id and deadline of one call of a provider, which may send several requests.
pub(super) struct CallContext {
    /// `X-Livekit-Request-Id` of all requests.
    pub(super) request_id: String,
    /// Divides the time between attempts. The call itself is ended by [`crate::PendingCall::run`].
    pub(super) deadline: Deadline,
}

impl CallContext {
    pub(super) fn new(deadline: Deadline) -> Self {
        Self { request_id: Uuid::new_v4().to_string(), deadline }
    }

    fn upstream(&self, status: u16) -> Upstream {
        Upstream { request_id: Some(self.request_id.clone()), status: Some(status) }
    }

    fn timed_out(&self) -> MediaError {
        let upstream = Some(Upstream { request_id: Some(self.request_id.clone()), status: None });
        MediaError::TimedOut { budget: self.deadline.budget(), upstream }
    }
}

/// A call in progress; all attempts send the same.
struct Attempts<'a> {
    method: &'a Method,
    signer: &'a Signer,
    grants: VideoGrants,
    context: &'a CallContext,
    body: Vec<u8>,
}

/// The body of a response.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    /// Held by a large response until it is decoded.
    permit: Option<SemaphorePermit<'static>>,
}

impl Twirp {
    pub(super) fn new(config: &LiveKitConfig) -> Result<Self, MediaError> {
        let base = config.api_url.as_deref().map(Url::parse).transpose();
        let base = base.map_err(|_| MediaError::InvalidConfig(ConfigFault::Url))?;
        let signer = Signer::new(&config.api_key, &config.api_secret);
        Ok(Self { signer, in_flight: permits(base.as_ref()), base })
    }

    /// Whether the server is LiveKit Cloud.
    pub(super) fn is_cloud(&self) -> bool {
        self.base.as_ref().is_some_and(regions::has_regions)
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Calls `method` with exactly `grants`. Retries and fails over; never times out by itself.
    pub(super) async fn call<M: Message + Default>(
        &self,
        method: &Method,
        grants: VideoGrants,
        request: &impl Message,
        context: &CallContext,
    ) -> Result<Response<M>, CallError> {
        let base = self.base.as_ref().ok_or(MediaError::UrlNotConfigured)?;
        let attempts = Attempts { method, signer: &self.signer, grants, context, body: request.encode_to_vec() };
        let permit = self.in_flight.acquire().await.map_err(|_| MediaError::Internal)?;
        let body = attempts.run(base).await?;
        drop(permit);
        let upstream = context.upstream(200);
        match decode(&body.bytes, method.shape) {
            Ok(message) => Ok(Response { message, upstream }),
            Err(reason) => Err(bad(reason, upstream).into()),
        }
    }
}

/// Permits for requests to one server, shared by all keys and prefixes.
fn permits(base: Option<&Url>) -> Arc<Semaphore> {
    static PERMITS: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);
    let mut permits = PERMITS.lock().unwrap_or_else(PoisonError::into_inner);
    let server = base.map(regions::host).unwrap_or_default();
    permits.entry(server).or_insert_with(|| Arc::new(Semaphore::new(MAX_IN_FLIGHT))).clone()
}

impl Attempts<'_> {
    /// Fails over to other regions if the server has any; otherwise retries a broken connection once.
    async fn run(&self, base: &Url) -> Result<Body, CallError> {
        let deadline = self.context.deadline;
        let has_regions = regions::has_regions(base);
        let has_time = deadline.budget() >= MIN_FAILOVER_BUDGET;
        let mut regions_left = has_regions;
        let mut list = None;
        let mut tried = vec![base.clone()];
        let mut repeated = false;
        let mut may_have_arrived = false;
        loop {
            regions_left &= tried.len() < MAX_ATTEMPTS;
            let target = tried.last().unwrap_or(base);
            let clients = network::clients(target.scheme() == "https")?;
            let client = if repeated { &clients.fresh } else { &clients.pooled };
            // Half of the time that is left, because another region may be faster.
            let until = (regions_left && has_time).then(|| Instant::now() + deadline.remaining() / 2);
            let error = match self.attempt(target, client, until).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            // Region pinning applies with any budget.
            let is_pinned = error.status() == Some(451);
            if regions_left && ((has_time && error.wants_another_region()) || is_pinned) {
                if is_pinned {
                    list = None;
                    regions::forget(base);
                }
                if let Some(region) = self.next_region(base, &tried, &mut list, client).await {
                    may_have_arrived |= error.may_have_arrived();
                    tried.push(region);
                    continue;
                }
                regions_left = false;
            }
            let may_repeat = !repeated && tried.len() < MAX_ATTEMPTS && (has_time || !has_regions);
            if !may_repeat || !error.is_broken() {
                return Err(if may_have_arrived { error.after_another() } else { error });
            }
            may_have_arrived |= error.may_have_arrived();
            repeated = true;
        }
    }

    /// The next region to try, after a backoff that keeps clients from moving there at the same time. `list` is fetched
    /// once in a call.
    async fn next_region(
        &self,
        base: &Url,
        tried: &[Url],
        list: &mut Option<Vec<Url>>,
        client: &Client,
    ) -> Option<Url> {
        let CallContext { deadline, request_id } = self.context;
        let known = match list.take() {
            Some(known) => known,
            None => regions::list(base, client, &self.token().ok()?, request_id, deadline.remaining()).await,
        };
        let next =
            known.iter().find(|url| tried.iter().all(|tried| regions::host(tried) != regions::host(url))).cloned();
        *list = Some(known);
        next.as_ref()?;
        let made = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(BACKOFF * 2_u32.saturating_pow(made - 1)).await;
        next
    }

    /// A new token for each attempt, because a call may wait longer than a token is valid.
    fn token(&self) -> Result<Secret, MediaError> {
        self.signer.call(&self.grants)
    }

    /// Sends one request and reads the whole response. Past `until` the server has timed out.
    async fn attempt(&self, base: &Url, client: &Client, until: Option<Instant>) -> Result<Body, CallError> {
        let request_id = &self.context.request_id;
        let url = format!("{}/twirp/livekit.RoomService/{}", base.as_str().trim_end_matches('/'), self.method.name);
        let sent = client
            .post(url)
            .bearer_auth(self.token()?.expose())
            .header(header::CONTENT_TYPE, PROTOBUF)
            .header(REQUEST_ID, request_id)
            .body(self.body.clone())
            .send();
        let lost = |error| match error {
            Lost::Broken(error) => CallError::Other(from_transport(&error, regions::host(base), request_id)),
            Lost::TimedOut => self.context.timed_out().into(),
        };
        let mut response = within(until, sent).await.map_err(lost)?;
        let status = response.status();
        if status != StatusCode::OK {
            // An incomplete body counts as an empty one: the status determines most errors.
            let body = read(&mut response, MAX_ERROR_BYTES, until).await.ok().flatten().unwrap_or_default();
            return Err(from_response(status.as_u16(), &body.bytes, request_id));
        }
        if !is_protobuf(&response) {
            return Err(bad(BadResponseReason::NotTwirp, self.context.upstream(200)).into());
        }
        let body = read(&mut response, self.method.max_bytes, until).await.map_err(lost)?;
        body.ok_or_else(|| bad(BadResponseReason::TooLarge, self.context.upstream(200)).into())
    }
}

fn bad(reason: BadResponseReason, upstream: Upstream) -> MediaError {
    MediaError::BadResponse { reason, upstream }
}

fn is_protobuf(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.starts_with(PROTOBUF))
}

/// Permits for large responses.
static LARGE: Semaphore = Semaphore::const_new(MAX_LARGE_RESPONSES);

/// Why a response is incomplete.
#[derive(Debug)]
enum Lost {
    Broken(reqwest::Error),
    TimedOut,
}

async fn within<T>(until: Option<Instant>, step: impl Future<Output = reqwest::Result<T>>) -> Result<T, Lost> {
    let Some(until) = until else { return step.await.map_err(Lost::Broken) };
    timeout_at(until, step).await.map_err(|_| Lost::TimedOut)?.map_err(Lost::Broken)
}

/// The body; `None` if it has more than `max` bytes, of which the rest is not read. The wait for a permit does not count
/// towards `until`, because the server is not to blame for it.
async fn read(response: &mut reqwest::Response, max: usize, mut until: Option<Instant>) -> Result<Option<Body>, Lost> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > max {
        return Ok(None);
    }
    let mut body = Body { bytes: Vec::with_capacity(announced.min(LARGE_RESPONSE_BYTES)), permit: None };
    while let Some(chunk) = within(until, response.chunk()).await? {
        let length = body.bytes.len() + chunk.len();
        if length > max {
            return Ok(None);
        }
        if length > LARGE_RESPONSE_BYTES && body.permit.is_none() {
            let began = Instant::now();
            // Fails only once the semaphore is closed, which never happens.
            body.permit = LARGE.acquire().await.ok();
            until = until.map(|until| until + began.elapsed());
        }
        body.bytes.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{self, Poll};

    use hyper::body::{Bytes, Frame};

    use super::*;

    const SHARE: Duration = Duration::from_millis(100);

    /// A large chunk and a small one, which is not ready at first.
    struct TwoChunks(usize);

    impl hyper::body::Body for TwoChunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Ready(Some(Ok(Frame::data(vec![0; LARGE_RESPONSE_BYTES + 1].into())))),
                2 => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                3 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0]))))),
                _ => Poll::Ready(None),
            }
        }
    }

    #[tokio::test]
    async fn waiting_for_a_permit_does_not_use_up_the_time_of_an_attempt() {
        let permits = LARGE.acquire_many(u32::try_from(MAX_LARGE_RESPONSES).unwrap()).await.unwrap();
        let mut response = reqwest::Response::from(hyper::Response::new(reqwest::Body::wrap(TwoChunks(0))));
        let reading = read(&mut response, usize::MAX, Some(Instant::now() + SHARE));
        let release = async {
            tokio::time::sleep(3 * SHARE).await;
            drop(permits);
        };
        let (body, ()) = tokio::join!(reading, release);
        assert_eq!(body.unwrap().unwrap().bytes.len(), LARGE_RESPONSE_BYTES + 2);
    }
}

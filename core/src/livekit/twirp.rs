//! One call of LiveKit's server API: Twirp, protobuf bodies.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use livekit_api::access_token::VideoGrants;
use prost::Message;
use reqwest::{Client, Response, StatusCode, Url, header};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::answer::{Failure, broken, refusal};
use super::decode::{Shape, decode};
use super::{LiveKitConfig, network, regions};
use crate::token::Signer;
use crate::{ConfigFault, Deadline, MediaError, Mismatch, Secret, Upstream};

pub(super) const REQUEST_ID: &str = "X-Livekit-Request-Id";

/// More would only queue in the server, and take sockets from the app. Later calls wait in order of arrival.
const MOST_IN_FLIGHT: usize = 64;
const MOST_REFUSAL_BYTES: usize = 16 * 1024;
/// An answer with more bytes than this is large.
const LARGE_ANSWER_BYTES: usize = 1024 * 1024;
/// Maximum number of large answers that are read and decoded at a time in the process. Others wait within their budget,
/// so that the memory of many long lists does not add up.
const MAX_LARGE_ANSWERS: usize = 4;
const PROTOBUF: &str = "application/protobuf";

/// Failover, as LiveKit's own SDKs do it.
const MOST_ATTEMPTS: usize = 3;
const BACKOFF: Duration = Duration::from_millis(200);
/// Clients with less time than this would all fail over in lockstep, to no use.
const LEAST_BUDGET: Duration = Duration::from_secs(5);

/// One method of `livekit.RoomService`.
pub(super) struct Method {
    pub(super) name: &'static str,
    /// Maximum size of the answer's body, in bytes. A longer one is `BAD_RESPONSE`.
    pub(super) max_bytes: usize,
    /// What is decoded of the answer.
    pub(super) shape: &'static Shape,
}

/// The server API of one LiveKit server or project.
pub(super) struct Twirp {
    signer: Signer,
    base: Option<Url>,
    in_flight: Arc<Semaphore>,
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
    signer: &'a Signer,
    grants: VideoGrants,
    request_id: String,
    body: Vec<u8>,
}

/// The body of an answer.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    /// Held by a large answer until it is decoded.
    permit: Option<SemaphorePermit<'static>>,
}

impl Twirp {
    pub(super) fn new(config: &LiveKitConfig) -> Result<Self, MediaError> {
        let base = config.api_url.as_deref().map(Url::parse).transpose();
        let base = base.map_err(|_| MediaError::InvalidConfig(ConfigFault::Url))?;
        let signer = Signer::new(&config.api_key, &config.api_secret);
        Ok(Self { signer, in_flight: places(base.as_ref()), base })
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
        let request_id = Uuid::new_v4().to_string();
        let call = Call { method, signer: &self.signer, grants, request_id, body: request.encode_to_vec() };
        let calling = async {
            let _place = self.in_flight.acquire().await.map_err(|_| MediaError::Internal)?;
            // From here on only the runtime's thread polls, never the caller's: hyper needs one thread for both ends of
            // a connection (hyperium/hyper#4122).
            tokio::task::yield_now().await;
            call.attempt_all(base, deadline).await
        };
        let body = tokio::select! {
            biased;
            body = calling => body?,
            () = deadline.passed() => return Err(call.timed_out(deadline).into()),
        };
        let upstream = call.upstream(200);
        match decode(&body.bytes, method.shape) {
            Ok(message) => Ok(Answer { message, upstream }),
            Err(mismatch) => Err(bad(mismatch, upstream).into()),
        }
    }
}

/// The places for calls to one server, whatever key or prefix they have.
fn places(base: Option<&Url>) -> Arc<Semaphore> {
    static PLACES: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let server = base.map(regions::host).unwrap_or_default();
    places.entry(server).or_insert_with(|| Arc::new(Semaphore::new(MOST_IN_FLIGHT))).clone()
}

impl Call<'_> {
    /// Fails over to other regions where there are any; else tries once more what broke on the way.
    async fn attempt_all(&self, base: &Url, deadline: &Deadline) -> Result<Body, Failure> {
        let has_regions = regions::has_regions(base);
        let mut regions_left = has_regions;
        let mut list = None;
        let mut tried = vec![base.clone()];
        let mut repeated = false;
        let mut may_have_arrived = false;
        loop {
            // Asked each time: a caller who joins may bring more time.
            let has_time = deadline.budget() >= LEAST_BUDGET;
            regions_left &= tried.len() < MOST_ATTEMPTS;
            let target = tried.last().unwrap_or(base);
            let clients = network::clients(target.scheme() == "https").await?;
            let client = if repeated { &clients.fresh } else { &clients.pooled };
            // Another region may be quicker, so this one must leave time for it.
            let share = if regions_left && has_time { deadline.remaining() / 2 } else { Duration::MAX };
            let failure = match tokio::time::timeout(share, self.attempt(target, client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => self.timed_out(deadline).into(),
            };
            // A project's pinning is obeyed however little time there is.
            let is_pinned = failure.status() == Some(451);
            if regions_left && ((has_time && failure.wants_another_region()) || is_pinned) {
                if is_pinned {
                    list = None;
                    regions::forget(base);
                }
                if let Some(region) = self.next_region(base, &tried, &mut list, client, deadline).await {
                    may_have_arrived |= failure.may_have_arrived();
                    tried.push(region);
                    continue;
                }
                regions_left = false;
            }
            let may_repeat = !repeated && tried.len() < MOST_ATTEMPTS && (has_time || !has_regions);
            if !may_repeat || !failure.is_broken() {
                return Err(if may_have_arrived { failure.after_another() } else { failure });
            }
            may_have_arrived |= failure.may_have_arrived();
            repeated = true;
        }
    }

    /// The next region to try, after the pause that keeps many clients from moving there at once. `list` is asked for
    /// once in a call.
    async fn next_region(
        &self,
        base: &Url,
        tried: &[Url],
        list: &mut Option<Vec<Url>>,
        client: &Client,
        deadline: &Deadline,
    ) -> Option<Url> {
        let known = match list.take() {
            Some(known) => known,
            None => regions::list(base, client, &self.token().ok()?, &self.request_id, deadline.remaining()).await,
        };
        let next =
            known.iter().find(|url| tried.iter().all(|tried| regions::host(tried) != regions::host(url))).cloned();
        *list = Some(known);
        next.as_ref()?;
        let made = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(BACKOFF * 2_u32.saturating_pow(made - 1)).await;
        next
    }

    /// Signed for each attempt: a call may wait longer than a token is good for.
    fn token(&self) -> Result<Secret, MediaError> {
        self.signer.call(&self.grants)
    }

    /// One request and its whole answer.
    async fn attempt(&self, base: &Url, client: &Client) -> Result<Body, Failure> {
        let url = format!("{}/twirp/livekit.RoomService/{}", base.as_str().trim_end_matches('/'), self.method.name);
        let sent = client
            .post(url)
            .bearer_auth(self.token()?.expose())
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
            return Err(refusal(status.as_u16(), &body.bytes, &self.request_id));
        }
        if !is_protobuf(&response) {
            return Err(bad(Mismatch::NotTwirp, self.upstream(200)).into());
        }
        let body = read(&mut response, self.method.max_bytes).await.map_err(lost)?;
        body.ok_or_else(|| bad(Mismatch::TooLarge, self.upstream(200)).into())
    }

    fn upstream(&self, status: u16) -> Upstream {
        Upstream { request_id: Some(self.request_id.clone()), status: Some(status) }
    }

    fn timed_out(&self, deadline: &Deadline) -> MediaError {
        let upstream = Some(Upstream { request_id: Some(self.request_id.clone()), status: None });
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

/// The body, or `None` if it has more than `max` bytes; the rest of it is not read.
async fn read(response: &mut Response, max: usize) -> reqwest::Result<Option<Body>> {
    static LARGE: Semaphore = Semaphore::const_new(MAX_LARGE_ANSWERS);
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > max {
        return Ok(None);
    }
    let mut body = Body { bytes: Vec::with_capacity(announced.min(LARGE_ANSWER_BYTES)), permit: None };
    while let Some(chunk) = response.chunk().await? {
        let length = body.bytes.len() + chunk.len();
        if length > max {
            return Ok(None);
        }
        if length > LARGE_ANSWER_BYTES && body.permit.is_none() {
            // Fails only if it is closed, which it never is.
            body.permit = LARGE.acquire().await.ok();
        }
        body.bytes.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

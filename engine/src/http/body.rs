//! Bodies: how large, how slow, and how much memory they take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::response::{self, Response, TwirpError};
use crate::error::ApiError;
use crate::shared::Shared;
use crate::work::SHORT_BYTES;

/// Maximum bytes of one body, as in later livekit-servers; past it the request is refused with 413.
const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Maximum bytes of a body whose token allows nothing; past it the request is refused as one without permission. It is
/// read only to tell what else is wrong with it.
const MAX_USELESS_BYTES: usize = SMALL_BYTES;
/// So much of a head, body or answer counts for nothing: connections are limited already, and small requests get through
/// whatever the large ones take.
pub(super) const SMALL_BYTES: usize = SHORT_BYTES;

/// A whole body.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Its share of the memory that all large bodies may take.
    _share: Option<OwnedSemaphorePermit>,
}

pub(super) enum BodyError {
    NotAllowed,
    TooLarge,
    TooMany,
    Slow,
    Broken,
}

impl BodyError {
    pub(super) fn answer(&self) -> Response {
        let (status, code, text) = match self {
            Self::NotAllowed => return response::refused(&ApiError::Permissions),
            // Not Twirp, as later livekit-servers have it.
            Self::TooLarge => return response::text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", "too much is under way at once"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", "the request body did not come in time"),
            Self::Broken => (StatusCode::BAD_REQUEST, "malformed", "the request body could not be read"),
        };
        response::twirp(status, &TwirpError::new(code, text))
    }
}

/// Reads the request's whole body. `may_call`: its token allows something.
pub(super) async fn read(shared: &Shared, request: Request<Incoming>, may_call: bool) -> Result<Body, BodyError> {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let collected = timeout(shared.limits.body_timeout, collect(shared, request.into_body(), length, may_call)).await;
    collected.unwrap_or(Err(BodyError::Slow))
}

async fn collect(
    shared: &Shared,
    mut body: Incoming,
    length: Option<usize>,
    may_call: bool,
) -> Result<Body, BodyError> {
    let check = |length| match length {
        _ if length > MAX_BYTES => Err(BodyError::TooLarge),
        _ if length > MAX_USELESS_BYTES && !may_call => Err(BodyError::NotAllowed),
        _ => Ok(length),
    };
    check(length.unwrap_or_default())?;
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        let (needed, before) = (check(bytes.len() + part.len())?, bytes.capacity());
        if needed > before {
            // It doubles, but holds no more than is known to come.
            let capacity = (2 * before).clamp(needed, length.unwrap_or(MAX_BYTES).max(needed));
            let large = capacity.saturating_sub(SMALL_BYTES.max(before));
            let more = shared.reserve(large, may_call).ok_or(BodyError::TooMany)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Body { bytes: bytes.into(), _share: share })
}

/// An answer that counts against the memory of all large answers until the client has taken it.
pub(super) fn hold(shared: &Shared, answer: Vec<u8>) -> Result<Bytes, BodyError> {
    let length = answer.len();
    if length <= SMALL_BYTES {
        return Ok(answer.into());
    }
    let before = shared.response_bytes.fetch_add(length, Ordering::Relaxed);
    let held = HeldAnswer { answer, all: shared.response_bytes.clone() };
    // A single one always fits: else nobody could list very many rooms.
    let fits = before == 0 || before + length <= shared.limits.response_bytes;
    if fits { Ok(Bytes::from_owner(held)) } else { Err(BodyError::TooMany) }
}

struct HeldAnswer {
    answer: Vec<u8>,
    all: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for HeldAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        self.all.fetch_sub(self.answer.len(), Ordering::Relaxed);
    }
}

//! Request bodies and large responses, with limits for size, time and memory.

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

/// Maximum bytes of one body, the limit of livekit-server since 1.13.6. Past it, the request is rejected with 413.
const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Maximum bytes of a body whose token permits no call. Past it, the request is rejected for its lack of permission. Shorter ones
/// are read only to report other errors first.
const MAX_UNPERMITTED_BYTES: usize = SMALL_BYTES;
/// Bytes of each request head, body and response that do not count against shared memory, so that small requests succeed while
/// large ones use it up. The number of connections limits them.
pub(super) const SMALL_BYTES: usize = SHORT_BYTES;

/// A complete body.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Reservation in the memory for large bodies.
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
    pub(super) fn response(&self) -> Response {
        let (status, code, text) = match self {
            Self::NotAllowed => return response::refused(&ApiError::Permissions),
            // Plain text instead of a Twirp error, as in livekit-server since 1.13.6.
            Self::TooLarge => return response::text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
            Self::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", "too many large requests or responses at once")
            }
            Self::Slow => {
                (StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", "the request body was not received in time")
            }
            Self::Broken => (StatusCode::BAD_REQUEST, "malformed", "the request body could not be read"),
        };
        response::twirp(status, &TwirpError::new(code, text))
    }
}

/// Reads the body of a request. `may_call`: whether the token permits any call.
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
        _ if length > MAX_UNPERMITTED_BYTES && !may_call => Err(BodyError::NotAllowed),
        _ => Ok(length),
    };
    check(length.unwrap_or_default())?;
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        let (needed, before) = (check(bytes.len() + part.len())?, bytes.capacity());
        if needed > before {
            // Doubles the capacity, up to the announced length.
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

/// Wraps a response, so that it counts against the memory for large responses until the client has read it.
///
/// # Errors
/// [`BodyError::TooMany`] if that memory is used up.
pub(super) fn hold(shared: &Shared, response: Vec<u8>) -> Result<Bytes, BodyError> {
    let length = response.len();
    if length <= SMALL_BYTES {
        return Ok(response.into());
    }
    let before = shared.response_bytes.fetch_add(length, Ordering::Relaxed);
    let held = HeldResponse { response, total: shared.response_bytes.clone() };
    // A single response of any length is allowed, such as a list of very many rooms.
    let fits = before == 0 || before + length <= shared.limits.response_bytes;
    if fits { Ok(Bytes::from_owner(held)) } else { Err(BodyError::TooMany) }
}

struct HeldResponse {
    response: Vec<u8>,
    /// Bytes of all large responses.
    total: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for HeldResponse {
    fn as_ref(&self) -> &[u8] {
        &self.response
    }
}

impl Drop for HeldResponse {
    fn drop(&mut self) {
        self.total.fetch_sub(self.response.len(), Ordering::Relaxed);
    }
}

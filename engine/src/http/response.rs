//! HTTP responses with livekit-server's texts.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use serde::Serialize;

use crate::error::ApiError;

pub(super) type Response = hyper::Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Value of the `Server` header.
const SERVER_NAME: &str = concat!("maravilla-media/", env!("CARGO_PKG_VERSION"));

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_body(status, TEXT, body)
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    response
}

pub(super) fn with_body(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = empty(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = Full::new(body.into());
    response
}

/// Response to a request whose handler panicked.
pub(super) fn broken() -> Response {
    twirp(StatusCode::INTERNAL_SERVER_ERROR, &TwirpError::new("internal", "the media engine failed; please report it"))
}

pub(super) fn twirp(status: StatusCode, error: &TwirpError<'_>) -> Response {
    // Strings and maps of strings always serialize.
    with_body(status, JSON, serde_json::to_vec(error).unwrap_or_default())
}

pub(super) fn refused(error: &ApiError) -> Response {
    let (code, status) = error.code();
    let text = error.to_string();
    let meta = error.argument().map(Meta::Argument);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    twirp(status, &TwirpError { meta, ..TwirpError::new(code, &text) })
}

/// Response to a validation, or to a join that was rejected.
pub(super) fn validated(outcome: Result<(), (StatusCode, Cow<'static, str>)>) -> Response {
    match outcome {
        Ok(()) => text(StatusCode::OK, "success"),
        Err((status, message)) => text(status, message.into_owned()),
    }
}

/// The error of the Twirp wire protocol, version 7.
#[derive(Serialize)]
pub(super) struct TwirpError<'a> {
    pub(super) code: &'static str,
    pub(super) msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<Meta<'a>>,
}

/// The `meta` field of a Twirp error.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Meta<'a> {
    Argument(&'a str),
    TwirpInvalidRoute(&'a str),
}

impl<'a> TwirpError<'a> {
    pub(super) fn new(code: &'static str, msg: &'a str) -> Self {
        Self { code, msg, meta: None }
    }
}

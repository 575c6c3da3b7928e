//! Maps failures of LiveKit and of the network to [`MediaError`]. No other code looks at their codes.

use std::error::Error;
use std::io;

use serde::Deserialize;

use crate::{BadResponseReason, MediaError, Unreachable, Upstream};

/// A failed server call, independent of the method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// Twirp's `not_found`. The method determines which object is meant.
    NotFound(Upstream),
    /// `not_found` after an earlier attempt that the server may have executed.
    NotFoundAgain(Upstream),
    /// Twirp's `unavailable`: no node responds for the room.
    NoNode(Upstream),
    /// An error that means the same for every method.
    Other(MediaError),
}

impl From<MediaError> for CallError {
    fn from(error: MediaError) -> Self {
        Self::Other(error)
    }
}

impl CallError {
    /// The error; `missing` makes the one for `not_found`.
    pub(super) fn or_missing(self, missing: impl FnOnce(Upstream) -> MediaError) -> MediaError {
        match self {
            Self::NotFound(upstream) | Self::NotFoundAgain(upstream) => missing(upstream),
            Self::NoNode(upstream) => MediaError::Unavailable(upstream),
            Self::Other(error) => error,
        }
    }

    /// The HTTP status of the response; `None` if none arrived.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::NotFound(upstream) | Self::NotFoundAgain(upstream) | Self::NoNode(upstream) => upstream.status,
            Self::Other(error) => error.upstream().and_then(|upstream| upstream.status),
        }
    }

    /// Whether the connection broke or took too long.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Other(MediaError::Unreachable { .. } | MediaError::TimedOut { .. }))
    }

    /// Whether the server may have executed the request without confirming it.
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Other(MediaError::Unreachable { reason, .. }) => *reason == Unreachable::Reset,
            _ => self.is_broken() || self.status().is_some_and(|status| status >= 500),
        }
    }

    pub(super) fn wants_another_region(&self) -> bool {
        self.is_broken() || self.status().is_some_and(|status| status >= 500 || status == 451)
    }

    /// The same error after an earlier attempt that the server may have executed.
    pub(super) fn after_another(self) -> Self {
        match self {
            Self::NotFound(upstream) => Self::NotFoundAgain(upstream),
            other => other,
        }
    }
}

#[derive(Deserialize)]
struct TwirpBody {
    code: String,
}

/// Maps a response other than 200, by status and Twirp code only: messages differ between versions, and some echo the token.
pub(super) fn from_response(status: u16, body: &[u8], request_id: &str) -> CallError {
    let upstream = Upstream { request_id: Some(request_id.to_owned()), status: Some(status) };
    let code = serde_json::from_slice::<TwirpBody>(body).ok().map(|body| body.code);
    let error = match (status, code.as_deref()) {
        (404, Some("not_found")) => return CallError::NotFound(upstream),
        (_, Some("unavailable")) => return CallError::NoNode(upstream),
        (413 | 429, _) | (_, Some("resource_exhausted")) => MediaError::LimitExceeded(upstream),
        (401, None) => MediaError::Unauthenticated(upstream),
        (403, _) | (_, Some("unauthenticated" | "permission_denied")) => MediaError::PermissionDenied(upstream),
        (451, _) => MediaError::RegionRefused(upstream),
        // The server answers 500 with `unknown` if no node is free.
        (502..=504, _) | (500, Some("unknown")) | (_, Some("deadline_exceeded" | "canceled")) => {
            MediaError::Unavailable(upstream)
        }
        (_, Some(code)) if is_code(code) => MediaError::Refused { code: code.to_owned(), upstream },
        (300..=399, _) => MediaError::BadResponse { reason: BadResponseReason::Redirect, upstream },
        _ => MediaError::BadResponse { reason: BadResponseReason::NotTwirp, upstream },
    };
    CallError::Other(error)
}

/// Whether `code` has the form of a Twirp code. Any other text might be secret.
fn is_code(code: &str) -> bool {
    (1..=32).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Maps a request without a complete response.
pub(super) fn from_transport(error: &reqwest::Error, host: String, request_id: &str) -> MediaError {
    let is_unreadable = sources(error).filter_map(|source| source.downcast_ref()).any(hyper::Error::is_parse);
    let upstream =
        Upstream { request_id: Some(request_id.to_owned()), status: error.status().map(|status| status.as_u16()) };
    if is_unreadable {
        MediaError::BadResponse { reason: BadResponseReason::NotHttp, upstream }
    } else {
        MediaError::Unreachable { host, reason: reason(error), upstream }
    }
}

/// Whether another attempt fails in the same way: the URL cannot be used, or the server's certificate is not trusted.
pub(crate) fn is_permanent(error: &reqwest::Error) -> bool {
    error.is_builder() || sources(error).find_map(tls_error).is_some_and(is_permanent_tls)
}

/// Only errors of the certificate are permanent. Another TLS error may be due to a restart or a broken connection.
fn is_permanent_tls(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

fn reason(error: &reqwest::Error) -> Unreachable {
    if error.is_dns() {
        return Unreachable::Dns;
    }
    if let Some(tls) = sources(error).find_map(tls_error) {
        return tls_reason(tls);
    }
    if !error.is_connect() {
        return Unreachable::Reset;
    }
    let refused = sources(error)
        .filter_map(|source| source.downcast_ref::<io::Error>())
        .any(|source| source.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        Unreachable::Refused
    } else if error.is_timeout() {
        Unreachable::ConnectTimeout
    } else {
        Unreachable::Reset
    }
}

fn sources<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&source: &&'a (dyn Error + 'static)| Error::source(source))
}

/// `io::Error::source` skips the inner error, so it is read separately.
fn tls_error<'a>(source: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = source.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    source.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()))
}

fn tls_reason(error: &rustls::Error) -> Unreachable {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => Unreachable::UnknownAuthority,
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => Unreachable::WrongName,
        _ => Unreachable::Tls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> MediaError {
        from_response(status, body.as_bytes(), "id")
            .or_missing(|upstream| MediaError::RoomNotFound { room: "r".into(), upstream })
    }

    #[test]
    fn only_errors_of_the_certificate_are_permanent() {
        use rustls::{AlertDescription, CertificateError, Error};
        for (error, expected) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), true),
            (Error::InvalidCertificate(CertificateError::NotValidForName), true),
            (Error::InvalidCertificate(CertificateError::Expired), true),
            (Error::AlertReceived(AlertDescription::InternalError), false),
            (Error::HandshakeNotComplete, false),
            (Error::DecryptError, false),
        ] {
            assert_eq!(is_permanent_tls(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn maps_each_response_to_its_error() {
        let up = |status| Upstream { request_id: Some("id".into()), status: Some(status) };
        let bad = |status, reason| MediaError::BadResponse { reason, upstream: up(status) };
        for (status, body, expected) in [
            (401, "invalid token: eyJh.eyJh.sig", MediaError::Unauthenticated(up(401))),
            (401, r#"{"code":"unauthenticated"}"#, MediaError::PermissionDenied(up(401))),
            (403, r#"{"code":"permission_denied"}"#, MediaError::PermissionDenied(up(403))),
            (403, "<html>", MediaError::PermissionDenied(up(403))),
            (451, "project not allowed in this region.", MediaError::RegionRefused(up(451))),
            (404, r#"{"code":"not_found"}"#, MediaError::RoomNotFound { room: "r".into(), upstream: up(404) }),
            (404, "404 page not found", bad(404, BadResponseReason::NotTwirp)),
            (404, r#"{"code":"bad_route"}"#, MediaError::Refused { code: "bad_route".into(), upstream: up(404) }),
            (413, "too large", MediaError::LimitExceeded(up(413))),
            (429, "", MediaError::LimitExceeded(up(429))),
            (403, r#"{"code":"resource_exhausted"}"#, MediaError::LimitExceeded(up(403))),
            (503, r#"{"code":"unavailable"}"#, MediaError::Unavailable(up(503))),
            (502, "<html>", MediaError::Unavailable(up(502))),
            (500, r#"{"code":"unknown"}"#, MediaError::Unavailable(up(500))),
            (408, r#"{"code":"deadline_exceeded"}"#, MediaError::Unavailable(up(408))),
            (408, r#"{"code":"canceled"}"#, MediaError::Unavailable(up(408))),
            (500, r#"{"code":"internal"}"#, MediaError::Refused { code: "internal".into(), upstream: up(500) }),
            (500, "<html>", bad(500, BadResponseReason::NotTwirp)),
            (302, "", bad(302, BadResponseReason::Redirect)),
            (400, r#"{"code":"eyJhbGciOiJIUzI1NiJ9.x.y"}"#, bad(400, BadResponseReason::NotTwirp)),
        ] {
            assert_eq!(error(status, body), expected, "{status} {body}");
        }
    }
}

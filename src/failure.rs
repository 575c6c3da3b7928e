use napi_derive::napi;

use maravilla_core::MediaError;

/// Maximum size of an error's message, in bytes; the rest is cut off. The name of a region's host can have any length.
const MAX_MESSAGE_BYTES: usize = 2048;

/// The codes of the public `MediaError`.
#[napi(string_enum = "UPPER_SNAKE")]
#[derive(Debug, PartialEq, Eq)]
pub enum MediaErrorCode {
    /// An argument is invalid.
    InvalidArgument,
    /// Options or environment are invalid.
    InvalidConfig,
    /// No LiveKit URL is configured.
    UrlNotConfigured,
    /// The server rejects the credentials.
    Unauthenticated,
    /// The credentials do not permit the call.
    PermissionDenied,
    /// The room does not exist.
    RoomNotFound,
    /// The participant does not exist.
    ParticipantNotFound,
    /// A limit is exceeded.
    LimitExceeded,
    /// The server is unreachable, or cannot serve now.
    Unavailable,
    /// The budget of the call ran out.
    Timeout,
    /// The signal of the call aborted.
    Aborted,
    /// The response is not LiveKit's.
    BadResponse,
    /// Any other error of LiveKit.
    UpstreamError,
    /// A defect of this package.
    Internal,
}

/// Fields of a `MediaError`.
#[napi(object, object_from_js = false)]
pub struct Failure {
    /// The code.
    pub code: MediaErrorCode,
    /// The cause and its remedy.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The HTTP status of the response.
    pub upstream_status: Option<u16>,
    /// The id of the request.
    pub request_id: Option<String>,
}

impl From<&MediaError> for MediaErrorCode {
    fn from(error: &MediaError) -> Self {
        match error {
            MediaError::InvalidArgument { .. } => Self::InvalidArgument,
            MediaError::InvalidConfig(_) => Self::InvalidConfig,
            MediaError::UrlNotConfigured => Self::UrlNotConfigured,
            MediaError::Unauthenticated(_) | MediaError::WebhookRejected(_) => Self::Unauthenticated,
            MediaError::PermissionDenied(_) | MediaError::RegionRefused(_) => Self::PermissionDenied,
            MediaError::RoomNotFound { .. } => Self::RoomNotFound,
            MediaError::ParticipantNotFound { .. } => Self::ParticipantNotFound,
            MediaError::LimitExceeded(_) | MediaError::ResultTooLarge { .. } => Self::LimitExceeded,
            MediaError::Unreachable { .. }
            | MediaError::Unavailable(_)
            | MediaError::ResourceExhausted
            | MediaError::Closed => Self::Unavailable,
            MediaError::TimedOut { .. } => Self::Timeout,
            MediaError::Aborted => Self::Aborted,
            MediaError::BadResponse { .. } => Self::BadResponse,
            MediaError::Refused { .. } => Self::UpstreamError,
            MediaError::Internal => Self::Internal,
        }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let upstream = error.upstream();
        Self {
            code: (&error).into(),
            message: cut(error.to_string()),
            retryable: error.is_retryable(),
            upstream_status: upstream.and_then(|upstream| upstream.status),
            request_id: upstream.and_then(|upstream| upstream.request_id.clone()),
        }
    }
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES).rev().find(|&end| message.is_char_boundary(end));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_long_message_between_characters() {
        let room = "é".repeat(MAX_MESSAGE_BYTES);
        let failure = Failure::from(MediaError::RoomNotFound { room, upstream: maravilla_core::Upstream::default() });
        assert!((MAX_MESSAGE_BYTES - 1..MAX_MESSAGE_BYTES + 4).contains(&failure.message.len()));
        assert!(failure.message.ends_with("é…"));
        assert_eq!(cut("short".into()), "short");
    }
}

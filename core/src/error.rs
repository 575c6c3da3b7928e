use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// A failed call, one variant for each cause. Messages name the object and the remedy, and contain no secret and no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MediaError {
    /// An argument is not what the method takes.
    #[error("{parameter}: {fault}")]
    InvalidArgument {
        /// The argument's path, such as `settings.maxParticipants`.
        parameter: String,
        /// The reason why it is invalid.
        fault: ArgumentFault,
    },
    /// Options or environment are wrong.
    #[error("{0}")]
    InvalidConfig(ConfigFault),
    /// No URL to connect or to send to is configured.
    #[error("no LiveKit URL is configured: set LIVEKIT_URL (option url)")]
    UrlNotConfigured,
    /// The server rejects the API key, its secret or the clock.
    #[error("the server refused the credentials: check LIVEKIT_API_KEY, LIVEKIT_API_SECRET and this machine's clock")]
    Unauthenticated(Upstream),
    /// A webhook that was not signed with these credentials.
    #[error("the webhook is rejected: {0}")]
    WebhookRejected(WebhookFault),
    /// The credentials are valid, but do not permit the call.
    #[error("the server does not allow this key to do that: check what the key may do")]
    PermissionDenied(Upstream),
    /// A region-pinned project has no region left that may answer.
    #[error("no region of this LiveKit Cloud project may answer: check its region pinning")]
    RegionRefused(Upstream),
    /// The room does not exist.
    #[error("there is no room {room:?}")]
    RoomNotFound {
        /// The room, without the prefix.
        room: String,
        /// The response.
        upstream: Upstream,
    },
    /// The participant is not in the room, or the room does not exist.
    #[error("there is no participant {identity:?} in room {room:?}")]
    ParticipantNotFound {
        /// The room, without the prefix.
        room: String,
        /// The participant.
        identity: String,
        /// The response.
        upstream: Upstream,
    },
    /// A limit of the server is exceeded.
    #[error("a limit of the server is reached (status {})", .0.status.unwrap_or_default())]
    LimitExceeded(Upstream),
    /// No response from the server.
    #[error("the server at {host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The cause.
        reason: Unreachable,
        /// The request.
        upstream: Upstream,
    },
    /// The server, or a proxy in front of it, cannot serve now.
    #[error("the server is not available now (status {}): try again later", .0.status.unwrap_or_default())]
    Unavailable(Upstream),
    /// The budget of the call ran out.
    #[error("no answer within {} ms", .budget.as_millis())]
    TimedOut {
        /// The budget of the whole call.
        budget: Duration,
        /// The request; it may not have been sent yet. `None` on the embedded engine.
        upstream: Option<Upstream>,
    },
    /// The caller aborted the call.
    #[error("the call was aborted by its signal")]
    Aborted,
    /// The response is not LiveKit's.
    #[error("the response is not LiveKit's: {reason}; check LIVEKIT_URL and LIVEKIT_API_URL")]
    BadResponse {
        /// How it differs from LiveKit's.
        reason: BadResponseReason,
        /// The response.
        upstream: Upstream,
    },
    /// The result exceeds [`crate::MAX_RESULT_BYTES`].
    #[error(
        "the result is longer than {max} bytes: a list of fewer rooms or participants, or less metadata, would fit"
    )]
    ResultTooLarge {
        /// Maximum size, in bytes.
        max: usize,
    },
    /// The machine has no thread or socket left.
    #[error("this machine has no thread or socket left: raise the limit of open files, or close what is not needed")]
    ResourceExhausted,
    /// The platform was closed.
    #[error("this platform is closed: make a new one with createPlatform()")]
    Closed,
    /// Any other error that LiveKit answered.
    #[error("the server refused the call: {code}")]
    Refused {
        /// The Twirp error code.
        code: String,
        /// The response.
        upstream: Upstream,
    },
    /// A defect of this package.
    #[error("the media core failed; please report it")]
    Internal,
}

impl MediaError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unavailable(_)
            | Self::TimedOut { .. }
            | Self::ResourceExhausted
            | Self::Closed => true,
            Self::LimitExceeded(upstream) => upstream.status == Some(429),
            Self::InvalidArgument { .. }
            | Self::InvalidConfig(_)
            | Self::UrlNotConfigured
            | Self::Unauthenticated(_)
            | Self::WebhookRejected(_)
            | Self::PermissionDenied(_)
            | Self::RegionRefused(_)
            | Self::RoomNotFound { .. }
            | Self::ParticipantNotFound { .. }
            | Self::Aborted
            | Self::BadResponse { .. }
            | Self::ResultTooLarge { .. }
            | Self::Refused { .. }
            | Self::Internal => false,
        }
    }

    /// The request and answer behind the error, where there was a request.
    #[must_use]
    pub fn upstream(&self) -> Option<&Upstream> {
        match self {
            Self::Unauthenticated(upstream)
            | Self::PermissionDenied(upstream)
            | Self::RegionRefused(upstream)
            | Self::LimitExceeded(upstream)
            | Self::Unavailable(upstream)
            | Self::RoomNotFound { upstream, .. }
            | Self::ParticipantNotFound { upstream, .. }
            | Self::Unreachable { upstream, .. }
            | Self::BadResponse { upstream, .. }
            | Self::Refused { upstream, .. } => Some(upstream),
            Self::TimedOut { upstream, .. } => upstream.as_ref(),
            Self::InvalidArgument { .. }
            | Self::InvalidConfig(_)
            | Self::UrlNotConfigured
            | Self::WebhookRejected(_)
            | Self::ResultTooLarge { .. }
            | Self::ResourceExhausted
            | Self::Closed
            | Self::Aborted
            | Self::Internal => None,
        }
    }
}

/// A request to the server and its response, without content that may be secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// `X-Livekit-Request-Id`, the same on every attempt of a call; `None` if nothing was sent.
    pub request_id: Option<String>,
    /// The HTTP status of the response; `None` if none arrived.
    pub status: Option<u16>,
}

/// Why an argument is invalid: what was expected, and what was received.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentFault {
    /// An empty name.
    #[error("expected a name, got an empty string")]
    Empty,
    /// A longer name than LiveKit accepts.
    #[error("expected at most {max} bytes of UTF-8 (a room prefix included), got {bytes}")]
    TooLong {
        /// Length in bytes of UTF-8.
        bytes: usize,
        /// Maximum length in bytes of UTF-8.
        max: usize,
    },
    /// A control character in a name.
    #[error("expected no control characters, got U+{:04X}", u32::from(*.0))]
    ControlCharacter(char),
    /// An empty text where LiveKit keeps the present one.
    #[error("expected a text that is not empty, because LiveKit cannot clear it")]
    CannotClear,
    /// A longer data message than data channels carry.
    #[error("expected at most {max} bytes with topic and recipients, got {bytes}")]
    DataTooLong {
        /// Length of the encoded message, in bytes.
        bytes: usize,
        /// Maximum length of the encoded message, in bytes.
        max: usize,
    },
    /// JSON that is not an event.
    #[error("expected an event of LiveKit's webhooks")]
    NotAnEvent,
    /// Not a whole number within the range.
    #[error("expected a whole number from {min} to {max}, got {value}")]
    NotInRange {
        /// Minimum.
        min: u32,
        /// Maximum.
        max: u32,
        /// The number that was received.
        value: String,
    },
}

/// Why the configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigFault {
    /// The server's address cannot be used.
    #[error("the LiveKit URL cannot be used: give it like wss://example.livekit.cloud or http://127.0.0.1:7880")]
    Url,
    /// Another socket listens on the port.
    #[error(
        "port {port} of {host} is taken: give another as MARAVILLA_MEDIA_PORT (option port), or 0 for any free one"
    )]
    PortTaken {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// The address is not this machine's, or the user may not open the port.
    #[error(
        "cannot listen on port {port} of {host}: give an address of this machine as MARAVILLA_MEDIA_HOST (option host), and a port that this user may open"
    )]
    Listen {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// The port for media cannot be opened.
    #[error(
        "port {port} for media cannot be opened: give a free one as MARAVILLA_MEDIA_RTC_PORT (option rtcPort), or none for any free one"
    )]
    RtcPort {
        /// The port, of UDP and TCP.
        port: u16,
    },
    /// The process's shared engine runs with another configuration.
    #[error(
        "the embedded engine of this process already runs with another {0}: give the same, or use createPlatform()"
    )]
    OtherEngine(&'static str),
    /// The proxy of the environment cannot be used.
    #[error("{variable} is not the URL of an http or https proxy: give it like http://127.0.0.1:3128, or unset it")]
    Proxy {
        /// The variable that sets it.
        variable: &'static str,
    },
}

/// Why no response arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// No server listens on the port.
    #[error("the connection was refused; does LiveKit run there, and the proxy, if one is set?")]
    Refused,
    /// The host name cannot be resolved.
    #[error("its name cannot be resolved; check the URL")]
    Dns,
    /// The server's certificate is signed by an untrusted authority.
    #[error("its certificate is signed by an unknown authority; add that to NODE_EXTRA_CA_CERTS")]
    UnknownAuthority,
    /// The server's certificate is for another name.
    #[error("its certificate is for another name; check the URL")]
    WrongName,
    /// Any other failure of TLS.
    #[error("TLS failed; check the URL's scheme and the server's certificate")]
    Tls,
    /// Connecting took too long.
    #[error("it does not accept connections")]
    ConnectTimeout,
    /// The connection broke before the response was complete.
    #[error("the connection broke before the response was complete")]
    Reset,
}

/// Why a webhook is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebhookFault {
    /// There is no token.
    #[error("it has no header Authorization")]
    NoToken,
    /// The token is no JWT with HS256, or was signed with another secret.
    #[error("its token is not signed with this API secret")]
    Signature,
    /// The token names another API key.
    #[error("its token names another API key")]
    OtherKey,
    /// The token is expired or not valid yet.
    #[error("its token is expired or not valid yet: check this machine's clock")]
    Expired,
    /// The body is not the signed one.
    #[error("its body is not the signed one: pass the bytes as they were received")]
    Altered,
}

/// How a response differs from LiveKit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadResponseReason {
    /// Not HTTP, or an HTTP head without end.
    #[error("it is not HTTP")]
    NotHttp,
    /// Neither protobuf nor a Twirp error.
    #[error("it is neither protobuf nor a Twirp error")]
    NotTwirp,
    /// A redirect. It is not followed, because that would change the call.
    #[error("it is a redirect")]
    Redirect,
    /// Protobuf that cannot be decoded.
    #[error("its protobuf cannot be decoded")]
    Undecodable,
    /// More bytes than the limit for this method.
    #[error("it is too large")]
    TooLarge,
    /// Another room than the requested one.
    #[error("it names another room")]
    OtherRoom,
}

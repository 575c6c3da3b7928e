use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// What went wrong, one variant per cause. Messages name the thing and the remedy, never a secret or a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MediaError {
    /// An argument is not what the method takes.
    #[error("{parameter} {fault}")]
    InvalidArgument {
        /// The argument's path, such as `settings.maxParticipants`.
        parameter: String,
        /// What is wrong with it.
        fault: ArgumentFault,
    },
    /// Options or environment are wrong.
    #[error("{0}")]
    InvalidConfig(ConfigFault),
    /// There is no URL to connect or to send to.
    #[error("no LiveKit URL is configured: set LIVEKIT_URL (option url)")]
    UrlNotConfigured,
    /// The server does not take our key, secret or clock.
    #[error("the server refused the credentials: check LIVEKIT_API_KEY, LIVEKIT_API_SECRET and this machine's clock")]
    Unauthenticated(Upstream),
    /// The server took the credentials, and refuses the call.
    #[error("the server does not allow this key to do that: check what the key may do")]
    PermissionDenied(Upstream),
    /// A pinned project has no region left that may answer.
    #[error("no region of this LiveKit Cloud project may answer: check its region pinning")]
    RegionRefused(Upstream),
    /// The room is not there.
    #[error("there is no room {room:?}")]
    RoomNotFound {
        /// The room, as the caller named it.
        room: String,
        /// The answer.
        upstream: Upstream,
    },
    /// The participant is not in the room, or there is no such room.
    #[error("there is no participant {identity:?} in room {room:?}")]
    ParticipantNotFound {
        /// The room, as the caller named it.
        room: String,
        /// The participant.
        identity: String,
        /// The answer.
        upstream: Upstream,
    },
    /// A limit of the server is reached.
    #[error("a limit of the server is reached (status {})", .0.status.unwrap_or_default())]
    LimitExceeded(Upstream),
    /// No answer could be had from the server.
    #[error("the server at {host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What failed.
        reason: Unreachable,
        /// The request.
        upstream: Upstream,
    },
    /// The server, or a proxy before it, says that it cannot serve now.
    #[error("the server is not available now (status {}): try again later", .0.status.unwrap_or_default())]
    Unavailable(Upstream),
    /// The call's budget ran out.
    #[error("no answer within {} ms", .budget.as_millis())]
    TimedOut {
        /// The budget of the whole call.
        budget: Duration,
        /// The request, where one was made; it may not have been sent yet.
        upstream: Option<Upstream>,
    },
    /// The caller gave the call up.
    #[error("the call was aborted by its signal")]
    Aborted,
    /// What answered is not LiveKit.
    #[error("the answer is not LiveKit's: {mismatch}; check LIVEKIT_URL and LIVEKIT_API_URL")]
    BadResponse {
        /// How it differs.
        mismatch: Mismatch,
        /// The answer.
        upstream: Upstream,
    },
    /// The result is longer than one call gives.
    #[error(
        "the result is longer than {max} bytes: a list of fewer rooms or participants, or less metadata, would fit"
    )]
    ResultTooLarge {
        /// Maximum size, in bytes.
        max: usize,
    },
    /// The system has no thread, socket or memory left for it.
    #[error(
        "this machine has no thread or socket left for it: raise the limit of open files, or close what is not needed"
    )]
    Starved,
    /// The platform was closed.
    #[error("this platform is closed: make a new one with createPlatform()")]
    Closed,
    /// Any other error that LiveKit answered.
    #[error("the server refused the call: {code}")]
    Refused {
        /// The Twirp error code.
        code: String,
        /// The answer.
        upstream: Upstream,
    },
    /// A defect of this crate.
    #[error("the media core failed; please report it")]
    Internal,
}

impl MediaError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unavailable(_) | Self::TimedOut { .. } | Self::Starved | Self::Closed => {
                true
            }
            Self::LimitExceeded(upstream) => upstream.status == Some(429),
            Self::InvalidArgument { .. }
            | Self::InvalidConfig(_)
            | Self::UrlNotConfigured
            | Self::Unauthenticated(_)
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
            | Self::ResultTooLarge { .. }
            | Self::Starved
            | Self::Closed
            | Self::Aborted
            | Self::Internal => None,
        }
    }
}

/// A request to the server, and its answer as far as it is safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// What `X-Livekit-Request-Id` said, the same on every attempt of a call; `None` if nothing was sent.
    pub request_id: Option<String>,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentFault {
    /// Nothing where a name must stand.
    #[error("must not be empty")]
    Empty,
    /// More bytes than LiveKit takes.
    #[error("is {bytes} bytes long (a room prefix counts), at most {most} are allowed")]
    TooLong {
        /// Its length in bytes of UTF-8.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A control character.
    #[error("must not hold control characters")]
    ControlCharacter,
    /// Not a whole number of the range.
    #[error("must be a whole number from {least} to {most}")]
    NotInRange {
        /// The smallest that is allowed.
        least: u32,
        /// The largest that is allowed.
        most: u32,
    },
}

/// What is wrong with the configuration, as far as only the core can tell.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigFault {
    /// The server's address cannot be used.
    #[error("the LiveKit URL cannot be used: give it like wss://example.livekit.cloud or http://127.0.0.1:7880")]
    Url,
    /// Somebody else listens there.
    #[error(
        "port {port} of {host} is taken: give another as MARAVILLA_MEDIA_PORT (option port), or 0 for any free one"
    )]
    PortTaken {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
    },
    /// This machine cannot listen there.
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
    /// The process's one engine runs with another configuration.
    #[error(
        "the embedded engine of this process already runs with another {0}: give the same, or use createPlatform()"
    )]
    OtherEngine(&'static str),
    /// The environment's proxy cannot be used.
    #[error("{variable} is not the URL of an http or https proxy: give it like http://127.0.0.1:3128, or unset it")]
    Proxy {
        /// The variable that names it.
        variable: &'static str,
    },
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// Nothing listens there.
    #[error("the connection was refused; does LiveKit run there, and the proxy, if one is set?")]
    Refused,
    /// The name is unknown.
    #[error("its name cannot be resolved; check the URL")]
    Dns,
    /// The server's certificate is signed by none that Node trusts.
    #[error("its certificate is signed by an unknown authority; add that to NODE_EXTRA_CA_CERTS")]
    UnknownAuthority,
    /// The server's certificate is for another name.
    #[error("its certificate is for another name; check the URL")]
    WrongName,
    /// Any other failure of TLS.
    #[error("TLS failed; check the URL's scheme and the server's certificate")]
    Tls,
    /// The connection could not be made in time.
    #[error("it does not take connections")]
    ConnectTimeout,
    /// The connection broke before the whole answer was there.
    #[error("the connection broke before the answer was complete")]
    Reset,
}

/// How an answer differs from what LiveKit answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// Bytes that are not HTTP, or an HTTP head without end.
    #[error("it is not HTTP")]
    NotHttp,
    /// Neither protobuf nor a Twirp error.
    #[error("it is neither protobuf nor a Twirp error")]
    NotTwirp,
    /// A redirect, which is not followed: it would turn the call into another.
    #[error("it is a redirect")]
    Redirect,
    /// Bytes that do not decode.
    #[error("its protobuf cannot be decoded")]
    Undecodable,
    /// More bytes than any answer of this kind has.
    #[error("it is too large")]
    TooLarge,
    /// A room that was not asked for.
    #[error("it names another room")]
    OtherRoom,
}

//! An in-process media server that implements the protocol of livekit-server 1.13: rooms, tokens, the server API over HTTP,
//! signalling and media. It is independent of Node.js and reads no environment variables.
//!
//! - [`Engine`]: one running server, with direct access to its rooms.
//! - [`rooms`], [`revocation`] (`registry`): rooms and participants as the server API sees them, and revoked tokens. No clock,
//!   no lock, no network.
//! - [`token`] (`auth`): verifies and signs access tokens.
//! - [`webhooks`]: sends events of rooms to URLs.
//! - `http`: HTTP connections, the server API, and the checks before a client connects.
//! - `signal`: signalling connections (`WebSocket`s).
//! - `session`: the media thread: rooms, participants, subscriptions, publications, negotiation and data messages.
//! - `sfu`: the packet path: layers, forwarding, keyframe requests and retransmission.
//! - `net`: sockets, peer connections and SDP.

// `tests/support` refers to this crate by its name, in unit tests as well.
#[cfg(test)]
extern crate self as maravilla_engine;

mod auth;
mod budget;
mod clock;
mod config;
mod control;
mod decode_cost;
mod decoded_memory;
mod engine;
mod error;
mod http;
mod ids;
mod net;
mod registry;
mod services;
mod session;
mod sfu;
mod shared;
mod signal;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;
mod token_bucket;
pub mod webhooks;
mod work;

pub use auth::token;
pub use clock::Now;
pub use config::{Config, Limits, Port, RtcConfig, StartError};
pub use engine::Engine;
pub use error::{ApiError, RpcError};
pub use registry::{revocation, rooms};

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use str0m::rtp::SeqNo;

    /// `npm test` sets the variable, and compiles the tests with `checked.toml`.
    #[test]
    fn has_overflow_checks_and_debug_assertions_if_the_variable_is_set() {
        if option_env!("REQUIRE_CHECKED_TESTS").is_none() {
            return;
        }
        assert!(catch_unwind(|| debug_assert!(black_box(false))).is_err(), "debug assertions of the engine");
        assert!(catch_unwind(|| black_box(u8::MAX) + black_box(1)).is_err(), "overflow checks of the engine");
        // str0m's own addition, checked only if str0m is compiled so.
        assert!(catch_unwind(|| black_box(SeqNo::from(u64::MAX)).inc()).is_err(), "overflow checks of str0m");
    }
}

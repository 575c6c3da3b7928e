//! Body and signature of a webhook.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::clock::Now;
use crate::ids::new_sid;
use crate::registry::events::RoomEvent;

/// Lifetime of a token in seconds, as livekit-server's.
const TTL_SECS: i64 = 300;

/// Signs webhooks with one API key.
pub(super) struct Signer {
    key: String,
    secret: EncodingKey,
    /// The time, in seconds since the Unix epoch.
    clock: fn() -> i64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    /// SHA-256 of the body, in base64.
    sha256: String,
}

impl Signer {
    pub(super) fn new(key: &str, secret: &str) -> Self {
        Self::with_clock(key, secret, || Now::read().unix_secs())
    }

    /// As [`new`](Self::new), with a clock of its own.
    pub(super) fn with_clock(key: &str, secret: &str, clock: fn() -> i64) -> Self {
        Self { key: key.to_owned(), secret: EncodingKey::from_secret(secret.as_bytes()), clock }
    }

    /// The header `Authorization` for that body; `None` if it cannot be signed, which never happens with HS256.
    pub(super) fn sign(&self, body: &[u8]) -> Option<String> {
        let now = (self.clock)();
        let sha256 = STANDARD.encode(digest::digest(&digest::SHA256, body));
        let claims = Claims { iss: &self.key, exp: now + TTL_SECS, nbf: now, iat: now, sha256 };
        encode(&Header::new(Algorithm::HS256), &claims, &self.secret).ok()
    }
}

/// The JSON of an event, as Go's protojson writes it: without defaults, and with 64-bit integers as strings.
pub(super) fn body(event: &RoomEvent) -> Option<Bytes> {
    serde_json::to_vec(&event.to_proto(new_sid("EV_"))).ok().map(Bytes::from)
}

//! Verification and signing of access tokens: JSON Web Tokens (RFC 7519) with LiveKit's claims, checked as RFC 8725 advises.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, dangerous, decode, encode};
use livekit_protocol as proto;
use livekit_token::VideoGrants;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::strict_json::Strict;
use crate::clock::Now;
use crate::registry::revocation::TokenEpoch;

/// Maximum bytes of a token; a longer one is rejected as malformed. Metadata and attributes at their limits fit.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;
/// Tolerated clock difference between the signer and this machine, in seconds.
const LEEWAY_SECS: i64 = 60;
/// Lifetime of the tokens that participants receive by signalling, in seconds.
const REFRESHED_TTL_SECS: i64 = 600;

/// API keys with their secrets.
pub struct Keys(HashMap<String, Key>);

struct Key {
    decoding: DecodingKey,
    encoding: EncodingKey,
}

/// The claims of a token that the engine uses.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The API key.
    pub iss: String,
    /// The participant's identity.
    #[serde(default)]
    pub sub: String,
    /// The identity if `sub` is empty.
    #[serde(default)]
    jti: String,
    /// Expiry, in seconds since the Unix epoch. A token without it is rejected, with an error of its own.
    #[serde(default)]
    pub exp: Option<f64>,
    /// Start of validity, in seconds since the Unix epoch.
    #[serde(default)]
    nbf: Option<f64>,
    /// The participant's name.
    #[serde(default)]
    pub name: String,
    /// The participant's kind, such as `agent`; empty for `standard`.
    #[serde(default)]
    pub kind: String,
    /// The permissions.
    #[serde(default)]
    pub video: Option<VideoGrants>,
    /// The participant's metadata.
    #[serde(default)]
    pub metadata: String,
    /// The participant's attributes.
    #[serde(default)]
    pub attributes: HashMap<String, String>,
    /// The settings of the room if the join creates it.
    #[serde(default)]
    pub room_config: Option<proto::RoomConfiguration>,
    /// The name of a room configuration. The engine has none and rejects a join that would create the room.
    #[serde(default)]
    pub room_preset: String,
    /// Private claim of tokens that an engine of this crate minted.
    #[serde(default, rename = "maravilla")]
    pub epoch: Option<TokenEpoch>,
}

impl Claims {
    /// The identity of the participant.
    #[must_use]
    pub fn identity(&self) -> &str {
        if self.sub.is_empty() { &self.jti } else { &self.sub }
    }

    /// The `nbf` claim in whole seconds since the Unix epoch, rounded down.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "out of range saturates, which is never or always valid")]
    pub fn not_before(&self) -> Option<i64> {
        self.nbf.map(|secs| secs.floor() as i64)
    }
}

/// Why a token is rejected, with livekit-server's message. Never contains the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The token is not a JSON Web Token with HS256.
    #[error("invalid authorization token")]
    Malformed,
    /// The issuer is not one of the API keys.
    #[error("invalid API key")]
    UnknownKey,
    /// The signature, the validity or another claim is wrong.
    #[error("invalid authorization token: {0}")]
    Refused(&'static str),
}

impl Keys {
    /// Takes pairs of an API key and its secret.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let key = |(name, secret): (&str, &str)| {
            let secret = secret.as_bytes();
            (
                name.to_owned(),
                Key { decoding: DecodingKey::from_secret(secret), encoding: EncodingKey::from_secret(secret) },
            )
        };
        Self(pairs.into_iter().map(key).collect())
    }

    /// Signs `claims` with the key they name, valid for ten minutes from now; `None` if that key is unknown.
    pub(crate) fn sign(&self, claims: Claims) -> Option<String> {
        let key = self.0.get(&claims.iss)?;
        let now = Now::read().unix_secs();
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 seconds")]
        let (from, until) = (now as f64, (now + REFRESHED_TTL_SECS) as f64);
        let claims = Claims { nbf: Some(from), exp: Some(until), ..claims };
        encode(&Header::new(Algorithm::HS256), &claims, &key.encoding).ok()
    }

    /// Verifies a token's signature and validity, with a leeway of 60 seconds, and returns its claims.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let issuer = dangerous::insecure_decode::<Issuer>(token).map_err(|_| TokenError::Malformed)?;
        // Unknown critical headers must be rejected (RFC 7515, section 4.1.11); all of them are unknown here.
        if issuer.header.alg != Algorithm::HS256 || issuer.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let Issuer { iss } = issuer.claims;
        let Some(key) = self.0.get(&iss) else { return Err(TokenError::UnknownKey) };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECS.unsigned_abs();
        // Validated below, because the library rejects an `nbf` of `null`.
        validation.validate_nbf = false;
        // LiveKit ignores the audience.
        validation.validate_aud = false;
        // `Strict` treats `null` claims as absent and rejects duplicates.
        let claims = decode::<Strict>(token, &key.decoding, &validation).map(|token| token.claims.0);
        let claims = claims.map_err(|error| TokenError::Refused(reason(&error)))?;
        let claims = Claims::deserialize(claims).map_err(|_| TokenError::Refused(UNREADABLE))?;
        match claims.not_before() {
            Some(..0) => Err(TokenError::Refused(UNREADABLE)),
            Some(from) if from > Now::read().unix_secs() + LEEWAY_SECS => Err(TokenError::Refused(NOT_YET)),
            _ => Ok(claims),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The claim that selects the key, read before the signature is verified. A duplicate `iss` is an error.
#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: String,
}

const NOT_YET: &str = "token has invalid claims: token is not valid yet";
const UNREADABLE: &str = "token is malformed: could not JSON decode claim";

fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "token signature is invalid: signature is invalid",
        ErrorKind::ExpiredSignature => "token has invalid claims: token is expired",
        ErrorKind::MissingRequiredClaim(_) => {
            "token has invalid claims: token is missing required claim: exp claim is required"
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "its algorithm is not HS256",
        _ => UNREADABLE,
    }
}

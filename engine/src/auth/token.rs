//! Tokens from outside: JSON Web Tokens (RFC 7519) as LiveKit mints them. RFC 8725 says what to refuse.

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

/// Longer ones are not looked at: metadata and attributes at their limits fit.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;
const LEEWAY_SECS: i64 = 60;
/// How long a participant's refreshed token is good.
const REFRESHED_TTL_SECS: i64 = 600;

/// The API keys, each with the secret that its tokens are signed with.
pub struct Keys(HashMap<String, Key>);

struct Key {
    decoding: DecodingKey,
    encoding: EncodingKey,
}

/// The claims of a token that a server needs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// The API key.
    pub iss: String,
    /// The participant's identity.
    #[serde(default)]
    pub sub: String,
    /// Stands for `sub` where that is empty.
    #[serde(default)]
    jti: String,
    /// When it expires, in seconds since the epoch; a token without it is refused, in words of its own.
    #[serde(default)]
    pub exp: Option<f64>,
    /// From when on it is good, in seconds since the epoch.
    #[serde(default)]
    nbf: Option<f64>,
    /// The participant's name.
    #[serde(default)]
    pub name: String,
    /// The participant's kind; empty: standard.
    #[serde(default)]
    pub kind: String,
    /// What it allows.
    #[serde(default)]
    pub video: Option<VideoGrants>,
    /// The participant's metadata.
    #[serde(default)]
    pub metadata: String,
    /// The participant's attributes.
    #[serde(default)]
    pub attributes: HashMap<String, String>,
    /// What the room is made with if joining creates it.
    #[serde(default)]
    pub room_config: Option<proto::RoomConfiguration>,
    /// The named configuration of that room; there are none here.
    #[serde(default)]
    pub room_preset: String,
    /// When it was minted, if an engine of ours did.
    #[serde(default, rename = "maravilla")]
    pub epoch: Option<TokenEpoch>,
}

impl Claims {
    /// Who joins with it.
    #[must_use]
    pub fn identity(&self) -> &str {
        if self.sub.is_empty() { &self.jti } else { &self.sub }
    }

    /// `nbf` in whole seconds.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a time past the end of the range is one that never comes")]
    pub fn not_before(&self) -> Option<i64> {
        self.nbf.map(|secs| secs.floor() as i64)
    }
}

/// Why a token is refused, in livekit-server's words. Never contains the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no JSON Web Token with HS256.
    #[error("invalid authorization token")]
    Malformed,
    /// It is signed by a key that is none of ours.
    #[error("invalid API key")]
    UnknownKey,
    /// Signature, times or claims are wrong.
    #[error("invalid authorization token: {0}")]
    Refused(&'static str),
}

impl Keys {
    /// Keys and their secrets.
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

    /// A token with those claims by the same key, good from now on for ten minutes; `None` if the key is none of ours.
    pub(crate) fn sign(&self, claims: Claims) -> Option<String> {
        let key = self.0.get(&claims.iss)?;
        let now = Now::read().unix_secs();
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since the epoch are exact for longer than there are tokens"
        )]
        let (from, until) = (now as f64, (now + REFRESHED_TTL_SECS) as f64);
        let claims = Claims { nbf: Some(from), exp: Some(until), ..claims };
        encode(&Header::new(Algorithm::HS256), &claims, &key.encoding).ok()
    }

    /// What the token says, if one of the keys has signed it and it is good now, give or take a minute.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let issuer = dangerous::insecure_decode::<Issuer>(token).map_err(|_| TokenError::Malformed)?;
        // Whoever does not know what is critical must refuse it (RFC 7515, section 4.1.11); nothing of it is known here.
        if issuer.header.alg != Algorithm::HS256 || issuer.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let Issuer { iss } = issuer.claims;
        let Some(key) = self.0.get(&iss) else { return Err(TokenError::UnknownKey) };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECS.unsigned_abs();
        // Looked at below: the library takes an `nbf` that is `null` for a wrong one.
        validation.validate_nbf = false;
        // A token names its audience to whom it likes; LiveKit does not look.
        validation.validate_aud = false;
        // A claim that is `null` is absent, and none comes twice.
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

/// Read before the signature is checked, to know whose it should be. `iss` twice is an error here already.
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

//! Tokens: one for a participant to join, one for a call of ours. The grants are LiveKit's own types.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livekit_api::access_token::VideoGrants;
use livekit_protocol::RoomConfiguration;
use maravilla_engine::revocation::Mark;
use serde::Serialize;

use super::convert;
use crate::media::{Join, MediaError, Secret};

/// How long a server call's token is good for: enough for the clock to differ, too short to be worth stealing.
const CALL_TTL_SECS: u32 = 60;

/// `{"alg":"HS256","typ":"JWT"}`, encoded.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Signs tokens with one key. Its HMAC key is prepared once; LiveKit's `AccessToken` prepares one for each token, and
/// copies its claims for each field, which makes a token twice as dear.
#[derive(Debug)]
pub(super) struct Signer {
    api_key: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(api_key: &str, api_secret: &Secret) -> Self {
        Self { api_key: api_key.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, api_secret.expose().as_bytes()) }
    }

    /// Mints a join token. It never allows more than joining its one room.
    pub(super) fn join(&self, join: &Join, mark: Option<Mark>) -> Result<Secret, MediaError> {
        self.sign(&Claims {
            sub: join.identity.as_str(),
            name: &join.name,
            metadata: &join.metadata,
            attributes: join.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            room_config: convert::room_configuration(&join.room_settings),
            mark,
            ..self.claims(join_grants(join), join.now, join.ttl_secs)
        })
    }

    /// Mints the token of one server call, with the grant that call needs and no other.
    pub(super) fn call(&self, grants: VideoGrants) -> Result<Secret, MediaError> {
        self.sign(&self.claims(grants, unix_secs(), CALL_TTL_SECS))
    }

    fn claims(&self, video: VideoGrants, now: u64, ttl_secs: u32) -> Claims<'_> {
        Claims { iss: &self.api_key, nbf: now, exp: now + u64::from(ttl_secs), video, ..Claims::default() }
    }

    /// The compact serialization of RFC 7515, section 3.1, with HS256.
    fn sign(&self, claims: &Claims<'_>) -> Result<Secret, MediaError> {
        let mut payload = Vec::with_capacity(512);
        serde_json::to_writer(&mut payload, claims).map_err(|_| MediaError::Internal)?;
        let mut jwt = String::with_capacity(HEADER.len() + payload.len() * 4 / 3 + 64);
        jwt.push_str(HEADER);
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut jwt);
        let signature = hmac::sign(&self.key, jwt.as_bytes());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(Secret::new(jwt))
    }
}

/// The claims of LiveKit's `ClaimGrants` that a room needs, borrowed; empty ones are left out, as LiveKit does.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub: &'a str,
    nbf: u64,
    exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    video: VideoGrants,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_config: Option<RoomConfiguration>,
    /// When it was minted, as the embedded engine counts.
    #[serde(rename = "maravilla", skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
}

fn join_grants(join: &Join) -> VideoGrants {
    let permissions = &join.permissions;
    VideoGrants {
        room_join: true,
        room: join.room.on_server().to_owned(),
        can_publish: Some(permissions.can_publish),
        can_subscribe: Some(permissions.can_subscribe),
        // Written always: LiveKit takes an absent one for `can_publish`.
        can_publish_data: Some(permissions.can_publish_data),
        can_publish_sources: permissions.sources.iter().map(|source| source.as_grant().to_owned()).collect(),
        can_update_own_metadata: permissions.can_update_own_metadata.then_some(true),
        hidden: permissions.hidden,
        ..VideoGrants::default()
    }
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use livekit_api::access_token::Claims as LiveKitClaims;

    use super::*;

    /// In 2100.
    const NOW: usize = 4_102_444_800;
    use crate::media::{Identity, Permissions, RoomName, RoomPrefix, RoomSettings, TrackSource};

    fn signer() -> Signer {
        Signer::new("key", &Secret::new("secret".into()))
    }

    fn claims(token: &str) -> LiveKitClaims {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_nbf = false;
        decode::<LiveKitClaims>(token, &DecodingKey::from_secret(b"secret"), &validation).unwrap().claims
    }

    fn join() -> Join {
        Join {
            room: RoomName::parse(&RoomPrefix::new("t:".into()), "r".into()).unwrap(),
            identity: Identity::parse("identity", "ann".into()).unwrap(),
            name: String::new(),
            permissions: Permissions {
                can_publish: false,
                can_subscribe: true,
                can_publish_data: true,
                can_update_own_metadata: false,
                hidden: false,
                sources: vec![TrackSource::Camera, TrackSource::ScreenShareAudio],
            },
            now: NOW as u64,
            ttl_secs: 77,
            metadata: String::new(),
            attributes: vec![("k".into(), "v".into())],
            room_settings: RoomSettings { departure_timeout_secs: 5, ..RoomSettings::default() },
        }
    }

    #[test]
    fn a_join_token_says_what_was_asked_and_nothing_more() {
        let claims = claims(signer().join(&join(), None).unwrap().expose());
        assert_eq!((claims.nbf, claims.exp), (NOW, NOW + 77));
        assert_eq!(
            claims.video,
            VideoGrants {
                room_join: true,
                room: "t:r".into(),
                can_publish: Some(false),
                can_subscribe: Some(true),
                can_publish_data: Some(true),
                can_publish_sources: vec!["camera".into(), "screen_share_audio".into()],
                ..VideoGrants::default()
            }
        );
        assert_eq!(claims.room_config.unwrap().departure_timeout, 5);
    }

    #[test]
    fn a_call_token_lives_one_minute() {
        let token = signer().call(VideoGrants { room_list: true, ..VideoGrants::default() }).unwrap();
        let claims = claims(token.expose());
        assert_eq!(claims.exp - claims.nbf, 60);
        assert_eq!(claims.video, VideoGrants { room_list: true, ..VideoGrants::default() });
    }
}

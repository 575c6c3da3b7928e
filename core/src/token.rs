//! Tokens for participants and for server calls, with LiveKit's grants.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livekit_api::access_token::VideoGrants;
use maravilla_engine::revocation::TokenEpoch;
use serde::{Deserialize, Serialize};

use super::convert;
use crate::{Join, MediaError, Permissions, Secret};

/// Lifetime of a server call's token, in seconds: longer than clocks differ, too short to be worth stealing.
const CALL_TTL_SECS: u64 = 60;

/// `{"alg":"HS256","typ":"JWT"}`, encoded.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Signs tokens with one key. Its HMAC key is prepared once; LiveKit's `AccessToken` prepares one for each token.
#[derive(Debug)]
pub(super) struct Signer {
    api_key: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(api_key: &str, api_secret: &Secret) -> Self {
        Self { api_key: api_key.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, api_secret.expose().as_bytes()) }
    }

    /// Mints a join token. It never allows more than joining its one room. Empty claims are left out, as LiveKit does.
    pub(super) fn join(&self, join: &Join, epoch: Option<TokenEpoch>) -> Result<Secret, MediaError> {
        let mut json = self.claims(join.now, join.expires_at())?;
        json.raw(r#","sub":"#).text(join.identity.as_str())?;
        if !join.name.is_empty() {
            json.raw(r#","name":"#).text(&join.name)?;
        }
        json.raw(r#","video":{"roomJoin":true,"room":"#).text(join.room.on_server())?;
        json.permissions(&join.permissions).raw("}");
        if !join.metadata.is_empty() {
            json.raw(r#","metadata":"#).text(&join.metadata)?;
        }
        json.attributes(&join.attributes)?;
        if let Some(config) = convert::room_configuration(&join.room_settings) {
            json.raw(r#","roomConfig":"#).value(&config)?;
        }
        // When it was minted, as the embedded engine counts.
        if let Some(epoch) = epoch {
            json.raw(r#","maravilla":"#).value(&epoch)?;
        }
        Ok(self.sign(json.raw("}")))
    }

    /// Mints the token of one server call, with the grant that call needs and no other.
    pub(super) fn call(&self, grants: &VideoGrants) -> Result<Secret, MediaError> {
        let now = unix_secs();
        let mut json = self.claims(now, now + CALL_TTL_SECS)?;
        json.raw(r#","video":"#).value(grants)?;
        Ok(self.sign(json.raw("}")))
    }

    /// The API key.
    pub(super) fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Signs claims that need not be signed fast.
    pub(super) fn sign_claims(&self, claims: &impl Serialize) -> Result<Secret, MediaError> {
        let mut json = Json(Vec::new());
        json.value(claims)?;
        Ok(self.sign(&json))
    }

    /// The payload of a token that this key has signed with HS256; `None` for any other text.
    pub(super) fn verify(&self, token: &str) -> Option<Vec<u8>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "HS256" {
            return None;
        }
        URL_SAFE_NO_PAD.decode(payload).ok()
    }

    /// The claims of every token, as an object that is not closed yet.
    fn claims(&self, now: u64, expires_at: u64) -> Result<Json, MediaError> {
        let mut json = Json(Vec::with_capacity(512));
        json.raw(r#"{"iss":"#).text(&self.api_key)?;
        json.raw(r#","nbf":"#).value(&now)?;
        json.raw(r#","exp":"#).value(&expires_at)?;
        Ok(json)
    }

    /// The compact serialization of RFC 7515, section 3.1, with HS256.
    fn sign(&self, payload: &Json) -> Secret {
        let mut jwt = String::with_capacity(HEADER.len() + payload.0.len() * 4 / 3 + 64);
        jwt.push_str(HEADER);
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload.0, &mut jwt);
        let signature = hmac::sign(&self.key, jwt.as_bytes());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Secret::new(jwt)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// JSON text, written piece by piece: a third of the time that serializing LiveKit's own types takes.
struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, json: &'static str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    fn value(&mut self, value: &impl Serialize) -> Result<(), MediaError> {
        serde_json::to_writer(&mut self.0, value).map_err(|_| MediaError::Internal)
    }

    fn text(&mut self, text: &str) -> Result<(), MediaError> {
        let must_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if text.bytes().any(must_escape) {
            return self.value(&text);
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(())
    }

    /// The permissions within the grant. All three of the first are always written, because LiveKit takes
    /// `canPublish` for an absent `canPublishData`.
    fn permissions(&mut self, permissions: &Permissions) -> &mut Self {
        let boolean = |value| if value { "true" } else { "false" };
        self.raw(r#","canPublish":"#).raw(boolean(permissions.can_publish));
        self.raw(r#","canSubscribe":"#).raw(boolean(permissions.can_subscribe));
        self.raw(r#","canPublishData":"#).raw(boolean(permissions.can_publish_data));
        if permissions.can_update_own_metadata {
            self.raw(r#","canUpdateOwnMetadata":true"#);
        }
        if permissions.hidden {
            self.raw(r#","hidden":true"#);
        }
        for (i, source) in permissions.sources.iter().enumerate() {
            self.raw(if i == 0 { r#","canPublishSources":[""# } else { r#"",""# }).raw(source.as_grant());
        }
        if !permissions.sources.is_empty() {
            self.raw(r#""]"#);
        }
        self
    }

    fn attributes(&mut self, attributes: &[(String, String)]) -> Result<(), MediaError> {
        for (i, (key, value)) in attributes.iter().enumerate() {
            self.raw(if i == 0 { r#","attributes":{"# } else { "," }).text(key)?;
            self.raw(":").text(value)?;
        }
        if !attributes.is_empty() {
            self.raw("}");
        }
        Ok(())
    }
}

pub(super) fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use livekit_api::access_token::Claims as LiveKitClaims;

    use super::*;

    /// In 2100.
    const NOW: usize = 4_102_444_800;
    use crate::{Identity, RoomName, RoomPrefix, RoomSettings, TrackSource};

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
    fn a_join_token_carries_every_field_unchanged() {
        // Quotes, backslashes, control characters, line separators and characters outside the BMP.
        let odd = "a\"b\\c\n\u{0}\u{1f}\u{7f}\u{2028}é😀/<";
        let permissions = Permissions {
            can_publish: true,
            can_subscribe: false,
            can_publish_data: false,
            can_update_own_metadata: true,
            hidden: true,
            sources: TrackSource::GRANTABLE.to_vec(),
        };
        let join = Join {
            name: odd.into(),
            metadata: odd.into(),
            attributes: vec![(odd.into(), odd.into()), ("k".into(), String::new()), (String::new(), "v".into())],
            room_settings: RoomSettings { max_participants: 3, metadata: odd.into(), ..RoomSettings::default() },
            room: RoomName::parse(&RoomPrefix::default(), "\"\\é😀".into()).unwrap(),
            identity: Identity::parse("identity", "\\\"".into()).unwrap(),
            permissions,
            ..join()
        };
        let epoch = TokenEpoch { engine: "e".into(), deletions: u64::MAX };
        let token = signer().join(&join, Some(epoch.clone())).unwrap();
        let claims = claims(token.expose());
        assert_eq!((claims.iss.as_str(), claims.sub.as_str()), ("key", "\\\""));
        assert_eq!((claims.name.as_str(), claims.metadata.as_str()), (odd, odd));
        assert_eq!(claims.attributes, join.attributes.into_iter().collect());
        let config = claims.room_config.unwrap();
        assert_eq!((config.max_participants, config.metadata.as_str()), (3, odd));
        assert_eq!(
            claims.video,
            VideoGrants {
                room_join: true,
                room: "\"\\é😀".into(),
                can_publish: Some(true),
                can_subscribe: Some(false),
                can_publish_data: Some(false),
                can_publish_sources: TrackSource::GRANTABLE.map(|source| source.as_grant().to_owned()).to_vec(),
                can_update_own_metadata: Some(true),
                hidden: true,
                ..VideoGrants::default()
            }
        );
        let payload = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1).unwrap()).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["maravilla"], serde_json::to_value(epoch).unwrap());
    }

    #[test]
    fn a_join_token_leaves_empty_claims_out() {
        let join = Join {
            attributes: Vec::new(),
            room_settings: RoomSettings::default(),
            permissions: Permissions { sources: Vec::new(), ..join().permissions },
            ..join()
        };
        let token = signer().join(&join, None).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1).unwrap()).unwrap();
        let expected = format!(
            r#"{{"iss":"key","nbf":{NOW},"exp":{},"sub":"ann","video":{{"roomJoin":true,"room":"t:r","canPublish":false,"canSubscribe":true,"canPublishData":true}}}}"#,
            NOW + 77
        );
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
    }

    #[test]
    fn a_call_token_lives_one_minute() {
        let token = signer().call(&VideoGrants { room_list: true, ..VideoGrants::default() }).unwrap();
        let claims = claims(token.expose());
        assert_eq!(claims.exp - claims.nbf, 60);
        assert_eq!(claims.video, VideoGrants { room_list: true, ..VideoGrants::default() });
    }
}

//! Tokens: one for a participant to join, one for a call of ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livekit_api::access_token::{AccessToken, VideoGrants};

use super::{LiveKitConfig, convert};
use crate::media::{Join, MediaError, Secret, Token};

/// How long a server call's token is good for: enough for the clock to differ, too short to be worth stealing.
const CALL_TTL: Duration = Duration::from_secs(60);

/// Mints a join token. It never allows more than joining its one room.
pub(super) fn mint_join(config: &LiveKitConfig, join: &Join) -> Result<Token, MediaError> {
    let ttl = Duration::from_secs(join.ttl_secs.into());
    let settings = convert::room_configuration(&join.room_settings);
    loop {
        let now = unix_secs();
        let mut token = AccessToken::with_api_key(&config.api_key, config.api_secret.expose())
            .with_ttl(ttl)
            .with_identity(join.identity.as_str())
            .with_name(&join.name)
            .with_metadata(&join.metadata)
            .with_attributes(join.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            .with_grants(join_grants(join));
        if let Some(settings) = settings.clone() {
            token = token.with_room_config(settings);
        }
        // The token reads the clock itself; only within one second is its expiry known without reading it back.
        if unix_secs() == now {
            let jwt = sign(token)?;
            return Ok(Token { jwt, expires_at_secs: now + ttl.as_secs() });
        }
    }
}

/// Mints the token of one server call, with the grant that call needs and no other.
pub(super) fn mint_call(config: &LiveKitConfig, grants: VideoGrants) -> Result<Secret, MediaError> {
    sign(AccessToken::with_api_key(&config.api_key, config.api_secret.expose()).with_ttl(CALL_TTL).with_grants(grants))
}

fn sign(token: AccessToken) -> Result<Secret, MediaError> {
    // Key, secret, identity and room are checked before, so that signing cannot fail but by a defect.
    token.to_jwt().map(Secret::new).map_err(|_| MediaError::Internal)
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
    use livekit_api::access_token::Claims;

    use super::*;
    use crate::media::{Identity, Permissions, RoomName, RoomPrefix, RoomSettings, TrackSource};

    fn config() -> LiveKitConfig {
        LiveKitConfig { url: None, api_url: None, api_key: "key".into(), api_secret: Secret::new("secret".into()) }
    }

    fn claims(token: &str) -> Claims {
        let validation = Validation::new(Algorithm::HS256);
        decode::<Claims>(token, &DecodingKey::from_secret(b"secret"), &validation).unwrap().claims
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
            ttl_secs: 77,
            metadata: String::new(),
            attributes: vec![("k".into(), "v".into())],
            room_settings: RoomSettings { departure_timeout_secs: 5, ..RoomSettings::default() },
        }
    }

    #[test]
    fn a_join_token_says_what_was_asked_and_nothing_more() {
        let token = mint_join(&config(), &join()).unwrap();
        let claims = claims(token.jwt.expose());
        assert_eq!(claims.exp as u64, token.expires_at_secs);
        assert_eq!(claims.exp - claims.nbf, 77);
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
        let token = mint_call(&config(), VideoGrants { room_list: true, ..VideoGrants::default() }).unwrap();
        let claims = claims(token.expose());
        assert_eq!(claims.exp - claims.nbf, 60);
        assert_eq!(claims.video, VideoGrants { room_list: true, ..VideoGrants::default() });
    }
}

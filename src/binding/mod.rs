//! The only floor that knows Node. Answers are JSON text or a [`Failure`]; the facade makes the objects and errors, in
//! its caller's realm.

mod failure;
mod settle;
mod values;

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::Either;
use napi::{Env, Result};
use napi_derive::napi;

use crate::media::{Identity, Join, MediaError, RoomName, RoomPrefix, Secret};
use crate::provider::livekit::{self, LiveKitConfig, Network};
use crate::provider::{Deadline, Provider, Work};
use failure::Failure;
use settle::{Calls, Settled};
use values::{LiveKitOptions, MOST_TTL_SECS, NetworkOptions, SettingsInput};

/// The media methods of one configuration.
#[napi]
pub struct LiveKit {
    provider: Arc<dyn Provider>,
    prefix: RoomPrefix,
    token_ttl_secs: u32,
    timeout_ms: u32,
    calls: Calls,
}

/// Opens the provider of that configuration; nothing is sent before the first call.
#[napi(catch_unwind)]
pub fn open_live_kit(options: LiveKitOptions) -> Either<LiveKit, Failure> {
    let config = LiveKitConfig {
        url: options.url,
        api_url: options.api_url,
        api_key: options.api_key,
        api_secret: Secret::new(options.api_secret),
    };
    match livekit::LiveKit::new(config) {
        Ok(provider) => Either::A(LiveKit {
            provider: Arc::new(provider),
            prefix: RoomPrefix::new(options.room_prefix),
            token_ttl_secs: options.token_ttl_secs,
            timeout_ms: options.timeout_ms,
            calls: Calls::default(),
        }),
        Err(error) => Either::B(error.into()),
    }
}

/// Says how the process reaches the network; the first word counts.
#[napi(catch_unwind)]
pub fn configure_network(options: NetworkOptions) {
    livekit::configure_network(Network {
        http_proxy: options.http_proxy,
        https_proxy: options.https_proxy,
        no_proxy: options.no_proxy,
        authorities: options.authorities,
    });
}

#[napi]
#[expect(clippy::too_many_arguments, reason = "scalars cross the boundary in half the time of an object")]
impl LiveKit {
    /// Gives `<expiresAt in ms> <token>`.
    #[napi(catch_unwind)]
    pub fn generate_token(
        &self,
        room_id: String,
        identity: String,
        permissions: u32,
        name: Option<String>,
        ttl_secs: Option<f64>,
        metadata: Option<String>,
        attributes: Option<Vec<String>>,
        room_settings: Option<SettingsInput>,
    ) -> Either<String, Failure> {
        let join = || -> std::result::Result<_, MediaError> {
            let join = Join {
                room: RoomName::parse(&self.prefix, room_id)?,
                identity: Identity::parse("participant.identity", identity)?,
                name: name.unwrap_or_default(),
                permissions: values::permissions(permissions),
                ttl_secs: values::whole("participant.ttlSecs", ttl_secs, self.token_ttl_secs, 1..=MOST_TTL_SECS)?,
                metadata: metadata.unwrap_or_default(),
                attributes: values::pairs(attributes.unwrap_or_default()),
                room_settings: values::settings("participant.roomSettings", room_settings)?,
            };
            self.provider.generate_token(&join)
        };
        match join() {
            Ok(token) => Either::A(format!("{}000 {}", token.expires_at_secs, token.jwt.expose())),
            Err(error) => Either::B(error.into()),
        }
    }

    /// Gives the room.
    #[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
    pub fn create_room<'env>(
        &self,
        env: &'env Env,
        room_id: String,
        settings: Option<SettingsInput>,
        timeout_ms: Option<u32>,
        call: u32,
    ) -> Result<Settled<'env>> {
        self.begin(env, timeout_ms, call, |deadline| {
            let room = RoomName::parse(&self.prefix, room_id)?;
            let settings = values::settings("settings", settings)?;
            Ok(self.provider.create_room(room, settings, deadline))
        })
    }

    /// Gives `null`.
    #[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
    pub fn delete_room<'env>(
        &self,
        env: &'env Env,
        room_id: String,
        timeout_ms: Option<u32>,
        call: u32,
    ) -> Result<Settled<'env>> {
        self.begin(env, timeout_ms, call, |deadline| {
            let room = RoomName::parse(&self.prefix, room_id)?;
            Ok(self.provider.delete_room(room, deadline))
        })
    }

    /// Gives the rooms.
    #[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
    pub fn list_rooms<'env>(&self, env: &'env Env, timeout_ms: Option<u32>, call: u32) -> Result<Settled<'env>> {
        self.begin(env, timeout_ms, call, |deadline| Ok(self.provider.list_rooms(self.prefix.clone(), deadline)))
    }

    /// Gives the participants.
    #[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
    pub fn list_participants<'env>(
        &self,
        env: &'env Env,
        room_id: String,
        timeout_ms: Option<u32>,
        call: u32,
    ) -> Result<Settled<'env>> {
        self.begin(env, timeout_ms, call, |deadline| {
            let room = RoomName::parse(&self.prefix, room_id)?;
            Ok(self.provider.list_participants(room, deadline))
        })
    }

    /// Gives `null`.
    #[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
    pub fn remove_participant<'env>(
        &self,
        env: &'env Env,
        room_id: String,
        identity: String,
        timeout_ms: Option<u32>,
        call: u32,
    ) -> Result<Settled<'env>> {
        self.begin(env, timeout_ms, call, |deadline| {
            let room = RoomName::parse(&self.prefix, room_id)?;
            let identity = Identity::parse("identity", identity)?;
            Ok(self.provider.remove_participant(room, identity, deadline))
        })
    }

    /// Ends the call of that id with `ABORTED`, if it is still under way.
    #[napi(catch_unwind)]
    pub fn cancel(&self, call: u32) {
        self.calls.cancel(call);
    }

    fn begin<'env, T: serde::Serialize + Send + 'static>(
        &self,
        env: &'env Env,
        timeout_ms: Option<u32>,
        call: u32,
        work: impl FnOnce(Deadline) -> std::result::Result<Work<T>, MediaError>,
    ) -> Result<Settled<'env>> {
        let deadline = Deadline::after(Duration::from_millis(timeout_ms.unwrap_or(self.timeout_ms).into()));
        match work(deadline.clone()) {
            Ok(work) => self.calls.settle(env, call, work, deadline),
            Err(error) => Ok(Settled::B(error.into())),
        }
    }
}

//! The Node.js addon: converts arguments and results, and settles promises. Results are JSON text or a [`Failure`]; the
//! facade makes objects and errors of them, in the realm of its caller.
#![expect(clippy::too_many_arguments, reason = "scalars cross the boundary in half the time of an object")]
#![expect(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    clippy::needless_pass_by_value,
    reason = "only the facade calls these, from JavaScript, with owned values"
)]

mod calls;
mod failure;
mod log;
mod operations;
mod providers;
mod settle;
mod values;

use std::panic::catch_unwind;

use maravilla_core::embedded::EmbeddedConfig;
use maravilla_core::livekit::{self, LiveKitConfig, Network};
use maravilla_core::{Call, Identity, Join, MediaError, RoomName, RoomPrefix, Secret};
use napi::bindgen_prelude::{Either, Uint8Array};
use napi::{Env, Result};
use napi_derive::napi;

use failure::Failure;
use providers::{Backend, ProviderOptions, open_provider};
use settle::{Settled, settle};
use values::{EmbeddedOptions, LiveKitOptions, MAX_TTL_SECS, NetworkOptions, SettingsInput};

/// Opens a provider for a LiveKit server and returns its id; equal options return the same id. Connects at the first call.
#[napi(catch_unwind)]
pub fn open_live_kit(options: LiveKitOptions) -> Either<u32, Failure> {
    let config = LiveKitConfig {
        url: options.url,
        api_url: options.api_url,
        api_key: options.api_key,
        api_secret: Secret::new(options.api_secret),
    };
    opened(ProviderOptions {
        backend: Backend::LiveKit(config),
        prefix: RoomPrefix::new(options.room_prefix),
        token_ttl_secs: options.token_ttl_secs,
        timeout_ms: options.timeout_ms,
    })
}

/// Opens a provider on an embedded engine and returns its id; equal options return the same id for a shared engine. The
/// first call starts the engine. An engine that is not shared is closed with the thread that opened it.
#[napi(catch_unwind)]
pub fn open_embedded(env: &Env, options: EmbeddedOptions) -> Result<Either<u32, Failure>> {
    let rtc_addresses = options.rtc_addresses.unwrap_or_default();
    let rtc_addresses = rtc_addresses.iter().map(|address| address.parse()).collect::<std::result::Result<_, _>>();
    let (Ok(host), Ok(rtc_addresses)) = (options.host.map(|host| host.parse()).transpose(), rtc_addresses) else {
        return Ok(Either::B(MediaError::Internal.into()));
    };
    let config = EmbeddedConfig {
        shared: options.shared,
        host,
        port: options.port,
        advertised_host: options.advertised_host,
        public_url: options.public_url,
        rtc_port: options.rtc_port,
        rtc_addresses,
        is_attached: options.is_attached,
        webhook_urls: options.webhook_urls.unwrap_or_default().into_iter().map(Secret::new).collect(),
        credentials: options.api_key.zip(options.api_secret.map(Secret::new)),
    };
    if let Some(level) = options.log {
        let Ok(level) = level.parse() else { return Ok(Either::B(MediaError::Internal.into())) };
        log::set_level(level);
    }
    let opened = opened(ProviderOptions {
        backend: Backend::Embedded(config),
        prefix: RoomPrefix::new(options.room_prefix),
        token_ttl_secs: options.token_ttl_secs,
        timeout_ms: options.timeout_ms,
    });
    if let (Either::A(id), false) = (&opened, options.shared) {
        // Node runs the hook outside of any function, so that nothing else catches a panic.
        env.add_env_cleanup_hook(*id, |id| {
            let _ = catch_unwind(|| drop(providers::close(id)));
        })?;
    }
    Ok(opened)
}

fn opened(options: ProviderOptions) -> Either<u32, Failure> {
    match providers::open(options) {
        Ok(id) => Either::A(id),
        Err(error) => Either::B(error.into()),
    }
}

/// Configures the network of the process. The first call counts; certificate authorities may follow later.
#[napi(catch_unwind)]
pub fn configure_network(options: NetworkOptions) {
    livekit::configure_network(Network {
        http_proxy: options.http_proxy,
        https_proxy: options.https_proxy,
        no_proxy: options.no_proxy,
        ca_certificates: options.ca_certificates,
    });
}

/// The names of permissions and those of track sources. The index in both together is the bit in `permissions` of
/// `generateToken`.
#[napi(catch_unwind)]
pub fn permission_names() -> Vec<Vec<&'static str>> {
    vec![values::PERMISSIONS.to_vec(), values::sources().collect()]
}

/// Returns the time of expiry in seconds since the epoch, a space, and the token. `now` is in seconds since the epoch.
#[napi(catch_unwind)]
pub fn generate_token(
    provider: u32,
    now: f64,
    room_id: String,
    identity: String,
    permissions: u32,
    name: Option<String>,
    ttl_secs: Option<f64>,
    metadata: Option<String>,
    attributes: Option<Vec<String>>,
    room_settings: Option<SettingsInput>,
    timeout_ms: Option<f64>,
) -> Either<String, Failure> {
    let generate = || -> std::result::Result<_, MediaError> {
        let open = open_provider(provider)?;
        open.deadline(timeout_ms)?;
        let default_ttl = open.token_ttl_secs;
        let join = Join {
            room: RoomName::parse(&open.prefix, room_id)?,
            identity: Identity::parse("participant.identity", identity)?,
            name: name.unwrap_or_default(),
            permissions: values::permissions(permissions),
            now: values::unix_secs(now),
            ttl_secs: values::whole(format_args!("participant.ttlSecs"), ttl_secs, default_ttl, 1..=MAX_TTL_SECS)?,
            metadata: metadata.unwrap_or_default(),
            attributes: values::pairs(attributes.unwrap_or_default()),
            room_settings: values::settings("participant.roomSettings", room_settings)?,
        };
        Ok((join.expires_at(), open.provider.generate_token(&join)?))
    };
    match generate() {
        Ok((expires_at, token)) => Either::A(values::prefixed(expires_at, token.expose())),
        Err(error) => Either::B(error.into()),
    }
}

/// Returns the room's fields without the name: number of participants, maximum and time of creation. Of an empty room
/// with the requested maximum it returns the time of creation alone, because a list takes a fifth of the whole call.
#[napi(catch_unwind, ts_return_type = "number | string | Failure | Promise<string | Failure>")]
pub fn create_room(
    env: &Env,
    provider: u32,
    room_id: String,
    max_participants: Option<f64>,
    empty_timeout_secs: Option<f64>,
    departure_timeout_secs: Option<f64>,
    metadata: Option<String>,
    timeout_ms: Option<f64>,
    call_id: Option<u32>,
) -> Result<Either<i64, Settled<'_>>> {
    let start = || -> std::result::Result<_, MediaError> {
        let open = open_provider(provider)?;
        let deadline = open.deadline(timeout_ms)?;
        let room = RoomName::parse(&open.prefix, room_id)?;
        let input = SettingsInput { max_participants, empty_timeout_secs, departure_timeout_secs, metadata };
        let settings = values::settings("settings", Some(input))?;
        let limit = settings.max_participants;
        Ok((open.provider.create_room(room, settings, deadline), limit, deadline))
    };
    match start() {
        Ok((Call::Ready(Ok(room)), limit, _)) if room.num_participants == 0 && room.max_participants == limit => {
            Ok(Either::A(room.created_at))
        }
        Ok((call, _, deadline)) => {
            let call = call.and_then(|room| settle::to_json(&values::fields(&room)));
            settle(env, call_id, call, deadline).map(Either::B)
        }
        Err(error) => Ok(Either::B(Settled::B(error.into()))),
    }
}

/// Verifies a webhook; returns its event as JSON, or `null` if it is of a room with another prefix.
#[napi(catch_unwind)]
pub fn receive_webhook(
    provider: u32,
    body: Either<String, Uint8Array>,
    authorization: Option<String>,
) -> Either<String, Failure> {
    let receive = || -> std::result::Result<_, MediaError> {
        let open = open_provider(provider)?;
        let body = match &body {
            Either::A(text) => text.as_bytes(),
            Either::B(bytes) => bytes,
        };
        let event = open.provider.receive_webhook(&open.prefix, body, authorization.as_deref())?;
        settle::to_json(&event)
    };
    match receive() {
        Ok(json) => Either::A(json),
        Err(error) => Either::B(error.into()),
    }
}

/// Runs any other operation, by its name. `arguments` is a JSON object; the result is JSON text.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn call(
    env: &Env,
    provider: u32,
    operation: String,
    arguments: String,
    timeout_ms: Option<f64>,
    call_id: Option<u32>,
) -> Result<Settled<'_>> {
    match operations::start(provider, &operation, &arguments, timeout_ms) {
        Ok((call, deadline)) => settle(env, call_id, call, deadline),
        Err(error) => Ok(Settled::B(error.into())),
    }
}

/// Returns a new id, by which a call can be cancelled.
#[napi(catch_unwind)]
pub fn new_call() -> u32 {
    calls::create()
}

/// Ends the call with `ABORTED` if it is pending.
#[napi(catch_unwind)]
pub fn cancel_call(call_id: u32) {
    calls::cancel(call_id);
}

//! The only floor that knows Node. Answers are JSON text or a [`Failure`]; the facade makes the objects and errors, in
//! its caller's realm.
#![expect(clippy::too_many_arguments, reason = "scalars cross the boundary in half the time of an object")]
#![expect(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "only the facade calls these, from JavaScript"
)]

mod calls;
mod failure;
mod providers;
mod settle;
mod values;

use std::panic::catch_unwind;
use std::time::Duration;

use napi::bindgen_prelude::{Either, Either3, Null};
use napi::{Env, Result};
use napi_derive::napi;

use failure::Failure;
use maravilla_core::embedded::EmbeddedConfig;
use maravilla_core::livekit::{self, LiveKitConfig, Network};
use maravilla_core::{Deadline, Work};
use maravilla_core::{Identity, Join, MediaError, RoomName, RoomPrefix, Secret};
use providers::{Backing, Opening, Service, service};
use settle::{Settled, settle};
use values::{Columns, EmbeddedOptions, LiveKitOptions, MOST_TTL_SECS, NetworkOptions, SettingsInput};

/// Opens the provider of that configuration and gives its number; the same configuration, the same number.
/// Nothing is sent before the first call.
#[napi(catch_unwind)]
pub fn open_live_kit(options: LiveKitOptions) -> Either<u32, Failure> {
    let config = LiveKitConfig {
        url: options.url,
        api_url: options.api_url,
        api_key: options.api_key,
        api_secret: Secret::new(options.api_secret),
    };
    let opening = Opening {
        backing: Backing::LiveKit(config),
        prefix: RoomPrefix::new(options.room_prefix),
        token_ttl_secs: options.token_ttl_secs,
        timeout_ms: options.timeout_ms,
    };
    opened(opening)
}

/// Opens a provider on an embedded engine and gives its number: for an engine of its own a new one each time.
/// Nothing is started before the first call.
/// An engine of its own ends with the thread that opened it, if it is not closed before.
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
        credentials: options.api_key.zip(options.api_secret.map(Secret::new)),
    };
    let opened = opened(Opening {
        backing: Backing::Embedded(config),
        prefix: RoomPrefix::new(options.room_prefix),
        token_ttl_secs: options.token_ttl_secs,
        timeout_ms: options.timeout_ms,
    });
    if let (Either::A(number), false) = (&opened, options.shared) {
        // Node calls the hook outside of any function, so that nothing else catches a panic.
        env.add_env_cleanup_hook(*number, |number| {
            let _ = catch_unwind(|| drop(providers::close(number)));
        })?;
    }
    Ok(opened)
}

fn opened(opening: Opening) -> Either<u32, Failure> {
    match providers::open(opening) {
        Ok(number) => Either::A(number),
        Err(error) => Either::B(error.into()),
    }
}

/// Where clients connect. An embedded engine that does not run yet is started.
#[napi(catch_unwind)]
pub fn media_url(provider: u32) -> Either3<String, Null, Failure> {
    match service(provider).and_then(|service| service.provider.media_url()) {
        Ok(Some(url)) => Either3::A(url),
        Ok(None) => Either3::B(Null),
        Err(error) => Either3::C(error.into()),
    }
}

/// The port that the provider's engine listens on; `null` if it has none, or none that runs yet.
#[napi(catch_unwind)]
pub fn engine_port(provider: u32) -> Option<u16> {
    service(provider).ok()?.provider.engine_port()
}

/// Ends an engine of the provider's own, with its rooms, and then gives `null`. Later calls find the provider closed.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn close_provider(env: &Env, provider: u32) -> Result<Settled<'_>> {
    settle(env, None, providers::close(provider), Deadline::after(Duration::from_secs(60)))
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

/// Gives the token, good from `now` in seconds since the epoch.
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
) -> Either<String, Failure> {
    let mint = || -> std::result::Result<_, MediaError> {
        let service = service(provider)?;
        let join = Join {
            room: RoomName::parse(&service.prefix, room_id)?,
            identity: Identity::parse("participant.identity", identity)?,
            name: name.unwrap_or_default(),
            permissions: values::permissions(permissions),
            now: values::unix_secs(now),
            ttl_secs: values::whole(
                format_args!("participant.ttlSecs"),
                ttl_secs,
                service.token_ttl_secs,
                1..=MOST_TTL_SECS,
            )?,
            metadata: metadata.unwrap_or_default(),
            attributes: values::pairs(attributes.unwrap_or_default()),
            room_settings: values::settings("participant.roomSettings", room_settings)?,
        };
        service.provider.generate_token(&join)
    };
    match mint() {
        Ok(token) => Either::A(token.into_exposed()),
        Err(error) => Either::B(error.into()),
    }
}

/// Gives the room as a list of its fields, without the name: participants, most participants and time of creation. An empty
/// room with the limit that was asked for is given as its time of creation alone: the list takes a fifth of a whole call.
#[napi(catch_unwind, ts_return_type = "number | string | Failure | Promise<string | Failure>")]
pub fn create_room(
    env: &Env,
    provider: u32,
    room_id: String,
    max_participants: Option<f64>,
    empty_timeout_secs: Option<f64>,
    departure_timeout_secs: Option<f64>,
    metadata: Option<String>,
    timeout_ms: Option<u32>,
    call: Option<u32>,
) -> Result<Either<i64, Settled<'_>>> {
    let mut limit = 0;
    let started = start(provider, timeout_ms, |service, deadline| {
        let room = RoomName::parse(&service.prefix, room_id)?;
        let input = SettingsInput { max_participants, empty_timeout_secs, departure_timeout_secs, metadata };
        let settings = values::settings("settings", Some(input))?;
        limit = settings.max_participants;
        Ok(service.provider.create_room(room, settings, deadline))
    });
    let (work, deadline) = match started {
        Ok(started) => started,
        Err(error) => return Ok(Either::B(Settled::B(error.into()))),
    };
    let work = match work.into_outcome() {
        Ok(Ok(room)) if room.num_participants == 0 && room.max_participants == limit => {
            return Ok(Either::A(room.created_at));
        }
        Ok(outcome) => Work::done(outcome),
        Err(waits) => waits,
    };
    settle(env, call, work.map(|room| values::fields(&room)), deadline).map(Either::B)
}

/// Gives `null`.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn delete_room(
    env: &Env,
    provider: u32,
    room_id: String,
    timeout_ms: Option<u32>,
    call: Option<u32>,
) -> Result<Settled<'_>> {
    begin(env, provider, timeout_ms, call, |service, deadline| {
        let room = RoomName::parse(&service.prefix, room_id)?;
        Ok(service.provider.delete_room(room, deadline))
    })
}

/// Gives the rooms as two lists: their names, and the fields of all, one after the other.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn list_rooms(env: &Env, provider: u32, timeout_ms: Option<u32>, call: Option<u32>) -> Result<Settled<'_>> {
    begin(env, provider, timeout_ms, call, |service, deadline| {
        Ok(service.provider.list_rooms(service.prefix.clone(), deadline).map(Columns))
    })
}

/// Gives the participants.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn list_participants(
    env: &Env,
    provider: u32,
    room_id: String,
    timeout_ms: Option<u32>,
    call: Option<u32>,
) -> Result<Settled<'_>> {
    begin(env, provider, timeout_ms, call, |service, deadline| {
        let room = RoomName::parse(&service.prefix, room_id)?;
        Ok(service.provider.list_participants(room, deadline))
    })
}

/// Gives `null`.
#[napi(catch_unwind, ts_return_type = "string | Failure | Promise<string | Failure>")]
pub fn remove_participant(
    env: &Env,
    provider: u32,
    room_id: String,
    identity: String,
    timeout_ms: Option<u32>,
    call: Option<u32>,
) -> Result<Settled<'_>> {
    begin(env, provider, timeout_ms, call, |service, deadline| {
        let room = RoomName::parse(&service.prefix, room_id)?;
        let identity = Identity::parse("identity", identity)?;
        Ok(service.provider.remove_participant(room, identity, deadline))
    })
}

/// Gives an id, under which one call can be cancelled.
#[napi(catch_unwind)]
pub fn new_call() -> u32 {
    calls::create()
}

/// Ends the call of that id with `ABORTED`, if it is still under way.
#[napi(catch_unwind)]
pub fn cancel_call(call: u32) {
    calls::cancel(call);
}

fn begin<T: serde::Serialize + Send + 'static>(
    env: &Env,
    provider: u32,
    timeout_ms: Option<u32>,
    call: Option<u32>,
    work: impl FnOnce(&Service, &Deadline) -> std::result::Result<Work<T>, MediaError>,
) -> Result<Settled<'_>> {
    match start(provider, timeout_ms, work) {
        Ok((work, deadline)) => settle(env, call, work, deadline),
        Err(error) => Ok(Settled::B(error.into())),
    }
}

fn start<T>(
    provider: u32,
    timeout_ms: Option<u32>,
    work: impl FnOnce(&Service, &Deadline) -> std::result::Result<Work<T>, MediaError>,
) -> std::result::Result<(Work<T>, Deadline), MediaError> {
    let service = service(provider)?;
    let budget = timeout_ms.unwrap_or(service.timeout_ms);
    let deadline = Deadline::after(Duration::from_millis(budget.into()));
    Ok((work(&service, &deadline)?, deadline))
}

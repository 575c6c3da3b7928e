//! Conversion between JavaScript values and the types of `maravilla-core`.

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

use maravilla_core::{ArgumentFault, MediaError, Permissions, Room, RoomSettings, TrackSource};
use napi_derive::napi;
use serde::{Serialize, Serializer};

/// Maximum lifetime of a token, in seconds: 30 days. A longer one is `INVALID_ARGUMENT`.
pub(super) const MAX_TTL_SECS: u32 = 2_592_000;
/// Maximum budget of a call, in milliseconds. A longer one is `INVALID_ARGUMENT`.
pub(super) const MAX_TIMEOUT_MS: u32 = 2_147_483_647;

/// Configuration of a LiveKit server, validated by the facade.
#[napi(object, object_to_js = false)]
pub struct LiveKitOptions {
    /// URL that clients connect to.
    pub url: Option<String>,
    /// URL of the server API, http or https.
    pub api_url: Option<String>,
    /// API key.
    pub api_key: String,
    /// API secret.
    pub api_secret: String,
    /// Prefix of every room name on the server.
    pub room_prefix: String,
    /// Default lifetime of a token, in seconds.
    pub token_ttl_secs: u32,
    /// Default budget of a call, in milliseconds.
    pub timeout_ms: u32,
}

/// Configuration of the embedded engine, validated by the facade.
#[napi(object, object_to_js = false)]
pub struct EmbeddedOptions {
    /// Use the shared engine of the process, instead of an own one.
    pub shared: bool,
    /// IP address to listen on; default: loopback, or the address of the shared engine.
    pub host: Option<String>,
    /// Port to listen on, 0 for any free one; default: for the shared engine 7880 or the next free port, otherwise any.
    pub port: Option<u16>,
    /// Host that clients connect to, as in a URL; set together with the host.
    pub advertised_host: Option<String>,
    /// URL that clients connect to, if a proxy is in front of the engine.
    pub public_url: Option<String>,
    /// UDP and TCP port for media; default: any free port.
    pub rtc_port: Option<u16>,
    /// IP addresses that clients send media to; default: the machine's own.
    pub rtc_addresses: Option<Vec<String>>,
    /// Level of the process's log: `off`, `error`, `warn`, `info` or `debug`; default: unchanged, and `off` at first.
    pub log: Option<String>,
    /// Receive media from other machines also while signalling listens on loopback: a server of the app forwards it.
    pub is_attached: bool,
    /// URLs that receive webhooks; default: none.
    pub webhook_urls: Option<Vec<String>>,
    /// API key; default: a random one.
    pub api_key: Option<String>,
    /// API secret; set together with the key.
    pub api_secret: Option<String>,
    /// Prefix of every room name on the server.
    pub room_prefix: String,
    /// Default lifetime of a token, in seconds.
    pub token_ttl_secs: u32,
    /// Default budget of a call, in milliseconds.
    pub timeout_ms: u32,
}

/// Proxies and certificate authorities of the process.
#[napi(object, object_to_js = false)]
pub struct NetworkOptions {
    /// Proxy for http, as a URL.
    pub http_proxy: Option<String>,
    /// Proxy for https, as a URL.
    pub https_proxy: Option<String>,
    /// Hosts without a proxy, comma-separated.
    pub no_proxy: Option<String>,
    /// Trusted certificate authorities, as PEM.
    pub ca_certificates: Option<String>,
}

/// The public `MediaRoomInfoSettings`.
#[napi(object, object_to_js = false)]
pub struct SettingsInput {
    /// Maximum number of participants.
    pub max_participants: Option<f64>,
    /// Seconds until an empty room closes.
    pub empty_timeout_secs: Option<f64>,
    /// Seconds until the room closes after the last participant left.
    pub departure_timeout_secs: Option<f64>,
    /// Text that all participants receive.
    pub metadata: Option<String>,
}

/// A room's number of participants, maximum and time of creation.
pub(super) fn fields(room: &Room) -> (u32, u32, i64) {
    (room.num_participants, room.max_participants, room.created_at)
}

/// A room's name and its [`fields`].
pub(super) fn named(room: &Room) -> (&str, u32, u32, i64) {
    let (count, max, created_at) = fields(room);
    (&room.name, count, max, created_at)
}

/// Rooms as two lists: their names, and the [`fields`] of all. JavaScript parses it in half the time of a list of objects.
pub(super) struct Columns(pub(super) Vec<Room>);

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Names<'a>(&'a [Room]);
        struct Fields<'a>(&'a [Room]);
        impl Serialize for Names<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(|room| &room.name))
            }
        }
        impl Serialize for Fields<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let each = self.0.iter().map(fields);
                let numbers = each.flat_map(|(count, max, created_at)| [count.into(), max.into(), created_at]);
                serializer.collect_seq(numbers)
            }
        }
        (Names(&self.0), Fields(&self.0)).serialize(serializer)
    }
}

/// Reads room settings; `owner` names the argument in errors. `emptyTimeoutSecs` is also the departure timeout unless
/// `departureTimeoutSecs` is given.
pub(super) fn settings(owner: &str, input: Option<SettingsInput>) -> Result<RoomSettings, MediaError> {
    let Some(input) = input else { return Ok(RoomSettings::default()) };
    let number = |field, value| whole(format_args!("{owner}.{field}"), value, 0, 0..=u32::MAX);
    let empty_timeout_secs = number("emptyTimeoutSecs", input.empty_timeout_secs)?;
    Ok(RoomSettings {
        max_participants: number("maxParticipants", input.max_participants)?,
        empty_timeout_secs,
        departure_timeout_secs: match input.departure_timeout_secs {
            None => empty_timeout_secs,
            given => number("departureTimeoutSecs", given)?,
        },
        metadata: input.metadata.unwrap_or_default(),
    })
}

/// A whole number within `range`; `default` if there is none.
pub(super) fn whole(
    parameter: fmt::Arguments<'_>,
    value: Option<f64>,
    default: u32,
    range: RangeInclusive<u32>,
) -> Result<u32, MediaError> {
    let Some(value) = value else { return Ok(default) };
    let (min, max) = range.into_inner();
    if value.fract() == 0.0 && value >= f64::from(min) && value <= f64::from(max) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within u32, as just checked"
        )]
        return Ok(value as u32);
    }
    let fault = ArgumentFault::NotInRange { min, max, value: value.to_string() };
    Err(MediaError::InvalidArgument { parameter: parameter.to_string(), fault })
}

/// Names of the permissions, by their bit. The bits of [`sources`] follow.
pub(super) const PERMISSIONS: [&str; 5] =
    ["canPublish", "canSubscribe", "canPublishData", "canUpdateOwnMetadata", "hidden"];

/// Names of the track sources that a token can grant, in the order of their bits; the first has the bit `FIRST_SOURCE`.
pub(super) fn sources() -> impl Iterator<Item = &'static str> {
    TrackSource::GRANTABLE.into_iter().map(TrackSource::as_grant)
}

#[expect(clippy::cast_possible_truncation, reason = "five permissions")]
const FIRST_SOURCE: u32 = PERMISSIONS.len() as u32;

/// The permissions of a bit set.
pub(super) fn permissions(bits: u32) -> Permissions {
    let has = |bit: u32| bits & (1 << bit) != 0;
    Permissions {
        can_publish: has(0),
        can_subscribe: has(1),
        can_publish_data: has(2),
        can_update_own_metadata: has(3),
        hidden: has(4),
        sources: (FIRST_SOURCE..)
            .zip(TrackSource::GRANTABLE)
            .filter(|(bit, _)| has(*bit))
            .map(|(_, source)| source)
            .collect(),
    }
}

/// Seconds since the epoch, by JavaScript's clock.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a clock before 1970 counts as 1970")]
pub(super) fn unix_secs(now: f64) -> u64 {
    now as u64
}

/// `number`, a space, and `text`.
pub(super) fn prefixed(number: u64, text: &str) -> String {
    let mut prefixed = String::with_capacity(text.len() + 12);
    // Writing to a string cannot fail.
    let _ = write!(prefixed, "{number} {text}");
    prefixed
}

/// Pairs of keys and values, from one list of both.
pub(super) fn pairs(flat: Vec<String>) -> Vec<(String, String)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> SettingsInput {
        SettingsInput {
            max_participants: None,
            empty_timeout_secs: Some(60.0),
            departure_timeout_secs: None,
            metadata: None,
        }
    }

    #[test]
    fn empty_timeout_sets_both_timers() {
        let set = settings("settings", Some(input())).unwrap();
        assert_eq!((set.empty_timeout_secs, set.departure_timeout_secs), (60, 60));
        let apart = SettingsInput { departure_timeout_secs: Some(5.0), ..input() };
        let set = settings("settings", Some(apart)).unwrap();
        assert_eq!((set.empty_timeout_secs, set.departure_timeout_secs), (60, 5));
    }

    #[test]
    fn accepts_only_whole_numbers_within_the_range() {
        for wrong in [-1.0, 0.5, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
            assert!(whole(format_args!("p"), Some(wrong), 0, 0..=u32::MAX).is_err(), "{wrong}");
        }
        assert_eq!(whole(format_args!("p"), Some(4_294_967_295.0), 0, 0..=u32::MAX), Ok(u32::MAX));
        assert_eq!(whole(format_args!("p"), None, 7, 1..=9), Ok(7));
        assert!(whole(format_args!("p"), Some(0.0), 7, 1..=9).is_err());
    }

    #[test]
    fn each_permission_has_its_bit() {
        assert_eq!(PERMISSIONS[4], "hidden");
        assert_eq!(sources().nth(3), Some("screen_share_audio"));
        assert_eq!(permissions(0b0010_0001).sources, [TrackSource::Camera]);
        assert!(permissions(1).can_publish && !permissions(1).can_subscribe);
        assert!(permissions(1 << 4).hidden);
        assert_eq!(permissions(1 << 8).sources, [TrackSource::ScreenShareAudio]);
    }
}

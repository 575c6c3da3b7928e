//! What comes from JavaScript, into the types of [`crate::media`].

use std::fmt;
use std::ops::RangeInclusive;

use napi_derive::napi;
use serde::{Serialize, Serializer};

use maravilla_core::{ArgumentFault, MediaError, Permissions, Room, RoomSettings, TrackSource};

/// Thirty days.
pub(super) const MOST_TTL_SECS: u32 = 2_592_000;

/// A configuration that the facade has checked.
#[napi(object, object_to_js = false)]
pub struct LiveKitOptions {
    /// Where clients connect.
    pub url: Option<String>,
    /// Where the server API is reached, as http or https.
    pub api_url: Option<String>,
    /// The API key.
    pub api_key: String,
    /// The API secret.
    pub api_secret: String,
    /// What stands before every room name on the server.
    pub room_prefix: String,
    /// Seconds a token is good for.
    pub token_ttl_secs: u32,
    /// Milliseconds for a whole call.
    pub timeout_ms: u32,
}

/// A configuration of the embedded engine that the facade has checked.
#[napi(object, object_to_js = false)]
pub struct EmbeddedOptions {
    /// Share the process's one engine, rather than start one of its own.
    pub shared: bool,
    /// The IP address to listen on; absent: loopback, or whichever a shared engine listens on.
    pub host: Option<String>,
    /// The port to listen on, 0 for any free one; absent: 7880 or the next free one if it is shared, else any.
    pub port: Option<u16>,
    /// What stands for the host where clients connect, as a URL writes it; given with the host.
    pub advertised_host: Option<String>,
    /// Where clients connect, if a proxy stands before the engine.
    pub public_url: Option<String>,
    /// The UDP and TCP port for media; absent: any free one.
    pub rtc_port: Option<u16>,
    /// The IP addresses that clients send media to; absent: the machine's own.
    pub rtc_addresses: Option<Vec<String>>,
    /// The API key; absent: a random one.
    pub api_key: Option<String>,
    /// The API secret; given with the key.
    pub api_secret: Option<String>,
    /// What stands before every room name on the server.
    pub room_prefix: String,
    /// Seconds a token is good for.
    pub token_ttl_secs: u32,
    /// Milliseconds for a whole call.
    pub timeout_ms: u32,
}

/// How the process reaches the network.
#[napi(object, object_to_js = false)]
pub struct NetworkOptions {
    /// Proxy for http, as a URL.
    pub http_proxy: Option<String>,
    /// Proxy for https, as a URL.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without a proxy.
    pub no_proxy: Option<String>,
    /// Certificate authorities to trust, as PEM.
    pub authorities: Option<String>,
}

/// The public `MediaRoomInfoSettings`.
#[napi(object, object_to_js = false)]
pub struct SettingsInput {
    /// Most participants at once.
    pub max_participants: Option<f64>,
    /// Seconds an empty room lives.
    pub empty_timeout_secs: Option<f64>,
    /// Seconds a room lives after the last leave.
    pub departure_timeout_secs: Option<f64>,
    /// Text handed to everyone in the room.
    pub metadata: Option<String>,
}

/// A room's participants, most participants and time of creation.
pub(super) fn fields(room: &Room) -> (u32, u32, i64) {
    (room.num_participants, room.max_participants, room.created_at)
}

/// Rooms in two columns: their names, and the fields of all in one list. Half as long to read as a list of objects.
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
                let numbers = each.flat_map(|(now, most, at)| [now.into(), most.into(), at]);
                serializer.collect_seq(numbers)
            }
        }
        (Names(&self.0), Fields(&self.0)).serialize(serializer)
    }
}

/// The settings at `owner`. One promise, "torn down this long after it is empty", sets both of LiveKit's timers.
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

/// A whole number of `range`, or `standard` where none is given.
pub(super) fn whole(
    parameter: fmt::Arguments<'_>,
    value: Option<f64>,
    standard: u32,
    range: RangeInclusive<u32>,
) -> Result<u32, MediaError> {
    let Some(value) = value else { return Ok(standard) };
    let (least, most) = range.into_inner();
    if value.fract() == 0.0 && value >= f64::from(least) && value <= f64::from(most) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within u32, as just checked"
        )]
        return Ok(value as u32);
    }
    Err(MediaError::InvalidArgument {
        parameter: parameter.to_string(),
        fault: ArgumentFault::NotInRange { least, most },
    })
}

/// The permissions that the facade packs into bits: five flags, then one for each source.
pub(super) fn permissions(bits: u32) -> Permissions {
    let has = |bit: u32| bits & (1 << bit) != 0;
    Permissions {
        can_publish: has(0),
        can_subscribe: has(1),
        can_publish_data: has(2),
        can_update_own_metadata: has(3),
        hidden: has(4),
        sources: (5..).zip(TrackSource::GRANTABLE).filter(|(bit, _)| has(*bit)).map(|(_, source)| source).collect(),
    }
}

/// Seconds since the epoch, from JavaScript's clock.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a clock before 1970 counts as 1970")]
pub(super) fn unix_secs(now: f64) -> u64 {
    now as u64
}

/// Keys and values, which the facade lists one after the other.
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
    fn one_empty_timeout_sets_both_timers() {
        let set = settings("settings", Some(input())).unwrap();
        assert_eq!((set.empty_timeout_secs, set.departure_timeout_secs), (60, 60));
        let apart = SettingsInput { departure_timeout_secs: Some(5.0), ..input() };
        let set = settings("settings", Some(apart)).unwrap();
        assert_eq!((set.empty_timeout_secs, set.departure_timeout_secs), (60, 5));
    }

    #[test]
    fn only_whole_numbers_of_the_range_pass() {
        for wrong in [-1.0, 0.5, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
            assert!(whole(format_args!("p"), Some(wrong), 0, 0..=u32::MAX).is_err(), "{wrong}");
        }
        assert_eq!(whole(format_args!("p"), Some(4_294_967_295.0), 0, 0..=u32::MAX), Ok(u32::MAX));
        assert_eq!(whole(format_args!("p"), None, 7, 1..=9), Ok(7));
        assert!(whole(format_args!("p"), Some(0.0), 7, 1..=9).is_err());
    }

    #[test]
    fn each_permission_has_its_bit() {
        assert_eq!(permissions(0b0010_0001).sources, [TrackSource::Camera]);
        assert!(permissions(1).can_publish && !permissions(1).can_subscribe);
        assert!(permissions(1 << 4).hidden);
        assert_eq!(permissions(1 << 8).sources, [TrackSource::ScreenShareAudio]);
    }
}

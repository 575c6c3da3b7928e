//! Conversion between LiveKit's messages and the types of this crate.

use livekit_protocol as proto;

use crate::{Participant, ParticipantState, Room, RoomName, RoomSettings, Track, TrackKind, TrackSource};

pub(super) fn create_request(room: &RoomName, settings: &RoomSettings) -> proto::CreateRoomRequest {
    proto::CreateRoomRequest {
        name: room.on_server().to_owned(),
        max_participants: settings.max_participants,
        empty_timeout: settings.empty_timeout_secs,
        departure_timeout: settings.departure_timeout_secs,
        metadata: settings.metadata.clone(),
        ..proto::CreateRoomRequest::default()
    }
}

/// `roomConfig` of a join token, for a room that the join creates; `None` if all settings are defaults.
pub(super) fn room_configuration(settings: &RoomSettings) -> Option<proto::RoomConfiguration> {
    (*settings != RoomSettings::default()).then(|| proto::RoomConfiguration {
        max_participants: settings.max_participants,
        empty_timeout: settings.empty_timeout_secs,
        departure_timeout: settings.departure_timeout_secs,
        metadata: settings.metadata.clone(),
        ..proto::RoomConfiguration::default()
    })
}

/// Servers list open rooms only. `turn_password` is left out, because it is a secret.
pub(super) fn room(name: String, room: &proto::Room) -> Room {
    Room {
        name,
        num_participants: room.num_participants,
        max_participants: room.max_participants,
        created_at: millis(room.creation_time_ms, room.creation_time),
        active: true,
    }
}

pub(super) fn participant(info: proto::ParticipantInfo) -> Participant {
    let state = match info.state() {
        proto::participant_info::State::Joining => ParticipantState::Joining,
        proto::participant_info::State::Joined => ParticipantState::Joined,
        proto::participant_info::State::Active => ParticipantState::Active,
        proto::participant_info::State::Disconnected => ParticipantState::Disconnected,
    };
    let permission = info.permission.unwrap_or_default();
    Participant {
        state,
        joined_at: millis(info.joined_at_ms, info.joined_at),
        identity: info.identity,
        name: info.name,
        metadata: info.metadata,
        attributes: info.attributes.into_iter().collect(),
        can_publish: permission.can_publish,
        can_subscribe: permission.can_subscribe,
        can_publish_data: permission.can_publish_data,
        tracks: info.tracks.into_iter().map(track).collect(),
    }
}

fn track(info: proto::TrackInfo) -> Track {
    let source = match info.source() {
        proto::TrackSource::Unknown => TrackSource::Unknown,
        proto::TrackSource::Camera => TrackSource::Camera,
        proto::TrackSource::Microphone => TrackSource::Microphone,
        proto::TrackSource::ScreenShare => TrackSource::ScreenShare,
        proto::TrackSource::ScreenShareAudio => TrackSource::ScreenShareAudio,
    };
    let kind = match info.r#type() {
        proto::TrackType::Audio => TrackKind::Audio,
        proto::TrackType::Video => TrackKind::Video,
        proto::TrackType::Data => TrackKind::Data,
    };
    Track { sid: info.sid, source, kind, muted: info.muted }
}

/// Servers before 1.8.4 send no milliseconds.
fn millis(millis: i64, secs: i64) -> i64 {
    if millis == 0 { secs.saturating_mul(1000) } else { millis }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_seconds_where_a_server_sends_no_milliseconds() {
        let old = proto::Room { creation_time: 5, ..proto::Room::default() };
        let new = proto::Room { creation_time: 5, creation_time_ms: 5123, ..proto::Room::default() };
        assert_eq!(room("r".into(), &old).created_at, 5000);
        assert_eq!(room("r".into(), &new).created_at, 5123);
    }

    #[test]
    fn leaves_default_settings_out_of_the_token() {
        assert!(room_configuration(&RoomSettings::default()).is_none());
    }
}

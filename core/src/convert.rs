//! Conversion between LiveKit's messages and the types of this crate.

use livekit_protocol as proto;

use uuid::Uuid;

use crate::{
    ArgumentFault, DataMessage, Identity, MediaError, Participant, ParticipantChange, ParticipantState,
    PermissionChange, Room, RoomName, RoomSettings, Track, TrackKind, TrackSource,
};

/// Maximum size of a data message with topic and recipients, in bytes. A longer one is `INVALID_ARGUMENT`: it would break
/// the data channels of some clients (RFC 8841), so that the engine does not send it.
const MAX_DATA_BYTES: usize = 65_536;
/// Overhead of a data message in bytes, besides payload, topic and recipients: nonce, sequence number and the fields' tags.
const DATA_OVERHEAD_BYTES: usize = 64;
/// Overhead of a recipient in bytes, besides its identity.
const RECIPIENT_OVERHEAD_BYTES: usize = 3;

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

/// A request that leaves the permissions unchanged.
pub(super) fn update_request(
    room: &RoomName,
    identity: &Identity,
    change: ParticipantChange,
) -> proto::UpdateParticipantRequest {
    proto::UpdateParticipantRequest {
        room: room.on_server().to_owned(),
        identity: identity.as_str().to_owned(),
        name: change.name.unwrap_or_default(),
        metadata: change.metadata.unwrap_or_default(),
        attributes: change.attributes.into_iter().collect(),
        permission: None,
    }
}

/// Applies `change`; all other permissions stay.
pub(super) fn change_permission(change: &PermissionChange, permission: &mut proto::ParticipantPermission) {
    let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
    set(&mut permission.can_publish, change.can_publish);
    set(&mut permission.can_subscribe, change.can_subscribe);
    set(&mut permission.can_publish_data, change.can_publish_data);
    set(&mut permission.can_update_metadata, change.can_update_own_metadata);
    set(&mut permission.hidden, change.hidden);
    if let Some(sources) = &change.sources {
        permission.can_publish_sources = sources.iter().map(|source| proto_source(*source).into()).collect();
    }
}

fn proto_source(source: TrackSource) -> proto::TrackSource {
    match source {
        TrackSource::Unknown => proto::TrackSource::Unknown,
        TrackSource::Camera => proto::TrackSource::Camera,
        TrackSource::Microphone => proto::TrackSource::Microphone,
        TrackSource::ScreenShare => proto::TrackSource::ScreenShare,
        TrackSource::ScreenShareAudio => proto::TrackSource::ScreenShareAudio,
    }
}

/// A request with a new nonce, by which clients recognise a message that a retry delivers again.
///
/// # Errors
/// [`MediaError::InvalidArgument`] past [`MAX_DATA_BYTES`].
pub(super) fn data_request(room: &RoomName, message: DataMessage) -> Result<proto::SendDataRequest, MediaError> {
    let DataMessage { data, to, topic, reliable } = message;
    // Recipients are in the message twice, because older clients read another field.
    let recipients: usize = to.iter().map(|identity| 2 * (identity.as_str().len() + RECIPIENT_OVERHEAD_BYTES)).sum();
    let bytes = data.len() + topic.as_ref().map_or(0, String::len) + recipients + DATA_OVERHEAD_BYTES;
    if bytes > MAX_DATA_BYTES {
        let fault = ArgumentFault::DataTooLong { bytes, max: MAX_DATA_BYTES };
        return Err(MediaError::InvalidArgument { parameter: "data".to_owned(), fault });
    }
    let kind = if reliable { proto::data_packet::Kind::Reliable } else { proto::data_packet::Kind::Lossy };
    Ok(proto::SendDataRequest {
        room: room.on_server().to_owned(),
        data,
        kind: kind.into(),
        destination_identities: to.into_iter().map(Identity::into_string).collect(),
        topic,
        nonce: Uuid::new_v4().as_bytes().to_vec(),
        ..proto::SendDataRequest::default()
    })
}

/// Whether a track is to be muted: it is not muted, and its source is among `sources` if there are any.
pub(super) fn is_muted_by(sources: Option<&[TrackSource]>, track: &Track) -> bool {
    !track.muted && sources.is_none_or(|sources| sources.contains(&track.source))
}

pub(super) fn track(info: proto::TrackInfo) -> Track {
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

    fn message(bytes: usize) -> DataMessage {
        DataMessage { data: vec![0; bytes], to: Vec::new(), topic: None, reliable: true }
    }

    fn room_name() -> RoomName {
        RoomName::parse(&crate::RoomPrefix::default(), "r".into()).unwrap()
    }

    #[test]
    fn changes_only_the_named_permissions() {
        let granted = proto::ParticipantPermission {
            can_publish: true,
            can_subscribe: true,
            can_publish_sources: vec![1],
            can_subscribe_metrics: true,
            can_manage_agent_session: true,
            ..proto::ParticipantPermission::default()
        };
        let mut changed = granted.clone();
        let change = PermissionChange { can_publish: Some(false), hidden: Some(true), ..PermissionChange::default() };
        change_permission(&change, &mut changed);
        assert_eq!(changed, proto::ParticipantPermission { can_publish: false, hidden: true, ..granted });
        let change = PermissionChange { sources: Some(vec![TrackSource::ScreenShareAudio]), ..Default::default() };
        change_permission(&change, &mut changed);
        assert_eq!(changed.can_publish_sources, [i32::from(proto::TrackSource::ScreenShareAudio)]);
    }

    #[test]
    fn rejects_data_longer_than_a_data_channel_carries() {
        assert!(data_request(&room_name(), message(65_000)).is_ok());
        let longest = MAX_DATA_BYTES - DATA_OVERHEAD_BYTES;
        assert!(data_request(&room_name(), message(longest)).is_ok());
        let fault = ArgumentFault::DataTooLong { bytes: MAX_DATA_BYTES + 1, max: MAX_DATA_BYTES };
        let expected = MediaError::InvalidArgument { parameter: "data".into(), fault };
        assert_eq!(data_request(&room_name(), message(longest + 1)), Err(expected));
        let to = vec![Identity::parse("to", "ann".into()).unwrap()];
        assert!(data_request(&room_name(), DataMessage { to, ..message(longest) }).is_err());
    }

    #[test]
    fn gives_each_data_message_its_own_nonce() {
        let nonce = || data_request(&room_name(), message(1)).unwrap().nonce;
        assert_eq!(nonce().len(), 16);
        assert_ne!(nonce(), nonce());
    }

    #[test]
    fn leaves_default_settings_out_of_the_token() {
        assert!(room_configuration(&RoomSettings::default()).is_none());
    }
}

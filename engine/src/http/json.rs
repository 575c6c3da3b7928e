//! Responses of the server API in JSON, as livekit-server writes them.

use livekit_protocol as proto;
use serde::{Serialize, Serializer};

use super::participant_json::{ParticipantJson, TrackJson};

/// A response in JSON with the field names of the .proto files and with default values, as livekit-server writes it.
pub(super) trait ToProtoJson: prost::Message {
    fn to_json(&self) -> Vec<u8>;
}

/// Messages whose generated serializer has the same result, because they have at most one field.
macro_rules! written_as_generated {
    ($($message:ident),* $(,)?) => {$(
        impl ToProtoJson for proto::$message {
            fn to_json(&self) -> Vec<u8> {
                text(self)
            }
        }
    )*};
}
written_as_generated!(
    DeleteRoomResponse,
    ForwardParticipantResponse,
    MoveParticipantResponse,
    PerformRpcResponse,
    RemoveParticipantResponse,
    SendDataResponse,
    UpdateSubscriptionsResponse,
);

impl ToProtoJson for proto::Room {
    fn to_json(&self) -> Vec<u8> {
        text(&RoomJson(self))
    }
}

impl ToProtoJson for proto::ListRoomsResponse {
    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Rooms<'a> {
            rooms: Vec<RoomJson<'a>>,
        }
        text(&Rooms { rooms: self.rooms.iter().map(RoomJson).collect() })
    }
}

impl ToProtoJson for proto::ListParticipantsResponse {
    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Participants<'a> {
            participants: Vec<ParticipantJson<'a>>,
        }
        text(&Participants { participants: self.participants.iter().map(ParticipantJson::from).collect() })
    }
}

impl ToProtoJson for proto::ParticipantInfo {
    fn to_json(&self) -> Vec<u8> {
        text(&ParticipantJson::from(self))
    }
}

impl ToProtoJson for proto::MuteRoomTrackResponse {
    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Muted<'a> {
            track: Option<TrackJson<'a>>,
        }
        text(&Muted { track: self.track.as_ref().map(TrackJson::from) })
    }
}

fn text(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}

struct RoomJson<'a>(&'a proto::Room);

impl Serialize for RoomJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            sid: &'a str,
            name: &'a str,
            empty_timeout: u32,
            departure_timeout: u32,
            max_participants: u32,
            // ProtoJSON writes 64-bit integers as strings, because JavaScript's numbers are not exact.
            creation_time: String,
            creation_time_ms: String,
            turn_password: &'a str,
            enabled_codecs: Vec<CodecJson<'a>>,
            metadata: &'a str,
            num_participants: u32,
            num_publishers: u32,
            active_recording: bool,
            version: Option<()>,
        }
        #[derive(Serialize)]
        struct CodecJson<'a> {
            mime: &'a str,
            fmtp_line: &'a str,
        }
        let Self(room) = *self;
        Fields {
            sid: &room.sid,
            name: &room.name,
            empty_timeout: room.empty_timeout,
            departure_timeout: room.departure_timeout,
            max_participants: room.max_participants,
            creation_time: room.creation_time.to_string(),
            creation_time_ms: room.creation_time_ms.to_string(),
            turn_password: &room.turn_password,
            enabled_codecs: (room.enabled_codecs.iter())
                .map(|codec| CodecJson { mime: &codec.mime, fmtp_line: &codec.fmtp_line })
                .collect(),
            metadata: &room.metadata,
            num_participants: room.num_participants,
            num_publishers: room.num_publishers,
            active_recording: room.active_recording,
            version: None,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::auth::strict_json::read;

    fn created(json: &str) -> Option<proto::CreateRoomRequest> {
        read(json.as_bytes())
    }

    #[test]
    fn decodes_both_spellings_of_field_names_and_ignores_unknown_fields() {
        for json in [r#"{"empty_timeout":7}"#, r#"{"emptyTimeout":"7"}"#, r#"{"emptyTimeout":7.0,"x":{"y":[1]}} rest"#]
        {
            assert_eq!(created(json).unwrap().empty_timeout, 7, "{json}");
        }
        assert_eq!(created(r#"{"name":null}"#).unwrap(), proto::CreateRoomRequest::default());
    }

    #[test]
    fn rejects_json_that_does_not_match_the_message() {
        let wrong = ["", "null", "[]", "{", r#"{"name":7}"#, r#"{"name":"a","name":"a"}"#, r#"{"emptyTimeout":-1}"#];
        for json in wrong.into_iter().chain([r#"{"empty_timeout":1,"emptyTimeout":1}"#, "{\"name\":\"\\ud800\"}"]) {
            assert_eq!(created(json), None, "{json}");
        }
        assert_eq!(read::<proto::CreateRoomRequest>(b"{\"name\":\"\xff\"}"), None);
        assert_eq!(read::<proto::ListRoomsRequest>(br#"{"names":[null]}"#), None);
    }

    #[test]
    #[expect(deprecated, reason = "clients still use the deprecated fields")]
    fn writes_every_field_of_a_participant() {
        let track = proto::TrackInfo { layers: vec![proto::VideoLayer::default()], ..Default::default() };
        let permission = Some(proto::ParticipantPermission::default());
        let info = proto::ParticipantInfo { tracks: vec![track], permission, ..Default::default() };
        let json: Value = serde_json::from_slice(&info.to_json()).unwrap();
        assert_eq!((&json["state"], &json["joined_at"]), (&"JOINING".into(), &"0".into()));
        assert_eq!(json.as_object().unwrap().len(), 19);
        assert_eq!(json["permission"].as_object().unwrap().len(), 10);
        assert_eq!(json["tracks"][0].as_object().unwrap().len(), 21);
        assert_eq!(json["tracks"][0]["layers"][0].as_object().unwrap().len(), 8);
    }

    #[test]
    fn writes_every_field_of_a_room() {
        let room = proto::Room { sid: "RM_1".into(), creation_time: 5, ..proto::Room::default() };
        let json: Value = serde_json::from_slice(&room.to_json()).unwrap();
        assert_eq!(json["creation_time"], "5");
        assert_eq!(json["num_participants"], 0);
        assert_eq!(json.as_object().unwrap().len(), 14);
    }
}

//! Decodes responses within a memory limit, and only the fields that are used. A field of two bytes on the wire can take
//! hundreds of bytes once decoded, so a size limit for the response alone does not limit memory.

use livekit_protocol as proto;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, skip_field};

use crate::BadResponseReason;

/// Maximum memory of one decoded response, in bytes. A larger one is `BAD_RESPONSE`.
/// A list of 64 MiB as livekit-server sends it takes about 150 MiB.
const MAX_DECODED_BYTES: usize = 256 * 1024 * 1024;

/// The fields of a message to decode; all others are left out.
pub(super) struct Shape {
    /// Memory of one decoded message without its texts, in bytes.
    size: usize,
    /// Field numbers. A field that holds a message has the shape of that message.
    fields: &'static [(u32, Option<&'static Shape>)],
}

impl Shape {
    /// A message of type `M`. Twice its size, because a list that grows by doubling takes up to that.
    const fn of<M>(fields: &'static [(u32, Option<&'static Self>)]) -> Self {
        Self { size: 2 * size_of::<M>(), fields }
    }
}

/// A response without used fields.
pub(super) const EMPTY: Shape = Shape::of::<()>(&[]);
/// `name`, `max_participants`, `creation_time`, `num_participants`, `creation_time_ms`.
pub(super) const ROOM: Shape = Shape::of::<proto::Room>(&[(2, None), (4, None), (5, None), (9, None), (15, None)]);
/// `rooms`.
pub(super) const ROOMS: Shape = Shape::of::<proto::ListRoomsResponse>(&[(1, Some(&ROOM))]);
/// `participants`.
pub(super) const PARTICIPANTS: Shape = Shape::of::<proto::ListParticipantsResponse>(&[(1, Some(&PARTICIPANT))]);
/// `identity`, `state`, `tracks`, `metadata`, `joined_at`, `name`, `permission`, `attributes`, `joined_at_ms`.
const PARTICIPANT: Shape = Shape::of::<proto::ParticipantInfo>(&[
    (2, None),
    (3, None),
    (4, Some(&TRACK)),
    (5, None),
    (6, None),
    (9, None),
    (11, Some(&PERMISSION)),
    (15, Some(&ATTRIBUTE)),
    (17, None),
]);
/// A single participant: as [`PARTICIPANT`], with the whole permission.
pub(super) const WHOLE_PARTICIPANT: Shape = Shape::of::<proto::ParticipantInfo>(&[
    (2, None),
    (3, None),
    (4, Some(&TRACK)),
    (5, None),
    (6, None),
    (9, None),
    (11, Some(&WHOLE_PERMISSION)),
    (15, Some(&ATTRIBUTE)),
    (17, None),
]);
/// `track`.
pub(super) const MUTED_TRACK: Shape = Shape::of::<proto::MuteRoomTrackResponse>(&[(1, Some(&TRACK))]);
/// `sid`, `type`, `muted`, `source`.
const TRACK: Shape = Shape::of::<proto::TrackInfo>(&[(1, None), (2, None), (4, None), (9, None)]);
/// `can_subscribe`, `can_publish`, `can_publish_data`.
const PERMISSION: Shape = Shape::of::<proto::ParticipantPermission>(&[(1, None), (2, None), (3, None)]);
/// All fields, because an update of one repeats the others: `can_subscribe`, `can_publish`, `can_publish_data`, `hidden`,
/// `recorder`, `can_publish_sources`, `can_update_metadata`, `agent`, `can_subscribe_metrics`, `can_manage_agent_session`.
const WHOLE_PERMISSION: Shape = Shape::of::<proto::ParticipantPermission>(&[
    (1, None),
    (2, None),
    (3, None),
    (7, None),
    (8, None),
    (9, None),
    (10, None),
    (11, None),
    (12, None),
    (13, None),
]);
/// Key and value. In memory they are in a hash table, and then in a tree.
const ATTRIBUTE: Shape = Shape::of::<[String; 4]>(&[(1, None), (2, None)]);

/// Decodes the fields of `shape`.
pub(super) fn decode<A: Message + Default>(body: &[u8], shape: &Shape) -> Result<A, BadResponseReason> {
    let mut filter = Filter { kept: Vec::new(), left: MAX_DECODED_BYTES };
    filter.message(body, shape)?;
    A::decode(filter.kept.as_slice()).map_err(|_| BadResponseReason::Undecodable)
}

struct Filter {
    /// The message without the fields that are left out.
    kept: Vec<u8>,
    /// Memory that the message may still take once decoded, in bytes.
    left: usize,
}

impl Filter {
    /// Copies the fields of `shape`. The cost is linear in the size of `message`, because no shape contains itself.
    fn message(&mut self, message: &[u8], shape: &Shape) -> Result<(), BadResponseReason> {
        self.count(shape.size)?;
        let mut rest = message;
        while !rest.is_empty() {
            let field = rest;
            let (tag, wire_type) = decode_key(&mut rest).map_err(|_| BadResponseReason::Undecodable)?;
            let kept = shape.fields.iter().find(|(number, _)| *number == tag);
            if let (Some((_, Some(inner))), WireType::LengthDelimited) = (kept, wire_type) {
                encode_key(tag, wire_type, &mut self.kept);
                self.nested(length_delimited(&mut rest)?, inner)?;
                continue;
            }
            skip_field(wire_type, tag, &mut rest, DecodeContext::default())
                .map_err(|_| BadResponseReason::Undecodable)?;
            if kept.is_some() {
                let field = &field[..field.len() - rest.len()];
                self.count(field.len())?;
                self.kept.extend_from_slice(field);
            }
        }
        Ok(())
    }

    /// Copies a message within a message, after its length.
    fn nested(&mut self, message: &[u8], shape: &Shape) -> Result<(), BadResponseReason> {
        let start = self.kept.len();
        self.kept.extend_from_slice(&[0; LENGTH_BYTES]);
        self.message(message, shape)?;
        // A varint of fixed width, because the length is known only now.
        let mut length = self.kept.len() - start - LENGTH_BYTES;
        for (i, byte) in self.kept[start..start + LENGTH_BYTES].iter_mut().enumerate() {
            let more = if i + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = length.to_le_bytes()[0] & 0x7f | more;
            length >>= 7;
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), BadResponseReason> {
        self.left = self.left.checked_sub(bytes).ok_or(BadResponseReason::TooLarge)?;
        Ok(())
    }
}

/// Bytes of the varint before a nested message: enough for 32 GiB.
const LENGTH_BYTES: usize = 5;

fn length_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadResponseReason> {
    let length = decode_varint(rest).ok().and_then(|length| usize::try_from(length).ok());
    let (content, after) =
        length.and_then(|length| rest.split_at_checked(length)).ok_or(BadResponseReason::Undecodable)?;
    *rest = after;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> proto::Room {
        proto::Room {
            name: name.into(),
            sid: "RM_x".into(),
            max_participants: 12,
            num_participants: 3,
            creation_time: 5,
            creation_time_ms: 5123,
            turn_password: "secret".into(),
            enabled_codecs: vec![proto::Codec { mime: "audio/opus".into(), fmtp_line: "a".repeat(200) }],
            ..proto::Room::default()
        }
    }

    #[test]
    fn decodes_only_the_fields_of_a_shape() {
        let list = proto::ListRoomsResponse { rooms: vec![room("a"), room("b")] };
        let decoded: proto::ListRoomsResponse = decode(&list.encode_to_vec(), &ROOMS).unwrap();
        let expected = |name: &str| proto::Room {
            sid: String::new(),
            turn_password: String::new(),
            enabled_codecs: Vec::new(),
            ..room(name)
        };
        assert_eq!(decoded.rooms, [expected("a"), expected("b")]);
    }

    #[test]
    fn decodes_tracks_permissions_and_attributes_within_a_participant() {
        let track = proto::TrackInfo { sid: "TR_x".into(), source: 2, muted: true, ..proto::TrackInfo::default() };
        let permission = proto::ParticipantPermission { can_publish: true, ..Default::default() };
        let participant = proto::ParticipantInfo {
            identity: "ann".into(),
            metadata: "m".repeat(300),
            tracks: vec![
                track.clone(),
                proto::TrackInfo { codecs: vec![proto::SimulcastCodecInfo::default(); 3], ..track.clone() },
            ],
            attributes: [("k".to_owned(), "v".to_owned())].into(),
            permission: Some(permission),
            ..proto::ParticipantInfo::default()
        };
        let list = proto::ListParticipantsResponse { participants: vec![participant.clone()] };
        let decoded: proto::ListParticipantsResponse = decode(&list.encode_to_vec(), &PARTICIPANTS).unwrap();
        let expected = proto::ParticipantInfo { tracks: vec![track.clone(), track], ..participant };
        assert_eq!(decoded.participants, [expected]);
    }

    #[test]
    fn rejects_a_list_of_empty_elements_as_too_large() {
        let empty = [0x0a, 0].repeat(4 * 1024 * 1024);
        assert_eq!(decode::<proto::ListRoomsResponse>(&empty, &ROOMS), Err(BadResponseReason::TooLarge));
        assert_eq!(decode::<proto::ListParticipantsResponse>(&empty, &PARTICIPANTS), Err(BadResponseReason::TooLarge));
    }

    #[test]
    fn rejects_a_participant_of_empty_tracks_or_attributes_as_too_large() {
        for empty in [[0x22, 0], [0x7a, 0]] {
            let mut list = Vec::new();
            encode_key(1, WireType::LengthDelimited, &mut list);
            let tracks = empty.repeat(2 * 1024 * 1024);
            prost::encoding::encode_varint(tracks.len() as u64, &mut list);
            list.extend_from_slice(&tracks);
            assert_eq!(
                decode::<proto::ListParticipantsResponse>(&list, &PARTICIPANTS),
                Err(BadResponseReason::TooLarge)
            );
        }
    }

    #[test]
    fn accepts_the_longest_list_that_livekit_server_sends() {
        let codec = |mime: &str| proto::Codec { mime: mime.into(), fmtp_line: String::new() };
        let room = proto::Room { enabled_codecs: vec![codec("video/H264"); 10], ..room("huddle:design-team") };
        let element = proto::ListRoomsResponse { rooms: vec![room] }.encode_to_vec();
        let body = element.repeat(64 * 1024 * 1024 / element.len());
        assert!(decode::<proto::ListRoomsResponse>(&body, &ROOMS).is_ok());
    }

    #[test]
    fn rejects_bytes_that_are_not_protobuf() {
        for body in [b"<html>".as_slice(), &[0x0a, 9, 1], &[0x0a], &[0x0a, 2, 0x12, 5]] {
            assert_eq!(
                decode::<proto::ListRoomsResponse>(body, &ROOMS),
                Err(BadResponseReason::Undecodable),
                "{body:?}"
            );
        }
    }
}

//! How many parts a message has. A part can be two bytes long, and take hundreds of them once it is read: a body of the
//! greatest length would fill a small machine.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::room_service::Codec;

/// The most fields and items of one message. Who lists rooms by name names fewer.
const MOST_PARTS: usize = 300_000;

/// The methods whose messages hold others that hold others. The texts of the rest may look like messages.
const DEEP: [&str; 2] = ["CreateRoom", "UpdateSubscriptions"];
const DEPTH: u32 = 4;

/// Whether no more than the limit are in `body`. What is no message is found to be none later.
pub(super) fn are_few(body: &[u8], codec: Codec, method: &str) -> bool {
    let depth = if DEEP.contains(&method) { DEPTH } else { 0 };
    let parts = match codec {
        Codec::Json => in_json(body),
        Codec::Protobuf => in_protobuf(body, depth, 0),
    };
    parts <= MOST_PARTS
}

fn in_json(body: &[u8]) -> usize {
    let (mut parts, mut in_text, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => parts += 1,
            _ => (),
        }
    }
    parts
}

/// No further than the limit: most of what is too much is never looked at.
fn in_protobuf(mut rest: &[u8], depth: u32, mut parts: usize) -> usize {
    while parts <= MOST_PARTS
        && let Ok((tag, kind)) = decode_key(&mut rest)
    {
        parts += 1;
        if kind != WireType::LengthDelimited {
            if skip_field(kind, tag, &mut rest, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
        let Some((inner, after)) = length.and_then(|length| rest.split_at_checked(length)) else { break };
        rest = after;
        if depth > 0 {
            parts = in_protobuf(inner, depth - 1, parts);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use livekit_protocol as proto;
    use prost::Message as _;

    use super::*;

    #[test]
    fn parts_are_counted_outside_texts_only() {
        assert_eq!(in_json(br#"{"a":[1,2,{}],"b,[{\"":"\\","c":","}"#), 7);
        assert_eq!(in_json(b"{\"a"), 1);
    }

    #[test]
    fn fields_are_counted_within_fields() {
        // A text, a number, and a message of two fields.
        let message = [0x0a, 2, b'r', b'r', 0x10, 7, 0x1a, 4, 0x08, 1, 0x10, 2];
        assert_eq!(in_protobuf(&message, 0, 0), 3);
        assert_eq!(in_protobuf(&message, 4, 0), 6);
        assert_eq!(in_protobuf(&message[..9], 4, 0), 4);
    }

    #[test]
    fn metadata_and_names_at_their_limits_are_few() {
        let metadata = "x".repeat(512 * 1024);
        let request = proto::CreateRoomRequest { name: "r".into(), metadata, ..Default::default() };
        assert!(are_few(&request.encode_to_vec(), Codec::Protobuf, "CreateRoom"));
        let names = vec!["xxxx".to_owned(); 299_000];
        let request = proto::ListRoomsRequest { names };
        assert!(are_few(&request.encode_to_vec(), Codec::Protobuf, "ListRooms"));
        assert!(are_few(&serde_json::to_vec(&request).unwrap(), Codec::Json, "ListRooms"));
        assert!(!are_few(&b"[]".repeat(400_000), Codec::Json, "ListRooms"));
        assert!(!are_few(&[0x72, 0].repeat(400_000), Codec::Protobuf, "CreateRoom"));
    }
}

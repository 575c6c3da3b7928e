//! Generates requests from random bytes. Some are valid; most are damaged somewhere.

use arbitrary::{Result, Unstructured};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use Kind::{Bytes, Flag, Map, Message, Number, Text, Texts};

/// The type of a field.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Number,
    Flag,
    Texts,
    Bytes,
    Map,
    Message,
}

type Fields = &'static [(&'static str, Kind)];

/// Every `RoomService` method with the fields of its request.
pub const METHODS: [(&str, Fields); 14] = [
    (
        "CreateRoom",
        &[
            ("name", Text),
            ("roomPreset", Text),
            ("empty_timeout", Number),
            ("departureTimeout", Number),
            ("maxParticipants", Number),
            ("nodeId", Text),
            ("metadata", Text),
            ("tags", Map),
            ("egress", Message),
            ("minPlayoutDelay", Number),
            ("syncStreams", Flag),
            ("agents", Message),
        ],
    ),
    ("ListRooms", &[("names", Texts)]),
    ("DeleteRoom", &[("room", Text)]),
    ("ListParticipants", &[("room", Text)]),
    ("GetParticipant", &[("room", Text), ("identity", Text), ("revokeTokenTs", Number)]),
    ("RemoveParticipant", &[("room", Text), ("identity", Text), ("revoke_token_ts", Number)]),
    ("MutePublishedTrack", &[("room", Text), ("identity", Text), ("trackSid", Text), ("muted", Flag)]),
    (
        "UpdateParticipant",
        &[
            ("room", Text),
            ("identity", Text),
            ("metadata", Text),
            ("permission", Message),
            ("name", Text),
            ("attributes", Map),
        ],
    ),
    (
        "UpdateSubscriptions",
        &[
            ("room", Text),
            ("identity", Text),
            ("trackSids", Texts),
            ("subscribe", Flag),
            ("participantTracks", Message),
        ],
    ),
    (
        "SendData",
        &[
            ("room", Text),
            ("data", Bytes),
            ("kind", Number),
            ("destinationSids", Texts),
            ("destinationIdentities", Texts),
            ("topic", Text),
            ("nonce", Bytes),
        ],
    ),
    ("UpdateRoomMetadata", &[("room", Text), ("metadata", Text)]),
    ("ForwardParticipant", &[("room", Text), ("identity", Text), ("destinationRoom", Text)]),
    ("MoveParticipant", &[("room", Text), ("identity", Text), ("destinationRoom", Text)]),
    (
        "PerformRpc",
        &[
            ("room", Text),
            ("destinationIdentity", Text),
            ("method", Text),
            ("payload", Text),
            ("responseTimeoutMs", Number),
        ],
    ),
];

/// Fields of nested messages.
const INNER: Fields = &[
    ("agentName", Text),
    ("metadata", Text),
    ("attributes", Map),
    ("canPublish", Flag),
    ("canPublishSources", Texts),
    ("participantSid", Text),
    ("trackSids", Texts),
    ("room", Message),
    ("fileOutputs", Message),
    ("s3", Message),
    ("filepath", Text),
    ("tracks", Message),
    ("kind", Text),
];

/// Valid values, and values that are hard to handle.
pub const NAMES: [&str; 9] = ["a", "b", "", "\0", "\u{1f980}\u{202e}", "__proto__", "../..", "LOSSY", "CAMERA"];

/// The random bytes of a case; the same case always has the same bytes.
pub fn seed(case: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(case);
    let mut bytes = vec![0; 16 + usize::try_from(random.next_u32() % 2000).unwrap_or_default()];
    random.fill_bytes(&mut bytes);
    bytes
}

pub fn text(source: &mut Unstructured<'_>) -> Result<String> {
    Ok(match source.int_in_range(0..=9)? {
        0..=5 => (*source.choose(&NAMES)?).to_owned(),
        6 => "x".repeat(source.int_in_range(250..=260)?),
        _ => source.arbitrary()?,
    })
}

/// A request body in JSON, damaged in one of three cases.
pub fn json(source: &mut Unstructured<'_>, fields: Fields) -> Result<Vec<u8>> {
    let mut body = object(source, fields, 4)?.into_bytes();
    damage(source, &mut body)?;
    Ok(body)
}

fn object(source: &mut Unstructured<'_>, fields: Fields, depth: u8) -> Result<String> {
    let mut members = Vec::new();
    for (name, kind) in fields {
        if source.ratio(3, 5)? {
            members.push(format!("\"{name}\":{}", value(source, *kind, depth)?));
        }
    }
    if source.ratio(1, 10)? {
        members.push(format!("{}:{}", quoted(&text(source)?), value(source, Message, depth)?));
    }
    if source.ratio(1, 20)? {
        let duplicate = members.first().cloned();
        members.extend(duplicate);
    }
    Ok(format!("{{{}}}", members.join(",")))
}

fn value(source: &mut Unstructured<'_>, kind: Kind, depth: u8) -> Result<String> {
    const NUMBERS: [&str; 12] = [
        "0",
        "1",
        "-1",
        "7.0",
        "0.5",
        "1e3",
        "1e400",
        "4294967295",
        "4294967296",
        "-0",
        "\"7\"",
        "9223372036854775808",
    ];
    let kind =
        if source.ratio(1, 10)? { *source.choose(&[Text, Number, Flag, Texts, Bytes, Map, Message])? } else { kind };
    let count = source.int_in_range(0..=4)?;
    Ok(match kind {
        Text => quoted(&text(source)?),
        Number => (*source.choose(&NUMBERS)?).to_owned(),
        Flag => (*source.choose(&["true", "false", "null"])?).to_owned(),
        Bytes => {
            (*source.choose(&["\"\"", "\"AAAA\"", "\"AAAAAAAAAAAAAAAAAAAAAA==\"", "\"-_8\"", "\"=\""])?).to_owned()
        }
        Texts => list(count, || Ok(quoted(&text(source)?)))?,
        Map => {
            let mut pairs = Vec::new();
            for _ in 0..count {
                pairs.push(format!("{}:{}", quoted(&text(source)?), quoted(&text(source)?)));
            }
            format!("{{{}}}", pairs.join(","))
        }
        Message if depth == 0 => "{}".to_owned(),
        Message if source.ratio(1, 3)? => list(count, || object(source, INNER, depth - 1))?,
        Message => object(source, INNER, depth - 1)?,
    })
}

fn list(count: u8, mut item: impl FnMut() -> Result<String>) -> Result<String> {
    let items: Result<Vec<String>> = (0..count).map(|_| item()).collect();
    Ok(format!("[{}]", items?.join(",")))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A request body in protobuf: fields with small numbers, which all messages have.
pub fn protobuf(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    fields(source, &mut body, 4)?;
    damage(source, &mut body)?;
    Ok(body)
}

fn fields(source: &mut Unstructured<'_>, into: &mut Vec<u8>, depth: u8) -> Result<()> {
    for _ in 0..source.int_in_range(0..=8)? {
        let number: u64 = if source.ratio(9, 10)? { source.int_in_range(1..=15)? } else { source.arbitrary()? };
        let wire = if source.ratio(4, 5)? { 2 } else { source.int_in_range(0..=7)? };
        varint(number << 3 | wire, into);
        match wire {
            0 => varint(source.arbitrary()?, into),
            1 => into.extend_from_slice(&source.arbitrary::<[u8; 8]>()?),
            5 => into.extend_from_slice(&source.arbitrary::<[u8; 4]>()?),
            2 => {
                let mut inner = Vec::new();
                if depth > 0 && source.ratio(1, 3)? {
                    fields(source, &mut inner, depth - 1)?;
                } else {
                    inner = text(source)?.into_bytes();
                }
                varint(u64::try_from(inner.len()).unwrap_or_default(), into);
                into.append(&mut inner);
            }
            _ => (),
        }
    }
    Ok(())
}

fn varint(mut value: u64, into: &mut Vec<u8>) {
    while value > 0x7f {
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

/// In one of three cases, changes or inserts a byte, truncates the bytes, or repeats the end.
pub fn damage(source: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    if bytes.is_empty() || source.ratio(2, 3)? {
        return Ok(());
    }
    let at = source.choose_index(bytes.len())?;
    match source.int_in_range(0..=3)? {
        0 => bytes[at] = source.arbitrary()?,
        1 => bytes.truncate(at),
        2 => bytes.insert(at, source.arbitrary()?),
        _ => bytes.extend_from_within(at..),
    }
    Ok(())
}

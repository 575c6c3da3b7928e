//! What broken, slow and greedy clients can do on a signalling connection: lose it.

use std::io::ErrorKind;
use std::time::Duration;

use livekit_protocol as proto;
use maravilla_engine::Limits;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;

use crate::Watched;
use crate::support::join_token;
use crate::wire::{self, BINARY, CLOSE, FINAL, PING, TEXT, Wire, frame, header, signal};

const PONG: u8 = 10;
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Close codes of RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const INVALID: u16 = 1007;
const POLICY: u16 = 1008;
const TOO_LARGE: u16 = 1009;

fn open(engine: &Watched) -> Wire {
    let request = wire::join_request("/rtc/v1", &join_token("room", "ann"), "EgA=");
    Wire::open(engine.address(), &request).unwrap()
}

fn ping(timestamp: i64) -> Vec<u8> {
    signal(Ask::PingReq(proto::Ping { timestamp, ..Default::default() }))
}

/// Waits until what was sent before is dealt with, too.
#[track_caller]
fn assert_answered(wire: &mut Wire, timestamp: i64) {
    loop {
        if let Told::PongResp(pong) = wire.hear().unwrap()
            && pong.last_ping_timestamp == timestamp
        {
            return;
        }
    }
}

/// The connection is closed with that code, and the participant can come back.
#[track_caller]
fn assert_closed_with(engine: &Watched, bytes: &[u8], code: u16, what: &str) {
    let mut wire = open(engine);
    // The engine may have closed it before all is sent.
    let _ = wire.send(bytes);
    assert_eq!(wire.close_code().unwrap(), code, "{what}");
    let mut again = open(engine);
    again.send(&ping(1)).unwrap();
    assert_answered(&mut again, 1);
}

#[test]
fn frames_against_rfc_6455_close_the_connection() {
    let engine = Watched::start();
    let text = b"\x0a\x00";
    let unmasked = [&[FINAL | BINARY, 2], text.as_slice()].concat();
    let begun = [header(BINARY, 2), text.to_vec()].concat();
    for (what, bytes) in [
        ("unmasked", unmasked),
        ("a reserved bit", frame(0x40 | BINARY, text)),
        ("a reserved opcode", frame(3, text)),
        ("a reserved control opcode", frame(11, text)),
        ("the rest of nothing", frame(0, text)),
        ("a message within another", [begun.clone(), frame(BINARY, text)].concat()),
        ("a ping in fragments", header(PING, 0)),
        ("a long ping", frame(PING, &[0; 126])),
        ("a long close", frame(CLOSE, &[0; 200])),
    ] {
        assert_closed_with(&engine, &bytes, PROTOCOL, what);
    }
}

#[test]
fn a_message_that_is_too_long_closes_the_connection() {
    let engine = Watched::start();
    let half = vec![b'x'; MAX_MESSAGE_BYTES / 2];
    let part = |opcode: u8| [header(opcode, half.len()), half.clone()].concat();
    for (what, bytes) in [
        ("one frame", header(FINAL | BINARY, MAX_MESSAGE_BYTES + 1)),
        ("the longest frame there is", [&[FINAL | TEXT, 0xff], [0xff; 12].as_slice()].concat()),
        ("three fragments", [part(BINARY), part(0), header(FINAL, 1)].concat()),
    ] {
        assert_closed_with(&engine, &bytes, TOO_LARGE, what);
    }
}

#[test]
fn a_message_of_the_greatest_length_is_taken_whole_or_in_fragments() {
    let engine = Watched::start();
    let mut wire = open(&engine);
    let trickle = |length: usize| proto::TrickleRequest { candidate_init: "x".repeat(length), ..Default::default() };
    let message = |length| proto::SignalRequest { message: Some(Ask::Trickle(trickle(length))) }.encode_to_vec();
    let overhead = message(MAX_MESSAGE_BYTES / 2).len() - MAX_MESSAGE_BYTES / 2;
    let whole = message(MAX_MESSAGE_BYTES - overhead);
    assert_eq!(whole.len(), MAX_MESSAGE_BYTES);
    wire.send(&frame(BINARY, &whole)).unwrap();
    let mut fragments = Vec::new();
    let last = whole.len().div_ceil(1000) - 1;
    for (number, part) in whole.chunks(1000).enumerate() {
        let opcode = if number == 0 { BINARY } else { 0 };
        fragments.extend(header(if number == last { FINAL | opcode } else { opcode }, part.len()));
        fragments.extend(part);
    }
    wire.send(&fragments).unwrap();
    wire.send(&ping(1)).unwrap();
    assert_answered(&mut wire, 1);
}

#[test]
fn masks_fragments_and_pings_between_them_are_read() {
    let engine = Watched::start();
    let mut wire = open(&engine);
    let mut masked = |first: u8, payload: &[u8]| {
        let mask = [1, 2, 0xfe, 0xff];
        let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let length = 0x80 | u8::try_from(payload.len()).unwrap();
        wire.send(&[[first, length].as_slice(), &mask, &payload].concat()).unwrap();
    };
    let text = br#"{"pingReq":{"timestamp":"7"}}"#;
    masked(TEXT, &text[..3]);
    masked(FINAL | PING, b"first ping");
    masked(0, &text[3..9]);
    masked(0, b"");
    masked(FINAL | PONG, b"a pong that answers nothing");
    masked(FINAL, &text[9..]);
    let mut frames = std::iter::from_fn(|| wire.read_frame().ok()).skip_while(|(opcode, _)| *opcode == BINARY);
    assert_eq!(frames.next(), Some((PONG, b"first ping".to_vec())));
    let (opcode, answer) = frames.find(|(opcode, _)| *opcode == TEXT).unwrap();
    assert!(opcode == TEXT && String::from_utf8(answer).unwrap().contains(r#""lastPingTimestamp":"7""#));
}

#[test]
fn a_message_that_would_take_many_times_its_length_closes_the_connection() {
    let engine = Watched::start();
    let json = |unit: &str| frame(TEXT, format!("{{\"x\":[{}0]}}", unit.repeat(200_000)).as_bytes());
    let sids = |sid: &str, count: usize| vec![sid.to_owned(); count];
    let settings =
        |track_sids| signal(Ask::TrackSetting(proto::UpdateTrackSettings { track_sids, ..Default::default() }));
    let published = vec![proto::TrackPublishedResponse::default(); 65];
    let permission = proto::TrackPermission { track_sids: sids("TR_aaaaaaaaaaaa", 4095), ..Default::default() };
    let permissions = |count| vec![permission.clone(); count];
    let audience = |track_permissions| {
        signal(Ask::SubscriptionPermission(proto::SubscriptionPermission { track_permissions, ..Default::default() }))
    };
    for (what, bytes) in [
        ("arrays", json("[],")),
        ("objects", json("{\"\":0},")),
        ("empty names", settings(sids("", 500_000))),
        ("names", settings(sids("TR_aaaaaaaaaaaa", 4097))),
        (
            "published tracks",
            signal(Ask::SyncState(proto::SyncState { publish_tracks: published, ..Default::default() })),
        ),
        ("no message", frame(BINARY, &[0xff; 20])),
        ("no JSON", frame(TEXT, b"{\"")),
    ] {
        assert_closed_with(&engine, &bytes, INVALID, what);
    }
    // A publisher repeats its permissions whenever it resumes: closed each time, it would never come to rest.
    for bytes in [settings(sids("TR_aaaaaaaaaaaa", 4096)), audience(permissions(2))] {
        let mut wire = open(&engine);
        wire.send(&bytes).unwrap();
        wire.send(&ping(2)).unwrap();
        assert_answered(&mut wire, 2);
    }
}

#[test]
fn a_message_that_is_not_complete_in_time_closes_the_connection() {
    const SOON: Duration = Duration::from_millis(300);
    let engine = Watched::start_with(Limits { signal_timeout: SOON, ..Limits::default() });
    let begun = [header(BINARY, 1000), vec![0; 10]].concat();
    for (what, bytes) in
        [("a header", header(FINAL | BINARY, 10)), ("a beginning", begun), ("a fragment", header(TEXT, 0))]
    {
        assert_closed_with(&engine, &bytes, POLICY, what);
    }
    // Nor while something comes all the time.
    let mut wire = open(&engine);
    let mut writer = wire.writer();
    std::thread::spawn(move || {
        let fragments = header(0, 0).repeat(100);
        std::io::Write::write_all(&mut writer, &header(BINARY, 0)).unwrap();
        while std::io::Write::write_all(&mut writer, &fragments).is_ok() {}
    });
    assert_eq!(wire.close_code().unwrap(), POLICY);
}

#[test]
fn a_client_that_closes_is_answered_and_gone() {
    let engine = Watched::start();
    let mut wire = open(&engine);
    wire.send(&frame(CLOSE, &NORMAL.to_be_bytes())).unwrap();
    assert_eq!(wire.close_code().unwrap(), NORMAL);
    assert_eq!(wire.read_frame().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

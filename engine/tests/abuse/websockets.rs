//! Malformed, slow and greedy signalling. The engine closes the connection; the participant can join again.

use std::io::ErrorKind;
use std::time::Duration;

use livekit_protocol as proto;
use maravilla_engine::Limits;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::GuardedEngine;
use crate::signal_socket::{self, BINARY, CLOSE, FINAL, PING, SignalSocket, TEXT, frame, header, signal};
use crate::support::join_token;

const PONG: u8 = 10;
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Close codes of RFC 6455, section 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const INVALID_DATA: u16 = 1007;
const POLICY_VIOLATION: u16 = 1008;
const TOO_LARGE: u16 = 1009;

fn open(engine: &GuardedEngine) -> SignalSocket {
    let request = signal_socket::join_request("/rtc/v1", &join_token("room", "ann"), "EgA=");
    SignalSocket::open(engine.address(), &request).unwrap()
}

fn ping(timestamp: i64) -> Vec<u8> {
    signal(Request::PingReq(proto::Ping { timestamp, ..Default::default() }))
}

/// Waits for the pong, which follows the processing of all earlier signals.
#[track_caller]
fn assert_pong(socket: &mut SignalSocket, timestamp: i64) {
    loop {
        if let Response::PongResp(pong) = socket.receive().unwrap()
            && pong.last_ping_timestamp == timestamp
        {
            return;
        }
    }
}

/// Asserts that `bytes` close the connection with `code`, and that the participant can join again.
#[track_caller]
fn assert_closed_with(engine: &GuardedEngine, bytes: &[u8], code: u16, what: &str) {
    let mut socket = open(engine);
    // The engine may close the connection before all bytes are sent.
    let _ = socket.send(bytes);
    assert_eq!(socket.read_close_code().unwrap(), code, "{what}");
    let mut again = open(engine);
    again.send(&ping(1)).unwrap();
    assert_pong(&mut again, 1);
}

#[test]
fn closes_the_connection_on_a_frame_that_violates_rfc_6455() {
    let engine = GuardedEngine::start();
    let text = b"\x0a\x00";
    let unmasked = [&[FINAL | BINARY, 2], text.as_slice()].concat();
    let incomplete = [header(BINARY, 2), text.to_vec()].concat();
    for (what, bytes) in [
        ("unmasked", unmasked),
        ("a reserved bit", frame(0x40 | BINARY, text)),
        ("a reserved opcode", frame(3, text)),
        ("a reserved control opcode", frame(11, text)),
        ("a continuation without a message", frame(0, text)),
        ("a message within another", [incomplete.clone(), frame(BINARY, text)].concat()),
        ("a ping in fragments", header(PING, 0)),
        ("a long ping", frame(PING, &[0; 126])),
        ("a long close", frame(CLOSE, &[0; 200])),
    ] {
        assert_closed_with(&engine, &bytes, PROTOCOL_ERROR, what);
    }
}

#[test]
fn closes_the_connection_on_a_message_over_2_mib() {
    let engine = GuardedEngine::start();
    let half = vec![b'x'; MAX_MESSAGE_BYTES / 2];
    let part = |opcode: u8| [header(opcode, half.len()), half.clone()].concat();
    for (what, bytes) in [
        ("one frame", header(FINAL | BINARY, MAX_MESSAGE_BYTES + 1)),
        ("a frame of the maximum length", [&[FINAL | TEXT, 0xff], [0xff; 12].as_slice()].concat()),
        ("three fragments", [part(BINARY), part(0), header(FINAL, 1)].concat()),
    ] {
        assert_closed_with(&engine, &bytes, TOO_LARGE, what);
    }
}

#[test]
fn accepts_a_message_of_2_mib_in_one_frame_or_in_fragments() {
    let engine = GuardedEngine::start();
    let mut socket = open(&engine);
    let trickle = |length: usize| proto::TrickleRequest { candidate_init: "x".repeat(length), ..Default::default() };
    let message = |length| proto::SignalRequest { message: Some(Request::Trickle(trickle(length))) }.encode_to_vec();
    let overhead = message(MAX_MESSAGE_BYTES / 2).len() - MAX_MESSAGE_BYTES / 2;
    let whole = message(MAX_MESSAGE_BYTES - overhead);
    assert_eq!(whole.len(), MAX_MESSAGE_BYTES);
    socket.send(&frame(BINARY, &whole)).unwrap();
    let mut fragments = Vec::new();
    let last = whole.len().div_ceil(1000) - 1;
    for (number, part) in whole.chunks(1000).enumerate() {
        let opcode = if number == 0 { BINARY } else { 0 };
        fragments.extend(header(if number == last { FINAL | opcode } else { opcode }, part.len()));
        fragments.extend(part);
    }
    socket.send(&fragments).unwrap();
    socket.send(&ping(1)).unwrap();
    assert_pong(&mut socket, 1);
}

#[test]
fn reads_masked_fragments_with_pings_between_them() {
    let engine = GuardedEngine::start();
    let mut socket = open(&engine);
    let mut masked = |first: u8, payload: &[u8]| {
        let mask = [1, 2, 0xfe, 0xff];
        let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let length = 0x80 | u8::try_from(payload.len()).unwrap();
        socket.send(&[[first, length].as_slice(), &mask, &payload].concat()).unwrap();
    };
    let text = br#"{"pingReq":{"timestamp":"7"}}"#;
    masked(TEXT, &text[..3]);
    masked(FINAL | PING, b"first ping");
    masked(0, &text[3..9]);
    masked(0, b"");
    masked(FINAL | PONG, b"an unsolicited pong");
    masked(FINAL, &text[9..]);
    let mut frames = std::iter::from_fn(|| socket.read_frame().ok()).skip_while(|(opcode, _)| *opcode == BINARY);
    assert_eq!(frames.next(), Some((PONG, b"first ping".to_vec())));
    let (opcode, response) = frames.find(|(opcode, _)| *opcode == TEXT).unwrap();
    assert!(opcode == TEXT && String::from_utf8(response).unwrap().contains(r#""lastPingTimestamp":"7""#));
}

#[test]
fn closes_the_connection_on_a_message_that_decodes_to_many_times_its_length() {
    let engine = GuardedEngine::start();
    let json = |unit: &str| frame(TEXT, format!("{{\"x\":[{}0]}}", unit.repeat(200_000)).as_bytes());
    let sids = |sid: &str, count: usize| vec![sid.to_owned(); count];
    let settings =
        |track_sids| signal(Request::TrackSetting(proto::UpdateTrackSettings { track_sids, ..Default::default() }));
    let published = vec![proto::TrackPublishedResponse::default(); 65];
    let permission = proto::TrackPermission { track_sids: sids("TR_aaaaaaaaaaaa", 4095), ..Default::default() };
    let permissions = |count| vec![permission.clone(); count];
    let permission_update = |track_permissions| {
        signal(Request::SubscriptionPermission(proto::SubscriptionPermission {
            track_permissions,
            ..Default::default()
        }))
    };
    for (what, bytes) in [
        ("arrays", json("[],")),
        ("objects", json("{\"\":0},")),
        ("empty names", settings(sids("", 500_000))),
        ("names", settings(sids("TR_aaaaaaaaaaaa", 4097))),
        (
            "published tracks",
            signal(Request::SyncState(proto::SyncState { publish_tracks: published, ..Default::default() })),
        ),
        ("invalid protobuf", frame(BINARY, &[0xff; 20])),
        ("invalid JSON", frame(TEXT, b"{\"")),
    ] {
        assert_closed_with(&engine, &bytes, INVALID_DATA, what);
    }
    // A publisher repeats its permissions after each resume, so it would never stay connected if they closed the connection.
    for bytes in [settings(sids("TR_aaaaaaaaaaaa", 4096)), permission_update(permissions(2))] {
        let mut socket = open(&engine);
        socket.send(&bytes).unwrap();
        socket.send(&ping(2)).unwrap();
        assert_pong(&mut socket, 2);
    }
}

#[test]
fn closes_the_connection_if_a_message_is_incomplete_after_the_timeout() {
    const SHORT_TIMEOUT: Duration = Duration::from_millis(300);
    let engine = GuardedEngine::start_with(Limits { signal_timeout: SHORT_TIMEOUT, ..Limits::default() });
    let incomplete = [header(BINARY, 1000), vec![0; 10]].concat();
    for (what, bytes) in
        [("a header", header(FINAL | BINARY, 10)), ("a part", incomplete), ("a fragment", header(TEXT, 0))]
    {
        assert_closed_with(&engine, &bytes, POLICY_VIOLATION, what);
    }
    // Empty fragments don't extend the timeout.
    let mut socket = open(&engine);
    let mut writer = socket.clone_stream();
    std::thread::spawn(move || {
        let fragments = header(0, 0).repeat(100);
        std::io::Write::write_all(&mut writer, &header(BINARY, 0)).unwrap();
        while std::io::Write::write_all(&mut writer, &fragments).is_ok() {}
    });
    assert_eq!(socket.read_close_code().unwrap(), POLICY_VIOLATION);
}

#[test]
fn answers_a_close_frame_and_closes_the_connection() {
    let engine = GuardedEngine::start();
    let mut socket = open(&engine);
    socket.send(&frame(CLOSE, &NORMAL.to_be_bytes())).unwrap();
    assert_eq!(socket.read_close_code().unwrap(), NORMAL);
    assert_eq!(socket.read_frame().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

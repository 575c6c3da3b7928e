//! Bodies that are too large, too many, or nothing that can be read.

use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use livekit_protocol as proto;
use maravilla_engine::Limits;
use prost::Message as _;
use serde_json::json;

use crate::Watched;
use crate::support::{Answer, Client, PATIENCE, admin, call, call_head, token};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
const MOST: usize = 10 * 1024 * 1024;

/// A request for no room, of so many bytes.
fn of_bytes(bytes: usize) -> Vec<u8> {
    let frame = r#"{"names":["none"],"x":""}"#;
    let filler = "x".repeat(bytes - frame.len());
    frame.replace(r#""x":"""#, &format!(r#""x":"{filler}""#)).into_bytes()
}

fn in_chunks(body: &[u8], bytes: usize) -> Vec<u8> {
    let mut chunks = call_head("ListRooms", &admin(), JSON, "transfer-encoding: chunked").into_bytes();
    for part in body.chunks(bytes) {
        write!(chunks, "{:x}\r\n", part.len()).unwrap();
        chunks.extend_from_slice(part);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

#[test]
fn ten_megabytes_are_read_and_one_byte_more_is_refused() {
    let engine = Watched::start();
    for (body, status) in [(of_bytes(MOST), 200), (of_bytes(MOST + 1), 413), (of_bytes(MOST + 3_000_000), 413)] {
        for request in [call("ListRooms", &admin(), JSON, &body), in_chunks(&body, 50_000)] {
            let mut client = Client::connect(engine.address());
            // All of it is said before the answer is heard.
            client.say(request).unwrap();
            assert_eq!(client.hear().unwrap().status, status, "{}", body.len());
            // Either it can still be used or it is closed, but nothing of the body is taken for a request.
            let again = client.say("GET / HTTP/1.1\r\nhost: t\r\n\r\n").ok().and_then(|()| client.hear());
            assert!(again.map_or(status == 413, |answer| answer.text() == "OK"));
        }
    }
    let endless = call_head("ListRooms", &admin(), JSON, &format!("content-length: {}", u64::MAX / 2));
    assert_eq!(Client::connect(engine.address()).ask(endless).status, 413);
}

#[test]
fn a_body_in_very_small_chunks_is_read() {
    let engine = Watched::start();
    assert_eq!(Client::connect(engine.address()).ask(in_chunks(&of_bytes(200_000), 1)).status, 200);
}

#[test]
fn who_may_call_nothing_may_not_send_much() {
    let engine = Watched::start();
    let join = token(&json!({ "roomJoin": true, "room": "r" }));
    for token in [String::new(), join] {
        for (bytes, status) in [(64 * 1024, 401), (MOST, 401), (MOST + 1, 413)] {
            let answer = Client::connect(engine.address()).ask(call("ListRooms", &token, JSON, &of_bytes(bytes)));
            assert_eq!(answer.status, status, "{bytes}");
        }
        // What is wrong with it is told as long as it is short.
        for (bytes, status, code) in [(64 * 1024, 400, "malformed"), (64 * 1024 + 1, 401, "unauthenticated")] {
            let mut broken = of_bytes(bytes + 1);
            broken.pop();
            let answer = Client::connect(engine.address()).ask(call("ListRooms", &token, JSON, &broken));
            assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
        }
    }
}

#[test]
fn large_bodies_share_one_memory_and_small_ones_get_through() {
    let engine = Watched::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let (large, small) = (of_bytes(2 * 1024 * 1024), of_bytes(60 * 1024));
    let (most, rest) = large.split_at(large.len() - 1);
    let list = |body: &[u8]| Client::connect(engine.address()).ask(call("ListRooms", &admin(), JSON, body));
    let end = Instant::now() + PATIENCE;
    loop {
        let mut held = Client::connect(engine.address());
        held.say(call_head("ListRooms", &admin(), JSON, &format!("content-length: {}", large.len()))).unwrap();
        held.say(most).unwrap();
        let answer = list(&large);
        assert_eq!(list(&small).status, 200);
        let _ = held.say(rest);
        // Else the server had read too little of what is held, or refused that instead.
        if answer.status == 429 && held.hear().unwrap().status == 200 {
            assert_eq!(answer.json()["code"], "resource_exhausted");
            break;
        }
        assert!(Instant::now() < end);
    }
    assert_eq!(list(&large).status, 200);
}

#[test]
fn who_may_call_nothing_is_answered_whatever_the_others_send() {
    let engine = Watched::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let (large, useless) = (of_bytes(2 * 1024 * 1024), of_bytes(1024 * 1024));
    let (most, rest) = large.split_at(large.len() - 1);
    let mut held = Client::connect(engine.address());
    held.say(call_head("ListRooms", &admin(), JSON, &format!("content-length: {}", large.len()))).unwrap();
    held.say(most).unwrap();
    for body in [b"{}".as_slice(), &useless] {
        assert_eq!(Client::connect(engine.address()).ask(call("ListRooms", "", JSON, body)).status, 401);
    }
    held.say(rest).unwrap();
    assert_eq!(held.hear().unwrap().status, 200);
}

#[test]
fn who_may_call_nothing_takes_no_memory_from_the_others() {
    let engine = Watched::start_with(Limits { request_bytes: 4 * 1024 * 1024, ..Limits::default() });
    let body = of_bytes(1024 * 1024);
    let head = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}", "y".repeat(900_000));
    let mut strangers: Vec<Client> = (0..12).map(|_| Client::connect(engine.address())).collect();
    for (number, stranger) in strangers.iter_mut().enumerate() {
        // Some are refused while they speak.
        let _ = if number % 2 == 0 {
            stranger.say(&head)
        } else {
            let post = call_head("ListRooms", "", JSON, &format!("content-length: {}", body.len()));
            stranger.say(post).and_then(|()| stranger.say(&body[..body.len() - 1]))
        };
    }
    for _ in 0..5 {
        let large = of_bytes(2 * 1024 * 1024);
        assert_eq!(Client::connect(engine.address()).ask(call("ListRooms", &admin(), JSON, &large)).status, 200);
    }
}

#[test]
fn no_more_than_64_megabytes_of_bodies_are_held() {
    let engine = Watched::start();
    let body = of_bytes(MOST);
    let head = call_head("ListRooms", &admin(), JSON, &format!("content-length: {MOST}"));
    let mut clients: Vec<Client> = (0..7).map(|_| Client::connect(engine.address())).collect();
    for client in &mut clients {
        client.say(&head).unwrap();
        client.say(&body[..MOST - 1]).unwrap();
    }
    for client in &mut clients {
        client.say(&body[MOST - 1..]).unwrap();
    }
    let answers: Vec<u16> = clients.iter_mut().map(|client| client.hear().unwrap().status).collect();
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 6, "{answers:?}");
}

#[test]
fn a_client_that_vanishes_gives_its_memory_back() {
    let engine = Watched::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let body = of_bytes(2 * 1024 * 1024);
    for _ in 0..20 {
        let mut client = Client::connect(engine.address());
        client.say(call_head("ListRooms", &admin(), JSON, &format!("content-length: {}", body.len()))).unwrap();
        client.say(&body[..body.len() - 1]).unwrap();
    }
    let end = Instant::now() + PATIENCE;
    while Client::connect(engine.address()).ask(call("ListRooms", &admin(), JSON, &body)).status != 200 {
        assert!(Instant::now() < end);
    }
}

#[track_caller]
fn assert_malformed(engine: &Watched, method: &str, kind: &str, body: &[u8]) {
    let answer = Client::connect(engine.address()).ask(call(method, &admin(), kind, body));
    let said = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("malformed")), "{method}: {said}");
}

#[test]
fn json_that_is_none_is_malformed() {
    let engine = Watched::start();
    let deep = |depth: usize| [b"{\"x\":".as_slice(), &b"[".repeat(depth), &b"]".repeat(depth), b"}"].concat();
    let objects = [b"{\"x\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
    let many = format!("{{{}}}", (0..100_000).map(|_| "\"name\":\"a\"").collect::<Vec<_>>().join(","));
    let digits = format!("{{\"emptyTimeout\":{}}}", "9".repeat(1_000_000));
    let bodies: [&[u8]; 21] = [
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\xc3\"}",
        b"{\"name\":\"\xed\xa0\x80\"}",
        b"{\"name\":\"\xf5\x80\x80\x80\"}",
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b"{\"name\":\"\\ud83e\"}",
        b"{\"name\":\"\\udd80\\ud83e\"}",
        b"{\"name\":\"\\x\"}",
        b"{\"name\":\"a\0b\"}",
        b"\0",
        b"{\"emptyTimeout\":1e400}",
        b"{\"emptyTimeout\":-1e99}",
        b"{\"emptyTimeout\":4294967296}",
        b"{\"emptyTimeout\":\"99999999999999999999999999\"}",
        b"{\"emptyTimeout\":0.1}",
        b"{\"emptyTimeout\":NaN}",
        &deep(100_000),
        &objects,
        many.as_bytes(),
        digits.as_bytes(),
    ];
    for body in bodies {
        assert_malformed(&engine, "CreateRoom", JSON, body);
    }
    assert_malformed(&engine, "CreateRoom", JSON, &b"[".repeat(MOST));
    assert_malformed(&engine, "CreateRoom", JSON, &b"{\"a\":".repeat(MOST / 5));
    let answer = Client::connect(engine.address()).ask(call("ListRooms", &admin(), JSON, &deep(100)));
    assert_eq!(answer.status, 200);
}

/// A length, or a key of protobuf.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

#[test]
fn protobuf_that_is_none_is_malformed() {
    let engine = Watched::start();
    let groups = [0x9b, 0x06].repeat(200_000);
    let mut nested = Vec::new();
    for _ in 0..3000 {
        let length = varint(nested.len());
        nested = [vec![0x32], length, nested].concat();
    }
    let bodies: [&[u8]; 14] = [
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\x01\xff",
        b"\x0a\x02\xc3\x28",
        b"\x0a\x03\xed\xa0\x80",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00",
        b"\x02\x00",
        b"\x0c",
        b"\x0f",
        b"\x10",
        &groups,
    ];
    for body in bodies {
        assert_malformed(&engine, "CreateRoom", PROTOBUF, body);
    }
    for method in ["CreateRoom", "UpdateParticipant", "SendData", "UpdateSubscriptions"] {
        // Somewhere within it is no message any more, but bytes that nobody looks into.
        let answer = Client::connect(engine.address()).ask(call(method, &admin(), PROTOBUF, &nested));
        assert!(matches!(answer.status, 200 | 400 | 401 | 501), "{method}: {answer:?}");
    }
}

#[test]
fn a_join_request_is_not_unpacked_beyond_its_limit() {
    let engine = Watched::start();
    let join = token(&json!({ "roomJoin": true, "room": "r", "canUpdateOwnMetadata": true }));
    let asked = |join_request: Vec<u8>, compression: i32| -> Answer {
        let wrapped = proto::WrappedJoinRequest { compression, join_request }.encode_to_vec();
        let value: String = form_urlencoded::byte_serialize(URL_SAFE.encode(wrapped).as_bytes()).collect();
        let path = format!("/rtc/v1/validate?join_request={value}");
        Client::connect(engine.address())
            .ask(format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {join}\r\n\r\n"))
    };
    let packed = |bytes: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; bytes]).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = proto::wrapped_join_request::Compression::Gzip as i32;
    let bomb = asked(packed(40_000_000), gzip);
    assert_eq!((bomb.status, bomb.text().as_str()), (400, "join request too large"));
    let most = asked(packed(1024 * 1024), gzip);
    assert_eq!((most.status, most.text().as_str()), (400, "cannot unmarshal join request"));
    let mut cut = packed(1000);
    cut.truncate(cut.len() - 9);
    assert_eq!(asked(cut, gzip).text(), "cannot read decompressed join request");
    let metadata = "m".repeat(40_000);
    let good = proto::JoinRequest { metadata, ..proto::JoinRequest::default() }.encode_to_vec();
    assert_eq!(asked(good, 0).text(), "success");
    // More than a URL can hold.
    let long = asked(vec![b'x'; 100_000], 0);
    assert_eq!(long.status, 414);
}

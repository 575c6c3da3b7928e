//! Request bodies that are too large, too many at once, or malformed.

use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use livekit_protocol as proto;
use maravilla_engine::Limits;
use prost::Message as _;
use serde_json::json;

use crate::GuardedEngine;
use crate::support::{HttpClient, HttpResponse, TIMEOUT, admin_token, gzip, token, twirp_head, twirp_request};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
/// Maximum length of a request body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// A `ListRooms` body of `bytes` bytes that names a room that does not exist.
fn body_of(bytes: usize) -> Vec<u8> {
    let frame = r#"{"names":["none"],"x":""}"#;
    let filler = "x".repeat(bytes - frame.len());
    frame.replace(r#""x":"""#, &format!(r#""x":"{filler}""#)).into_bytes()
}

/// Encodes a `ListRooms` request with a chunked body.
fn chunked(body: &[u8], bytes: usize) -> Vec<u8> {
    let mut chunks = twirp_head("ListRooms", &admin_token(), JSON, "transfer-encoding: chunked").into_bytes();
    for part in body.chunks(bytes) {
        write!(chunks, "{:x}\r\n", part.len()).unwrap();
        chunks.extend_from_slice(part);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

#[test]
fn accepts_a_body_of_10_mib_and_rejects_one_byte_more() {
    let engine = GuardedEngine::start();
    for (body, status) in
        [(body_of(MAX_BODY_BYTES), 200), (body_of(MAX_BODY_BYTES + 1), 413), (body_of(MAX_BODY_BYTES + 3_000_000), 413)]
    {
        for request in [twirp_request("ListRooms", &admin_token(), JSON, &body), chunked(&body, 50_000)] {
            let mut client = HttpClient::connect(engine.address());
            // The whole body is sent before the response is read.
            client.send(request).unwrap();
            assert_eq!(client.receive().unwrap().status, status, "{}", body.len());
            // Afterwards the connection is either usable or closed. No part of the body is parsed as a request.
            let again = client.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n").ok().and_then(|()| client.receive());
            assert!(again.map_or(status == 413, |response| response.text() == "OK"));
        }
    }
    let huge = twirp_head("ListRooms", &admin_token(), JSON, &format!("content-length: {}", u64::MAX / 2));
    assert_eq!(HttpClient::connect(engine.address()).request(huge).status, 413);
}

#[test]
fn reads_a_body_in_one_byte_chunks() {
    let engine = GuardedEngine::start();
    assert_eq!(HttpClient::connect(engine.address()).request(chunked(&body_of(200_000), 1)).status, 200);
}

#[test]
fn limits_the_body_of_a_call_without_grants() {
    let engine = GuardedEngine::start();
    let join = token(&json!({ "roomJoin": true, "room": "r" }));
    for token in [String::new(), join] {
        for (bytes, status) in [(64 * 1024, 401), (MAX_BODY_BYTES, 401), (MAX_BODY_BYTES + 1, 413)] {
            let response = HttpClient::connect(engine.address()).request(twirp_request(
                "ListRooms",
                &token,
                JSON,
                &body_of(bytes),
            ));
            assert_eq!(response.status, status, "{bytes}");
        }
        // Parse errors are reported only for bodies of up to 64 KiB.
        for (bytes, status, code) in [(64 * 1024, 400, "malformed"), (64 * 1024 + 1, 401, "unauthenticated")] {
            let mut malformed = body_of(bytes + 1);
            malformed.pop();
            let response =
                HttpClient::connect(engine.address()).request(twirp_request("ListRooms", &token, JSON, &malformed));
            assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)));
        }
    }
}

#[test]
fn large_bodies_share_a_budget_and_small_ones_do_not_need_it() {
    let engine = GuardedEngine::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let (large, small) = (body_of(2 * 1024 * 1024), body_of(60 * 1024));
    let (first, rest) = large.split_at(large.len() - 1);
    let list = |body: &[u8]| {
        HttpClient::connect(engine.address()).request(twirp_request("ListRooms", &admin_token(), JSON, body))
    };
    let end = Instant::now() + TIMEOUT;
    loop {
        let mut held = HttpClient::connect(engine.address());
        held.send(twirp_head("ListRooms", &admin_token(), JSON, &format!("content-length: {}", large.len()))).unwrap();
        held.send(first).unwrap();
        let response = list(&large);
        assert_eq!(list(&small).status, 200);
        let _ = held.send(rest);
        // Otherwise the engine had not yet read the held body, or has rejected it instead; try again.
        if response.status == 429 && held.receive().unwrap().status == 200 {
            assert_eq!(response.json()["code"], "resource_exhausted");
            break;
        }
        assert!(Instant::now() < end, "timeout");
    }
    assert_eq!(list(&large).status, 200);
}

#[test]
fn answers_a_call_without_grants_while_the_budget_is_used_up() {
    let engine = GuardedEngine::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let (large, unauthorized) = (body_of(2 * 1024 * 1024), body_of(1024 * 1024));
    let (first, rest) = large.split_at(large.len() - 1);
    let mut held = HttpClient::connect(engine.address());
    held.send(twirp_head("ListRooms", &admin_token(), JSON, &format!("content-length: {}", large.len()))).unwrap();
    held.send(first).unwrap();
    for body in [b"{}".as_slice(), &unauthorized] {
        assert_eq!(
            HttpClient::connect(engine.address()).request(twirp_request("ListRooms", "", JSON, body)).status,
            401
        );
    }
    held.send(rest).unwrap();
    assert_eq!(held.receive().unwrap().status, 200);
}

#[test]
fn calls_without_grants_have_a_separate_budget() {
    let engine = GuardedEngine::start_with(Limits { request_bytes: 4 * 1024 * 1024, ..Limits::default() });
    let body = body_of(1024 * 1024);
    let head = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}", "y".repeat(900_000));
    let mut unauthenticated: Vec<HttpClient> = (0..12).map(|_| HttpClient::connect(engine.address())).collect();
    for (number, client) in unauthenticated.iter_mut().enumerate() {
        // The engine rejects some before the whole request is sent.
        let _ = if number % 2 == 0 {
            client.send(&head)
        } else {
            let post = twirp_head("ListRooms", "", JSON, &format!("content-length: {}", body.len()));
            client.send(post).and_then(|()| client.send(&body[..body.len() - 1]))
        };
    }
    for _ in 0..5 {
        let large = body_of(2 * 1024 * 1024);
        assert_eq!(
            HttpClient::connect(engine.address())
                .request(twirp_request("ListRooms", &admin_token(), JSON, &large))
                .status,
            200
        );
    }
}

#[test]
fn rejects_the_seventh_concurrent_body_of_10_mib() {
    let engine = GuardedEngine::start();
    let body = body_of(MAX_BODY_BYTES);
    let head = twirp_head("ListRooms", &admin_token(), JSON, &format!("content-length: {MAX_BODY_BYTES}"));
    let mut clients: Vec<HttpClient> = (0..7).map(|_| HttpClient::connect(engine.address())).collect();
    for client in &mut clients {
        client.send(&head).unwrap();
        client.send(&body[..MAX_BODY_BYTES - 1]).unwrap();
    }
    for client in &mut clients {
        client.send(&body[MAX_BODY_BYTES - 1..]).unwrap();
    }
    let responses: Vec<u16> = clients.iter_mut().map(|client| client.receive().unwrap().status).collect();
    assert_eq!(responses.iter().filter(|status| **status == 429).count(), 1, "{responses:?}");
    assert_eq!(responses.iter().filter(|status| **status == 200).count(), 6, "{responses:?}");
}

#[test]
fn releases_the_budget_when_a_client_disconnects() {
    let engine = GuardedEngine::start_with(Limits { request_bytes: 3 * 1024 * 1024, ..Limits::default() });
    let body = body_of(2 * 1024 * 1024);
    for _ in 0..20 {
        let mut client = HttpClient::connect(engine.address());
        client.send(twirp_head("ListRooms", &admin_token(), JSON, &format!("content-length: {}", body.len()))).unwrap();
        client.send(&body[..body.len() - 1]).unwrap();
    }
    let end = Instant::now() + TIMEOUT;
    while HttpClient::connect(engine.address()).request(twirp_request("ListRooms", &admin_token(), JSON, &body)).status
        != 200
    {
        assert!(Instant::now() < end, "timeout");
    }
}

#[track_caller]
fn assert_malformed(engine: &GuardedEngine, method: &str, content_type: &str, body: &[u8]) {
    let response =
        HttpClient::connect(engine.address()).request(twirp_request(method, &admin_token(), content_type, body));
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
    assert_eq!((response.status, response.json()["code"].as_str()), (400, Some("malformed")), "{method}: {excerpt}");
}

#[test]
fn rejects_malformed_json() {
    let engine = GuardedEngine::start();
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
    assert_malformed(&engine, "CreateRoom", JSON, &b"[".repeat(MAX_BODY_BYTES));
    assert_malformed(&engine, "CreateRoom", JSON, &b"{\"a\":".repeat(MAX_BODY_BYTES / 5));
    let response =
        HttpClient::connect(engine.address()).request(twirp_request("ListRooms", &admin_token(), JSON, &deep(100)));
    assert_eq!(response.status, 200);
}

/// Encodes a protobuf varint.
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
fn rejects_malformed_protobuf() {
    let engine = GuardedEngine::start();
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
        // At some depth the field is not a message, and its bytes are not parsed.
        let response =
            HttpClient::connect(engine.address()).request(twirp_request(method, &admin_token(), PROTOBUF, &nested));
        assert!(matches!(response.status, 200 | 400 | 401 | 501), "{method}: {response:?}");
    }
}

#[test]
fn rejects_a_compressed_join_request_over_1_mib() {
    let engine = GuardedEngine::start();
    let join = token(&json!({ "roomJoin": true, "room": "r", "canUpdateOwnMetadata": true }));
    let validate = |join_request: Vec<u8>, compression: i32| -> HttpResponse {
        let wrapped = proto::WrappedJoinRequest { compression, join_request }.encode_to_vec();
        let value: String = form_urlencoded::byte_serialize(URL_SAFE.encode(wrapped).as_bytes()).collect();
        let path = format!("/rtc/v1/validate?join_request={value}");
        HttpClient::connect(engine.address())
            .request(format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {join}\r\n\r\n"))
    };
    let compress = |bytes: usize| gzip(&vec![0; bytes]);
    let compression = proto::wrapped_join_request::Compression::Gzip as i32;
    let too_large = validate(compress(40_000_000), compression);
    assert_eq!((too_large.status, too_large.text().as_str()), (400, "join request too large"));
    let at_limit = validate(compress(1024 * 1024), compression);
    assert_eq!((at_limit.status, at_limit.text().as_str()), (400, "cannot unmarshal join request"));
    let mut truncated = compress(1000);
    truncated.truncate(truncated.len() - 9);
    assert_eq!(validate(truncated, compression).text(), "cannot read decompressed join request");
    let metadata = "m".repeat(40_000);
    let valid = proto::JoinRequest { metadata, ..proto::JoinRequest::default() }.encode_to_vec();
    assert_eq!(validate(valid, 0).text(), "success");
    // Exceeds the limit of a URL.
    let too_long = validate(vec![b'x'; 100_000], 0);
    assert_eq!(too_long.status, 414);
}

//! Malformed requests, request smuggling and unsupported routes.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread;

use serde_json::json;

use crate::GuardedEngine;
use crate::support::{HttpClient, admin_token, twirp_head, twirp_request};

/// Sends a request and reads all responses. Returns their statuses.
fn statuses(engine: &GuardedEngine, request: impl AsRef<[u8]>) -> Vec<u16> {
    let mut client = HttpClient::connect(engine.address());
    // The engine may close the connection before the whole request is sent.
    let _ = client.send(request);
    let _ = client.socket().shutdown(Shutdown::Write);
    std::iter::from_fn(|| client.receive()).map(|response| response.status).collect()
}

#[track_caller]
fn assert_rejected(engine: &GuardedEngine, request: impl AsRef<[u8]>) {
    let request = request.as_ref();
    let responses = statuses(engine, request);
    let excerpt = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    assert!(responses.iter().all(|status| (400..=431).contains(status)), "{responses:?} to {excerpt:?}");
    assert!(responses.len() <= 1, "{responses:?} to {excerpt:?}");
}

#[test]
fn rejects_an_invalid_request_line() {
    let engine = GuardedEngine::start();
    let long = "x".repeat(100_000);
    let lines: [&[u8]; 26] = [
        b"GET",
        b"GET /",
        b"GET HTTP/1.1",
        b"GET / HTTP/1.1 x",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET / HTTP/11",
        b"GET / http/1.1",
        b"GET / HTTP",
        b"GET / FTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"G\0T / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc3\x84T / HTTP/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET rooms HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http://[::1 HTTP/1.1",
        b"GET //[ HTTP/1.1 /",
        b" / HTTP/1.1",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
        b"\xff\xfe\xfd",
        b"SSH-2.0-OpenSSH_9.9",
    ];
    for line in lines {
        assert_rejected(&engine, [line, b"\r\nhost: t\r\n\r\n"].concat());
    }
    assert_rejected(&engine, format!("GET /{long} HTTP/1.1\r\nhost: t\r\n\r\n"));
    assert_rejected(&engine, long.repeat(30));
    assert_rejected(&engine, "\r\n".repeat(2_000_000));
    assert_rejected(&engine, "\0".repeat(2_000_000));
}

#[test]
fn rejects_a_method_of_100_kb() {
    let engine = GuardedEngine::start();
    let request = |length| "X".repeat(length) + " / HTTP/1.1\r\nhost: t\r\n\r\n";
    assert_eq!(statuses(&engine, request(10_000)), [200]);
    assert_eq!(statuses(&engine, request(100_000)), [400]);
}

#[test]
fn rejects_invalid_headers() {
    let engine = GuardedEngine::start();
    let invalid: [&[u8]; 14] = [
        b"host",
        b": t",
        b"host : t",
        b" host: t",
        b"ho st: t",
        b"h\0st: t",
        b"x: a\0b",
        b"x: a\x01b",
        b"x: a\x7fb",
        b"x: a\rb: c",
        b"x: a\r\n folded",
        b"x: a\r\n\tfolded",
        b"\xc3\xa4: t",
        b"x\r\nhost: t",
    ];
    for header in invalid {
        assert_rejected(&engine, [b"GET / HTTP/1.1\r\n", header, b"\r\n\r\n"].concat());
    }
    assert_rejected(&engine, format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100_000)));
    assert_rejected(&engine, format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)));
    assert_rejected(&engine, format!("GET / HTTP/1.1\r\n{}: y\r\n\r\n", "x".repeat(100_000)));
    assert_rejected(&engine, format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(4_000_000)));
}

#[test]
fn rejects_an_invalid_or_ambiguous_length() {
    let engine = GuardedEngine::start();
    let list = |more: &str| twirp_head("ListRooms", &admin_token(), "application/json", more);
    let lengths =
        ["-2", "+2", "0x2", "2.0", "2,3", "2 3", "two", "", "18446744073709551616", "99999999999999999999999"];
    for length in lengths {
        assert_rejected(&engine, list(&format!("content-length: {length}")) + "{}");
    }
    assert_rejected(&engine, list("content-length: 2\r\ncontent-length: 3") + "{}");
    assert_rejected(&engine, list("content-length: 2\r\ntransfer-encoding: gzip") + "{}");
    assert_rejected(&engine, list("transfer-encoding: gzip") + "{}");
    assert_rejected(&engine, list("transfer-encoding: chunked, gzip") + "{}");
}

#[test]
fn parses_no_request_inside_a_body() {
    let engine = GuardedEngine::start();
    let inner =
        String::from_utf8(twirp_request("CreateRoom", &admin_token(), "application/json", br#"{"name":"smuggled"}"#))
            .unwrap();
    let list = |more: &str| twirp_head("ListRooms", &admin_token(), "application/json", more);
    let outer = [
        list(&format!("content-length: {}\r\ntransfer-encoding: chunked", 7 + inner.len())) + "2\r\n{}\r\n0\r\n\r\n",
        list(&format!("transfer-encoding: chunked\r\ncontent-length: {}", 7 + inner.len())) + "2\r\n{}\r\n0\r\n\r\n",
        list("transfer-encoding: xchunked\r\ncontent-length: 2") + "{}",
        list("transfer-encoding : chunked\r\ncontent-length: 2") + "{}",
        list("transfer-encoding: chunked\r\ntransfer-encoding: identity") + "2\r\n{}\r\n0\r\n\r\n",
        list("content-length: 2\r\ncontent-length: 200") + "{}",
    ];
    for request in outer {
        let responses = statuses(&engine, format!("{request}{inner}"));
        assert!(responses.len() <= 1, "{responses:?} to {request}");
    }
    // The second request is part of the first one's body.
    let whole = format!("{{\"x\":\"{}", inner.replace('"', "'").replace("\r\n", " "));
    let body = format!("{whole}\"}}");
    assert_eq!(statuses(&engine, list(&format!("content-length: {}", body.len())) + &body), [200]);
    let names = json!({ "names": ["smuggled"] });
    assert_eq!(
        HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &names).text(),
        r#"{"rooms":[]}"#
    );
}

#[test]
fn rejects_invalid_chunks() {
    let engine = GuardedEngine::start();
    let head = twirp_head("ListRooms", &admin_token(), "application/json", "transfer-encoding: chunked");
    let flood = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x=y;".repeat(500_000));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(500_000));
    let chunks = [
        "2\r\n{}\r\n",
        "2\r\n{",
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}xx0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "10000000000000000\r\n{}\r\n0\r\n\r\n",
        "7fffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\n broken: trailer\r\n\r\n",
        &flood,
        &trailers,
    ];
    for chunk in chunks {
        assert_rejected(&engine, format!("{head}{chunk}"));
    }
    for valid in ["2\r\n{}\r\n0\r\n\r\n", "1;x=y\r\n{\r\n1\r\n}\r\n0\r\nx: y\r\n\r\n", "0000002\r\n{}\r\n0\r\n\r\n"] {
        assert_eq!(statuses(&engine, format!("{head}{valid}")), [200]);
    }
}

#[test]
fn a_request_truncated_at_any_byte_has_no_effect() {
    let engine = GuardedEngine::start();
    let body = br#"{"name":"half"}"#;
    let whole = twirp_request("CreateRoom", &admin_token(), "application/json", body);
    for end in 0..whole.len() {
        let mut client = HttpClient::connect(engine.address());
        client.send(&whole[..end]).unwrap();
        if end % 2 == 0 {
            client.socket().shutdown(Shutdown::Both).unwrap();
        }
    }
    let listed = HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &json!({ "names": ["half"] }));
    assert_eq!(listed.text(), r#"{"rooms":[]}"#);
}

#[test]
fn answers_after_the_client_has_shut_down_its_write_side() {
    let engine = GuardedEngine::start();
    for body in [r#"{"names":["none"]}"#.to_owned(), format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000))] {
        assert_eq!(
            statuses(&engine, twirp_request("ListRooms", &admin_token(), "application/json", body.as_bytes())),
            [200]
        );
    }
}

#[test]
fn answers_a_thousand_pipelined_requests_in_order() {
    let engine = GuardedEngine::start();
    let mut client = HttpClient::connect(engine.address());
    let mut socket = client.socket().try_clone().unwrap();
    let token = admin_token();
    let requests: Vec<u8> = (0..1000)
        .flat_map(|number| match number % 4 {
            0 => {
                twirp_request("CreateRoom", &token, "application/json", format!("{{\"name\":\"{number}\"}}").as_bytes())
            }
            1 => twirp_request(
                "DeleteRoom",
                &token,
                "application/json",
                format!("{{\"room\":\"{}\"}}", number - 1).as_bytes(),
            ),
            2 => b"GET /none HTTP/1.1\r\nhost: t\r\n\r\n".to_vec(),
            _ => twirp_request("Nothing", &token, "application/json", b"{}"),
        })
        .collect();
    // Writes on a separate thread, because the engine stops reading while its responses are not read.
    let writer = thread::spawn(move || std::io::Write::write_all(&mut socket, &requests).unwrap());
    for number in 0..1000 {
        let response = client.receive().unwrap();
        match number % 4 {
            0 => assert_eq!(response.json()["name"], number.to_string()),
            1 => assert_eq!((response.status, response.text().as_str()), (200, "{}")),
            2 => assert_eq!((response.status, response.text().as_str()), (404, "404 page not found\n")),
            _ => assert_eq!((response.status, response.json()["code"].as_str()), (404, Some("bad_route"))),
        }
    }
    writer.join().unwrap();
    assert_eq!(client.request("GET / HTTP/1.1\r\nhost: t\r\n\r\n").text(), "OK");
}

#[test]
fn answers_expect_100_continue() {
    let engine = GuardedEngine::start();
    let head = twirp_head("ListRooms", &admin_token(), "application/json", "expect: 100-continue\r\ncontent-length: 2");
    let mut client = HttpClient::connect(engine.address());
    assert_eq!(client.request(head).status, 100);
    assert_eq!(client.request("{}").status, 200);
    // The engine does not ask for a body that it would reject.
    for (token, length, status) in [(admin_token(), 10 * 1024 * 1024 + 1, 413), (String::new(), 2 * 1024 * 1024, 401)] {
        let headers = format!("expect: 100-continue\r\ncontent-length: {length}");
        let mut client = HttpClient::connect(engine.address());
        assert_eq!(client.request(twirp_head("ListRooms", &token, "application/json", &headers)).status, status);
    }
}

#[test]
fn ignores_the_body_of_a_request_that_needs_none() {
    let engine = GuardedEngine::start();
    let body = "x".repeat(3_000_000);
    for (line, status) in [
        ("GET / HTTP/1.1", 200),
        ("POST /none HTTP/1.1", 404),
        ("POST /rtc/validate HTTP/1.1", 401),
        ("POST /?access_token=wrong HTTP/1.1", 401),
        ("PUT /twirp/livekit.RoomService/ListRooms HTTP/1.1", 404),
        ("POST /twirp/livekit.RoomService/ListRooms HTTP/1.1", 404),
    ] {
        let mut client = HttpClient::connect(engine.address());
        // Simple clients send the whole request before they read the response.
        let request = format!("{line}\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        client.send(request).unwrap();
        assert_eq!(client.receive().unwrap().status, status, "{line}");
    }
}

#[test]
fn does_not_upgrade_without_a_token_or_to_another_protocol() {
    let engine = GuardedEngine::start();
    for (path, upgrade, status) in [
        ("/", "h2c", 200),
        ("/", "websocket", 200),
        ("/rtc", "h2c", 404),
        ("/rtc", "websocket", 401),
        ("/rtc/v1", "websocket", 401),
        ("/twirp/livekit.RoomService/ListRooms", "websocket", 404),
    ] {
        let key =
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nhttp2-settings: AAMAAABk";
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n{key}\r\n\r\n");
        let mut client = HttpClient::connect(engine.address());
        assert_eq!(client.request(head).status, status, "{path} {upgrade}");
    }
}

#[test]
fn answers_http_1_0_and_unusual_requests() {
    let engine = GuardedEngine::start();
    let http_1_0 = b"GET /none HTTP/1.0\r\n\r\n".as_slice();
    assert_eq!(statuses(&engine, http_1_0), [404]);
    for (request, status) in [
        ("OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n", 404),
        ("GET http://t/ HTTP/1.1\r\nhost: t\r\n\r\n", 200),
        ("GET / HTTP/1.1\nhost: t\n\n", 200),
        ("\r\nGET / HTTP/1.1\r\nhost: t\r\n\r\n", 200),
        ("BREW / HTTP/1.1\r\nhost: t\r\n\r\n", 200),
        ("GET /%2e%2e/%00%ff%zz HTTP/1.1\r\nhost: t\r\n\r\n", 404),
        ("GET /?%00=%ff&&&===&access_token HTTP/1.1\r\nhost: t\r\n\r\n", 200),
        ("CONNECT t:1 HTTP/1.1\r\nhost: t\r\n\r\n", 404),
        ("GET /twirp/livekit.Egress/ListEgress HTTP/1.1\r\nhost: t\r\n\r\n", 404),
        ("POST /twirp//ListEgress HTTP/1.1\r\nhost: t\r\n\r\n", 404),
    ] {
        let response = HttpClient::connect(engine.address()).request(request);
        assert_eq!(response.status, status, "{request}");
    }
    let mut client = HttpClient::connect(engine.address());
    client.send("HEAD / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").unwrap();
    let mut whole = String::new();
    client.socket().try_clone().unwrap().read_to_string(&mut whole).unwrap();
    assert!(whole.contains("200 OK") && whole.ends_with("\r\n\r\n"), "{whole}");
}

#[test]
fn answers_501_for_unsupported_services() {
    let engine = GuardedEngine::start();
    for (verb, path) in [
        ("POST", "/twirp/livekit.AgentDispatchService/CreateDispatch"),
        ("POST", "/twirp/livekit.Egress/StartRoomCompositeEgress"),
        ("POST", "/twirp/livekit.Ingress/CreateIngress"),
        ("POST", "/twirp/livekit.SIP/CreateSIPParticipant"),
        ("POST", "/twirp/livekit.Connector/DialWhatsAppCall"),
        ("POST", "/twirp/livekit.None/None"),
        ("POST", "/whip/v1"),
        ("DELETE", "/whip/v1/PA_none"),
        ("GET", "/agent"),
    ] {
        let response =
            HttpClient::connect(engine.address()).request(format!("{verb} {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        assert_eq!((response.status, response.header("content-type")), (501, Some("application/json")), "{path}");
        let error = json!({ "code": "unimplemented", "msg": format!("{path}: not supported by this server") });
        assert_eq!(response.json(), error);
    }
}

#[test]
fn does_not_create_a_room_with_an_unsupported_feature() {
    let engine = GuardedEngine::start();
    let mut client = HttpClient::connect(engine.address());
    for (more, feature) in [
        (json!({ "agents": [{ "agentName": "a" }] }), "agents"),
        (json!({ "egress": { "room": {} } }), "egress"),
        (json!({ "egress": { "participant": {} } }), "egress"),
        (json!({ "egress": { "tracks": {} } }), "egress"),
        (json!({ "minPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "maxPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "syncStreams": true }), "synchronized streams"),
        (json!({ "replayEnabled": true }), "replay"),
    ] {
        let mut room = json!({ "name": "r" });
        room.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = client.call("CreateRoom", &admin_token(), &room);
        let error = json!({ "code": "unimplemented", "msg": format!("{feature}: not supported by this server") });
        assert_eq!((response.status, response.json()), (501, error));
        let listed = client.call("ListRooms", &admin_token(), &json!({ "names": ["r"] })).json();
        assert_eq!(listed, json!({ "rooms": [] }));
    }
}

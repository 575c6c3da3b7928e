//! Requests that are none, or more than one.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread;

use serde_json::json;

use crate::Watched;
use crate::support::{Client, admin, call, call_head};

/// Says it, hears every answer until the server closes, and gives their statuses.
fn statuses(engine: &Watched, request: impl AsRef<[u8]>) -> Vec<u16> {
    let mut client = Client::connect(engine.address());
    // The server may have heard enough before it is all said.
    let _ = client.say(request);
    let _ = client.socket().shutdown(Shutdown::Write);
    std::iter::from_fn(|| client.hear()).map(|answer| answer.status).collect()
}

#[track_caller]
fn assert_refused(engine: &Watched, request: impl AsRef<[u8]>) {
    let request = request.as_ref();
    let answers = statuses(engine, request);
    let said = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
    assert!(answers.iter().all(|status| (400..=431).contains(status)), "{answers:?} to {said:?}");
    assert!(answers.len() <= 1, "{answers:?} to {said:?}");
}

#[test]
fn what_begins_with_no_request_line_is_refused() {
    let engine = Watched::start();
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
        assert_refused(&engine, [line, b"\r\nhost: t\r\n\r\n"].concat());
    }
    assert_refused(&engine, format!("GET /{long} HTTP/1.1\r\nhost: t\r\n\r\n"));
    assert_refused(&engine, long.repeat(30));
    assert_refused(&engine, "\r\n".repeat(2_000_000));
    assert_refused(&engine, "\0".repeat(2_000_000));
}

#[test]
fn a_method_that_makes_a_head_large_is_none() {
    let engine = Watched::start();
    let request = |length| "X".repeat(length) + " / HTTP/1.1\r\nhost: t\r\n\r\n";
    assert_eq!(statuses(&engine, request(10_000)), [200]);
    assert_eq!(statuses(&engine, request(100_000)), [400]);
}

#[test]
fn headers_that_are_none_are_refused() {
    let engine = Watched::start();
    let refused: [&[u8]; 14] = [
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
    for header in refused {
        assert_refused(&engine, [b"GET / HTTP/1.1\r\n", header, b"\r\n\r\n"].concat());
    }
    assert_refused(&engine, format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100_000)));
    assert_refused(&engine, format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)));
    assert_refused(&engine, format!("GET / HTTP/1.1\r\n{}: y\r\n\r\n", "x".repeat(100_000)));
    assert_refused(&engine, format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(4_000_000)));
}

#[test]
fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let engine = Watched::start();
    let list = |more: &str| call_head("ListRooms", &admin(), "application/json", more);
    let lengths =
        ["-2", "+2", "0x2", "2.0", "2,3", "2 3", "two", "", "18446744073709551616", "99999999999999999999999"];
    for length in lengths {
        assert_refused(&engine, list(&format!("content-length: {length}")) + "{}");
    }
    assert_refused(&engine, list("content-length: 2\r\ncontent-length: 3") + "{}");
    assert_refused(&engine, list("content-length: 2\r\ntransfer-encoding: gzip") + "{}");
    assert_refused(&engine, list("transfer-encoding: gzip") + "{}");
    assert_refused(&engine, list("transfer-encoding: chunked, gzip") + "{}");
}

#[test]
fn no_request_can_be_smuggled_in_a_body() {
    let engine = Watched::start();
    let inner = String::from_utf8(call("CreateRoom", &admin(), "application/json", br#"{"name":"smuggled"}"#)).unwrap();
    let list = |more: &str| call_head("ListRooms", &admin(), "application/json", more);
    let outer = [
        list(&format!("content-length: {}\r\ntransfer-encoding: chunked", 7 + inner.len())) + "2\r\n{}\r\n0\r\n\r\n",
        list(&format!("transfer-encoding: chunked\r\ncontent-length: {}", 7 + inner.len())) + "2\r\n{}\r\n0\r\n\r\n",
        list("transfer-encoding: xchunked\r\ncontent-length: 2") + "{}",
        list("transfer-encoding : chunked\r\ncontent-length: 2") + "{}",
        list("transfer-encoding: chunked\r\ntransfer-encoding: identity") + "2\r\n{}\r\n0\r\n\r\n",
        list("content-length: 2\r\ncontent-length: 200") + "{}",
    ];
    for request in outer {
        let answers = statuses(&engine, format!("{request}{inner}"));
        assert!(answers.len() <= 1, "{answers:?} to {request}");
    }
    // All of the two is the first one's body.
    let whole = format!("{{\"x\":\"{}", inner.replace('"', "'").replace("\r\n", " "));
    let body = format!("{whole}\"}}");
    assert_eq!(statuses(&engine, list(&format!("content-length: {}", body.len())) + &body), [200]);
    let names = json!({ "names": ["smuggled"] });
    assert_eq!(Client::connect(engine.address()).call("ListRooms", &admin(), &names).text(), r#"{"rooms":[]}"#);
}

#[test]
fn broken_chunks_are_no_body() {
    let engine = Watched::start();
    let head = call_head("ListRooms", &admin(), "application/json", "transfer-encoding: chunked");
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
        assert_refused(&engine, format!("{head}{chunk}"));
    }
    for good in ["2\r\n{}\r\n0\r\n\r\n", "1;x=y\r\n{\r\n1\r\n}\r\n0\r\nx: y\r\n\r\n", "0000002\r\n{}\r\n0\r\n\r\n"] {
        assert_eq!(statuses(&engine, format!("{head}{good}")), [200]);
    }
}

#[test]
fn a_request_that_breaks_off_anywhere_disturbs_nobody() {
    let engine = Watched::start();
    let body = br#"{"name":"half"}"#;
    let whole = call("CreateRoom", &admin(), "application/json", body);
    for end in 0..whole.len() {
        let mut client = Client::connect(engine.address());
        client.say(&whole[..end]).unwrap();
        if end % 2 == 0 {
            client.socket().shutdown(Shutdown::Both).unwrap();
        }
    }
    let listed = Client::connect(engine.address()).call("ListRooms", &admin(), &json!({ "names": ["half"] }));
    assert_eq!(listed.text(), r#"{"rooms":[]}"#);
}

#[test]
fn a_client_that_only_stops_speaking_still_hears_its_answer() {
    let engine = Watched::start();
    for body in [r#"{"names":["none"]}"#.to_owned(), format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000))] {
        assert_eq!(statuses(&engine, call("ListRooms", &admin(), "application/json", body.as_bytes())), [200]);
    }
}

#[test]
fn a_thousand_requests_at_once_are_answered_in_order() {
    let engine = Watched::start();
    let mut client = Client::connect(engine.address());
    let mut socket = client.socket().try_clone().unwrap();
    let token = admin();
    let requests: Vec<u8> = (0..1000)
        .flat_map(|number| match number % 4 {
            0 => call("CreateRoom", &token, "application/json", format!("{{\"name\":\"{number}\"}}").as_bytes()),
            1 => call("DeleteRoom", &token, "application/json", format!("{{\"room\":\"{}\"}}", number - 1).as_bytes()),
            2 => b"GET /none HTTP/1.1\r\nhost: t\r\n\r\n".to_vec(),
            _ => call("Nothing", &token, "application/json", b"{}"),
        })
        .collect();
    // Nobody may wait for the other to read first.
    let writer = thread::spawn(move || std::io::Write::write_all(&mut socket, &requests).unwrap());
    for number in 0..1000 {
        let answer = client.hear().unwrap();
        match number % 4 {
            0 => assert_eq!(answer.json()["name"], number.to_string()),
            1 => assert_eq!((answer.status, answer.text().as_str()), (200, "{}")),
            2 => assert_eq!((answer.status, answer.text().as_str()), (404, "404 page not found\n")),
            _ => assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("bad_route"))),
        }
    }
    writer.join().unwrap();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nhost: t\r\n\r\n").text(), "OK");
}

#[test]
fn a_client_that_asks_whether_it_may_go_on_is_told_so() {
    let engine = Watched::start();
    let head = call_head("ListRooms", &admin(), "application/json", "expect: 100-continue\r\ncontent-length: 2");
    let mut client = Client::connect(engine.address());
    assert_eq!(client.ask(head).status, 100);
    assert_eq!(client.ask("{}").status, 200);
    // It need not send what is refused in any case.
    for (token, length, status) in [(admin(), 10 * 1024 * 1024 + 1, 413), (String::new(), 2 * 1024 * 1024, 401)] {
        let more = format!("expect: 100-continue\r\ncontent-length: {length}");
        let mut client = Client::connect(engine.address());
        assert_eq!(client.ask(call_head("ListRooms", &token, "application/json", &more)).status, status);
    }
}

#[test]
fn what_needs_no_body_is_answered_though_one_comes() {
    let engine = Watched::start();
    let body = "x".repeat(3_000_000);
    for (line, status) in [
        ("GET / HTTP/1.1", 200),
        ("POST /none HTTP/1.1", 404),
        ("POST /rtc/validate HTTP/1.1", 401),
        ("POST /?access_token=wrong HTTP/1.1", 401),
        ("PUT /twirp/livekit.RoomService/ListRooms HTTP/1.1", 404),
        ("POST /twirp/livekit.RoomService/ListRooms HTTP/1.1", 404),
    ] {
        let mut client = Client::connect(engine.address());
        // All of it is said before the answer is heard, as simple clients do.
        let request = format!("{line}\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        client.say(request).unwrap();
        assert_eq!(client.hear().unwrap().status, status, "{line}");
    }
}

#[test]
fn no_other_protocol_is_switched_to() {
    let engine = Watched::start();
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
        let mut client = Client::connect(engine.address());
        assert_eq!(client.ask(head).status, status, "{path} {upgrade}");
    }
}

#[test]
fn old_and_odd_requests_are_answered() {
    let engine = Watched::start();
    let none = b"GET /none HTTP/1.0\r\n\r\n".as_slice();
    assert_eq!(statuses(&engine, none), [404]);
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
        let answer = Client::connect(engine.address()).ask(request);
        assert_eq!(answer.status, status, "{request}");
    }
    let mut client = Client::connect(engine.address());
    client.say("HEAD / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").unwrap();
    let mut whole = String::new();
    client.socket().try_clone().unwrap().read_to_string(&mut whole).unwrap();
    assert!(whole.contains("200 OK") && whole.ends_with("\r\n\r\n"), "{whole}");
}

#[test]
fn a_service_that_the_engine_does_not_have_is_unimplemented() {
    let engine = Watched::start();
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
        let answer = Client::connect(engine.address()).ask(format!("{verb} {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        assert_eq!((answer.status, answer.header("content-type")), (501, Some("application/json")), "{path}");
        let error = json!({ "code": "unimplemented", "msg": format!("{path}: not supported by this server") });
        assert_eq!(answer.json(), error);
    }
}

#[test]
fn a_room_with_what_the_engine_does_not_support_is_not_made() {
    let engine = Watched::start();
    let mut client = Client::connect(engine.address());
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
        let answer = client.call("CreateRoom", &admin(), &room);
        let error = json!({ "code": "unimplemented", "msg": format!("{feature}: not supported by this server") });
        assert_eq!((answer.status, answer.json()), (501, error));
        let listed = client.call("ListRooms", &admin(), &json!({ "names": ["r"] })).json();
        assert_eq!(listed, json!({ "rooms": [] }));
    }
}

//! Web pages and an engine whose key everybody knows.

use maravilla_engine::Limits;
use serde_json::json;

use crate::Watched;
use crate::support::{self, Answer, Client, admin, call};

const WELL_KNOWN: (&str, &str) = ("devkey", "secret");

/// An engine that takes the tests' own tokens, too.
fn well_known() -> Watched {
    let keys = [support::KEYS, &[WELL_KNOWN]].concat();
    Watched::start_with_keys(Limits::default(), &keys)
}

fn with_origin(request: &[u8], origin: &str) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen("\r\n", &format!("\r\norigin: {origin}\r\n"), 1).into_bytes()
}

fn ask(engine: &Watched, request: &[u8], origin: &str) -> Answer {
    Client::connect(engine.address()).ask(with_origin(request, origin))
}

/// Requests of each kind, and the status that a page of this machine gets.
fn requests() -> Vec<(Vec<u8>, u16)> {
    let join = support::join_token("room", "ann");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n").into_bytes();
    vec![
        (call("ListRooms", &admin(), "application/json", b"{\"names\":[\"x\"]}"), 200),
        (call("CreateRoom", &admin(), "application/json", b"{\"name\":\"of a page\"}"), 200),
        (call("DeleteRoom", &admin(), "application/json", b"{\"room\":\"none\"}"), 404),
        (get("/", "x: y"), 200),
        (get(&format!("/rtc/validate?access_token={join}"), "x: y"), 200),
        (get(&format!("/rtc?access_token={join}"), upgrade), 101),
        (get("/rtc/v1/validate", "x: y"), 401),
        (get("/rtc/v1", upgrade), 401),
        (get("/none", "x: y"), 404),
    ]
}

#[test]
fn foreign_pages_are_rejected_while_the_key_is_well_known() {
    let engine = well_known();
    let before = Client::connect(engine.address()).call("ListRooms", &admin(), &json!({})).json();
    for (request, _) in requests() {
        let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
        for origin in ["https://evil.example", "http://192.168.1.5:5173", "null", ""] {
            let answer = ask(&engine, &request, origin);
            assert_eq!(answer.status, 403, "{line} of {origin:?}");
            assert!(answer.text().contains("a key and a secret of your own"), "{answer:?}");
            let readable = answer.header("access-control-allow-origin");
            // A page may read why it cannot join.
            let expected = line.contains("validate").then_some("*");
            assert_eq!(readable, expected, "{line} of {origin:?}");
        }
    }
    assert_eq!(Client::connect(engine.address()).call("ListRooms", &admin(), &json!({})).json(), before);
}

#[test]
fn a_page_whose_name_is_bound_to_this_machine_is_foreign() {
    let engine = well_known();
    let body = b"{}";
    let request = String::from_utf8(call("ListRooms", &admin(), "application/json", body)).unwrap();
    let request = request.replacen("host: test", "host: evil.example:7880", 1);
    assert_eq!(ask(&engine, request.as_bytes(), "http://evil.example:7880").status, 403);
}

#[test]
fn one_foreign_origin_of_several_is_enough() {
    let engine = well_known();
    let request = call("ListRooms", &admin(), "application/json", b"{}");
    let both = with_origin(&with_origin(&request, "https://evil.example"), "http://localhost");
    assert_eq!(Client::connect(engine.address()).ask(both).status, 403);
}

#[test]
fn pages_of_this_machine_and_requests_of_no_page_are_served_with_the_well_known_key() {
    let engine = well_known();
    for (request, status) in requests() {
        let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
        assert_eq!(Client::connect(engine.address()).ask(&request).status, status, "{line}");
        for origin in ["http://localhost:5173", "https://app.localhost", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            let answer = ask(&engine, &request, origin);
            assert_eq!(answer.status, status, "{line} of {origin}");
            let readable = if line.contains("validate") { "*" } else { origin };
            assert_eq!(answer.header("access-control-allow-origin"), Some(readable), "{line} of {origin}");
        }
    }
}

#[test]
fn foreign_pages_are_served_where_the_key_is_secret() {
    for keys in [support::KEYS, &[support::KEYS[0], ("devkey", "a secret of one's own")]] {
        let engine = Watched::start_with_keys(Limits::default(), keys);
        for (request, status) in requests() {
            assert_eq!(ask(&engine, &request, "https://app.example").status, status);
        }
    }
}

fn preflight(engine: &Watched, origin: &str) -> Answer {
    let path = "/twirp/livekit.RoomService/ListRooms";
    let asked = "access-control-request-method: POST\r\naccess-control-request-headers: authorization";
    let private = "access-control-request-private-network: true";
    let head = format!("OPTIONS {path} HTTP/1.1\r\nhost: t\r\norigin: {origin}\r\n{asked}\r\n{private}\r\n\r\n");
    Client::connect(engine.address()).ask(head)
}

#[test]
fn a_preflight_allows_what_the_request_itself_may() {
    const ALLOWED: [&str; 3] =
        ["access-control-allow-origin", "access-control-allow-private-network", "access-control-allow-headers"];
    let (known, secret) = (well_known(), Watched::start());
    for (engine, origin, allowed) in [
        (&known, "https://evil.example", [None; 3]),
        (&known, "null", [None; 3]),
        (&known, "http://localhost", [Some("http://localhost"), Some("true"), Some("authorization")]),
        (&secret, "https://app.example", [Some("https://app.example"), Some("true"), Some("authorization")]),
    ] {
        let answer = preflight(engine, origin);
        assert_eq!(answer.status, if allowed[0].is_some() { 204 } else { 403 }, "{origin}");
        assert_eq!(ALLOWED.map(|header| answer.header(header)), allowed, "{origin}");
    }
}

//! Cross-origin requests to an engine with a well-known key.

use maravilla_engine::Limits;
use serde_json::json;

use crate::GuardedEngine;
use crate::support::{self, HttpClient, HttpResponse, admin_token, twirp_request};

const WELL_KNOWN: (&str, &str) = ("devkey", "secret");

/// An engine that has a well-known key besides the tests' own keys.
fn start_with_well_known_key() -> GuardedEngine {
    let keys = [support::KEYS, &[WELL_KNOWN]].concat();
    GuardedEngine::start_with_keys(Limits::default(), &keys)
}

fn with_origin(request: &[u8], origin: &str) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen("\r\n", &format!("\r\norigin: {origin}\r\n"), 1).into_bytes()
}

fn send_with_origin(engine: &GuardedEngine, request: &[u8], origin: &str) -> HttpResponse {
    HttpClient::connect(engine.address()).request(with_origin(request, origin))
}

/// Requests of each kind, with the status that a local page receives.
fn requests() -> Vec<(Vec<u8>, u16)> {
    let join = support::join_token("room", "ann");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n").into_bytes();
    vec![
        (twirp_request("ListRooms", &admin_token(), "application/json", b"{\"names\":[\"x\"]}"), 200),
        (twirp_request("CreateRoom", &admin_token(), "application/json", b"{\"name\":\"created by a page\"}"), 200),
        (twirp_request("DeleteRoom", &admin_token(), "application/json", b"{\"room\":\"none\"}"), 404),
        (get("/", "x: y"), 200),
        (get(&format!("/rtc/validate?access_token={join}"), "x: y"), 200),
        (get(&format!("/rtc?access_token={join}"), upgrade), 101),
        (get("/rtc/v1/validate", "x: y"), 401),
        (get("/rtc/v1", upgrade), 401),
        (get("/none", "x: y"), 404),
    ]
}

#[test]
fn rejects_foreign_origins_with_a_well_known_key() {
    let engine = start_with_well_known_key();
    let before = HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &json!({})).json();
    for (request, _) in requests() {
        let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
        for origin in ["https://evil.example", "http://192.168.1.5:5173", "null", ""] {
            let response = send_with_origin(&engine, &request, origin);
            assert_eq!(response.status, 403, "{line} of {origin:?}");
            assert!(response.text().contains("a key and a secret of your own"), "{response:?}");
            let readable = response.header("access-control-allow-origin");
            // A page may read the reason why it can't join.
            let expected = line.contains("validate").then_some("*");
            assert_eq!(readable, expected, "{line} of {origin:?}");
        }
    }
    assert_eq!(HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &json!({})).json(), before);
}

#[test]
fn rejects_a_foreign_origin_that_matches_the_host_header() {
    let engine = start_with_well_known_key();
    // A page does this by DNS rebinding.
    let body = b"{}";
    let request = String::from_utf8(twirp_request("ListRooms", &admin_token(), "application/json", body)).unwrap();
    let request = request.replacen("host: test", "host: evil.example:7880", 1);
    assert_eq!(send_with_origin(&engine, request.as_bytes(), "http://evil.example:7880").status, 403);
}

#[test]
fn rejects_a_request_with_one_foreign_origin_of_two() {
    let engine = start_with_well_known_key();
    let request = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    let both = with_origin(&with_origin(&request, "https://evil.example"), "http://localhost");
    assert_eq!(HttpClient::connect(engine.address()).request(both).status, 403);
}

#[test]
fn serves_local_origins_and_requests_without_an_origin_with_a_well_known_key() {
    let engine = start_with_well_known_key();
    for (request, status) in requests() {
        let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
        assert_eq!(HttpClient::connect(engine.address()).request(&request).status, status, "{line}");
        for origin in ["http://localhost:5173", "https://app.localhost", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            let response = send_with_origin(&engine, &request, origin);
            assert_eq!(response.status, status, "{line} of {origin}");
            let readable = if line.contains("validate") { "*" } else { origin };
            assert_eq!(response.header("access-control-allow-origin"), Some(readable), "{line} of {origin}");
        }
    }
}

#[test]
fn serves_foreign_origins_with_secret_keys() {
    for keys in [support::KEYS, &[support::KEYS[0], ("devkey", "a secret of one's own")]] {
        let engine = GuardedEngine::start_with_keys(Limits::default(), keys);
        for (request, status) in requests() {
            assert_eq!(send_with_origin(&engine, &request, "https://app.example").status, status);
        }
    }
}

fn preflight(engine: &GuardedEngine, origin: &str) -> HttpResponse {
    let path = "/twirp/livekit.RoomService/ListRooms";
    let request_headers = "access-control-request-method: POST\r\naccess-control-request-headers: authorization";
    let private = "access-control-request-private-network: true";
    let head =
        format!("OPTIONS {path} HTTP/1.1\r\nhost: t\r\norigin: {origin}\r\n{request_headers}\r\n{private}\r\n\r\n");
    HttpClient::connect(engine.address()).request(head)
}

#[test]
fn a_preflight_allows_the_same_origins_as_the_request() {
    const RESPONSE_HEADERS: [&str; 3] =
        ["access-control-allow-origin", "access-control-allow-private-network", "access-control-allow-headers"];
    let (well_known, secret) = (start_with_well_known_key(), GuardedEngine::start());
    for (engine, origin, allowed) in [
        (&well_known, "https://evil.example", [None; 3]),
        (&well_known, "null", [None; 3]),
        (&well_known, "http://localhost", [Some("http://localhost"), Some("true"), Some("authorization")]),
        (&secret, "https://app.example", [Some("https://app.example"), Some("true"), Some("authorization")]),
    ] {
        let response = preflight(engine, origin);
        assert_eq!(response.status, if allowed[0].is_some() { 204 } else { 403 }, "{origin}");
        assert_eq!(RESPONSE_HEADERS.map(|header| response.header(header)), allowed, "{origin}");
    }
}

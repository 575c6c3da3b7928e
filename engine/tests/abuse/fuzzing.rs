//! Generated requests, join requests and tokens: the engine answers each of them without a panic or a status of 500.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use maravilla_engine::token::Keys;
use serde_json::{Value, json};

use crate::generators::{METHODS, damage, json as json_body, protobuf, seed, text};
use crate::support::{HttpClient, KEY, SECRET, admin_token, gzip, now, sign, token, twirp_request};
use crate::{GuardedEngine, panics};

/// Prints the number and the random bytes of a failed case.
struct Case(&'static str, u64);

impl Drop for Case {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: failed in case {} with seed {:?}", self.0, self.1, seed(self.1));
        }
    }
}

/// Runs the cases in order. A case ends early if its random bytes run out.
fn run_cases(what: &'static str, cases: u64, mut run: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    for number in 0..cases {
        let case = Case(what, number);
        let _ = run(&mut Unstructured::new(&seed(number)));
        panics::assert_none();
        drop(case);
    }
}

/// A token for every method and the generated rooms.
fn all_grants() -> String {
    token(&json!({
        "roomCreate": true, "roomList": true, "roomAdmin": true, "room": "a", "destinationRoom": "b",
    }))
}

#[test]
fn answers_any_message_to_any_method() {
    let engine = GuardedEngine::start();
    let mut client = HttpClient::connect(engine.address());
    let token = all_grants();
    let mut outcomes = std::collections::BTreeSet::new();
    for (method, fields) in METHODS {
        run_cases(method, 200, |source| {
            for content_type in ["application/json", "application/protobuf"] {
                let body = if content_type.ends_with("json") { json_body(source, fields)? } else { protobuf(source)? };
                let response = client.request(twirp_request(method, &token, content_type, &body));
                outcomes.insert((response.status, content_type));
                assert!(matches!(response.status, 200 | 400 | 401 | 404 | 501), "{response:?} to {body:?}");
                if response.status != 200 || content_type.ends_with("json") {
                    assert!(response.json().is_object());
                }
            }
            Ok(())
        });
    }
    // The generators must produce requests for each of these outcomes.
    for content_type in ["application/json", "application/protobuf"] {
        for status in [200, 400, 401, 404] {
            assert!(outcomes.contains(&(status, content_type)), "no {status} for {content_type}");
        }
    }
}

#[test]
fn never_answers_500_to_arbitrary_bytes() {
    let engine = GuardedEngine::start();
    let valid = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    run_cases("request", 1500, |source| {
        let mut request = if source.ratio(1, 4)? { Vec::new() } else { valid.clone() };
        for _ in 0..source.int_in_range(1..=8)? {
            damage(source, &mut request)?;
        }
        request.extend_from_slice(source.bytes(source.len().min(40))?);
        let mut client = HttpClient::connect(engine.address());
        let _ = client.send(&request);
        let _ = client.socket().shutdown(Shutdown::Write);
        let mut received = Vec::new();
        let _ = client.socket().try_clone().unwrap().read_to_end(&mut received);
        let received = String::from_utf8_lossy(&received);
        assert!(received.is_empty() || received.starts_with("HTTP/1."), "{received:?} to {request:?}");
        assert!(!received.contains("HTTP/1.1 500"), "{received:?} to {request:?}");
        Ok(())
    });
}

#[test]
fn validates_any_join_request_and_any_attributes() {
    let engine = GuardedEngine::start();
    let mut client = HttpClient::connect(engine.address());
    let join = token(&json!({ "roomJoin": true, "room": "a", "canUpdateOwnMetadata": true }));
    run_cases("validate", 2000, |source| {
        let inner = protobuf(source)?;
        let join_request = if source.arbitrary()? { gzip(&inner) } else { inner };
        let length = u8::try_from(join_request.len() % 128).unwrap();
        let compression = source.int_in_range(0..=2)?;
        let mut value = [[0x08, compression, 0x12, length].as_slice(), &join_request].concat();
        damage(source, &mut value)?;
        let mut value = if source.ratio(9, 10)? { URL_SAFE.encode(value).into_bytes() } else { value };
        damage(source, &mut value)?;
        let value: String = form_urlencoded::byte_serialize(&value).collect();
        let attributes = URL_SAFE.encode(json_body(source, &[])?);
        let (version, parameter) =
            *source.choose(&[("", "attributes"), ("", "join_request"), ("/v1", "join_request")])?;
        let value = if parameter == "attributes" && source.ratio(1, 2)? { attributes } else { value };
        let head = format!("GET /rtc{version}/validate?publish=1&{parameter}={value} HTTP/1.1\r\nhost: t");
        let response = client.request(format!("{head}\r\nauthorization: Bearer {join}\r\n\r\n"));
        assert!(matches!(response.status, 200 | 400), "{response:?} to {head}");
        Ok(())
    });
}

#[test]
fn rejects_any_damaged_token() {
    let keys = Keys::new([(KEY, SECRET)]);
    let valid = admin_token();
    run_cases("token", 20_000, |source| {
        let mut damaged = valid.clone().into_bytes();
        for _ in 0..source.int_in_range(1..=6)? {
            damage(source, &mut damaged)?;
        }
        let Ok(damaged) = String::from_utf8(damaged) else { return Ok(()) };
        assert_eq!(keys.verify(&damaged).is_ok(), damaged == valid, "{damaged}");
        Ok(())
    });
}

#[test]
fn accepts_or_rejects_any_claims() {
    let engine = GuardedEngine::start();
    let mut client = HttpClient::connect(engine.address());
    run_cases("claims", 2000, |source| {
        let mut claims = json!({ "iss": KEY, "sub": "ann", "exp": now() + 60, "video": { "roomList": true } });
        let names =
            ["iss", "sub", "jti", "exp", "nbf", "video", "metadata", "attributes", "roomConfig", "maravilla", "kind"];
        for _ in 0..source.int_in_range(1..=3)? {
            let name = if source.ratio(1, 2)? { *source.choose(&names)? } else { "roomConfig" };
            let (_, fields) = *source.choose(&METHODS)?;
            let value = String::from_utf8(json_body(source, fields)?).unwrap_or_default();
            claims[name] = serde_json::from_str(&value).unwrap_or(Value::String(text(source)?));
        }
        let header = format!("{{\"alg\":\"HS256\",\"kid\":{}}}", Value::from(text(source)?));
        let response = client.request(twirp_request(
            "ListRooms",
            &sign(&header, &claims.to_string(), SECRET),
            "application/json",
            b"{}",
        ));
        assert!(matches!(response.status, 200 | 401), "{response:?} to {claims}");
        Ok(())
    });
}

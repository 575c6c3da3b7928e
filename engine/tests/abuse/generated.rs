//! Whatever is sent: no panic, no answer that tells of one, and the rooms of others as they were.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use maravilla_engine::token::Keys;
use serde_json::{Value, json};

use crate::generators::{METHODS, damage, json as json_body, protobuf, seed, text};
use crate::support::{Client, KEY, SECRET, admin, call, now, sign, token};
use crate::{PANICS, Watched};

/// Says which case it was if it fails.
struct Case(&'static str, u64);

impl Drop for Case {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: it was case {}, made of {:?}", self.0, self.1, seed(self.1));
        }
    }
}

/// Runs the cases one after the other; what a case is made of may run out.
fn each(what: &'static str, cases: u64, mut run: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    for number in 0..cases {
        let case = Case(what, number);
        let _ = run(&mut Unstructured::new(&seed(number)));
        assert_eq!(PANICS.load(std::sync::atomic::Ordering::Relaxed), 0, "an engine has panicked");
        drop(case);
    }
}

/// Allows every method, for the rooms that are made up.
fn all_grants() -> String {
    token(&json!({
        "roomCreate": true, "roomList": true, "roomAdmin": true, "room": "a", "destinationRoom": "b",
    }))
}

#[test]
fn any_message_to_any_method_is_answered() {
    let engine = Watched::start();
    let mut client = Client::connect(engine.address());
    let token = all_grants();
    let mut seen = std::collections::BTreeSet::new();
    for (method, fields) in METHODS {
        each(method, 200, |source| {
            for kind in ["application/json", "application/protobuf"] {
                let body = if kind.ends_with("json") { json_body(source, fields)? } else { protobuf(source)? };
                let answer = client.ask(call(method, &token, kind, &body));
                seen.insert((answer.status, kind));
                assert!(matches!(answer.status, 200 | 400 | 401 | 404 | 501), "{answer:?} to {body:?}");
                if answer.status != 200 || kind.ends_with("json") {
                    assert!(answer.json().is_object());
                }
            }
            Ok(())
        });
    }
    // What is generated is not all refused at the door.
    for kind in ["application/json", "application/protobuf"] {
        for status in [200, 400, 401, 404] {
            assert!(seen.contains(&(status, kind)), "no {status} for {kind}");
        }
    }
}

#[test]
fn any_bytes_instead_of_a_request_are_answered_or_not() {
    let engine = Watched::start();
    let good = call("ListRooms", &admin(), "application/json", b"{}");
    each("request", 1500, |source| {
        let mut request = if source.ratio(1, 4)? { Vec::new() } else { good.clone() };
        for _ in 0..source.int_in_range(1..=8)? {
            damage(source, &mut request)?;
        }
        request.extend_from_slice(source.bytes(source.len().min(40))?);
        let mut client = Client::connect(engine.address());
        let _ = client.say(&request);
        let _ = client.socket().shutdown(Shutdown::Write);
        let mut heard = Vec::new();
        let _ = client.socket().try_clone().unwrap().read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.is_empty() || heard.starts_with("HTTP/1."), "{heard:?} to {request:?}");
        assert!(!heard.contains("HTTP/1.1 500"), "{heard:?} to {request:?}");
        Ok(())
    });
}

#[test]
fn any_join_request_and_any_attributes_are_answered() {
    let engine = Watched::start();
    let mut client = Client::connect(engine.address());
    let join = token(&json!({ "roomJoin": true, "room": "a", "canUpdateOwnMetadata": true }));
    each("validate", 2000, |source| {
        let inner = protobuf(source)?;
        let packed = if source.arbitrary()? {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            std::io::Write::write_all(&mut encoder, &inner).unwrap();
            encoder.finish().unwrap()
        } else {
            inner
        };
        let length = u8::try_from(packed.len() % 128).unwrap();
        let compression = source.int_in_range(0..=2)?;
        let mut value = [[0x08, compression, 0x12, length].as_slice(), &packed].concat();
        damage(source, &mut value)?;
        let mut value = if source.ratio(9, 10)? { URL_SAFE.encode(value).into_bytes() } else { value };
        damage(source, &mut value)?;
        let value: String = form_urlencoded::byte_serialize(&value).collect();
        let attributes = URL_SAFE.encode(json_body(source, &[])?);
        let (version, parameter) =
            *source.choose(&[("", "attributes"), ("", "join_request"), ("/v1", "join_request")])?;
        let value = if parameter == "attributes" && source.ratio(1, 2)? { attributes } else { value };
        let head = format!("GET /rtc{version}/validate?publish=1&{parameter}={value} HTTP/1.1\r\nhost: t");
        let answer = client.ask(format!("{head}\r\nauthorization: Bearer {join}\r\n\r\n"));
        assert!(matches!(answer.status, 200 | 400), "{answer:?} to {head}");
        Ok(())
    });
}

#[test]
fn any_token_but_the_good_one_is_refused() {
    let keys = Keys::new([(KEY, SECRET)]);
    let good = admin();
    each("token", 20_000, |source| {
        let mut other = good.clone().into_bytes();
        for _ in 0..source.int_in_range(1..=6)? {
            damage(source, &mut other)?;
        }
        let Ok(other) = String::from_utf8(other) else { return Ok(()) };
        assert_eq!(keys.verify(&other).is_ok(), other == good, "{other}");
        Ok(())
    });
}

#[test]
fn any_claims_are_read_or_refused() {
    let engine = Watched::start();
    let mut client = Client::connect(engine.address());
    each("claims", 2000, |source| {
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
        let answer =
            client.ask(call("ListRooms", &sign(&header, &claims.to_string(), SECRET), "application/json", b"{}"));
        assert!(matches!(answer.status, 200 | 401), "{answer:?} to {claims}");
        Ok(())
    });
}

//! Which tokens are taken, and that no other is: RFC 8725's attacks and whatever else comes instead of a token.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

mod claims;
mod headers;
mod joining;
mod junk;
mod revocation;

use std::fmt::Write as _;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use maravilla_engine::token::Keys;
use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig};
use serde_json::{Value, json};
use support::{Answer, Client, KEY, OTHER_KEY, OTHER_SECRET, SECRET, base64, now, sign, start};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token is taken with.
fn claims() -> Value {
    json!({ "iss": KEY, "sub": "ann", "exp": now() + 600, "video": { "roomList": true } })
}

/// The claims with others put in.
fn with(more: &Value) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.to_string()
}

/// The payload as written, with one more claim in front.
fn with_raw(claim: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("exp");
    format!("{{{claim},{}", &claims.to_string()[1..])
}

fn signed(payload: &str) -> String {
    sign(HS256, payload, SECRET)
}

fn in_header(engine: &Engine, token: &str) -> Answer {
    let answer = Client::connect(engine.address()).ask(support::call("ListRooms", token, "application/json", b"{}"));
    assert_not_told(&answer, token);
    answer
}

fn in_query(engine: &Engine, token: &str) -> Answer {
    let value: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let path = format!("/twirp/livekit.RoomService/ListRooms?access_token={value}");
    let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 2");
    let answer = Client::connect(engine.address()).ask(head + "\r\n\r\n{}");
    assert_not_told(&answer, token);
    answer
}

fn assert_not_told(answer: &Answer, token: &str) {
    let whole = answer.headers.clone() + &answer.text();
    for part in token.split('.').filter(|part| part.len() > 12) {
        assert!(!whole.contains(part), "the token is told: {whole}");
    }
}

#[track_caller]
fn assert_taken(engine: &Engine, token: &str) {
    for answer in [in_header(engine, token), in_query(engine, token)] {
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"rooms":[]}"#), "{token:.400}");
    }
}

/// Refused by either way, and for everything that is asked.
#[track_caller]
fn assert_refused(engine: &Engine, token: &str) {
    for answer in [in_header(engine, token), in_query(engine, token)] {
        assert_eq!(answer.status, 401, "{token:.400}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{token:.400}");
    }
    for path in ["/", "/rtc/validate", "/rtc/v1/validate", "/none"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\r\n");
        let answer = Client::connect(engine.address()).ask(head);
        assert_not_told(&answer, token);
        assert_eq!(answer.status, 401, "{path} {token:.400}: {answer:?}");
    }
}

#[test]
fn each_key_is_taken_with_its_own_secret_and_no_other() {
    let engine = start();
    let other = with(&json!({ "iss": OTHER_KEY }));
    assert_taken(&engine, &signed(&claims().to_string()));
    assert_taken(&engine, &sign(HS256, &other, OTHER_SECRET));
    assert_refused(&engine, &signed(&other));
    assert_refused(&engine, &sign(HS256, &claims().to_string(), OTHER_SECRET));
    for secret in ["", " ", "nobody's secret", KEY, &SECRET[1..], &format!("{SECRET}\n"), &SECRET.to_uppercase()] {
        assert_refused(&engine, &sign(HS256, &claims().to_string(), secret));
    }
}

#[test]
fn what_livekits_own_library_mints_is_taken() {
    let engine = start();
    let grants = livekit_token::VideoGrants { room_list: true, ..Default::default() };
    let minted = livekit_token::AccessToken::with_api_key(KEY, SECRET).with_grants(grants);
    assert_taken(&engine, &minted.with_identity("ann").to_jwt().unwrap());
}

#[test]
fn no_secret_is_shown_when_keys_or_engines_are_printed() {
    let keys = &[(KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];
    let config = Config {
        host: std::net::Ipv4Addr::LOCALHOST.into(),
        port: Port::Any,
        keys,
        limits: Limits::default(),
        rtc: RtcConfig::default(),
    };
    let engine = Engine::start(&config).unwrap();
    let mut shown = format!("{config:?} {config:#?} {engine:?} {engine:#?} {:?}", Keys::new(keys.iter().copied()));
    let fault = Keys::new(keys.iter().copied()).verify(&sign(HS256, &claims().to_string(), OTHER_SECRET)).unwrap_err();
    write!(shown, "{fault} {fault:?}").unwrap();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(b"x", &key, Algorithm::HS256).unwrap();
    assert!(shown.contains(KEY) && !shown.contains(&signature));
    for secret in [SECRET, OTHER_SECRET, &base64(SECRET), &format!("{:?}", SECRET.as_bytes())] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

//! Token verification: accepts valid tokens and rejects all others, including the attacks of RFC 8725.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

mod claims;
mod headers;
mod joining;
mod malformed;
mod revocation;

use std::fmt::Write as _;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use maravilla_engine::token::Keys;
use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig};
use serde_json::{Value, json};
use support::{HttpClient, HttpResponse, KEY, OTHER_KEY, OTHER_SECRET, SECRET, base64, now, sign, start};

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// The claims of a valid token.
fn claims() -> Value {
    json!({ "iss": KEY, "sub": "ann", "exp": now() + 600, "video": { "roomList": true } })
}

/// The valid claims with `more` added or replaced, as JSON.
fn with(more: &Value) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.to_string()
}

/// The valid claims without `exp`, as JSON, with `claim` inserted verbatim at the front.
fn with_raw(claim: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("exp");
    format!("{{{claim},{}", &claims.to_string()[1..])
}

fn signed(payload: &str) -> String {
    sign(HS256, payload, SECRET)
}

fn in_header(engine: &Engine, token: &str) -> HttpResponse {
    let response = HttpClient::connect(engine.address()).request(support::twirp_request(
        "ListRooms",
        token,
        "application/json",
        b"{}",
    ));
    assert_not_disclosed(&response, token);
    response
}

fn in_query(engine: &Engine, token: &str) -> HttpResponse {
    let value: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let path = format!("/twirp/livekit.RoomService/ListRooms?access_token={value}");
    let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 2");
    let response = HttpClient::connect(engine.address()).request(head + "\r\n\r\n{}");
    assert_not_disclosed(&response, token);
    response
}

fn assert_not_disclosed(response: &HttpResponse, token: &str) {
    let whole = response.headers.clone() + &response.text();
    for part in token.split('.').filter(|part| part.len() > 12) {
        assert!(!whole.contains(part), "response contains the token: {whole}");
    }
}

#[track_caller]
fn assert_accepted(engine: &Engine, token: &str) {
    for response in [in_header(engine, token), in_query(engine, token)] {
        assert_eq!((response.status, response.text().as_str()), (200, r#"{"rooms":[]}"#), "{token:.400}");
    }
}

/// Asserts that the token is rejected in the header and in the query, and on every route.
#[track_caller]
fn assert_rejected(engine: &Engine, token: &str) {
    for response in [in_header(engine, token), in_query(engine, token)] {
        assert_eq!(response.status, 401, "{token:.400}: {response:?}");
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"), "{token:.400}");
    }
    for path in ["/", "/rtc/validate", "/rtc/v1/validate", "/none"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\r\n");
        let response = HttpClient::connect(engine.address()).request(head);
        assert_not_disclosed(&response, token);
        assert_eq!(response.status, 401, "{path} {token:.400}: {response:?}");
    }
}

#[test]
fn accepts_a_key_only_with_its_own_secret() {
    let engine = start();
    let claims_of_other_key = with(&json!({ "iss": OTHER_KEY }));
    assert_accepted(&engine, &signed(&claims().to_string()));
    assert_accepted(&engine, &sign(HS256, &claims_of_other_key, OTHER_SECRET));
    assert_rejected(&engine, &signed(&claims_of_other_key));
    assert_rejected(&engine, &sign(HS256, &claims().to_string(), OTHER_SECRET));
    for secret in ["", " ", "another secret", KEY, &SECRET[1..], &format!("{SECRET}\n"), &SECRET.to_uppercase()] {
        assert_rejected(&engine, &sign(HS256, &claims().to_string(), secret));
    }
}

#[test]
fn accepts_a_token_minted_by_livekits_rust_sdk() {
    let engine = start();
    let grants = livekit_token::VideoGrants { room_list: true, ..Default::default() };
    let minted = livekit_token::AccessToken::with_api_key(KEY, SECRET).with_grants(grants);
    assert_accepted(&engine, &minted.with_identity("ann").to_jwt().unwrap());
}

#[test]
fn debug_output_of_keys_config_and_engine_contains_no_secret() {
    let keys = &[(KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];
    let config = Config {
        host: std::net::Ipv4Addr::LOCALHOST.into(),
        port: Port::Any,
        keys,
        limits: Limits::default(),
        rtc: RtcConfig::default(),
        webhooks: None,
    };
    let engine = Engine::start(&config).unwrap();
    let mut output = format!("{config:?} {config:#?} {engine:?} {engine:#?} {:?}", Keys::new(keys.iter().copied()));
    let error = Keys::new(keys.iter().copied()).verify(&sign(HS256, &claims().to_string(), OTHER_SECRET)).unwrap_err();
    write!(output, "{error} {error:?}").unwrap();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(b"x", &key, Algorithm::HS256).unwrap();
    assert!(output.contains(KEY) && !output.contains(&signature));
    for secret in [SECRET, OTHER_SECRET, &base64(SECRET), &format!("{:?}", SECRET.as_bytes())] {
        assert!(!output.contains(secret), "{output}");
    }
}

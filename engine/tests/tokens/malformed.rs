//! Malformed tokens and authorization headers.

use maravilla_engine::token::Keys;
use serde_json::json;

use crate::support::{HttpClient, KEY, SECRET, start};
use crate::{assert_not_disclosed, assert_rejected, claims, in_header, signed, with};

#[test]
fn rejects_malformed_tokens_and_payloads() {
    let engine = start();
    let emoji = "🦀".repeat(40);
    let dots = ".".repeat(20_000);
    for malformed in
        ["x", ".", "..", "...", "a.b.c", "null", "\"\"", "{}", "e30.e30.e30", "%00", emoji.as_str(), &dots, SECRET]
    {
        assert_rejected(&engine, malformed);
    }
    for payload in ["", "null", "[]", "7", "\"x\"", "{", "\u{feff}{}", "{}{}", "[\"APIfirst\"]", "\u{0}"] {
        assert_rejected(&engine, &signed(payload));
    }
    assert_rejected(&engine, &signed(&format!("{}x", claims())));
    assert_rejected(&engine, &signed(&with(&json!({ "sub": "HERE" })).replace("HERE", "\\ud800")));
    // Deep nesting is rejected in ignored claims, too.
    let deep =
        |claim: &str| with(&json!({ claim: "HERE" })).replace("\"HERE\"", &("[".repeat(9000) + &"]".repeat(9000)));
    for claim in ["x", "roomConfig", "sub", "video", "exp", "iss", "attributes"] {
        assert_rejected(&engine, &signed(&deep(claim)));
    }
}

#[test]
fn rejects_an_authorization_header_without_a_single_bearer_token() {
    let engine = start();
    let good = signed(&claims().to_string());
    let wrong = [
        "Basic eDp5".to_owned(),
        good.clone(),
        format!("bearer {good}"),
        format!("BEARER {good}"),
        format!("Bearer{good}"),
        format!("Bearer\t{good}"),
        format!("Bearer  {good}"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good},{good}"),
        format!("Token {good}"),
        "Bearer".to_owned(),
        format!("Bearer \u{fc}{good}"),
    ];
    for value in wrong {
        let request = format!("GET / HTTP/1.1\r\nhost: t\r\nauthorization: {value}\r\n\r\n");
        let response = HttpClient::connect(engine.address()).request(request);
        assert_not_disclosed(&response, &good);
        assert_eq!(response.status, 401, "{value}");
    }
    for control in ['\0', '\n', '\r', '\u{1}', '\u{7f}'] {
        let request = format!("GET / HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {good}{control}x\r\n\r\n");
        let response = HttpClient::connect(engine.address()).request(request);
        assert_not_disclosed(&response, &good);
        assert_eq!(response.status, 400, "{control:?}");
    }
    // The first of two headers is used, as in livekit-server.
    for (first, status) in [(good.as_str(), 200), ("x", 401)] {
        let headers = format!(
            "authorization: Bearer {first}\r\nauthorization: Bearer {}",
            if status == 200 { "x" } else { &good }
        );
        let response =
            HttpClient::connect(engine.address()).request(format!("GET / HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n"));
        assert_eq!(response.status, status);
    }
}

#[test]
fn accepts_a_token_with_maximum_claims_and_rejects_one_over_1_mib() {
    let engine = start();
    let full =
        signed(&with(&json!({ "metadata": "m".repeat(512 * 1024), "attributes": { "a": "b".repeat(64 * 1024 - 1) } })));
    assert_eq!(in_header(&engine, &full).status, 200);
    // Above the limit of a token, and above the limit of a request head.
    for (bytes, status) in [(1024 * 1024 + 1, 401), (4 * 1024 * 1024, 431)] {
        let too_long = signed(&with(&json!({ "metadata": "m".repeat(bytes * 3 / 4) })));
        let response = in_header(&engine, &too_long);
        assert!(response.status == status || response.status == 431, "{bytes}: {response:?}");
        assert!(Keys::new([(KEY, SECRET)]).verify(&too_long).is_err());
    }
    assert!(Keys::new([(KEY, SECRET)]).verify(&full).is_ok());
}

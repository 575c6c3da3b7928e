//! What comes instead of a token.

use maravilla_engine::token::Keys;
use serde_json::json;

use crate::support::{Client, KEY, SECRET, start};
use crate::{assert_not_told, assert_refused, claims, in_header, signed, with};

#[test]
fn what_is_no_token_is_refused() {
    let engine = start();
    let emoji = "🦀".repeat(40);
    let dots = ".".repeat(20_000);
    for junk in
        ["x", ".", "..", "...", "a.b.c", "null", "\"\"", "{}", "e30.e30.e30", "%00", emoji.as_str(), &dots, SECRET]
    {
        assert_refused(&engine, junk);
    }
    for payload in ["", "null", "[]", "7", "\"x\"", "{", "\u{feff}{}", "{}{}", "[\"APIfirst\"]", "\u{0}"] {
        assert_refused(&engine, &signed(payload));
    }
    assert_refused(&engine, &signed(&format!("{}x", claims())));
    assert_refused(&engine, &signed(&with(&json!({ "sub": "HERE" })).replace("HERE", "\\ud800")));
    // Nobody mints what is as deep, not even where nobody looks.
    let deep =
        |claim: &str| with(&json!({ claim: "HERE" })).replace("\"HERE\"", &("[".repeat(9000) + &"]".repeat(9000)));
    for claim in ["x", "roomConfig", "sub", "video", "exp", "iss", "attributes"] {
        assert_refused(&engine, &signed(&deep(claim)));
    }
}

#[test]
fn an_authorization_that_is_no_bearers_is_refused() {
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
        let answer = Client::connect(engine.address()).ask(request);
        assert_not_told(&answer, &good);
        assert_eq!(answer.status, 401, "{value}");
    }
    for control in ['\0', '\n', '\r', '\u{1}', '\u{7f}'] {
        let request = format!("GET / HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {good}{control}x\r\n\r\n");
        let answer = Client::connect(engine.address()).ask(request);
        assert_not_told(&answer, &good);
        assert_eq!(answer.status, 400, "{control:?}");
    }
    // The first of two counts, as with livekit-server.
    for (first, status) in [(good.as_str(), 200), ("x", 401)] {
        let two = format!(
            "authorization: Bearer {first}\r\nauthorization: Bearer {}",
            if status == 200 { "x" } else { &good }
        );
        let answer = Client::connect(engine.address()).ask(format!("GET / HTTP/1.1\r\nhost: t\r\n{two}\r\n\r\n"));
        assert_eq!(answer.status, status);
    }
}

#[test]
fn a_token_can_be_long_but_not_endless() {
    let engine = start();
    let full =
        signed(&with(&json!({ "metadata": "m".repeat(512 * 1024), "attributes": { "a": "b".repeat(64 * 1024 - 1) } })));
    assert_eq!(in_header(&engine, &full).status, 200);
    // Longer than a token, and longer than a head may be.
    for (bytes, status) in [(1024 * 1024 + 1, 401), (4 * 1024 * 1024, 431)] {
        let endless = signed(&with(&json!({ "metadata": "m".repeat(bytes * 3 / 4) })));
        let answer = in_header(&engine, &endless);
        assert!(answer.status == status || answer.status == 431, "{bytes}: {answer:?}");
        assert!(Keys::new([(KEY, SECRET)]).verify(&endless).is_err());
    }
    assert!(Keys::new([(KEY, SECRET)]).verify(&full).is_ok());
}

//! Which tokens are taken, and that no other is: RFC 8725's attacks and whatever else comes instead of a token.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

use std::fmt::Write as _;

use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use maravilla_engine::token::Keys;
use maravilla_engine::{Config, Engine, Limits, Port};
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
    let grants = livekit_api::access_token::VideoGrants { room_list: true, ..Default::default() };
    let minted = livekit_api::access_token::AccessToken::with_api_key(KEY, SECRET).with_grants(grants);
    assert_taken(&engine, &minted.with_identity("ann").to_jwt().unwrap());
}

#[test]
fn no_algorithm_but_hs256_is_taken() {
    let engine = start();
    let payload = base64(claims().to_string());
    for alg in
        ["none", "NONE", "nOnE", "None", "", " ", "hs256", "HS256 ", "HS-256", "RS256", "RS384", "PS256", "ES256"]
            .into_iter()
            .chain(["EdDSA", "HS384", "HS512", "HS\\u0032560", "HS256\\u0000"])
    {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        assert_refused(&engine, &sign(&header, &claims().to_string(), SECRET));
        assert_refused(&engine, &sign(&header, &claims().to_string(), ""));
        assert_refused(&engine, &format!("{}.{payload}.", base64(&header)));
        assert_refused(&engine, &format!("{}.{payload}", base64(&header)));
    }
    for alg in [Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        assert_refused(&engine, &encode(&Header::new(alg), &claims(), &key).unwrap());
    }
}

#[test]
fn a_header_that_is_none_is_refused() {
    let engine = start();
    let headers = [
        "{}",
        "",
        "null",
        "[]",
        "\"HS256\"",
        r#"{"alg":null}"#,
        r#"{"alg":256}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":true}}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
        // Who does not understand what is critical must refuse it (RFC 7515, section 4.1.11).
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        // Unencoded payloads (RFC 7797), encryption and compression are no part of this.
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":"dir","enc":"A256GCM"}"#,
    ];
    for header in headers {
        assert_refused(&engine, &sign(header, &claims().to_string(), SECRET));
    }
    let nested = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_refused(&engine, &sign(&nested, &claims().to_string(), SECRET));
}

#[test]
fn a_header_cannot_point_to_another_key() {
    let engine = start();
    let attacker = "the attacker's own secret";
    let pointers = [
        format!(r#""kid":"{OTHER_KEY}""#),
        r#""kid":"../../dev/null""#.into(),
        r#""kid":"' UNION SELECT 'x""#.into(),
        format!(r#""jwk":{{"kty":"oct","alg":"HS256","k":"{}"}}"#, base64(attacker)),
        r#""jku":"http://127.0.0.1:1/jwks.json""#.into(),
        r#""x5u":"http://127.0.0.1:1/cert.pem""#.into(),
        format!(r#""x5c":["{}"]"#, base64(attacker)),
    ];
    for pointer in pointers {
        let header = format!(r#"{{"alg":"HS256",{pointer}}}"#);
        for secret in [attacker, OTHER_SECRET, ""] {
            assert_refused(&engine, &sign(&header, &claims().to_string(), secret));
        }
        assert_taken(&engine, &sign(&header, &claims().to_string(), SECRET));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let engine = start();
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":"PS512"}"#, r#"{"alg":"EdDSA"}"#] {
        for key in [SECRET, OTHER_SECRET, "-----BEGIN PUBLIC KEY-----\nMFk=\n-----END PUBLIC KEY-----\n"] {
            assert_refused(&engine, &sign(header, &claims().to_string(), key));
        }
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    let engine = start();
    let ends = ["null", "true", "[]", "{}", "\"soon\"", "\"\"", "[9999999999]", "{\"exp\":9999999999}"];
    let numbers = [
        "-1",
        "-9999999999",
        "-1e308",
        "1e300",
        "1e400",
        "NaN",
        "Infinity",
        "1e",
        "0x7fffffff",
        "99999999999999999999999",
    ];
    let nothing = with_raw("\"x\":1");
    assert_refused(&engine, &signed(&nothing));
    assert_refused(&engine, &signed(&nothing.replace("\"x\"", "\"EXP\"").replace(":1", ":9999999999")));
    for end in ends.into_iter().chain(numbers) {
        assert_refused(&engine, &signed(&with_raw(&format!("\"exp\":{end}"))));
    }
    let text = format!("\"exp\":\"{}\"", now() + 600);
    assert_refused(&engine, &signed(&with_raw(&text)));
    for end in ["253402300799", "253402300799.5", "2.5e11"] {
        assert_taken(&engine, &signed(&with_raw(&format!("\"exp\":{end}"))));
    }
}

#[test]
fn a_token_is_good_from_a_minute_before_to_a_minute_after_its_time() {
    let engine = start();
    for refused in
        [json!({ "exp": now() - 90 }), json!({ "nbf": now() + 120 }), json!({ "exp": 0 }), json!({ "exp": 1.5 })]
    {
        assert_refused(&engine, &signed(&with(&refused)));
    }
    for taken in [
        json!({ "exp": now() - 30 }),
        json!({ "nbf": now() + 30 }),
        json!({ "nbf": 0 }),
        json!({ "iat": now() + 9999 }),
    ] {
        assert_taken(&engine, &signed(&with(&taken)));
    }
    for junk in [json!({ "nbf": "now" }), json!({ "nbf": -1 }), json!({ "nbf": [] }), json!({ "nbf": 1e300 })] {
        assert_refused(&engine, &signed(&with(&junk)));
    }
}

#[test]
fn a_claim_that_comes_twice_is_refused_however_it_is_spelled() {
    let engine = start();
    let twice = [
        format!("\"iss\":\"{KEY}\""),
        format!("\"iss\":\"{OTHER_KEY}\""),
        format!("\"\\u0069ss\":\"{KEY}\""),
        "\"sub\":\"ben\"".into(),
        "\"\\u0073\\u0075\\u0062\":\"ben\"".into(),
        "\"video\":{\"roomAdmin\":true}".into(),
        "\"vide\\u006f\":{\"roomAdmin\":true}".into(),
        "\"video\":null".into(),
    ];
    for claim in twice {
        let exp = format!("{claim},\"exp\":{}", now() + 600);
        assert_refused(&engine, &signed(&with_raw(&exp)));
    }
    for (first, second) in [("exp", "exp"), ("exp", "\\u0065xp"), ("ex\\u0070", "exp"), ("nbf", "n\\u0062f")] {
        let times = format!("\"{first}\":{},\"{second}\":1,\"x\":0", now() + 600);
        assert_refused(&engine, &signed(&with_raw(&times)));
    }
    for grants in [
        r#"{"room":"a","room":"b"}"#,
        r#"{"room":"a","\u0072oom":"b"}"#,
        r#"{"roomList":true,"roomList":true}"#,
        r#"{"roomList":false,"room\u004cist":true}"#,
    ] {
        let payload = with(&json!({ "video": "HERE" })).replace("\"HERE\"", grants);
        assert_refused(&engine, &signed(&payload));
    }
}

#[test]
fn a_signature_is_whole_and_written_one_way_only() {
    let engine = start();
    let good = signed(&claims().to_string());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    // 32 bytes are 43 digits, the last of which has two bits to spare.
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = digits.iter().position(|digit| *digit == *signature.as_bytes().last().unwrap()).unwrap();
    for spare in 1..4 {
        let other = char::from(digits[last ^ spare]);
        assert_refused(&engine, &format!("{message}.{}{other}", &signature[..signature.len() - 1]));
    }
    for wrong in [
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{message}.{}", &signature[..22]),
        format!("{message}.{signature}="),
        format!("{message}.{signature}=="),
        format!("{message}.{signature}A"),
        format!("{message}.{signature}.{signature}"),
        format!("{message}.{signature}."),
        format!(".{message}.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload} .{signature}"),
        format!("{header}.\t{payload}.{signature}"),
        format!("{message}.{}", base64("\0".repeat(32))),
        format!("{message}.{}", signature.to_lowercase().to_uppercase()),
        good.to_uppercase(),
    ] {
        assert_refused(&engine, &wrong);
    }
}

#[test]
fn each_single_bit_of_a_token_counts() {
    let keys = Keys::new([(KEY, SECRET)]);
    let good = signed(&claims().to_string());
    assert!(keys.verify(&good).is_ok());
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(other) = String::from_utf8(bytes) else { continue };
            assert!(keys.verify(&other).is_err(), "{other}");
        }
    }
}

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
    // Where nobody looks, it may be as deep as it likes.
    let deep =
        |claim: &str| with(&json!({ claim: "HERE" })).replace("\"HERE\"", &("[".repeat(9000) + &"]".repeat(9000)));
    assert_taken(&engine, &signed(&deep("x")));
    for claim in ["roomConfig", "sub", "video", "exp", "iss", "attributes"] {
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
fn whose_token_it_is_must_be_said() {
    let engine = start();
    for issuer in
        [json!(""), json!(null), json!(7), json!([KEY]), json!({ "iss": KEY }), json!("APInobody"), json!(" APIfirst")]
            .into_iter()
            .chain([json!("APIfirst\0"), json!("apifirst"), json!("APIfirst "), json!("ＡPIfirst"), json!("__proto__")])
    {
        for secret in [SECRET, OTHER_SECRET, ""] {
            assert_refused(&engine, &sign(HS256, &with(&json!({ "iss": issuer })), secret));
        }
    }
    let mut none = claims();
    none.as_object_mut().unwrap().remove("iss");
    assert_refused(&engine, &signed(&none.to_string()));
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

#[test]
fn every_grant_and_claim_of_livekits_is_read_or_passed_over() {
    let keys = Keys::new([(KEY, SECRET)]);
    let payload = with(&json!({
        "name": "Ann", "kind": "agent", "metadata": "{}", "sha256": "x", "roomPreset": "p", "jti": "j", "aud": ["x"],
        "attributes": { "a": "1", "\u{1f980}": "" },
        "kindDetails": ["CLOUD_AGENT"],
        "video": {
            "roomCreate": true, "roomList": true, "roomRecord": true, "roomAdmin": true, "roomJoin": true, "room": "r",
            "destinationRoom": "d", "canPublish": false, "canSubscribe": false, "canPublishData": true,
            "canPublishSources": ["camera", "screen_share", "what there may be one day"], "canUpdateOwnMetadata": true,
            "ingressAdmin": true, "hidden": true, "recorder": true, "agent": true, "canSubscribeMetrics": true,
            "canManageAgentSession": true, "unknown": { "deep": [[[]]] },
        },
        "sip": { "admin": true, "call": true }, "agent": { "admin": true }, "inference": { "perform": true },
        "observability": { "write": true },
        "roomConfig": {
            "name": "r", "emptyTimeout": 7, "departure_timeout": 8, "maxParticipants": 9, "metadata": "m",
            "agents": [{ "agentName": "a", "metadata": "m" }], "egress": {}, "minPlayoutDelay": 1, "unknown": 1,
        },
    }));
    let claims = keys.verify(&signed(&payload)).unwrap();
    let video = claims.video.clone().unwrap();
    assert!(video.room_create && video.room_list && video.room_record && video.room_admin && video.room_join);
    assert!(video.ingress_admin && video.hidden && video.recorder && video.agent && video.can_update_own_metadata());
    assert_eq!((video.room.as_str(), video.destination_room.as_str()), ("r", "d"));
    assert_eq!((video.can_publish(), video.can_subscribe(), video.can_publish_data()), (false, false, true));
    assert_eq!(video.can_publish_sources.len(), 3);
    assert_eq!((claims.name.as_str(), claims.kind.as_str(), claims.metadata.as_str()), ("Ann", "agent", "{}"));
    assert_eq!(claims.attributes.len(), 2);
    let config = claims.room_config.clone().unwrap();
    assert_eq!((config.empty_timeout, config.departure_timeout, config.max_participants), (7, 8, 9));
    assert_eq!(claims.identity(), "ann");
    assert_eq!(keys.verify(&signed(&with(&json!({ "sub": "", "jti": "j" })))).unwrap().identity(), "j");
}

#[test]
fn claims_of_another_type_are_refused() {
    let engine = start();
    for claim in [
        json!({ "video": "all" }),
        json!({ "video": 1 }),
        json!({ "video": { "roomList": "true" } }),
        json!({ "video": { "roomList": 1 } }),
        json!({ "video": { "room": ["r"] } }),
        json!({ "video": { "canPublish": "no" } }),
        json!({ "metadata": 7 }),
        json!({ "name": {} }),
        json!({ "attributes": { "a": 1 } }),
        json!({ "attributes": [] }),
        json!({ "roomConfig": 5 }),
        json!({ "roomConfig": { "emptyTimeout": -1 } }),
        json!({ "maravilla": { "engine": "e", "deletions": -1 } }),
        json!({ "maravilla": "now" }),
        json!({ "sub": 7 }),
    ] {
        assert_refused(&engine, &signed(&with(&claim)));
    }
}

#[test]
fn a_token_gives_nothing_that_it_does_not_name() {
    let engine = start();
    for video in [
        json!({}),
        json!({ "roomlist": true }),
        json!({ "room_list": true }),
        json!({ "roomCreate": true }),
        json!({ "roomAdmin": true }),
    ] {
        let answer = in_header(&engine, &signed(&with(&json!({ "video": video }))));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("unauthenticated")), "{video}");
    }
    let answer = in_header(&engine, "");
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("unauthenticated")));
}

#[test]
fn no_secret_is_shown_when_keys_or_engines_are_printed() {
    let keys = &[(KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];
    let config =
        Config { host: std::net::Ipv4Addr::LOCALHOST.into(), port: Port::Any, keys, limits: Limits::default() };
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

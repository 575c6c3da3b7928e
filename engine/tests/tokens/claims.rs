//! The claims of a token.

use maravilla_engine::token::Keys;
use serde_json::json;

use crate::support::{KEY, OTHER_KEY, OTHER_SECRET, SECRET, now, sign, start};
use crate::{HS256, assert_accepted, assert_rejected, claims, in_header, signed, with, with_raw};

#[test]
fn rejects_a_token_without_a_valid_exp() {
    let engine = start();
    let non_numbers = ["null", "true", "[]", "{}", "\"soon\"", "\"\"", "[9999999999]", "{\"exp\":9999999999}"];
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
    let without_exp = with_raw("\"x\":1");
    assert_rejected(&engine, &signed(&without_exp));
    assert_rejected(&engine, &signed(&without_exp.replace("\"x\"", "\"EXP\"").replace(":1", ":9999999999")));
    for exp in non_numbers.into_iter().chain(numbers) {
        assert_rejected(&engine, &signed(&with_raw(&format!("\"exp\":{exp}"))));
    }
    let text = format!("\"exp\":\"{}\"", now() + 600);
    assert_rejected(&engine, &signed(&with_raw(&text)));
    for exp in ["253402300799", "253402300799.5", "2.5e11"] {
        assert_accepted(&engine, &signed(&with_raw(&format!("\"exp\":{exp}"))));
    }
}

#[test]
fn exp_and_nbf_have_a_leeway_of_one_minute() {
    let engine = start();
    for rejected in
        [json!({ "exp": now() - 90 }), json!({ "nbf": now() + 120 }), json!({ "exp": 0 }), json!({ "exp": 1.5 })]
    {
        assert_rejected(&engine, &signed(&with(&rejected)));
    }
    for accepted in [
        json!({ "exp": now() - 30 }),
        json!({ "nbf": now() + 30 }),
        json!({ "nbf": 0 }),
        json!({ "iat": now() + 9999 }),
    ] {
        assert_accepted(&engine, &signed(&with(&accepted)));
    }
    for invalid in [json!({ "nbf": "now" }), json!({ "nbf": -1 }), json!({ "nbf": [] }), json!({ "nbf": 1e300 })] {
        assert_rejected(&engine, &signed(&with(&invalid)));
    }
}

#[test]
fn rejects_a_duplicate_claim_even_if_one_is_escaped() {
    let engine = start();
    let duplicates = [
        format!("\"iss\":\"{KEY}\""),
        format!("\"iss\":\"{OTHER_KEY}\""),
        format!("\"\\u0069ss\":\"{KEY}\""),
        "\"sub\":\"ben\"".into(),
        "\"\\u0073\\u0075\\u0062\":\"ben\"".into(),
        "\"video\":{\"roomAdmin\":true}".into(),
        "\"vide\\u006f\":{\"roomAdmin\":true}".into(),
        "\"video\":null".into(),
    ];
    for claim in duplicates {
        let exp = format!("{claim},\"exp\":{}", now() + 600);
        assert_rejected(&engine, &signed(&with_raw(&exp)));
    }
    for (first, second) in [("exp", "exp"), ("exp", "\\u0065xp"), ("ex\\u0070", "exp"), ("nbf", "n\\u0062f")] {
        let times = format!("\"{first}\":{},\"{second}\":1,\"x\":0", now() + 600);
        assert_rejected(&engine, &signed(&with_raw(&times)));
    }
    for grants in [
        r#"{"room":"a","room":"b"}"#,
        r#"{"room":"a","\u0072oom":"b"}"#,
        r#"{"roomList":true,"roomList":true}"#,
        r#"{"roomList":false,"room\u004cist":true}"#,
    ] {
        let payload = with(&json!({ "video": "HERE" })).replace("\"HERE\"", grants);
        assert_rejected(&engine, &signed(&payload));
    }
}

#[test]
fn rejects_a_token_without_a_known_issuer() {
    let engine = start();
    for issuer in
        [json!(""), json!(null), json!(7), json!([KEY]), json!({ "iss": KEY }), json!("APInobody"), json!(" APIfirst")]
            .into_iter()
            .chain([json!("APIfirst\0"), json!("apifirst"), json!("APIfirst "), json!("ＡPIfirst"), json!("__proto__")])
    {
        for secret in [SECRET, OTHER_SECRET, ""] {
            assert_rejected(&engine, &sign(HS256, &with(&json!({ "iss": issuer })), secret));
        }
    }
    let mut without_issuer = claims();
    without_issuer.as_object_mut().unwrap().remove("iss");
    assert_rejected(&engine, &signed(&without_issuer.to_string()));
}

#[test]
fn reads_livekits_grants_and_claims_and_ignores_unknown_ones() {
    let keys = Keys::new([(KEY, SECRET)]);
    let payload = with(&json!({
        "name": "Ann", "kind": "agent", "metadata": "{}", "sha256": "x", "roomPreset": "p", "jti": "j", "aud": ["x"],
        "attributes": { "a": "1", "\u{1f980}": "" },
        "kindDetails": ["CLOUD_AGENT"],
        "video": {
            "roomCreate": true, "roomList": true, "roomRecord": true, "roomAdmin": true, "roomJoin": true, "room": "r",
            "destinationRoom": "d", "canPublish": false, "canSubscribe": false, "canPublishData": true,
            "canPublishSources": ["camera", "screen_share", "a future source"], "canUpdateOwnMetadata": true,
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
fn rejects_claims_of_the_wrong_type() {
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
        assert_rejected(&engine, &signed(&with(&claim)));
    }
}

#[test]
fn rejects_a_call_that_the_grants_do_not_allow() {
    let engine = start();
    for video in [
        json!({}),
        json!({ "roomlist": true }),
        json!({ "room_list": true }),
        json!({ "roomCreate": true }),
        json!({ "roomAdmin": true }),
    ] {
        let response = in_header(&engine, &signed(&with(&json!({ "video": video }))));
        assert_eq!((response.status, response.json()["code"].as_str()), (401, Some("unauthenticated")), "{video}");
    }
    let response = in_header(&engine, "");
    assert_eq!((response.status, response.json()["code"].as_str()), (401, Some("unauthenticated")));
}

#[test]
fn treats_a_null_claim_as_absent() {
    let engine = start();
    let nulls = json!({
        "sub": null, "jti": null, "nbf": null, "name": null, "kind": null, "metadata": null, "attributes": null,
        "roomConfig": null, "video": { "roomList": true, "roomCreate": null, "room": null, "canPublishSources": null },
    });
    assert_accepted(&engine, &signed(&with(&nulls)));
    assert_rejected(&engine, &signed(&with(&json!({ "exp": null }))));
}

//! What a token or a join request may say about the participant and its room.

use livekit_protocol as proto;
use maravilla_engine::Engine;
use serde_json::{Value, json};

use crate::caller::packed;
use crate::revocation::token;
use crate::support::{Client, start};

/// The status and the reason with which a join is refused or admitted, which is the same for `validate` and the upgrade.
fn join(engine: &Engine, claims: &Value, request: &proto::JoinRequest) -> (u16, String) {
    let token = token("r", "ann", claims);
    let query = format!("join_request={}", packed(request).replace('=', "%3D"));
    let ask = |path: &str, more: &str| {
        let head = format!("GET {path}?{query} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n{more}\r\n");
        let answer = Client::connect(engine.address()).ask(head);
        (answer.status, answer.text())
    };
    let validated = ask("/rtc/v1/validate", "");
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let (status, text) = ask("/rtc/v1", upgrade);
    match validated.0 {
        200 => assert_eq!(status, 101),
        _ => assert_eq!((status, text), validated),
    }
    validated
}

fn request() -> proto::JoinRequest {
    let client_info = Some(proto::ClientInfo { protocol: 17, ..Default::default() });
    proto::JoinRequest { client_info, ..Default::default() }
}

#[test]
fn refuses_a_token_whose_room_has_what_the_engine_does_not_support() {
    let engine = start();
    for (room_config, feature) in [
        (json!({ "agents": [{ "agentName": "a" }] }), "agents"),
        (json!({ "agents": [{}] }), "agents"),
        (json!({ "egress": { "tracks": {} } }), "egress"),
        (json!({ "minPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "maxPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "syncStreams": true }), "synchronized streams"),
    ] {
        let refused = (403, format!("{feature}: not supported by this server"));
        assert_eq!(join(&engine, &json!({ "roomConfig": room_config }), &request()), refused);
    }
    for room_config in [json!({ "agents": [], "egress": {}, "tags": { "a": "b" }, "emptyTimeout": 5 }), json!({})] {
        assert_eq!(join(&engine, &json!({ "roomConfig": room_config }), &request()).0, 200);
    }
}

#[test]
fn refuses_an_unknown_room_preset_unless_the_room_is_live() {
    let engine = start();
    let claims = json!({ "roomPreset": "none" });
    let refused = (403, "unknown room configuration in create room request".to_owned());
    assert_eq!(join(&engine, &claims, &request()), refused);
    assert_eq!(join(&engine, &json!({ "roomPreset": "" }), &request()).0, 200);
    assert_eq!(join(&engine, &claims, &request()).0, 200);
}

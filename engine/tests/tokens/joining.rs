//! What a token or a join request may say about the participant and its room.

use livekit_protocol as proto;
use maravilla_engine::Engine;
use serde_json::{Value, json};

use crate::caller::packed;
use crate::revocation::token;
use crate::support::{Client, start};

const MAX_NAME_BYTES: usize = 256;
const MAX_METADATA_BYTES: usize = 512 * 1024;
const MAX_ATTRIBUTES_BYTES: usize = 64 * 1024;

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
fn refuses_a_participant_with_more_than_an_update_could_give_it() {
    let engine = start();
    let long = |bytes: usize| "m".repeat(bytes);
    let attributes = |bytes: usize| json!({ "k": long(bytes - 1) });
    let cases = [
        (json!({ "name": long(MAX_NAME_BYTES) }), json!({ "name": long(MAX_NAME_BYTES + 1) }), "name length"),
        (
            json!({ "metadata": long(MAX_METADATA_BYTES) }),
            json!({ "metadata": long(MAX_METADATA_BYTES + 1) }),
            "metadata size",
        ),
        (
            json!({ "attributes": attributes(MAX_ATTRIBUTES_BYTES) }),
            json!({ "attributes": attributes(MAX_ATTRIBUTES_BYTES + 1) }),
            "attribute size",
        ),
        (
            json!({ "roomConfig": { "metadata": long(MAX_METADATA_BYTES) } }),
            json!({ "roomConfig": { "metadata": long(MAX_METADATA_BYTES + 1) } }),
            "metadata size",
        ),
    ];
    for (fits, does_not, what) in cases {
        assert_eq!(join(&engine, &fits, &request()).0, 200, "{what}");
        let (status, text) = join(&engine, &does_not, &request());
        assert_eq!(status, 403, "{what}");
        assert!(text.starts_with(&format!("{what} exceeds limits ")), "{text}");
    }
}

#[test]
fn refuses_a_join_request_that_brings_a_participant_past_a_limit() {
    let engine = start();
    // Of one byte each, so that it fits into the address once it is packed.
    let attributes = |count: usize| (0..count).map(|number| (format!("{number:07}"), "v".into())).collect();
    let with = |participant_attributes| proto::JoinRequest { participant_attributes, ..request() };
    let claims = json!({ "attributes": { "k": "m".repeat(MAX_ATTRIBUTES_BYTES - 8_001) } });
    assert_eq!(join(&engine, &claims, &with(attributes(1_000))).0, 200);
    assert_eq!(join(&engine, &claims, &with(attributes(1_001))).0, 403);
}

#[test]
fn a_client_sets_its_attributes_by_joining_but_deletes_none_of_its_token() {
    let engine = start();
    let own = [("kept", ""), ("changed", "new"), ("added", "a"), ("empty", "")];
    let participant_attributes = own.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let claims = json!({ "attributes": { "kept": "k", "changed": "old" } });
    assert_eq!(join(&engine, &claims, &proto::JoinRequest { participant_attributes, ..request() }).0, 200);
    let attributes = engine.rooms(|rooms, now| rooms.get("r", now)?.participant("ann").cloned()).unwrap().attributes;
    assert_eq!(
        attributes,
        [("kept", "k"), ("changed", "new"), ("added", "a")].map(|(k, v)| (k.into(), v.into())).into()
    );
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

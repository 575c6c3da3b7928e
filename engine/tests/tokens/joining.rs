//! Limits on the participant and the room that a token or a join request describes.

use livekit_protocol as proto;
use maravilla_engine::Engine;
use prost::Message as _;
use serde_json::{Value, json};

use crate::revocation::token;
use crate::support::{HttpClient, compress_join_request, start};

const MAX_NAME_BYTES: usize = 256;
const MAX_METADATA_BYTES: usize = 512 * 1024;
const MAX_ATTRIBUTES_BYTES: usize = 64 * 1024;

/// Joins, and asserts that `validate` and the upgrade agree. Returns the status and the body of `validate`.
fn join(engine: &Engine, claims: &Value, request: &proto::JoinRequest) -> (u16, String) {
    let token = token("r", "ann", claims);
    let query = format!("join_request={}", compress_join_request(&request.encode_to_vec()).replace('=', "%3D"));
    let get = |path: &str, more: &str| {
        let head = format!("GET {path}?{query} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n{more}\r\n");
        let response = HttpClient::connect(engine.address()).request(head);
        (response.status, response.text())
    };
    let validated = get("/rtc/v1/validate", "");
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let (status, text) = get("/rtc/v1", upgrade);
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
fn rejects_a_token_with_a_name_metadata_or_attributes_over_the_limit() {
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
    for (at_limit, over_limit, what) in cases {
        assert_eq!(join(&engine, &at_limit, &request()).0, 200, "{what}");
        let (status, text) = join(&engine, &over_limit, &request());
        assert_eq!(status, 403, "{what}");
        assert!(text.starts_with(&format!("{what} exceeds limits ")), "{text}");
    }
}

#[test]
fn rejects_a_join_request_with_metadata_or_attributes_over_the_limit() {
    let engine = start();
    let attributes = |count: usize| (0..count).map(|number| (format!("{number:07}"), "v".into())).collect();
    let with = |participant_attributes| proto::JoinRequest { participant_attributes, ..request() };
    let claims = json!({ "attributes": { "k": "m".repeat(MAX_ATTRIBUTES_BYTES - 8_001) } });
    assert_eq!(join(&engine, &claims, &with(attributes(1_000))).0, 200);
    // The attributes of the token count, too.
    assert_eq!(join(&engine, &claims, &with(attributes(1_001))).0, 403);
    let metadata = |bytes: usize| proto::JoinRequest { metadata: "m".repeat(bytes), ..request() };
    assert_eq!(join(&engine, &json!({}), &metadata(MAX_METADATA_BYTES)).0, 200);
    // Clients show the reason of a failed join only for 401 and 403.
    assert_eq!(join(&engine, &json!({}), &metadata(MAX_METADATA_BYTES + 1)).0, 403);
}

#[test]
fn a_join_request_adds_and_changes_attributes_but_deletes_none_of_the_token() {
    let engine = start();
    let own = [("kept", ""), ("changed", "new"), ("added", "a"), ("empty", "")];
    let participant_attributes = own.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let claims = json!({ "attributes": { "kept": "k", "changed": "old" } });
    assert_eq!(join(&engine, &claims, &proto::JoinRequest { participant_attributes, ..request() }).0, 200);
    let participant = engine.rooms(|rooms, now| rooms.get("r", now)?.participant("ann").cloned()).unwrap();
    let attributes = participant.attributes.clone();
    assert_eq!(
        attributes,
        [("kept", "k"), ("changed", "new"), ("added", "a")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

#[test]
fn rejects_a_room_configuration_with_an_unsupported_feature() {
    let engine = start();
    for (room_config, feature) in [
        (json!({ "agents": [{ "agentName": "a" }] }), "agents"),
        (json!({ "agents": [{}] }), "agents"),
        (json!({ "egress": { "tracks": {} } }), "egress"),
        (json!({ "minPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "maxPlayoutDelay": 1 }), "a playout delay"),
        (json!({ "syncStreams": true }), "synchronized streams"),
    ] {
        let rejected = (403, format!("{feature}: not supported by this server"));
        assert_eq!(join(&engine, &json!({ "roomConfig": room_config }), &request()), rejected);
    }
    for room_config in [json!({ "agents": [], "egress": {}, "tags": { "a": "b" }, "emptyTimeout": 5 }), json!({})] {
        assert_eq!(join(&engine, &json!({ "roomConfig": room_config }), &request()).0, 200);
    }
}

#[test]
fn rejects_an_unknown_room_preset_unless_the_room_exists() {
    let engine = start();
    let claims = json!({ "roomPreset": "none" });
    let rejected = (403, "unknown room configuration in create room request".to_owned());
    assert_eq!(join(&engine, &claims, &request()), rejected);
    assert_eq!(join(&engine, &json!({ "roomPreset": "" }), &request()).0, 200);
    assert_eq!(join(&engine, &claims, &request()).0, 200);
}

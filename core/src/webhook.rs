//! LiveKit's webhooks: signatures, and conversion between LiveKit's JSON and the events of this crate.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::{ArgumentFault, WebhookFault};
use crate::token::{Signer, unix_secs};
use crate::{MediaError, RoomName, RoomPrefix, Secret, Track, TrackKind, TrackSource};

/// Lifetime of a webhook's token in seconds, as livekit-server's.
const TTL_SECS: u64 = 300;
/// Tolerated difference between the clocks of the sender and this machine, in seconds.
const LEEWAY_SECS: u64 = 60;

/// Names of the events that are not [`Event::kind`] `unknown`.
const EVENTS: [&str; 15] = [
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "track_published",
    "track_unpublished",
    "egress_started",
    "egress_updated",
    "egress_ended",
    "ingress_started",
    "ingress_ended",
    "agent_job_pending",
    "agent_job_started",
    "agent_job_ended",
];
const UNKNOWN: &str = "unknown";

/// A webhook as it is sent.
#[derive(Debug)]
pub struct SignedWebhook {
    /// The body, JSON.
    pub body: String,
    /// The header `Authorization`.
    pub token: Secret,
}

/// An event in a room, in the public form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// LiveKit's name of the event, or `unknown`.
    #[serde(rename = "type")]
    pub kind: String,
    /// LiveKit's name of an unknown event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Unique id; a repeated delivery has the same one.
    #[serde(default)]
    pub id: String,
    /// Time of the event, in milliseconds since the epoch.
    #[serde(default)]
    pub created_at: i64,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<EventRoom>,
    /// The participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<EventParticipant>,
    /// The track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Track>,
    /// Why the room has ended or the participant has left: LiveKit's name in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// LiveKit's `EgressInfo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Value>,
    /// LiveKit's `IngressInfo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Value>,
    /// LiveKit's `Job` of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Value>,
}

/// The room of an event. LiveKit sends only `sid` and `name` with events of tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRoom {
    /// The server's id; a later room of the same name has another one.
    #[serde(default)]
    pub sid: String,
    /// Name without the prefix.
    pub name: String,
    /// All other fields.
    #[serde(flatten, deserialize_with = "present")]
    pub details: Option<RoomDetails>,
}

/// The fields of a room that events of tracks do not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomDetails {
    /// Number of participants.
    pub num_participants: u32,
    /// Maximum number of participants; 0: no limit.
    pub max_participants: u32,
    /// Time of creation, in milliseconds since the epoch.
    pub created_at: i64,
    /// Whether the room is open.
    pub active: bool,
}

/// The participant of an event. LiveKit sends only `sid` and `identity` with events of tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventParticipant {
    /// The server's id; the same identity has another one after each join.
    #[serde(default)]
    pub sid: String,
    /// Unique within the room.
    pub identity: String,
    /// All other fields.
    #[serde(flatten, deserialize_with = "present")]
    pub details: Option<ParticipantDetails>,
}

/// The fields of a participant that events of tracks do not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParticipantDetails {
    /// Display name.
    pub name: String,
    /// State of its connection: `joining`, `joined`, `active` or `disconnected`.
    pub state: String,
    /// Time of the join, in milliseconds since the epoch.
    pub joined_at: i64,
    /// Text that all participants receive.
    pub metadata: String,
    /// Key-value pairs that all participants receive.
    pub attributes: BTreeMap<String, String>,
    /// May publish audio and video.
    pub can_publish: bool,
    /// May subscribe to tracks.
    pub can_subscribe: bool,
    /// May send data messages.
    pub can_publish_data: bool,
    /// Its published tracks.
    pub tracks: Vec<Track>,
}

/// A participant of a test, that may do what a token allows by default.
impl Default for ParticipantDetails {
    fn default() -> Self {
        Self {
            name: String::new(),
            state: "active".into(),
            joined_at: 0,
            metadata: String::new(),
            attributes: BTreeMap::new(),
            can_publish: true,
            can_subscribe: true,
            can_publish_data: true,
            tracks: Vec::new(),
        }
    }
}

/// Verifies a webhook, and returns its event; `None` if it is of a room with another prefix.
pub(super) fn receive(
    signer: &Signer,
    prefix: &RoomPrefix,
    body: &[u8],
    authorization: Option<&str>,
) -> Result<Option<Event>, MediaError> {
    verify(signer, body, authorization, unix_secs()).map_err(MediaError::WebhookRejected)?;
    // Serde reads an object from an array, too.
    let object = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let event = object.and_then(|body| serde_json::from_slice::<WireEvent>(body).ok());
    Ok(event.ok_or_else(|| not_an_event("request.body"))?.into_event(prefix))
}

/// Signs an event, as a server does. Id and time are set if they are missing.
pub(super) fn sign(signer: &Signer, prefix: &RoomPrefix, mut event: Event) -> Result<SignedWebhook, MediaError> {
    if let Some(room) = &mut event.room {
        let name = RoomName::parse(prefix, std::mem::take(&mut room.name))?;
        name.on_server().clone_into(&mut room.name);
    }
    let now = unix_secs();
    if event.id.is_empty() {
        event.id = format!("EV_{}", Uuid::new_v4().simple());
    }
    if event.created_at == 0 {
        event.created_at = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1000);
    }
    let body = to_wire(event).to_string();
    let claims = Claims {
        iss: signer.api_key().to_owned(),
        exp: now + TTL_SECS,
        nbf: now,
        sha256: STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes())),
    };
    Ok(SignedWebhook { body, token: signer.sign_claims(&claims)? })
}

/// The error of an argument that is no event.
#[must_use]
pub fn not_an_event(parameter: &str) -> MediaError {
    MediaError::InvalidArgument { parameter: parameter.into(), fault: ArgumentFault::NotAnEvent }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    /// SHA-256 of the body, in base64.
    sha256: String,
}

fn verify(signer: &Signer, body: &[u8], authorization: Option<&str>, now: u64) -> Result<(), WebhookFault> {
    let token = authorization.filter(|token| !token.is_empty()).ok_or(WebhookFault::NoToken)?;
    let payload = signer.verify(token).ok_or(WebhookFault::Signature)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| WebhookFault::Signature)?;
    if claims.iss != signer.api_key() {
        return Err(WebhookFault::OtherKey);
    }
    if claims.exp.saturating_add(LEEWAY_SECS) < now || claims.nbf > now + LEEWAY_SECS {
        return Err(WebhookFault::Expired);
    }
    let expected = STANDARD.decode(&claims.sha256).map_err(|_| WebhookFault::Altered)?;
    let actual = digest::digest(&digest::SHA256, body);
    constant_time::verify_slices_are_equal(actual.as_ref(), &expected).map_err(|_| WebhookFault::Altered)
}

/// LiveKit's JSON: defaults are left out, 64-bit integers are strings, and enumerations have names.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireEvent {
    event: String,
    id: String,
    #[serde(deserialize_with = "int64")]
    created_at: i64,
    room: Option<WireRoom>,
    participant: Option<WireParticipant>,
    track: Option<WireTrack>,
    room_end_reason: Name,
    egress_info: Option<Value>,
    ingress_info: Option<Value>,
    job: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireRoom {
    sid: String,
    name: String,
    num_participants: u32,
    max_participants: u32,
    #[serde(deserialize_with = "int64")]
    creation_time: i64,
    #[serde(deserialize_with = "int64")]
    creation_time_ms: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireParticipant {
    sid: String,
    identity: String,
    name: String,
    state: Name,
    metadata: String,
    attributes: BTreeMap<String, String>,
    #[serde(deserialize_with = "int64")]
    joined_at: i64,
    #[serde(deserialize_with = "int64")]
    joined_at_ms: i64,
    permission: WirePermission,
    tracks: Vec<WireTrack>,
    disconnect_reason: Name,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WirePermission {
    can_publish: bool,
    can_subscribe: bool,
    can_publish_data: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTrack {
    sid: String,
    r#type: Name,
    source: Name,
    muted: bool,
}

/// Name of an enumeration's value. A value that the sender does not know has a number, which counts as unknown.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(IgnoredAny),
}

impl Default for Name {
    fn default() -> Self {
        Self::Number(IgnoredAny)
    }
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(_) => "",
        }
    }

    /// In lower case without `prefix`; `None` for the default.
    fn lower(&self, prefix: &str) -> Option<String> {
        let name = self.text();
        (!name.is_empty()).then(|| name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase())
    }
}

/// Fields that default one by one. A flattened `Option` would be `None` if one of them is invalid.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A number, or its text.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Int64 {
        Number(i64),
        Text(String),
    }
    match Int64::deserialize(deserializer)? {
        Int64::Number(number) => Ok(number),
        Int64::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl WireEvent {
    /// The name of the room on the server.
    fn room_name(&self) -> Option<&str> {
        let nested = [(&self.egress_info, "/roomName"), (&self.ingress_info, "/roomName"), (&self.job, "/room/name")];
        let nested = nested.into_iter().find_map(|(info, path)| info.as_ref()?.pointer(path)?.as_str());
        self.room.as_ref().map(|room| room.name.as_str()).or(nested).filter(|name| !name.is_empty())
    }

    /// The public event; `None` if its room has another prefix, or with a prefix if it names no room.
    fn into_event(self, prefix: &RoomPrefix) -> Option<Event> {
        let name = match self.room_name() {
            Some(name) => Some(prefix.strip(name)?.to_owned()),
            None if prefix.is_empty() => None,
            None => return None,
        };
        let is_known = EVENTS.contains(&self.event.as_str());
        let of_track = self.event.starts_with("track_");
        let is_open = self.event != "room_finished";
        let reason = self.room_end_reason.lower("ROOM_END_");
        let left = self.participant.as_ref().and_then(|participant| participant.disconnect_reason.lower(""));
        let sid = self.room.as_ref().map(|room| room.sid.clone()).unwrap_or_default();
        let details = self.room.filter(|_| !of_track).map(|room| RoomDetails {
            num_participants: room.num_participants,
            max_participants: room.max_participants,
            created_at: millis(room.creation_time_ms, room.creation_time),
            active: is_open,
        });
        Some(Event {
            kind: if is_known { self.event.clone() } else { UNKNOWN.to_owned() },
            name: (!is_known).then_some(self.event),
            id: self.id,
            created_at: self.created_at.saturating_mul(1000),
            room: name.map(|name| EventRoom { sid, name, details }),
            participant: self.participant.map(|participant| participant.into_public(of_track)),
            track: self.track.map(Track::from),
            reason: reason.or(left),
            egress: self.egress_info,
            ingress: self.ingress_info,
            job: self.job,
        })
    }
}

impl WireParticipant {
    fn into_public(self, of_track: bool) -> EventParticipant {
        let details = ParticipantDetails {
            name: self.name,
            // The first state is the default, and left out.
            state: self.state.lower("").unwrap_or_else(|| "joining".into()),
            joined_at: millis(self.joined_at_ms, self.joined_at),
            metadata: self.metadata,
            attributes: self.attributes,
            can_publish: self.permission.can_publish,
            can_subscribe: self.permission.can_subscribe,
            can_publish_data: self.permission.can_publish_data,
            tracks: self.tracks.into_iter().map(Track::from).collect(),
        };
        EventParticipant { sid: self.sid, identity: self.identity, details: (!of_track).then_some(details) }
    }
}

impl From<WireTrack> for Track {
    fn from(track: WireTrack) -> Self {
        let source = match track.source.text() {
            "CAMERA" => TrackSource::Camera,
            "MICROPHONE" => TrackSource::Microphone,
            "SCREEN_SHARE" => TrackSource::ScreenShare,
            "SCREEN_SHARE_AUDIO" => TrackSource::ScreenShareAudio,
            _ => TrackSource::Unknown,
        };
        let kind = match track.r#type.text() {
            "VIDEO" => TrackKind::Video,
            "DATA" => TrackKind::Data,
            _ => TrackKind::Audio,
        };
        Self { sid: track.sid, source, kind, muted: track.muted }
    }
}

fn millis(millis: i64, secs: i64) -> i64 {
    if millis == 0 { secs.saturating_mul(1000) } else { millis }
}

/// LiveKit's JSON of an event; its room has the name on the server.
fn to_wire(event: Event) -> Value {
    let is_track = event.kind.starts_with("track_");
    let mut wire = Map::new();
    wire.insert("event".into(), event.name.unwrap_or(event.kind).into());
    if let Some(room) = event.room {
        let mut json = json!({ "sid": room.sid, "name": room.name });
        if let Some(details) = room.details.filter(|_| !is_track) {
            json["numParticipants"] = details.num_participants.into();
            json["maxParticipants"] = details.max_participants.into();
            json["creationTime"] = (details.created_at / 1000).to_string().into();
            json["creationTimeMs"] = details.created_at.to_string().into();
        }
        wire.insert("room".into(), json);
    }
    let reason = event.reason.map(|reason| reason.to_ascii_uppercase());
    if let Some(participant) = event.participant {
        wire.insert("participant".into(), participant_to_wire(participant, is_track, reason.as_deref()));
    } else if let Some(reason) = reason {
        wire.insert("roomEndReason".into(), format!("ROOM_END_{reason}").into());
    }
    if let Some(track) = &event.track {
        wire.insert("track".into(), track_to_wire(track));
    }
    for (name, info) in [("egressInfo", event.egress), ("ingressInfo", event.ingress), ("job", event.job)] {
        if let Some(info) = info {
            wire.insert(name.into(), info);
        }
    }
    wire.insert("id".into(), event.id.into());
    wire.insert("createdAt".into(), (event.created_at / 1000).to_string().into());
    Value::Object(wire)
}

fn participant_to_wire(participant: EventParticipant, is_track: bool, reason: Option<&str>) -> Value {
    let mut json = json!({ "sid": participant.sid, "identity": participant.identity });
    if is_track {
        return json;
    }
    let details = participant.details.unwrap_or_default();
    json["name"] = details.name.into();
    json["state"] = details.state.to_ascii_uppercase().into();
    json["metadata"] = details.metadata.into();
    json["attributes"] = json!(details.attributes);
    json["joinedAt"] = (details.joined_at / 1000).to_string().into();
    json["joinedAtMs"] = details.joined_at.to_string().into();
    json["permission"] = json!({
        "canPublish": details.can_publish,
        "canSubscribe": details.can_subscribe,
        "canPublishData": details.can_publish_data,
    });
    json["tracks"] = details.tracks.iter().map(track_to_wire).collect();
    if let Some(reason) = reason {
        json["disconnectReason"] = reason.into();
    }
    json
}

fn track_to_wire(track: &Track) -> Value {
    let kind = match track.kind {
        TrackKind::Audio => "AUDIO",
        TrackKind::Video => "VIDEO",
        TrackKind::Data => "DATA",
    };
    let source = track.source.as_grant().to_ascii_uppercase();
    json!({ "sid": track.sid, "type": kind, "source": source, "muted": track.muted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new("key", &Secret::new("secret".into()))
    }

    fn no_prefix() -> RoomPrefix {
        RoomPrefix::default()
    }

    fn event(json: Value) -> Event {
        serde_json::from_value(json).unwrap()
    }

    /// The token of a webhook with that body, signed at that time.
    fn token(body: &str, now: u64) -> Secret {
        let sha256 = STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes()));
        signer().sign_claims(&Claims { iss: "key".into(), exp: now + TTL_SECS, nbf: now, sha256 }).unwrap()
    }

    fn received(body: &str, prefix: &str) -> Option<Event> {
        let token = token(body, unix_secs());
        receive(&signer(), &RoomPrefix::new(prefix.into()), body.as_bytes(), Some(token.expose())).unwrap()
    }

    #[test]
    fn reads_an_event_as_livekit_server_sends_it() {
        let body = r#"{"event":"participant_left","room":{"sid":"RM_1","name":"app:r","maxParticipants":5,
            "creationTime":"1796071436","creationTimeMs":"1796071436855","turnPassword":"secret",
            "enabledCodecs":[{"mime":"audio/opus"}],"numParticipants":2},"participant":{"sid":"PA_1","identity":"ann",
            "state":"DISCONNECTED","metadata":"m","joinedAt":"1796071437","joinedAtMs":"1796071437410","name":"ANN",
            "version":2,"permission":{"canSubscribe":true,"canPublish":true},"attributes":{"a":"b"},
            "disconnectReason":"PARTICIPANT_REMOVED","capabilities":["CAP_NEW"]},"id":"EV_1","createdAt":"1796071440"}"#;
        let expected = json!({
            "type": "participant_left",
            "id": "EV_1",
            "createdAt": 1_796_071_440_000_i64,
            "room": {"sid": "RM_1", "name": "r", "numParticipants": 2, "maxParticipants": 5,
                "createdAt": 1_796_071_436_855_i64, "active": true},
            "participant": {"sid": "PA_1", "identity": "ann", "name": "ANN", "state": "disconnected",
                "joinedAt": 1_796_071_437_410_i64, "metadata": "m", "attributes": {"a": "b"}, "canPublish": true,
                "canSubscribe": true, "canPublishData": false, "tracks": []},
            "reason": "participant_removed",
        });
        let event = received(body, "app:").unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
        assert_eq!(received(body, "other:"), None);
    }

    #[test]
    fn reads_only_ids_of_room_and_participant_from_an_event_of_a_track() {
        let body = r#"{"event":"track_published","room":{"sid":"RM_1","name":"r"},"participant":{"sid":"PA_1",
            "identity":"ann"},"track":{"sid":"TR_1","type":"VIDEO","source":"CAMERA","muted":true,"layers":[{"width":64}]},
            "id":"EV_1","createdAt":"1"}"#;
        let expected = json!({
            "type": "track_published",
            "id": "EV_1",
            "createdAt": 1000,
            "room": {"sid": "RM_1", "name": "r"},
            "participant": {"sid": "PA_1", "identity": "ann"},
            "track": {"sid": "TR_1", "source": "camera", "kind": "video", "muted": true},
        });
        assert_eq!(serde_json::to_value(received(body, "").unwrap()).unwrap(), expected);
    }

    #[test]
    fn passes_unknown_events_and_values_on() {
        let body = r#"{"event":"room_paused","room":{"name":"r","newField":[1]},"participant":{"identity":"a","state":9},
            "track":{"source":99,"type":"HOLOGRAM"},"createdAt":7,"new":{}}"#;
        let event = received(body, "").unwrap();
        assert_eq!((event.kind.as_str(), event.name.as_deref()), ("unknown", Some("room_paused")));
        assert_eq!(event.created_at, 7000);
        assert_eq!(event.track.unwrap().source, TrackSource::Unknown);
    }

    #[test]
    fn finds_the_room_of_egress_ingress_and_jobs() {
        for body in [
            r#"{"event":"egress_started","egressInfo":{"egressId":"EG_1","roomName":"app:r"}}"#,
            r#"{"event":"ingress_ended","ingressInfo":{"roomName":"app:r"}}"#,
            r#"{"event":"agent_job_started","job":{"room":{"name":"app:r"}}}"#,
        ] {
            assert_eq!(received(body, "app:").unwrap().room.unwrap().name, "r", "{body}");
            assert_eq!(received(body, "other:"), None, "{body}");
        }
        let without_room = r#"{"event":"ingress_ended","ingressInfo":{}}"#;
        assert!(received(without_room, "").unwrap().room.is_none());
        assert_eq!(received(without_room, "app:"), None);
    }

    #[test]
    fn receives_what_it_signs() {
        let prefix = RoomPrefix::new("app:".into());
        for sent in [
            json!({"type": "room_finished", "id": "EV_1", "createdAt": 5000, "reason": "idle_timeout",
                "room": {"sid": "RM_1", "name": "r", "numParticipants": 1, "maxParticipants": 2, "createdAt": 3123, "active": false}}),
            json!({"type": "participant_joined", "id": "EV_2", "createdAt": 5000,
                "room": {"sid": "RM_1", "name": "r", "numParticipants": 1, "maxParticipants": 2, "createdAt": 3123, "active": true},
                "participant": {"sid": "PA_1", "identity": "ann", "name": "Ann", "state": "active", "joinedAt": 3456,
                    "metadata": "", "attributes": {}, "canPublish": false, "canSubscribe": true, "canPublishData": true,
                    "tracks": [{"sid": "TR_1", "source": "screen_share", "kind": "video", "muted": false}]}}),
            json!({"type": "track_unpublished", "id": "EV_3", "createdAt": 5000, "room": {"sid": "RM_1", "name": "r"},
                "participant": {"sid": "PA_1", "identity": "ann"},
                "track": {"sid": "TR_1", "source": "microphone", "kind": "audio", "muted": false}}),
            json!({"type": "unknown", "name": "room_paused", "id": "EV_4", "createdAt": 5000, "room": {"sid": "", "name": "r"},
                "egress": {"egressId": "EG_1"}}),
        ] {
            let SignedWebhook { body, token } = sign(&signer(), &prefix, event(sent.clone())).unwrap();
            assert!(body.contains(r#""name":"app:r""#), "{body}");
            let event = receive(&signer(), &prefix, body.as_bytes(), Some(token.expose())).unwrap().unwrap();
            let mut received = serde_json::to_value(event).unwrap();
            if sent["type"] == "unknown" {
                received["room"] = sent["room"].clone();
            }
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn completes_an_event_before_signing_it() {
        let sent = event(json!({"type": "room_started", "room": {"name": "r"}}));
        let SignedWebhook { body, token } = sign(&signer(), &no_prefix(), sent).unwrap();
        let event = receive(&signer(), &no_prefix(), body.as_bytes(), Some(token.expose())).unwrap().unwrap();
        assert!(event.id.starts_with("EV_") && event.created_at > 1_700_000_000_000, "{event:?}");
    }

    #[test]
    fn rejects_a_webhook_that_was_not_signed_by_this_key_for_this_body_now() {
        let (body, now) = (r#"{"event":"room_started"}"#, unix_secs());
        let fault = |body: &str, token: &str| verify(&signer(), body.as_bytes(), Some(token), now);
        let valid = token(body, now);
        assert_eq!(fault(body, valid.expose()), Ok(()));
        assert_eq!(fault(&body.replace(':', ": "), valid.expose()), Err(WebhookFault::Altered));
        assert_eq!(verify(&signer(), body.as_bytes(), None, now), Err(WebhookFault::NoToken));
        for wrong in ["x", "a.b.c", "..", valid.expose().rsplit_once('.').unwrap().0] {
            assert_eq!(fault(body, wrong), Err(WebhookFault::Signature), "{wrong}");
        }
        let (rest, signature) = valid.expose().rsplit_once('.').unwrap();
        let changed = if signature.starts_with('A') { 'B' } else { 'A' };
        assert_eq!(fault(body, &format!("{rest}.{changed}{}", &signature[1..])), Err(WebhookFault::Signature));
        let other_secret = Signer::new("key", &Secret::new("other".into()));
        assert_eq!(verify(&other_secret, body.as_bytes(), Some(valid.expose()), now), Err(WebhookFault::Signature));
        let other_key = Signer::new("other", &Secret::new("secret".into()));
        assert_eq!(verify(&other_key, body.as_bytes(), Some(valid.expose()), now), Err(WebhookFault::OtherKey));
        let at = |now| verify(&signer(), body.as_bytes(), Some(valid.expose()), now);
        assert_eq!(at(now + TTL_SECS + LEEWAY_SECS), Ok(()));
        assert_eq!(at(now + TTL_SECS + LEEWAY_SECS + 1), Err(WebhookFault::Expired));
        assert_eq!(at(now - LEEWAY_SECS - 1), Err(WebhookFault::Expired));
    }

    #[test]
    fn rejects_tokens_with_another_algorithm() {
        let body = r#"{"event":"room_started"}"#;
        let payload = token(body, unix_secs()).expose().split('.').nth(1).unwrap().to_owned();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for token in [format!("{header}.{payload}."), format!("{header}.{payload}")] {
            let outcome = verify(&signer(), body.as_bytes(), Some(&token), unix_secs());
            assert_eq!(outcome, Err(WebhookFault::Signature));
        }
    }

    #[test]
    fn rejects_a_signed_body_that_is_not_an_event() {
        for body in ["", "[]", "{", r#"{"event":1}"#, r#"{"event":"x","room":7}"#] {
            let token = token(body, unix_secs());
            let outcome = receive(&signer(), &no_prefix(), body.as_bytes(), Some(token.expose()));
            assert_eq!(outcome, Err(not_an_event("request.body")), "{body}");
        }
    }
}

//! LiveKit's webhooks: signatures, and conversion between LiveKit's JSON and the events of this crate.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

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
    #[serde(flatten)]
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
    #[serde(flatten)]
    pub details: Option<ParticipantDetails>,
}

/// The fields of a participant that events of tracks do not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "three independent permissions")]
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
    let not_an_event =
        |_| MediaError::InvalidArgument { parameter: "request.body".into(), fault: ArgumentFault::NotAnEvent };
    let event: WireEvent = serde_json::from_slice(body).map_err(not_an_event)?;
    Ok(event.into_event(prefix))
}

/// Signs an event, as a server does. Id and time are set if they are missing.
pub(super) fn sign(
    signer: &Signer,
    prefix: &RoomPrefix,
    mut event: Event,
    new_id: String,
) -> Result<SignedWebhook, MediaError> {
    if let Some(room) = &mut event.room {
        room.name = RoomName::parse(prefix, std::mem::take(&mut room.name))?.on_server().to_owned();
    }
    let now = unix_secs();
    if event.id.is_empty() {
        event.id = new_id;
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
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
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
    Number(i64),
}

impl Default for Name {
    fn default() -> Self {
        Self::Number(0)
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
        let nested = |info: &Option<Value>, path: &str| info.as_ref()?.pointer(path)?.as_str().map(str::to_owned);
        if let Some(room) = &self.room {
            return Some(&room.name);
        }
        let _ = nested;
        let text = |info: Option<&'_ Value>, path: &str| info.and_then(|info| info.pointer(path)).and_then(Value::as_str);
        text(self.egress_info.as_ref(), "/roomName")
            .or_else(|| text(self.ingress_info.as_ref(), "/roomName"))
            .or_else(|| text(self.job.as_ref(), "/room/name"))
            .filter(|name| !name.is_empty())
    }

    /// The public event; `None` if its room has another prefix, or with a prefix if it names no room.
    fn into_event(self, prefix: &RoomPrefix) -> Option<Event> {
        let name = match self.room_name() {
            Some(name) => Some(prefix.strip(name)?.to_owned()),
            None => prefix.is_empty().then_some(None)?,
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

//! All operations except `createRoom` and `generateToken`, which have functions of their own because they are frequent.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maravilla_core::webhook::{self, SignedWebhook};
use maravilla_core::{
    Call, DataMessage, Deadline, Identity, MediaError, ParticipantChange, PermissionChange, RoomName, TrackSource,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::providers::{self, OpenProvider, open_provider};
use super::settle::to_json;
use super::values::{Columns, named, pairs};

/// Maximum time for an embedded engine to close. Past it `close` is `TIMEOUT`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InRoom {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoomUpdate {
    room_id: String,
    metadata: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfParticipant {
    room_id: String,
    identity: String,
    /// `removeParticipant`
    #[serde(default)]
    revoke_tokens: bool,
    /// `muteParticipant`
    sources: Option<Vec<TrackSource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantUpdate {
    room_id: String,
    identity: String,
    name: Option<String>,
    metadata: Option<String>,
    /// Keys and values in one list.
    #[serde(default)]
    attributes: Vec<String>,
    can_publish: Option<bool>,
    can_subscribe: Option<bool>,
    can_publish_data: Option<bool>,
    can_publish_sources: Option<Vec<TrackSource>>,
    can_update_own_metadata: Option<bool>,
    hidden: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    room_id: String,
    /// A payload of text; without it, `bytes` has the payload.
    text: Option<String>,
    /// A payload in base64.
    #[serde(default)]
    bytes: String,
    to: Option<Vec<String>>,
    topic: Option<String>,
    reliable: bool,
}

/// Starts an operation. Its result is JSON text.
pub(super) fn start(
    id: u32,
    operation: &str,
    arguments: &str,
    timeout_ms: Option<f64>,
) -> Result<(Call<String>, Deadline), MediaError> {
    if operation == "close" {
        return Ok((providers::close(id).and_then(|()| to_json(&())), Deadline::after(CLOSE_TIMEOUT)));
    }
    let open = open_provider(id)?;
    let deadline = open.deadline(timeout_ms)?;
    let provider = &open.provider;
    let room = |id| RoomName::parse(&open.prefix, id);
    let call = match operation {
        "deleteRoom" => {
            let InRoom { room_id } = parse(arguments)?;
            provider.delete_room(room(room_id)?, deadline).and_then(|()| to_json(&()))
        }
        "listRooms" => provider.list_rooms(open.prefix.clone(), deadline).and_then(|rooms| to_json(&Columns(rooms))),
        "listParticipants" => {
            let InRoom { room_id } = parse(arguments)?;
            provider.list_participants(room(room_id)?, deadline).and_then(|participants| to_json(&participants))
        }
        "getRoom" => {
            let InRoom { room_id } = parse(arguments)?;
            provider.get_room(room(room_id)?, deadline).and_then(|room| to_json(&room.as_ref().map(named)))
        }
        "updateRoom" => {
            let RoomUpdate { room_id, metadata } = parse(arguments)?;
            provider.update_room(room(room_id)?, metadata, deadline).and_then(|room| to_json(&named(&room)))
        }
        "getParticipant" => {
            let OfParticipant { room_id, identity, .. } = parse(arguments)?;
            let (room, identity) = (room(room_id)?, Identity::parse("identity", identity)?);
            provider.get_participant(room, identity, deadline).and_then(|participant| to_json(&participant))
        }
        "updateParticipant" => {
            let update: ParticipantUpdate = parse(arguments)?;
            let (room_id, identity) = (update.room_id.clone(), update.identity.clone());
            let (room, identity) = (room(room_id)?, Identity::parse("identity", identity)?);
            let change = change(update);
            change.check()?;
            provider.update_participant(room, identity, change, deadline).and_then(|participant| to_json(&participant))
        }
        "muteParticipant" => {
            let OfParticipant { room_id, identity, sources, .. } = parse(arguments)?;
            let (room, identity) = (room(room_id)?, Identity::parse("identity", identity)?);
            provider.mute_participant(room, identity, sources, deadline).and_then(|tracks| to_json(&tracks))
        }
        "sendData" => {
            let data: Data = parse(arguments)?;
            let room = room(data.room_id.clone())?;
            provider.send_data(room, message(data)?, deadline).and_then(|()| to_json(&()))
        }
        "removeParticipant" => {
            let OfParticipant { room_id, identity, revoke_tokens, .. } = parse(arguments)?;
            let (room, identity) = (room(room_id)?, Identity::parse("identity", identity)?);
            provider.remove_participant(room, identity, revoke_tokens, deadline).and_then(|revoked| to_json(&revoked))
        }
        "signWebhook" => Call::Ready(sign_webhook(&open, arguments).and_then(|signed| to_json(&signed))),
        "mediaUrl" => Call::Ready(provider.media_url().and_then(|url| to_json(&url))),
        "enginePort" => Call::Ready(to_json(&provider.engine_port())),
        _ => return Err(MediaError::Internal),
    };
    Ok((call, deadline))
}

/// The facade makes the JSON, so that it always has the right shape.
fn parse<T: DeserializeOwned>(arguments: &str) -> Result<T, MediaError> {
    serde_json::from_str(arguments).map_err(|_| MediaError::Internal)
}

/// The body, and the token.
fn sign_webhook(open: &OpenProvider, arguments: &str) -> Result<(String, String), MediaError> {
    let event = serde_json::from_str(arguments).map_err(|_| webhook::not_an_event("event"))?;
    let SignedWebhook { body, token } = open.provider.sign_webhook(&open.prefix, event)?;
    Ok((body, token.into_exposed()))
}

fn change(update: ParticipantUpdate) -> ParticipantChange {
    ParticipantChange {
        name: update.name,
        metadata: update.metadata,
        attributes: pairs(update.attributes),
        permissions: PermissionChange {
            can_publish: update.can_publish,
            can_subscribe: update.can_subscribe,
            can_publish_data: update.can_publish_data,
            can_update_own_metadata: update.can_update_own_metadata,
            hidden: update.hidden,
            sources: update.can_publish_sources,
        },
    }
}

fn message(data: Data) -> Result<DataMessage, MediaError> {
    let Data { text, bytes, to, topic, reliable, .. } = data;
    let payload = match text {
        Some(text) => text.into_bytes(),
        None => STANDARD.decode(bytes).map_err(|_| MediaError::Internal)?,
    };
    let to = to.unwrap_or_default().into_iter();
    let to = to.enumerate().map(|(i, identity)| Identity::parse(&format!("options.to[{i}]"), identity));
    Ok(DataMessage { data: payload, to: to.collect::<Result<_, _>>()?, topic, reliable })
}

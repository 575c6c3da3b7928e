//! All operations except `createRoom` and `generateToken`, which have functions of their own because they are frequent.

use std::time::Duration;

use maravilla_core::{Call, Deadline, Identity, MediaError, RoomName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::providers::{self, open_provider};
use super::settle::to_json;
use super::values::Columns;

/// Maximum time for an embedded engine to close. Past it `close` is `TIMEOUT`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InRoom {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfParticipant {
    room_id: String,
    identity: String,
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
        "removeParticipant" => {
            let OfParticipant { room_id, identity } = parse(arguments)?;
            let (room, identity) = (room(room_id)?, Identity::parse("identity", identity)?);
            provider.remove_participant(room, identity, deadline).and_then(|()| to_json(&()))
        }
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

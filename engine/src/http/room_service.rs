//! The methods of `livekit.RoomService`.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use livekit_protocol as proto;
use livekit_token::VideoGrants;
use serde::de::DeserializeOwned;

use super::json::ToProtoJson;
use crate::auth::strict_json;
use crate::decode_cost::{self, CREATE_ROOM, FLAT, Message, UPDATE_PARTICIPANT, UPDATE_SUBSCRIPTIONS};
use crate::decoded_memory::{Memory, Sender};
use crate::error::{ApiError, check_creation, check_metadata, check_update};
use crate::registry::rooms::{Room, Settings};
use crate::shared::Shared;
use crate::work::Kind;

/// Encoding of a request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    Protobuf,
}

impl Codec {
    fn encode(self, response: &impl ToProtoJson) -> Vec<u8> {
        match self {
            Self::Json => response.to_json(),
            Self::Protobuf => response.encode_to_vec(),
        }
    }
}

/// Bytes of a list element besides its texts.
const ELEMENT_BYTES: usize = 700;
/// Maximum bytes of a list before it is encoded. Past it, the call is rejected with 503.
const MAX_LIST_BYTES: usize = 256 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    NoSuchMethod,
    Malformed,
    Refused(ApiError),
}

/// A call of one method of the server API.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// Grants of the caller's token; `None` without a token.
    pub(super) grants: Option<&'a VideoGrants>,
    pub(super) codec: Codec,
    pub(super) body: Bytes,
}

pub(super) const METHODS: [&str; 14] = [
    "CreateRoom",
    "ListRooms",
    "DeleteRoom",
    "ListParticipants",
    "GetParticipant",
    "RemoveParticipant",
    "MutePublishedTrack",
    "UpdateParticipant",
    "UpdateSubscriptions",
    "SendData",
    "UpdateRoomMetadata",
    "ForwardParticipant",
    "MoveParticipant",
    "PerformRpc",
];

impl Call<'_> {
    /// Runs the call. Returns the body of the response.
    pub(super) async fn run(&self, method: &str) -> Result<Vec<u8>, CallError> {
        match method {
            "CreateRoom" => self.with(&CREATE_ROOM, async |request| self.create_room(&request)).await,
            "ListRooms" => self.list_rooms().await,
            "DeleteRoom" => self.with(&FLAT, async |request| self.delete_room(&request)).await,
            "UpdateRoomMetadata" => self.with(&FLAT, async |request| self.update_room_metadata(request).await).await,
            "ListParticipants" => self.list_participants().await,
            "GetParticipant" => self.with(&FLAT, async |request| self.get_participant(&request)).await,
            "RemoveParticipant" => self.with(&FLAT, async |request| self.remove_participant(&request)).await,
            "UpdateParticipant" => {
                self.with(&UPDATE_PARTICIPANT, async |request| self.update_participant(request).await).await
            }
            "MutePublishedTrack" => self.with(&FLAT, async |request| self.mute_published_track(request).await).await,
            "UpdateSubscriptions" => {
                self.with(&UPDATE_SUBSCRIPTIONS, async |request| self.update_subscriptions(request).await).await
            }
            "SendData" => self.with(&FLAT, async |request| self.send_data(request).await).await,
            "ForwardParticipant" => {
                let forward = async |request: proto::ForwardParticipantRequest| {
                    self.check_transfer(&request.room, &request.destination_room)?;
                    self.not_implemented::<proto::ForwardParticipantResponse>(&request.room, &request.identity)
                };
                self.with(&FLAT, forward).await
            }
            "MoveParticipant" => {
                let r#move = async |request: proto::MoveParticipantRequest| {
                    self.check_transfer(&request.room, &request.destination_room)?;
                    self.not_implemented::<proto::MoveParticipantResponse>(&request.room, &request.identity)
                };
                self.with(&FLAT, r#move).await
            }
            "PerformRpc" => {
                // Frees the request's memory while the recipient processes the call.
                let (request, _) = self.read(&FLAT).await?;
                let response = self.perform_rpc(request).await.map_err(CallError::Refused)?;
                Ok(self.codec.encode(&response))
            }
            _ => Err(CallError::NoSuchMethod),
        }
    }

    /// Decodes the request, runs `work`, and encodes the response.
    async fn with<Q: prost::Message + Default + DeserializeOwned + 'static, A: ToProtoJson>(
        &self,
        message: &'static Message,
        work: impl AsyncFnOnce(Q) -> Result<A, ApiError>,
    ) -> Result<Vec<u8>, CallError> {
        let (request, _memory) = self.read(message).await?;
        let response = work(request).await.map_err(CallError::Refused)?;
        Ok(self.codec.encode(&response))
    }

    /// Builds and encodes a list of about `bytes` bytes. Long lists are built one at a time on a worker thread, because as JSON
    /// they can take several times as much.
    async fn list<A: ToProtoJson>(
        &self,
        bytes: usize,
        list: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Vec<u8>, CallError> {
        let codec = self.codec;
        if bytes > MAX_LIST_BYTES {
            return Err(CallError::Refused(ApiError::Overloaded));
        }
        let encoded = self.shared.work.run(Kind::Call, bytes, move || codec.encode(&list())).await;
        encoded.ok_or(CallError::Refused(ApiError::Overloaded))
    }

    /// Decodes the request.
    async fn read<Q: prost::Message + Default + DeserializeOwned + 'static>(
        &self,
        message: &'static Message,
    ) -> Result<(Q, Memory), CallError> {
        let (work, codec, length) = (&self.shared.work, self.codec, self.body.len());
        let body = self.body.clone();
        let cost = work.run(Kind::Call, length, move || match codec {
            Codec::Json => decode_cost::json(&body, decode_cost::BODY),
            Codec::Protobuf => decode_cost::protobuf(&body, message, decode_cost::BODY),
        });
        let cost = cost.await.flatten().ok_or(CallError::Malformed)?;
        let memory = self.shared.decoded_memory.reserve(Sender::ServerApi, cost).await;
        let body = self.body.clone();
        let request = work.run(Kind::Call, length.max(cost), move || match codec {
            Codec::Json => strict_json::read(&body),
            Codec::Protobuf => Q::decode(body).ok(),
        });
        Ok((request.await.flatten().ok_or(CallError::Malformed)?, memory))
    }

    fn create_room(&self, request: &proto::CreateRoomRequest) -> Result<proto::Room, ApiError> {
        self.check(|grants| grants.room_create)?;
        check_creation(request)?;
        let settings = Settings {
            empty_timeout: request.empty_timeout,
            departure_timeout: request.departure_timeout,
            max_participants: request.max_participants,
            metadata: &request.metadata,
        };
        let created = self.shared.rooms(|rooms, now| {
            // There are no named configurations; for an open room, livekit-server ignores this field.
            if !request.room_preset.is_empty() && rooms.get(&request.name, now).is_none() {
                return Err(ApiError::RoomPreset);
            }
            rooms.create(&request.name, &settings, now)
        });
        Ok(created?.to_proto())
    }

    async fn list_rooms(&self) -> Result<Vec<u8>, CallError> {
        let (proto::ListRoomsRequest { names }, memory) = self.read(&FLAT).await?;
        self.check(|grants| grants.room_list).map_err(CallError::Refused)?;
        let (rooms, now) = self.shared.rooms(|rooms, now| (rooms.snapshot(), now));
        let count = if names.is_empty() { rooms.len() } else { names.len() };
        let list = move || {
            let _memory = memory;
            let listed = if names.is_empty() {
                rooms.sorted(now)
            } else {
                let mut seen = HashSet::new();
                let names = names.iter().filter(|name| seen.insert(name.as_str()));
                names.filter_map(|name| rooms.get(name, now).map(AsRef::as_ref)).collect()
            };
            proto::ListRoomsResponse { rooms: listed.into_iter().map(Room::to_proto).collect() }
        };
        self.list(count * ELEMENT_BYTES, list).await
    }

    fn delete_room(&self, request: &proto::DeleteRoomRequest) -> Result<proto::DeleteRoomResponse, ApiError> {
        self.check(|grants| grants.room_create)?;
        let deleted = self.shared.rooms(|rooms, now| rooms.delete(&request.room, now));
        deleted.map(|_| proto::DeleteRoomResponse::default()).ok_or(ApiError::NoRoom)
    }

    async fn update_room_metadata(&self, request: proto::UpdateRoomMetadataRequest) -> Result<proto::Room, ApiError> {
        check_metadata(&request.metadata)?;
        self.check_admin(&request.room)?;
        self.shared.update_room_metadata(&request.room, request.metadata).await
    }

    async fn list_participants(&self) -> Result<Vec<u8>, CallError> {
        let (proto::ListParticipantsRequest { room }, _memory) = self.read(&FLAT).await?;
        self.check_admin(&room).map_err(CallError::Refused)?;
        let room = self.shared.rooms(|rooms, now| rooms.get(&room, now).cloned());
        let Some(room) = room else { return Ok(self.codec.encode(&proto::ListParticipantsResponse::default())) };
        let sizes = room.participants().map(|one| ELEMENT_BYTES + prost::Message::encoded_len(one));
        let bytes = sizes.sum();
        let list = move || proto::ListParticipantsResponse { participants: room.participants().cloned().collect() };
        self.list(bytes, list).await
    }

    fn get_participant(&self, request: &proto::RoomParticipantIdentity) -> Result<proto::ParticipantInfo, ApiError> {
        self.check_admin(&request.room)?;
        self.participant(&request.room, &request.identity)
    }

    fn remove_participant(
        &self,
        request: &proto::RoomParticipantIdentity,
    ) -> Result<proto::RemoveParticipantResponse, ApiError> {
        self.check_admin(&request.room)?;
        self.shared.rooms(|rooms, now| rooms.remove(&request.room, &request.identity, now))?;
        Ok(proto::RemoveParticipantResponse::default())
    }

    async fn update_participant(
        &self,
        request: proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, ApiError> {
        check_update(&request)?;
        self.check_admin(&request.room)?;
        let mut request = request;
        let replacement = request.permission.take();
        self.shared
            .media
            .update_participant(request, |permission| {
                if let Some(replacement) = replacement {
                    *permission = replacement;
                }
            })
            .await
    }

    async fn mute_published_track(
        &self,
        request: proto::MuteRoomTrackRequest,
    ) -> Result<proto::MuteRoomTrackResponse, ApiError> {
        self.check_admin(&request.room)?;
        let track = self.shared.media.mute_published_track(request).await?;
        Ok(proto::MuteRoomTrackResponse { track })
    }

    async fn update_subscriptions(
        &self,
        request: proto::UpdateSubscriptionsRequest,
    ) -> Result<proto::UpdateSubscriptionsResponse, ApiError> {
        self.check_admin(&request.room)?;
        self.shared.media.update_subscriptions(request).await?;
        Ok(proto::UpdateSubscriptionsResponse::default())
    }

    async fn send_data(&self, request: proto::SendDataRequest) -> Result<proto::SendDataResponse, ApiError> {
        self.check_admin(&request.room)?;
        self.shared.send_data(request).await?;
        Ok(proto::SendDataResponse::default())
    }

    async fn perform_rpc(&self, request: proto::PerformRpcRequest) -> Result<proto::PerformRpcResponse, ApiError> {
        self.check_admin(&request.room)?;
        if request.destination_identity.is_empty() {
            return Err(ApiError::NoDestinationIdentity);
        }
        let payload = self.shared.media.perform_rpc(request).await?;
        Ok(proto::PerformRpcResponse { payload })
    }

    fn participant(&self, room: &str, identity: &str) -> Result<proto::ParticipantInfo, ApiError> {
        let found = self.shared.rooms(|rooms, now| rooms.get(room, now)?.participant(identity).cloned());
        found.map(Arc::unwrap_or_clone).ok_or(ApiError::NoParticipant)
    }

    /// The response of a self-hosted livekit-server to methods of LiveKit Cloud.
    fn not_implemented<T>(&self, room: &str, identity: &str) -> Result<T, ApiError> {
        self.participant(room, identity)?;
        Err(ApiError::NotImplemented)
    }

    fn check(&self, allows: impl FnOnce(&VideoGrants) -> bool) -> Result<(), ApiError> {
        if self.grants.is_some_and(allows) { Ok(()) } else { Err(ApiError::Permissions) }
    }

    fn check_admin(&self, room: &str) -> Result<(), ApiError> {
        self.check(|grants| grants.room_admin && grants.room == room)
    }

    fn check_transfer(&self, room: &str, destination: &str) -> Result<(), ApiError> {
        self.check(|grants| grants.room_admin && grants.room == room && grants.destination_room == destination)?;
        if room == destination { Err(ApiError::SameRoom) } else { Ok(()) }
    }
}

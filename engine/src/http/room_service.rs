//! The methods of `livekit.RoomService`.

use std::collections::HashSet;

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use serde::de::DeserializeOwned;

use super::json::{self, Answer};
use super::parts;
use crate::engine::Shared;
use crate::refusal::{MOST_NAME_BYTES, Refusal, check_attributes, check_creation, check_metadata};
use crate::rooms::{Room, Settings, Snapshot};

/// How a request's body is written, and so its answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    Protobuf,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Fault {
    NoSuchMethod,
    Malformed,
    Refused(Refusal),
}

/// A call of one method.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    /// What the caller's token allows; without a token, nothing.
    pub(super) grants: Option<&'a VideoGrants>,
    pub(super) codec: Codec,
    pub(super) body: &'a [u8],
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
    /// The answer's body.
    pub(super) async fn answer(&self, method: &str) -> Result<Vec<u8>, Fault> {
        if !parts::are_few(self.body, self.codec, method) {
            return Err(Fault::Malformed);
        }
        match method {
            "CreateRoom" => self.with(|request| self.create_room(&request)),
            "ListRooms" => self.with(|request| self.list_rooms(&request)),
            "DeleteRoom" => self.with(|request| self.delete_room(&request)),
            "UpdateRoomMetadata" => self.with_async(async |request| self.update_room_metadata(request).await).await,
            "ListParticipants" => self.with(|request| self.list_participants(&request)),
            "GetParticipant" => self.with(|request| self.get_participant(&request)),
            "RemoveParticipant" => self.with(|request| self.remove_participant(&request)),
            "UpdateParticipant" => self.with_async(async |request| self.update_participant(request).await).await,
            "MutePublishedTrack" => self.with_async(async |request| self.mute_published_track(request).await).await,
            "UpdateSubscriptions" => self.with_async(async |request| self.update_subscriptions(request).await).await,
            "SendData" => self.with_async(async |request| self.send_data(request).await).await,
            "ForwardParticipant" => self.with(|request: proto::ForwardParticipantRequest| {
                self.check_passage(&request.room, &request.destination_room)?;
                self.not_implemented::<proto::ForwardParticipantResponse>(&request.room, &request.identity)
            }),
            "MoveParticipant" => self.with(|request: proto::MoveParticipantRequest| {
                self.check_passage(&request.room, &request.destination_room)?;
                self.not_implemented::<proto::MoveParticipantResponse>(&request.room, &request.identity)
            }),
            "PerformRpc" => self.with_async(async |request| self.perform_rpc(request).await).await,
            _ => Err(Fault::NoSuchMethod),
        }
    }

    fn with<Q: prost::Message + Default + DeserializeOwned, A: Answer>(
        &self,
        work: impl FnOnce(Q) -> Result<A, Refusal>,
    ) -> Result<Vec<u8>, Fault> {
        Ok(self.write(&work(self.read()?).map_err(Fault::Refused)?))
    }

    /// The same for what others have to do.
    async fn with_async<Q: prost::Message + Default + DeserializeOwned, A: Answer>(
        &self,
        work: impl AsyncFnOnce(Q) -> Result<A, Refusal>,
    ) -> Result<Vec<u8>, Fault> {
        Ok(self.write(&work(self.read()?).await.map_err(Fault::Refused)?))
    }

    fn read<Q: prost::Message + Default + DeserializeOwned>(&self) -> Result<Q, Fault> {
        let request = match self.codec {
            Codec::Json => json::read(self.body),
            Codec::Protobuf => Q::decode(self.body).ok(),
        };
        request.ok_or(Fault::Malformed)
    }

    fn write(&self, answer: &impl Answer) -> Vec<u8> {
        match self.codec {
            Codec::Json => answer.to_json(),
            Codec::Protobuf => answer.encode_to_vec(),
        }
    }

    fn create_room(&self, request: &proto::CreateRoomRequest) -> Result<proto::Room, Refusal> {
        self.check(|grants| grants.room_create)?;
        check_creation(request)?;
        let settings = Settings {
            empty_timeout: request.empty_timeout,
            departure_timeout: request.departure_timeout,
            max_participants: request.max_participants,
            metadata: &request.metadata,
        };
        self.shared.rooms(|rooms, now| {
            // There are no named configurations here; a live room is not asked what it was made with.
            if !request.room_preset.is_empty() && rooms.get(&request.name, now).is_none() {
                return Err(Refusal::RoomPreset);
            }
            rooms.create(&request.name, &settings, now).map(|room| room.describe())
        })
    }

    fn list_rooms(&self, request: &proto::ListRoomsRequest) -> Result<proto::ListRoomsResponse, Refusal> {
        self.check(|grants| grants.room_list)?;
        let listed: Vec<Snapshot> = self.shared.rooms(|rooms, now| {
            if request.names.is_empty() {
                return rooms.iter(now).map(Room::snapshot).collect();
            }
            let mut seen = HashSet::new();
            let names = request.names.iter().filter(|name| seen.insert(name.as_str()));
            names.filter_map(|name| rooms.get(name, now).map(Room::snapshot)).collect()
        });
        Ok(proto::ListRoomsResponse { rooms: listed.into_iter().map(Snapshot::describe).collect() })
    }

    fn delete_room(&self, request: &proto::DeleteRoomRequest) -> Result<proto::DeleteRoomResponse, Refusal> {
        self.check(|grants| grants.room_create)?;
        let deleted = self.shared.rooms(|rooms, now| rooms.delete(&request.room, now));
        deleted.map(|_| proto::DeleteRoomResponse::default()).ok_or(Refusal::NoRoom)
    }

    async fn update_room_metadata(&self, request: proto::UpdateRoomMetadataRequest) -> Result<proto::Room, Refusal> {
        check_metadata(&request.metadata)?;
        self.check_admin(&request.room)?;
        let (name, metadata) = (&request.room, request.metadata);
        let room = self.shared.rooms(|rooms, now| rooms.update_metadata(name, metadata, now).map(Room::describe))?;
        self.shared.media.announce_room(name).await;
        Ok(room)
    }

    fn list_participants(
        &self,
        request: &proto::ListParticipantsRequest,
    ) -> Result<proto::ListParticipantsResponse, Refusal> {
        self.check_admin(&request.room)?;
        let listed = |room: &Room| room.participants().cloned().collect();
        let participants = self.shared.rooms(|rooms, now| rooms.get(&request.room, now).map(listed));
        Ok(proto::ListParticipantsResponse { participants: participants.unwrap_or_default() })
    }

    fn get_participant(&self, request: &proto::RoomParticipantIdentity) -> Result<proto::ParticipantInfo, Refusal> {
        self.check_admin(&request.room)?;
        self.participant(&request.room, &request.identity)
    }

    fn remove_participant(
        &self,
        request: &proto::RoomParticipantIdentity,
    ) -> Result<proto::RemoveParticipantResponse, Refusal> {
        self.check_admin(&request.room)?;
        self.shared.rooms(|rooms, now| rooms.remove(&request.room, &request.identity, now))?;
        Ok(proto::RemoveParticipantResponse::default())
    }

    async fn update_participant(
        &self,
        request: proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, Refusal> {
        if request.name.len() > MOST_NAME_BYTES {
            return Err(Refusal::Name);
        }
        check_metadata(&request.metadata)?;
        check_attributes(request.attributes.iter())?;
        self.check_admin(&request.room)?;
        self.shared.media.update(request).await
    }

    async fn mute_published_track(
        &self,
        request: proto::MuteRoomTrackRequest,
    ) -> Result<proto::MuteRoomTrackResponse, Refusal> {
        self.check_admin(&request.room)?;
        let track = self.shared.media.mute(request).await?;
        Ok(proto::MuteRoomTrackResponse { track })
    }

    async fn update_subscriptions(
        &self,
        request: proto::UpdateSubscriptionsRequest,
    ) -> Result<proto::UpdateSubscriptionsResponse, Refusal> {
        self.check_admin(&request.room)?;
        self.shared.media.subscribe(request).await?;
        Ok(proto::UpdateSubscriptionsResponse::default())
    }

    async fn send_data(&self, request: proto::SendDataRequest) -> Result<proto::SendDataResponse, Refusal> {
        self.check_admin(&request.room)?;
        if !matches!(request.nonce.len(), 0 | 16) {
            return Err(Refusal::Nonce(request.nonce.len()));
        }
        if self.shared.rooms(|rooms, now| rooms.get(&request.room, now).is_none()) {
            return Err(Refusal::NoRoom);
        }
        self.shared.media.send(request).await;
        Ok(proto::SendDataResponse::default())
    }

    async fn perform_rpc(&self, request: proto::PerformRpcRequest) -> Result<proto::PerformRpcResponse, Refusal> {
        self.check_admin(&request.room)?;
        if request.destination_identity.is_empty() {
            return Err(Refusal::NoDestinationIdentity);
        }
        let payload = self.shared.media.call(request).await?;
        Ok(proto::PerformRpcResponse { payload })
    }

    fn participant(&self, room: &str, identity: &str) -> Result<proto::ParticipantInfo, Refusal> {
        let found = self.shared.rooms(|rooms, now| rooms.get(room, now)?.participant(identity).cloned());
        found.ok_or(Refusal::NoParticipant)
    }

    /// What livekit-server without its cloud does not do either.
    fn not_implemented<T>(&self, room: &str, identity: &str) -> Result<T, Refusal> {
        self.participant(room, identity)?;
        Err(Refusal::NotImplemented)
    }

    fn check(&self, allows: impl FnOnce(&VideoGrants) -> bool) -> Result<(), Refusal> {
        if self.grants.is_some_and(allows) { Ok(()) } else { Err(Refusal::Permissions) }
    }

    fn check_admin(&self, room: &str) -> Result<(), Refusal> {
        self.check(|grants| grants.room_admin && grants.room == room)
    }

    fn check_passage(&self, room: &str, destination: &str) -> Result<(), Refusal> {
        self.check(|grants| grants.room_admin && grants.room == room && grants.destination_room == destination)?;
        if room == destination { Err(Refusal::SameRoom) } else { Ok(()) }
    }
}

//! Calls of the server API that concern participants.

use livekit_protocol as proto;
use proto::data_packet::{Kind, Value};
use tokio::sync::oneshot;

use crate::error::{ApiError, RpcError};
use crate::session::media_engine::MediaEngine;
use crate::session::room::requests::MetadataUpdate;

const ABSENT: ApiError = ApiError::NoParticipant;

impl MediaEngine {
    /// Changes a participant's name, metadata, attributes, and, by `change_permission`, permissions. Returns its new state.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]; an error if a value is too long.
    pub(crate) async fn update_participant(
        &self,
        request: proto::UpdateParticipantRequest,
        change_permission: impl FnOnce(&mut proto::ParticipantPermission) + Send + 'static,
    ) -> Result<proto::ParticipantInfo, ApiError> {
        let outcome = self.run(move |worker, reply| {
            let (room, identity) = (request.room.clone(), request.identity.clone());
            let outcome = worker.with_identity(&room, &identity, |room, context, id| {
                let change =
                    MetadataUpdate { name: request.name, metadata: request.metadata, attributes: request.attributes };
                room.update_metadata(context, id, change)?;
                let before = room.participant_info(id).ok_or(ABSENT)?.permission.clone().unwrap_or_default();
                let mut permission = before.clone();
                change_permission(&mut permission);
                if permission != before {
                    room.set_permission(context, id, permission);
                }
                room.token_changed(context, id);
                room.participant_info(id).cloned().ok_or(ABSENT)
            });
            // The caller may be gone, here and below.
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Mutes a track. Returns its new state.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]; [`ApiError::RemoteUnmute`] if the request is not to mute.
    pub(crate) async fn mute_published_track(
        &self,
        request: proto::MuteRoomTrackRequest,
    ) -> Result<Option<proto::TrackInfo>, ApiError> {
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.with_identity(&request.room, &request.identity, |room, context, id| {
                let sid = request.track_sid.as_str();
                let known = room.track_info(id, sid);
                if !request.muted && known.as_ref().is_none_or(|track| track.muted) {
                    return Err(ApiError::RemoteUnmute);
                }
                if known.is_some_and(|track| !track.muted) {
                    room.mute_remotely(context, id, sid);
                }
                Ok(room.track_info(id, sid))
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Mutes the tracks of a participant that `is_chosen` selects and that are not muted. Returns their new states.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]
    pub(crate) async fn mute_tracks(
        &self,
        room: String,
        identity: String,
        is_chosen: impl Fn(&proto::TrackInfo) -> bool + Send + 'static,
    ) -> Result<Vec<proto::TrackInfo>, ApiError> {
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.with_identity(&room, &identity, |room, context, id| {
                let tracks = &room.participant_info(id).ok_or(ABSENT)?.tracks;
                let chosen = tracks.iter().filter(|track| !track.muted && is_chosen(track));
                let sids: Vec<String> = chosen.map(|track| track.sid.clone()).collect();
                for sid in &sids {
                    room.mute_remotely(context, id, sid);
                }
                Ok(sids.iter().filter_map(|sid| room.track_info(id, sid)).collect())
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Subscribes a participant to tracks, or unsubscribes it.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]
    pub(crate) async fn update_subscriptions(
        &self,
        request: proto::UpdateSubscriptionsRequest,
    ) -> Result<(), ApiError> {
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.with_identity(&request.room, &request.identity, |room, context, id| {
                let (track_sids, subscribe) = (request.track_sids, request.subscribe);
                let participant_tracks = request.participant_tracks;
                room.subscribe(context, id, proto::UpdateSubscription { track_sids, subscribe, participant_tracks });
                Ok(())
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Sends a data message to participants of a room.
    #[expect(deprecated, reason = "older clients read the recipients in the inner message")]
    pub(crate) async fn send_data(&self, request: proto::SendDataRequest) {
        let is_reliable = request.kind() == Kind::Reliable;
        let user = proto::UserPacket {
            payload: request.data,
            destination_sids: request.destination_sids,
            destination_identities: request.destination_identities.clone(),
            topic: request.topic,
            nonce: request.nonce,
            ..proto::UserPacket::default()
        };
        let packet = proto::DataPacket {
            destination_identities: request.destination_identities,
            value: Some(Value::User(user)),
            ..proto::DataPacket::default()
        };
        let sent = self.run(move |worker, reply| {
            worker.with_room(&request.room, |room, context| room.broadcast_data(context, None, is_reliable, packet));
            let _ = reply.send(());
        });
        // `None` if no participant has joined yet: there is no recipient.
        let _ = sent.await;
    }

    /// Performs an RPC on a participant.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], [`ApiError::Rpc`]
    pub(crate) async fn perform_rpc(&self, request: proto::PerformRpcRequest) -> Result<String, ApiError> {
        let (answer, answered) = oneshot::channel();
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.with_identity(&request.room, &request.destination_identity, |room, context, id| {
                room.perform_rpc(context, id, &request, answer);
                Ok(())
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))?;
        answered.await.unwrap_or(Err(ApiError::Rpc(RpcError::disconnected())))
    }

    /// Sends the room's current state to its participants.
    pub(crate) async fn broadcast_room_update(&self, name: &str) {
        let name = name.to_owned();
        let sent = self.run(move |worker, reply| {
            worker.with_room(&name, |room, context| room.broadcast_room_update(context.services));
            let _ = reply.send(());
        });
        let _ = sent.await;
    }
}

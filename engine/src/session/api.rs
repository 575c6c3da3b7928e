//! Calls of the server API that concern participants.

use livekit_protocol as proto;
use proto::data_packet::{Kind, Value};
use proto::signal_response::Message;
use tokio::sync::oneshot;

use crate::error::{Refusal, RpcFault};
use crate::session::Media;
use crate::session::requests::Description;

/// What a participant's absence is called.
const ABSENT: Refusal = Refusal::NoParticipant;

impl Media {
    /// Changes what a participant is called and may do, and gives what it is then.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`], or what is too long.
    pub(crate) async fn update(
        &self,
        request: proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, Refusal> {
        let outcome = self.run(move |worker, reply| {
            let (room, identity) = (request.room.clone(), request.identity.clone());
            let outcome = worker.among(&room, &identity, |room, context, id| {
                let change =
                    Description { name: request.name, metadata: request.metadata, attributes: request.attributes };
                room.set_description(context, id, change)?;
                if let Some(permission) = request.permission {
                    room.permit(context, id, permission);
                }
                room.token_changed(context, id);
                room.peers.get(&id).map(|peer| peer.info.clone()).ok_or(ABSENT)
            });
            // Whoever asked may have gone; here and below.
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Mutes a track, and gives what it is then.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`]; [`Refusal::RemoteUnmute`] for anything but muting.
    pub(crate) async fn mute(&self, request: proto::MuteRoomTrackRequest) -> Result<Option<proto::TrackInfo>, Refusal> {
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.among(&request.room, &request.identity, |room, context, id| {
                let sid = request.track_sid.as_str();
                let find = |room: &mut crate::session::room::Room| {
                    room.peers.get_mut(&id).and_then(|peer| peer.track(sid)).map(|track| track.info.clone())
                };
                let known = find(room);
                if !request.muted && known.as_ref().is_none_or(|track| track.muted) {
                    return Err(Refusal::RemoteUnmute);
                }
                if let Some(peer) = room.peers.get_mut(&id).filter(|_| known.as_ref().is_some_and(|track| !track.muted))
                {
                    peer.send(Message::Mute(proto::MuteTrackRequest { sid: sid.to_owned(), muted: true }));
                    room.mute(context, id, sid, true);
                }
                Ok(find(room))
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Subscribes a participant to tracks, or takes them from it.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`]
    pub(crate) async fn subscribe(&self, request: proto::UpdateSubscriptionsRequest) -> Result<(), Refusal> {
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.among(&request.room, &request.identity, |room, context, id| {
                let (track_sids, subscribe) = (request.track_sids, request.subscribe);
                let participant_tracks = request.participant_tracks;
                room.subscribe(context, id, proto::UpdateSubscription { track_sids, subscribe, participant_tracks });
                Ok(())
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))
    }

    /// Sends a message to those in a room.
    #[expect(deprecated, reason = "older clients read the recipients in the inner message")]
    pub(crate) async fn send(&self, request: proto::SendDataRequest) {
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
            worker.within(&request.room, |room, context| room.post(context, None, is_reliable, packet));
            let _ = reply.send(());
        });
        // With nobody there, nobody has to hear it.
        let _ = sent.await;
    }

    /// Calls a method of a participant.
    ///
    /// # Errors
    /// [`Refusal::NoParticipant`], [`Refusal::Rpc`]
    pub(crate) async fn call(&self, request: proto::PerformRpcRequest) -> Result<String, Refusal> {
        let (answer, answered) = oneshot::channel();
        let outcome = self.run(move |worker, reply| {
            let outcome = worker.among(&request.room, &request.destination_identity, |room, context, id| {
                room.call(context, id, &request, answer);
                Ok(())
            });
            let _ = reply.send(outcome);
        });
        outcome.await.unwrap_or(Err(ABSENT))?;
        answered.await.unwrap_or(Err(Refusal::Rpc(RpcFault::disconnected())))
    }

    /// Tells those in a room that it has changed.
    pub(crate) async fn announce_room(&self, name: &str) {
        let name = name.to_owned();
        let told = self.run(move |worker, reply| {
            worker.within(&name, |room, context| room.announce_room(context.shared));
            let _ = reply.send(());
        });
        let _ = told.await;
    }
}

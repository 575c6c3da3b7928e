//! Calls that concern the participants of a room.

use std::time::{SystemTime, UNIX_EPOCH};

use livekit_protocol as proto;

use super::decode;
use super::error_mapping::CallError;
use super::rooms::{KIB, MIB, room_admin, room_not_found};
use super::twirp::{CallContext, Method, Twirp};
use crate::provider::Outcome;
use crate::{
    Identity, MediaError, Participant, ParticipantChange, PermissionChange, RoomName, Track, TrackSource, Upstream,
    by_name, convert,
};

const LIST_PARTICIPANTS: Method =
    Method { name: "ListParticipants", max_bytes: 64 * MIB, shape: &decode::PARTICIPANTS };
const GET_PARTICIPANT: Method =
    Method { name: "GetParticipant", max_bytes: 4 * MIB, shape: &decode::WHOLE_PARTICIPANT };
const UPDATE_PARTICIPANT: Method =
    Method { name: "UpdateParticipant", max_bytes: 4 * MIB, shape: &decode::WHOLE_PARTICIPANT };
const MUTE_TRACK: Method = Method { name: "MutePublishedTrack", max_bytes: MIB, shape: &decode::MUTED_TRACK };
const SEND_DATA: Method = Method { name: "SendData", max_bytes: 64 * KIB, shape: &decode::EMPTY };
const REMOVE_PARTICIPANT: Method = Method { name: "RemoveParticipant", max_bytes: 64 * KIB, shape: &decode::EMPTY };

/// A time in the past, so that LiveKit Cloud revokes no tokens: without one it takes a minute from now.
const REVOKE_NOTHING: i64 = 1;

pub(super) async fn list(server: &Twirp, room: &RoomName, context: &CallContext) -> Outcome<Vec<Participant>> {
    let request = proto::ListParticipantsRequest { room: room.on_server().to_owned() };
    let response = server
        .call::<proto::ListParticipantsResponse>(&LIST_PARTICIPANTS, room_admin(room), &request, context)
        .await
        .map_err(|error| error.or_missing(|upstream| room_not_found(room, upstream)))?;
    let mut participants: Vec<_> = response.message.participants.into_iter().map(convert::participant).collect();
    participants.sort_unstable_by(|a, b| by_name(&a.identity, &b.identity));
    Ok(participants)
}

/// The participant of one call.
pub(super) struct Target {
    pub(super) room: RoomName,
    pub(super) identity: Identity,
}

impl Target {
    fn message(&self) -> proto::RoomParticipantIdentity {
        proto::RoomParticipantIdentity {
            room: self.room.on_server().to_owned(),
            identity: self.identity.as_str().to_owned(),
            ..proto::RoomParticipantIdentity::default()
        }
    }

    fn not_found(&self, upstream: Upstream) -> MediaError {
        MediaError::ParticipantNotFound {
            room: self.room.id().to_owned(),
            identity: self.identity.as_str().to_owned(),
            upstream,
        }
    }

    async fn fetch(&self, server: &Twirp, context: &CallContext) -> Result<proto::ParticipantInfo, CallError> {
        let grants = room_admin(&self.room);
        Ok(server.call(&GET_PARTICIPANT, grants, &self.message(), context).await?.message)
    }

    pub(super) async fn get(&self, server: &Twirp, context: &CallContext) -> Outcome<Option<Participant>> {
        match self.fetch(server, context).await {
            Ok(info) => Ok(Some(convert::participant(info))),
            Err(CallError::NotFound(_) | CallError::NotFoundAgain(_)) => Ok(None),
            Err(error) => Err(error.or_missing(|upstream| self.not_found(upstream))),
        }
    }

    /// Reads the permissions first if some are to change, because LiveKit replaces all of them.
    pub(super) async fn update(
        &self,
        server: &Twirp,
        change: ParticipantChange,
        context: &CallContext,
    ) -> Outcome<Participant> {
        let missing = |error: CallError| error.or_missing(|upstream| self.not_found(upstream));
        let permissions: PermissionChange = change.permissions.clone();
        let mut request = convert::update_request(&self.room, &self.identity, change);
        if !permissions.is_empty() {
            let mut permission = self.fetch(server, context).await.map_err(missing)?.permission.unwrap_or_default();
            convert::change_permission(&permissions, &mut permission);
            request.permission = Some(permission);
        }
        let grants = room_admin(&self.room);
        let updated = server.call(&UPDATE_PARTICIPANT, grants, &request, context).await.map_err(missing)?;
        Ok(convert::participant(updated.message))
    }

    /// Mutes one track after another. A track that has ended meanwhile is not in the result.
    pub(super) async fn mute(
        &self,
        server: &Twirp,
        sources: Option<&[TrackSource]>,
        context: &CallContext,
    ) -> Outcome<Vec<Track>> {
        let missing = |error: CallError| error.or_missing(|upstream| self.not_found(upstream));
        let info = self.fetch(server, context).await.map_err(missing)?;
        let mut muted = Vec::new();
        for track in info.tracks.into_iter().map(convert::track) {
            if !convert::is_muted_by(sources, &track) {
                continue;
            }
            let proto::RoomParticipantIdentity { room, identity, .. } = self.message();
            let request = proto::MuteRoomTrackRequest { room, identity, track_sid: track.sid, muted: true };
            let response = server
                .call::<proto::MuteRoomTrackResponse>(&MUTE_TRACK, room_admin(&self.room), &request, context)
                .await
                .map_err(missing)?;
            muted.extend(response.message.track.map(convert::track));
        }
        Ok(muted)
    }

    /// The result is whether tokens are revoked, which only LiveKit Cloud does.
    pub(super) async fn remove(&self, server: &Twirp, revoke_tokens: bool, context: &CallContext) -> Outcome<bool> {
        let revoke_token_ts = if revoke_tokens { next_second() } else { REVOKE_NOTHING };
        let request = proto::RoomParticipantIdentity { revoke_token_ts, ..self.message() };
        let response = server
            .call::<proto::RemoveParticipantResponse>(&REMOVE_PARTICIPANT, room_admin(&self.room), &request, context)
            .await;
        match response {
            Ok(_) | Err(CallError::NotFoundAgain(_)) => Ok(revoke_tokens && server.is_cloud()),
            Err(error) => Err(error.or_missing(|upstream| self.not_found(upstream))),
        }
    }
}

/// Sends a message. `NoNode` is `ROOM_NOT_FOUND`, because the server does not look for the room, but for its node.
pub(super) async fn send_data(
    server: &Twirp,
    room: &RoomName,
    request: &proto::SendDataRequest,
    context: &CallContext,
) -> Outcome<()> {
    let response = server.call::<proto::SendDataResponse>(&SEND_DATA, room_admin(room), request, context).await;
    match response {
        Ok(_) => Ok(()),
        Err(CallError::NoNode(upstream)) => match super::rooms::get(server, room, context).await? {
            None => Err(room_not_found(room, upstream)),
            Some(_) => Err(MediaError::Unavailable(upstream)),
        },
        Err(error) => Err(error.or_missing(|upstream| room_not_found(room, upstream))),
    }
}

/// Tokens of this second have to be revoked, and a token is valid from its `nbf` on, in whole seconds.
fn next_second() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX).saturating_add(1)
}

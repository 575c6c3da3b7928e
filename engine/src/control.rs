//! Calls of the server API on an engine in the same process, without HTTP.

use livekit_protocol as proto;

use crate::engine::Engine;
use crate::error::ApiError;

impl Engine {
    /// Replaces a room's metadata, which its participants receive.
    ///
    /// # Errors
    /// [`ApiError::NoRoom`], [`ApiError::Metadata`]
    pub async fn update_room_metadata(&self, name: &str, metadata: String) -> Result<proto::Room, ApiError> {
        self.shared.update_room_metadata(name, metadata).await
    }

    /// Changes a participant, as the method `UpdateParticipant` does, except that `permission` changes the permissions that
    /// the participant has. Both change at the same time.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`], [`ApiError::Name`], [`ApiError::Metadata`], [`ApiError::Attributes`]
    pub async fn update_participant(
        &self,
        request: proto::UpdateParticipantRequest,
        permission: impl FnOnce(&mut proto::ParticipantPermission) + Send + 'static,
    ) -> Result<proto::ParticipantInfo, ApiError> {
        self.shared.update_participant(request, permission).await
    }

    /// Mutes the tracks of a participant that `chosen` selects. The result has the tracks that it muted.
    ///
    /// # Errors
    /// [`ApiError::NoParticipant`]
    pub async fn mute_tracks(
        &self,
        room: String,
        identity: String,
        chosen: impl Fn(&proto::TrackInfo) -> bool + Send + 'static,
    ) -> Result<Vec<proto::TrackInfo>, ApiError> {
        self.shared.media.mute_tracks(room, identity, chosen).await
    }

    /// Sends a data message to participants of a room.
    ///
    /// # Errors
    /// [`ApiError::NoRoom`], [`ApiError::Nonce`]
    pub async fn send_data(&self, request: proto::SendDataRequest) -> Result<(), ApiError> {
        self.shared.send_data(request).await
    }
}

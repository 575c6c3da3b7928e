//! State of an engine that its handle, its HTTP server and its signalling connections share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use livekit_protocol as proto;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::clock::Now;
use crate::config::{Limits, RtcConfig};
use crate::decoded_memory::DecodedMemory;
use crate::error::{ApiError, check_update};
use crate::registry::rooms::Rooms;
use crate::services::Services;
use crate::session::{MediaEngine, OutgoingBudget};
use crate::work::Work;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) services: Arc<Services>,
    pub(crate) media: MediaEngine,
    /// Tasks of the signalling connections.
    pub(crate) signalling: TaskTracker,
    /// Whether one of the keys is the well-known development key.
    pub(crate) has_well_known_key: bool,
    pub(crate) limits: Limits,
    /// Permits for the bytes of large requests: one budget for requests with a valid token, one for all others.
    request_bytes: Arc<Semaphore>,
    unauthenticated_bytes: Arc<Semaphore>,
    /// Bytes of large responses that clients have not read yet.
    pub(crate) response_bytes: Arc<AtomicUsize>,
    /// Memory of clients' messages that are incomplete or not decoded yet.
    pub(crate) incomplete: Arc<Budget>,
    /// Memory of messages that are queued for clients.
    pub(crate) outgoing: Arc<OutgoingBudget>,
    /// Memory of decoded messages that are not handled yet.
    pub(crate) decoded_memory: Arc<DecodedMemory>,
    pub(crate) work: Work,
}

impl Shared {
    /// # Errors
    /// If the configured media port cannot be bound.
    pub(crate) fn new(
        services: Arc<Services>,
        rtc: RtcConfig,
        has_well_known_key: bool,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let limits = services.limits;
        Ok(Self {
            media: MediaEngine::new(services.clone(), rtc, stop)?,
            services,
            signalling: TaskTracker::new(),
            has_well_known_key,
            limits,
            request_bytes: Arc::new(Semaphore::new(limits.request_bytes)),
            unauthenticated_bytes: Arc::new(Semaphore::new(limits.request_bytes / 2)),
            response_bytes: Arc::default(),
            incomplete: Budget::new(limits.incomplete_bytes),
            outgoing: OutgoingBudget::new(limits.outgoing_bytes),
            decoded_memory: DecodedMemory::new(limits.decoded_bytes),
            work: Work::default(),
        })
    }

    /// See [`Services::rooms`].
    pub(crate) fn rooms<T>(&self, work: impl FnOnce(&mut Rooms, Now) -> T) -> T {
        self.services.rooms(work)
    }

    /// Reserves bytes for a large request; `None` if its budget is used up. Requests with and without a valid token have
    /// separate budgets.
    pub(crate) fn reserve(&self, bytes: usize, has_token: bool) -> Option<OwnedSemaphorePermit> {
        let memory = if has_token { &self.request_bytes } else { &self.unauthenticated_bytes };
        memory.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// Replaces a room's metadata, and sends it to the participants.
    pub(crate) async fn update_room_metadata(&self, name: &str, metadata: String) -> Result<proto::Room, ApiError> {
        let room = self.rooms(|rooms, now| rooms.update_metadata(name, metadata, now))?;
        self.media.broadcast_room_update(name).await;
        Ok(room.to_proto())
    }

    /// Changes a participant; see [`MediaEngine::update_participant`].
    pub(crate) async fn update_participant(
        &self,
        request: proto::UpdateParticipantRequest,
        permission: impl FnOnce(&mut proto::ParticipantPermission) + Send + 'static,
    ) -> Result<proto::ParticipantInfo, ApiError> {
        check_update(&request)?;
        self.media.update_participant(request, permission).await
    }

    /// Sends a data message to participants of a room.
    pub(crate) async fn send_data(&self, request: proto::SendDataRequest) -> Result<(), ApiError> {
        if !matches!(request.nonce.len(), 0 | 16) {
            return Err(ApiError::Nonce(request.nonce.len()));
        }
        if self.rooms(|rooms, now| rooms.get(&request.room, now).is_none()) {
            return Err(ApiError::NoRoom);
        }
        self.media.send_data(request).await;
        Ok(())
    }
}

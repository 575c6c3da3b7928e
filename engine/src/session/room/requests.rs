//! Requests of clients on their signalling connections.

use std::collections::HashSet;
use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as SignalRequest;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;
use proto::{CandidateProtocol, DisconnectReason};
use str0m::media::MediaKind;
use tracing::debug;

use crate::error::{ApiError, MAX_NAME_BYTES, check_attributes, check_metadata};
use crate::ids::SessionId;
use crate::session::removal::Removal;
use crate::session::room::participant::SimulatedResumeFailure;
use crate::session::room::{Context, Room};
use crate::sfu::layer_selector::TrackSettings;

/// First version of the signalling protocol whose clients understand a response of `OK`.
const MIN_PROTOCOL_WITH_OK: i32 = 15;
/// Maximum number of identities per room that are restricted to TCP; past it, further ones use UDP.
const MAX_TCP_ONLY: usize = 1024;
/// Feature in the response to data track requests.
const DATA_TRACKS: &str = "data tracks";
/// Level of a simulated speaker, from 0 to 1.
const SIMULATED_LEVEL: f32 = 0.9;

impl Room {
    /// Handles a client's request, or rejects it. `None` is a request of a newer protocol version, which cannot be decoded.
    #[expect(deprecated, reason = "older clients still tell their layers")]
    pub(crate) fn on_signal_request(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        request: Option<SignalRequest>,
    ) {
        let Some(request) = request else { return self.reject(id, 0, None, "this signal request") };
        match request {
            SignalRequest::Offer(offer) => self.on_offer(context, id, offer),
            SignalRequest::Answer(answer) => self.on_answer(context, id, &answer),
            SignalRequest::AddTrack(request) => self.add_track(context, id, request),
            SignalRequest::Mute(request) => self.mute_own(context, id, request),
            SignalRequest::Subscription(request) => self.subscribe(context, id, request),
            SignalRequest::TrackSetting(request) => self.update_track_settings(context, id, &request),
            SignalRequest::Leave(_) => {
                self.remove(context, id, Removal::without_leave(DisconnectReason::ClientInitiated));
            }
            SignalRequest::SubscriptionPermission(audience) => self.set_subscription_permission(context, id, audience),
            SignalRequest::SyncState(state) => self.sync(context, id, state),
            SignalRequest::UpdateMetadata(request) => self.update_own_metadata(context, id, request),
            SignalRequest::Ping(_) => self.pong(id, Message::Pong(context.now.unix_millis)),
            SignalRequest::PingReq(ping) => {
                let answer = proto::Pong { last_ping_timestamp: ping.timestamp, timestamp: context.now.unix_millis };
                self.pong(id, Message::PongResp(answer));
            }
            SignalRequest::Simulate(simulated) => self.simulate(context, id, simulated.scenario),
            SignalRequest::UpdateAudioTrack(request) => self.set_audio_features(context, id, request),
            SignalRequest::UpdateVideoTrack(request) => self.set_dimensions(context, id, &request),
            // Not needed: the engine is an ICE lite agent, and learns a client's addresses from its connectivity checks.
            SignalRequest::Trickle(_) => (),
            SignalRequest::UpdateLayers(_) => self.reject(id, 0, None, "changing the layers of a published track"),
            SignalRequest::PublishDataTrackRequest(proto::PublishDataTrackRequest { pub_handle, .. }) => {
                // The client matches the response by its handle.
                let request = proto::PublishDataTrackRequest { pub_handle, ..Default::default() };
                self.reject(id, 0, Some(Request::PublishDataTrack(request)), DATA_TRACKS);
            }
            SignalRequest::UnpublishDataTrackRequest(request) => {
                self.reject(id, 0, Some(Request::UnpublishDataTrack(request)), DATA_TRACKS);
            }
            SignalRequest::UpdateDataSubscription(_) => self.reject(id, 0, None, DATA_TRACKS),
            SignalRequest::StoreDataBlobRequest(proto::StoreDataBlobRequest { request_id, .. })
            | SignalRequest::GetDataBlobRequest(proto::GetDataBlobRequest { request_id, .. }) => {
                self.reject(id, request_id, None, "storing data blobs");
            }
        }
    }

    /// Rejects a request for a feature that the engine does not have. `request_id` is the client's id of it, or 0. `request` is
    /// repeated if the client needs it to match the response.
    fn reject(&mut self, id: SessionId, request_id: u32, request: Option<Request>, feature: &str) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let reason = Reason::UnsupportedType;
        debug!(
            participant = participant.info.identity,
            session = id,
            reason = reason.as_str_name(),
            "request rejected"
        );
        participant.send(Message::RequestResponse(proto::RequestResponse {
            request_id,
            reason: reason.into(),
            message: format!("{feature}: not supported by this server"),
            request,
        }));
    }

    fn pong(&mut self, id: SessionId, message: Message) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.send(message);
        }
    }

    /// Handles a client's subscription request.
    pub(crate) fn subscribe(&mut self, context: &mut Context<'_>, id: SessionId, request: proto::UpdateSubscription) {
        let named = request.participant_tracks.into_iter().flat_map(|tracks| tracks.track_sids);
        self.set_subscription(id, request.track_sids.into_iter().chain(named), request.subscribe);
        self.reconcile(context, id);
        self.negotiate(context, id);
    }

    /// Handles the client's state after a resume: its subscriptions and published tracks.
    pub(crate) fn sync(&mut self, context: &mut Context<'_>, id: SessionId, state: proto::SyncState) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mut published = state.publish_tracks.iter();
        if !published.all(|of| of.track.as_ref().is_some_and(|track| participant.track(&track.sid).is_some())) {
            // The message that has unpublished the track was lost.
            self.remove(context, id, Removal::failure("published track unknown"));
            return;
        }
        if let Some(request) = state.subscription {
            self.subscribe(context, id, request);
        }
        // Other settings are not part of the state and stay as they are.
        self.update_settings(id, &state.track_sids_disabled, TrackSettings::disable);
    }

    /// Handles a client's request to update its own name, metadata and attributes.
    fn update_own_metadata(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        request: proto::UpdateParticipantMetadata,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !participant.permission().can_update_metadata {
            let text = "does not have permission to update own metadata";
            participant.respond(request.request_id, Reason::NotAllowed, text, Request::UpdateMetadata(request));
            return;
        }
        let change = MetadataUpdate {
            name: request.name.clone(),
            metadata: request.metadata.clone(),
            attributes: request.attributes.clone(),
        };
        let outcome = self.update_metadata(context, id, change);
        if outcome.is_ok() {
            self.token_changed(context, id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let (reason, text) = match outcome {
            Err(ApiError::Name) => (Reason::LimitExceeded, "exceeds name length limit"),
            Err(ApiError::Metadata) => (Reason::LimitExceeded, "exceeds metadata size limit"),
            Err(_) => (Reason::LimitExceeded, "exceeds attributes size limit"),
            Ok(()) if participant.protocol < MIN_PROTOCOL_WITH_OK => return,
            Ok(()) => (Reason::Ok, ""),
        };
        participant.respond(request.request_id, reason, text, Request::UpdateMetadata(request));
    }

    /// Updates a participant's name, metadata or attributes. Empty values change nothing.
    pub(crate) fn update_metadata(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        change: MetadataUpdate,
    ) -> Result<(), ApiError> {
        let Some(participant) = self.participants.get_mut(&id) else { return Err(ApiError::NoParticipant) };
        if change.name.len() > MAX_NAME_BYTES {
            return Err(ApiError::Name);
        }
        check_metadata(&change.metadata)?;
        let mut attributes = participant.info.attributes.clone();
        attributes.extend(change.attributes);
        // An empty attribute value deletes the attribute.
        attributes.retain(|_, value| !value.is_empty());
        check_attributes(attributes.iter())?;
        participant.info.attributes = attributes;
        if !change.name.is_empty() {
            participant.info.name = change.name;
        }
        if !change.metadata.is_empty() {
            participant.info.metadata = change.metadata;
        }
        self.broadcast_participant(context, id, true);
        Ok(())
    }

    fn mute_own(&mut self, context: &mut Context<'_>, id: SessionId, request: proto::MuteTrackRequest) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.track(&request.sid).is_none() {
            participant.respond(0, Reason::NotFound, "", Request::Mute(request));
            return;
        }
        self.mute(context, id, &request.sid, request.muted);
    }

    fn set_audio_features(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        mut request: proto::UpdateLocalAudioTrack,
    ) {
        let mut seen = HashSet::new();
        // JSON signalling cannot encode unknown features.
        let is_known = |feature: &i32| proto::AudioTrackFeature::try_from(*feature).is_ok();
        request.features.retain(|feature| is_known(feature) && seen.insert(*feature));
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(track) = participant.track(&request.track_sid) else {
            participant.respond(0, Reason::NotFound, "", Request::UpdateAudioTrack(request));
            return;
        };
        if track.info.audio_features != request.features {
            track.info.audio_features = request.features;
            self.broadcast_participant(context, id, false);
        }
    }

    /// Handles new dimensions of a published video track.
    fn set_dimensions(&mut self, context: &mut Context<'_>, id: SessionId, request: &proto::UpdateLocalVideoTrack) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(track) = participant.track(&request.track_sid) else {
            participant.respond(0, Reason::NotFound, "", Request::UpdateVideoTrack(request.clone()));
            return;
        };
        let dimensions = (request.width, request.height);
        if track.kind == MediaKind::Video && (track.info.width, track.info.height) != dimensions {
            (track.info.width, track.info.height) = dimensions;
            self.broadcast_participant(context, id, false);
        }
    }

    /// Simulates a failure for a client, as livekit-server does.
    fn simulate(&mut self, context: &mut Context<'_>, id: SessionId, scenario: Option<Scenario>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        match scenario {
            Some(Scenario::SpeakerUpdate(secs)) => {
                let sid = participant.info.sid.clone();
                let until = context.io.now + Duration::from_secs(u64::try_from(secs).unwrap_or_default().min(60));
                self.router.speakers().simulate(participant.uplink(), SIMULATED_LEVEL, until);
                self.broadcast_speakers(&[(id, proto::SpeakerInfo { sid, level: SIMULATED_LEVEL, active: true })]);
            }
            // The client sees a server that no longer responds.
            Some(Scenario::Migration(_)) => {
                self.remove(context, id, Removal::without_leave(DisconnectReason::Migration));
            }
            Some(Scenario::NodeFailure(_)) => {
                self.remove(context, id, Removal::without_leave(DisconnectReason::ServerShutdown));
            }
            Some(Scenario::ServerLeave(_)) => {
                self.remove(context, id, Removal::disconnect(DisconnectReason::ServerShutdown));
            }
            // The client rejoins and is offered TCP candidates only: the nearest to TURN over TLS, which the engine does not
            // have.
            Some(Scenario::SwitchCandidateProtocol(protocol)) => {
                let identity = participant.info.identity.clone();
                if protocol == i32::from(CandidateProtocol::Udp) {
                    self.tcp_only.remove(&identity);
                } else if self.tcp_only.len() < MAX_TCP_ONLY {
                    self.tcp_only.insert(identity);
                }
                self.remove(context, id, Removal::full_reconnect(DisconnectReason::Migration));
            }
            Some(Scenario::DisconnectSignalOnResume(_)) => {
                participant.resume_failure = Some(SimulatedResumeFailure::AfterMessages);
            }
            Some(Scenario::DisconnectSignalOnResumeNoMessages(_)) => {
                participant.resume_failure = Some(SimulatedResumeFailure::BeforeMessages);
            }
            // Unsupported: the engine has no bandwidth estimation, and livekit-server ignores the other scenario, too.
            Some(Scenario::SubscriberBandwidth(_) | Scenario::LeaveRequestFullReconnect(_)) | None => {
                self.reject(id, 0, None, "this simulated scenario");
            }
        }
    }
}

/// Changes of a participant's name, metadata and attributes.
pub(crate) struct MetadataUpdate {
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) attributes: std::collections::HashMap<String, String>,
}

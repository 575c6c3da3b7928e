//! What clients say over their signalling connections.

use std::collections::HashSet;
use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as SignalRequest;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;
use proto::{CandidateProtocol, DisconnectReason};
use str0m::media::MediaKind;

use crate::error::{ApiError, MAX_NAME_BYTES, check_attributes, check_metadata};
use crate::ids::SessionId;
use crate::session::room::participant::BreaksResume;
use crate::session::room::{Context, Removal, Room};
use crate::sfu::layer_selector::TrackSettings;

/// From this version of the signalling on, clients understand an answer that is no refusal.
const MIN_PROTOCOL_WITH_OK: i32 = 15;
/// The most participants of a room who are remembered to want TCP.
const MAX_TCP_ONLY: usize = 1024;
/// What a rejected request for a data track asks for.
const DATA_TRACKS: &str = "data tracks";
/// How loud a simulated speaker is.
const SIMULATED_LEVEL: f32 = 0.9;

impl Room {
    /// Handles a client's request, or rejects it. `None` is a request of a newer protocol, which cannot be decoded.
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
                // The client finds the publication that it waits for by its handle.
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

    /// Rejects a request for a feature that the engine does not have. `request_id` is the client's number for it, or 0; `request`
    /// goes back where the client recognises it by that.
    fn reject(&mut self, id: SessionId, request_id: u32, request: Option<Request>, feature: &str) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.send(Message::RequestResponse(proto::RequestResponse {
            request_id,
            reason: Reason::UnsupportedType.into(),
            message: format!("{feature}: not supported by this server"),
            request,
        }));
    }

    fn pong(&mut self, id: SessionId, message: Message) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.send(message);
        }
    }

    /// Notes which tracks a participant wants.
    pub(crate) fn subscribe(&mut self, context: &mut Context<'_>, id: SessionId, request: proto::UpdateSubscription) {
        let named = request.participant_tracks.into_iter().flat_map(|tracks| tracks.track_sids);
        self.set_subscription(id, request.track_sids.into_iter().chain(named), request.subscribe);
        self.reconcile(context, id);
        self.negotiate(context, id);
    }

    /// After a resume: what the client has decided meanwhile, and what it believes to publish.
    pub(crate) fn sync(&mut self, context: &mut Context<'_>, id: SessionId, state: proto::SyncState) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mut published = state.publish_tracks.iter();
        if !published.all(|of| of.track.as_ref().is_some_and(|track| participant.track(&track.sid).is_some())) {
            // It was told that the track is taken away, and has not heard it.
            self.remove(context, id, Removal::full_reconnect(DisconnectReason::StateMismatch));
            return;
        }
        if let Some(request) = state.subscription {
            self.subscribe(context, id, request);
        }
        // Their quality is not part of the state: it stays as it is.
        self.update_settings(id, &state.track_sids_disabled, TrackSettings::disable);
    }

    /// Takes a participant's own name, metadata and attributes.
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

    /// Gives a participant a name, metadata or attributes; what is empty stays as it is.
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
        // An attribute is deleted by setting it to nothing.
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
        // JSON, which some clients read, has no word for unknown features.
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

    /// Takes the dimensions in which a client sends a video track by now.
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

    /// Lets a client see how it bears a fault, as livekit-server does.
    fn simulate(&mut self, context: &mut Context<'_>, id: SessionId, scenario: Option<Scenario>) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        match scenario {
            Some(Scenario::SpeakerUpdate(secs)) => {
                let sid = participant.info.sid.clone();
                let until = context.io.now + Duration::from_secs(u64::try_from(secs).unwrap_or_default().min(60));
                self.router.speakers().simulate(participant.uplink(), SIMULATED_LEVEL, until);
                self.broadcast_speakers(&[(id, proto::SpeakerInfo { sid, level: SIMULATED_LEVEL, active: true })]);
            }
            // The client finds the server silent, as if it had died.
            Some(Scenario::Migration(_)) => {
                self.remove(context, id, Removal::without_leave(DisconnectReason::Migration));
            }
            Some(Scenario::NodeFailure(_)) => {
                self.remove(context, id, Removal::without_leave(DisconnectReason::ServerShutdown));
            }
            Some(Scenario::ServerLeave(_)) => {
                self.remove(context, id, Removal::disconnect(DisconnectReason::ServerShutdown));
            }
            // It comes back, and is offered that way alone. There is no TURN over TLS here: TCP is the nearest.
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
                participant.breaks_resume = Some(BreaksResume::AfterMessages);
            }
            Some(Scenario::DisconnectSignalOnResumeNoMessages(_)) => {
                participant.breaks_resume = Some(BreaksResume::BeforeMessages);
            }
            // Nothing estimates bandwidth here, and livekit-server does not do the last one either.
            Some(Scenario::SubscriberBandwidth(_) | Scenario::LeaveRequestFullReconnect(_)) | None => {
                self.reject(id, 0, None, "this simulated scenario");
            }
        }
    }
}

/// What is to be changed about a participant.
pub(crate) struct MetadataUpdate {
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) attributes: std::collections::HashMap<String, String>,
}

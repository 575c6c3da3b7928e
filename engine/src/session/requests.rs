//! What clients say over their signalling connections.

use std::collections::HashSet;
use std::time::Duration;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as Asked;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;
use proto::{CandidateProtocol, DisconnectReason};
use str0m::media::MediaKind;

use crate::error::{MOST_NAME_BYTES, Refusal, check_attributes, check_metadata};
use crate::session::PeerId;
use crate::session::participant::BreaksResume;
use crate::session::room::{Context, Farewell, Room};
use crate::sfu::layer_selector::Wanted;

/// From this version of the signalling on, clients understand an answer that is no refusal.
const HEARS_OF_SUCCESS: i32 = 15;
/// The most participants of a room who are remembered to want TCP.
const MOST_OVER_TCP: usize = 1024;
/// What a rejected request for a data track asks for.
const DATA_TRACKS: &str = "data tracks";
/// How loud a simulated speaker is.
const SIMULATED_LEVEL: f32 = 0.9;

impl Room {
    /// Handles a client's request, or rejects it. `None` is a request of a newer protocol, which cannot be decoded.
    #[expect(deprecated, reason = "older clients still tell their layers")]
    pub(crate) fn asked(&mut self, context: &mut Context<'_>, id: PeerId, request: Option<Asked>) {
        let Some(request) = request else { return self.reject(id, 0, None, "this signal request") };
        match request {
            Asked::Offer(offer) => self.take_offer(context, id, offer),
            Asked::Answer(answer) => self.take_answer(context, id, &answer),
            Asked::AddTrack(request) => self.add_track(context, id, request),
            Asked::Mute(request) => self.mute_own(context, id, request),
            Asked::Subscription(request) => self.subscribe(context, id, request),
            Asked::TrackSetting(request) => self.set_tracks(context, id, &request),
            Asked::Leave(_) => self.remove(context, id, Farewell::silent(DisconnectReason::ClientInitiated)),
            Asked::SubscriptionPermission(audience) => self.set_audience(context, id, audience),
            Asked::SyncState(state) => self.sync(context, id, state),
            Asked::UpdateMetadata(request) => self.describe(context, id, request),
            Asked::Ping(_) => self.pong(id, Message::Pong(context.now.unix_millis)),
            Asked::PingReq(ping) => {
                let answer = proto::Pong { last_ping_timestamp: ping.timestamp, timestamp: context.now.unix_millis };
                self.pong(id, Message::PongResp(answer));
            }
            Asked::Simulate(simulated) => self.simulate(context, id, simulated.scenario),
            Asked::UpdateAudioTrack(request) => self.set_audio_features(context, id, request),
            Asked::UpdateVideoTrack(request) => self.set_dimensions(context, id, &request),
            // Not needed: the engine is an ICE lite agent, and learns a client's addresses from its connectivity checks.
            Asked::Trickle(_) => (),
            Asked::UpdateLayers(_) => self.reject(id, 0, None, "changing the layers of a published track"),
            Asked::PublishDataTrackRequest(proto::PublishDataTrackRequest { pub_handle, .. }) => {
                // The client finds the publication that it waits for by its handle.
                let request = proto::PublishDataTrackRequest { pub_handle, ..Default::default() };
                self.reject(id, 0, Some(Request::PublishDataTrack(request)), DATA_TRACKS);
            }
            Asked::UnpublishDataTrackRequest(request) => {
                self.reject(id, 0, Some(Request::UnpublishDataTrack(request)), DATA_TRACKS);
            }
            Asked::UpdateDataSubscription(_) => self.reject(id, 0, None, DATA_TRACKS),
            Asked::StoreDataBlobRequest(proto::StoreDataBlobRequest { request_id, .. })
            | Asked::GetDataBlobRequest(proto::GetDataBlobRequest { request_id, .. }) => {
                self.reject(id, request_id, None, "storing data blobs");
            }
        }
    }

    /// Rejects a request for a feature that the engine does not have. `request_id` is the client's number for it, or 0; `request`
    /// goes back where the client recognises it by that.
    fn reject(&mut self, id: PeerId, request_id: u32, request: Option<Request>, feature: &str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.send(Message::RequestResponse(proto::RequestResponse {
            request_id,
            reason: Reason::UnsupportedType.into(),
            message: format!("{feature}: not supported by this server"),
            request,
        }));
    }

    fn pong(&mut self, id: PeerId, message: Message) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.send(message);
        }
    }

    /// Notes which tracks a participant wants.
    pub(crate) fn subscribe(&mut self, context: &mut Context<'_>, id: PeerId, request: proto::UpdateSubscription) {
        let named = request.participant_tracks.into_iter().flat_map(|tracks| tracks.track_sids);
        self.choose(id, request.track_sids.into_iter().chain(named), request.subscribe);
        self.reconcile(context, id);
        self.negotiate(context, id);
    }

    /// After a resume: what the client has decided meanwhile, and what it believes to publish.
    pub(crate) fn sync(&mut self, context: &mut Context<'_>, id: PeerId, state: proto::SyncState) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut published = state.publish_tracks.iter();
        if !published.all(|of| of.track.as_ref().is_some_and(|track| peer.track(&track.sid).is_some())) {
            // It was told that the track is taken away, and has not heard it.
            self.remove(context, id, Farewell::to_rejoin(DisconnectReason::StateMismatch));
            return;
        }
        if let Some(request) = state.subscription {
            self.subscribe(context, id, request);
        }
        // Their quality is not part of the state: it stays as it is.
        self.change_settings(id, &state.track_sids_disabled, Wanted::disable);
    }

    /// Takes a participant's own name, metadata and attributes.
    fn describe(&mut self, context: &mut Context<'_>, id: PeerId, request: proto::UpdateParticipantMetadata) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.permission().can_update_metadata {
            let text = "does not have permission to update own metadata";
            peer.respond(request.request_id, Reason::NotAllowed, text, Request::UpdateMetadata(request));
            return;
        }
        let change = Description {
            name: request.name.clone(),
            metadata: request.metadata.clone(),
            attributes: request.attributes.clone(),
        };
        let outcome = self.set_description(context, id, change);
        if outcome.is_ok() {
            self.token_changed(context, id);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (reason, text) = match outcome {
            Err(Refusal::Name) => (Reason::LimitExceeded, "exceeds name length limit"),
            Err(Refusal::Metadata) => (Reason::LimitExceeded, "exceeds metadata size limit"),
            Err(_) => (Reason::LimitExceeded, "exceeds attributes size limit"),
            Ok(()) if peer.protocol < HEARS_OF_SUCCESS => return,
            Ok(()) => (Reason::Ok, ""),
        };
        peer.respond(request.request_id, reason, text, Request::UpdateMetadata(request));
    }

    /// Gives a participant a name, metadata or attributes; what is empty stays as it is.
    pub(crate) fn set_description(
        &mut self,
        context: &mut Context<'_>,
        id: PeerId,
        change: Description,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get_mut(&id) else { return Err(Refusal::NoParticipant) };
        if change.name.len() > MOST_NAME_BYTES {
            return Err(Refusal::Name);
        }
        check_metadata(&change.metadata)?;
        let mut attributes = peer.info.attributes.clone();
        attributes.extend(change.attributes);
        // An attribute is deleted by setting it to nothing.
        attributes.retain(|_, value| !value.is_empty());
        check_attributes(attributes.iter())?;
        peer.info.attributes = attributes;
        if !change.name.is_empty() {
            peer.info.name = change.name;
        }
        if !change.metadata.is_empty() {
            peer.info.metadata = change.metadata;
        }
        self.announce(context, id, true);
        Ok(())
    }

    fn mute_own(&mut self, context: &mut Context<'_>, id: PeerId, request: proto::MuteTrackRequest) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.track(&request.sid).is_none() {
            peer.respond(0, Reason::NotFound, "", Request::Mute(request));
            return;
        }
        self.mute(context, id, &request.sid, request.muted);
    }

    fn set_audio_features(&mut self, context: &mut Context<'_>, id: PeerId, mut request: proto::UpdateLocalAudioTrack) {
        let mut seen = HashSet::new();
        // JSON, which some clients read, has no word for unknown features.
        let is_known = |feature: &i32| proto::AudioTrackFeature::try_from(*feature).is_ok();
        request.features.retain(|feature| is_known(feature) && seen.insert(*feature));
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(track) = peer.track(&request.track_sid) else {
            peer.respond(0, Reason::NotFound, "", Request::UpdateAudioTrack(request));
            return;
        };
        if track.info.audio_features != request.features {
            track.info.audio_features = request.features;
            self.announce(context, id, false);
        }
    }

    /// Takes the dimensions in which a client sends a video track by now.
    fn set_dimensions(&mut self, context: &mut Context<'_>, id: PeerId, request: &proto::UpdateLocalVideoTrack) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(track) = peer.track(&request.track_sid) else {
            peer.respond(0, Reason::NotFound, "", Request::UpdateVideoTrack(request.clone()));
            return;
        };
        let dimensions = (request.width, request.height);
        if track.kind == MediaKind::Video && (track.info.width, track.info.height) != dimensions {
            (track.info.width, track.info.height) = dimensions;
            self.announce(context, id, false);
        }
    }

    /// Lets a client see how it bears a fault, as livekit-server does.
    fn simulate(&mut self, context: &mut Context<'_>, id: PeerId, scenario: Option<Scenario>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match scenario {
            Some(Scenario::SpeakerUpdate(secs)) => {
                let sid = peer.info.sid.clone();
                let until = context.io.now + Duration::from_secs(u64::try_from(secs).unwrap_or_default().min(60));
                self.speakers.simulate(id, SIMULATED_LEVEL, until);
                self.tell_of_speakers(&[(id, proto::SpeakerInfo { sid, level: SIMULATED_LEVEL, active: true })]);
            }
            // The client finds the server silent, as if it had died.
            Some(Scenario::Migration(_)) => self.remove(context, id, Farewell::silent(DisconnectReason::Migration)),
            Some(Scenario::NodeFailure(_)) => {
                self.remove(context, id, Farewell::silent(DisconnectReason::ServerShutdown));
            }
            Some(Scenario::ServerLeave(_)) => {
                self.remove(context, id, Farewell::for_good(DisconnectReason::ServerShutdown));
            }
            // It comes back, and is offered that way alone. There is no TURN over TLS here: TCP is the nearest.
            Some(Scenario::SwitchCandidateProtocol(protocol)) => {
                let identity = peer.info.identity.clone();
                if protocol == i32::from(CandidateProtocol::Udp) {
                    self.over_tcp.remove(&identity);
                } else if self.over_tcp.len() < MOST_OVER_TCP {
                    self.over_tcp.insert(identity);
                }
                self.remove(context, id, Farewell::to_rejoin(DisconnectReason::Migration));
            }
            Some(Scenario::DisconnectSignalOnResume(_)) => peer.breaks_resume = Some(BreaksResume::AfterMessages),
            Some(Scenario::DisconnectSignalOnResumeNoMessages(_)) => {
                peer.breaks_resume = Some(BreaksResume::BeforeMessages);
            }
            // Nothing estimates bandwidth here, and livekit-server does not do the last one either.
            Some(Scenario::SubscriberBandwidth(_) | Scenario::LeaveRequestFullReconnect(_)) | None => {
                self.reject(id, 0, None, "this simulated scenario");
            }
        }
    }
}

/// What is to be changed about a participant.
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) attributes: std::collections::HashMap<String, String>,
}

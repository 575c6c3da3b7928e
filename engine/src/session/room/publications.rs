//! Publishing, unpublishing and muting tracks.

use livekit_protocol as proto;
use proto::TrackType;
use proto::request_response::{Reason, Request};
use proto::signal_response::Message;
use tracing::debug;

use crate::ids::SessionId;
use crate::session::permissions::may_publish;
use crate::session::publications::{Track, is_too_large, keep_known, make_room};
use crate::session::room::participant::Participant;
use crate::session::room::{Context, Room};

/// Maximum number of tracks of a participant; past it, requests for further ones are rejected.
const MAX_TRACKS: usize = 64;
/// Maximum size in bytes of a request that the response echoes; for a larger one it has only the request id.
const MAX_ECHO_BYTES: usize = 4096;

impl Room {
    /// Handles a request to publish a track.
    pub(crate) fn add_track(&mut self, context: &mut Context<'_>, id: SessionId, mut request: proto::AddTrackRequest) {
        keep_known(&mut request);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !may_publish(participant.permission(), request.source) {
            participant.respond(0, Reason::NotAllowed, "", Request::AddTrack(request));
            return;
        }
        if !matches!(TrackType::try_from(request.r#type), Ok(TrackType::Audio | TrackType::Video)) {
            participant.respond(0, Reason::UnsupportedType, "", Request::AddTrack(request));
            return;
        }
        if participant.tracks.len() >= MAX_TRACKS || is_too_large(&request) {
            participant.respond(
                0,
                Reason::LimitExceeded,
                "too many tracks, or one of too long a name or list",
                Request::AddTrack(request),
            );
            return;
        }
        if !request.sid.is_empty() && participant.track(&request.sid).is_none() {
            participant.respond(0, Reason::NotFound, "", Request::AddTrack(request));
            return;
        }
        let cid = request.cid.clone();
        // A repeated request gets the same track. A second codec is published only at the server's request, which the engine
        // never makes.
        let known = participant.tracks.iter().find(|track| track.info.sid == request.sid || track.is_pending(&cid));
        let info = if let Some(known) = known {
            known.info.clone()
        } else {
            let now = context.io.now;
            let Some(removed) = make_room(&mut participant.tracks, now) else {
                participant.respond(0, Reason::LimitExceeded, "too many pending tracks", Request::AddTrack(request));
                return;
            };
            for track_sid in removed {
                participant.send(Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid }));
            }
            let track = Track::new(request, context.services.next_id(), participant.configuration.as_ref(), now);
            let info = track.info.clone();
            participant.tracks.push(track);
            info
        };
        participant.send(Message::TrackPublished(proto::TrackPublishedResponse { cid, track: Some(info) }));
    }

    /// Publishes the tracks that the client sends by now.
    pub(crate) fn publish(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let mut is_new = false;
        for track in participant.tracks.iter_mut().filter(|track| track.mid.is_some() && !track.is_published) {
            track.is_published = true;
            is_new = true;
            let (participant, sid, track) = (&participant.info.identity, &track.info.sid, track.id);
            debug!(room = self.name, participant, session = id, sid, track, "track published");
        }
        if is_new {
            self.broadcast_participant(context, id, false);
            self.reconcile_all(context);
        }
    }

    /// Unpublishes tracks; `notify_client` if the client does not know yet.
    pub(crate) fn unpublish(&mut self, context: &mut Context<'_>, id: SessionId, sids: &[String], notify_client: bool) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if sids.is_empty() {
            return;
        }
        for track in participant.tracks.extract_if(.., |track| sids.contains(&track.info.sid)) {
            self.router.unpublish(track.id);
            let (participant, sid, track) = (&participant.info.identity, &track.info.sid, track.id);
            debug!(room = self.name, participant, session = id, sid, track, "track unpublished");
        }
        if notify_client {
            for track_sid in sids.iter().cloned() {
                participant.send(Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid }));
            }
        }
        self.broadcast_participant(context, id, false);
        self.reconcile_all(context);
    }

    /// The state of a participant's track.
    pub(crate) fn track_info(&self, id: SessionId, sid: &str) -> Option<proto::TrackInfo> {
        let tracks = &self.participants.get(&id)?.tracks;
        tracks.iter().find(|track| track.info.sid == sid).map(|track| track.info.clone())
    }

    /// Mutes a track for the server API. The client is requested to mute it as well.
    pub(crate) fn mute_remotely(&mut self, context: &mut Context<'_>, id: SessionId, sid: &str) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.send(Message::Mute(proto::MuteTrackRequest { sid: sid.to_owned(), muted: true }));
        }
        self.mute(context, id, sid, true);
    }

    /// Mutes or unmutes a track.
    pub(crate) fn mute(&mut self, context: &mut Context<'_>, id: SessionId, sid: &str, is_muted: bool) {
        let Some(track) = self.participants.get_mut(&id).and_then(|participant| participant.track(sid)) else { return };
        if track.info.muted != is_muted {
            track.info.muted = is_muted;
            let track = track.id;
            self.broadcast_participant(context, id, false);
            self.router.set_muted(&mut context.io, &mut self.connections, track, is_muted);
        }
    }
}

impl Participant {
    /// Sends the outcome of a request.
    pub(crate) fn respond(&mut self, request_id: u32, reason: Reason, message: &str, request: Request) {
        if reason != Reason::Ok {
            let (participant, reason) = (&self.info.identity, reason.as_str_name());
            debug!(participant, session = self.id, reason, "request rejected");
        }
        self.send(Message::RequestResponse(proto::RequestResponse {
            request_id,
            reason: reason.into(),
            message: message.to_owned(),
            // Clients match it by the id. Repeating a long request would use up the memory for outgoing messages.
            request: (request.encoded_len() <= MAX_ECHO_BYTES).then_some(request),
        }));
    }
}

//! A participant's subscription to a track.

use std::time::Instant;

use str0m::media::{MediaKind, Mid};

use crate::ids::{PeerConnectionId, SessionId, StreamId, TrackId};
use crate::net::sdp::SectionRole;
use crate::session::publications::Track;
use crate::sfu::down_track::DownTrack;
use crate::sfu::fillers::{Filler, FillerFormat};
use crate::sfu::layer_selector::TrackSettings;

/// A track that a participant is sent.
pub(crate) struct Subscription {
    pub(crate) track: TrackId,
    pub(crate) track_sid: String,
    pub(crate) publisher: SessionId,
    publisher_sid: String,
    /// The section that the track is sent on, once there is one.
    pub(crate) mid: Option<Mid>,
    /// Whether the client knows the section.
    pub(crate) is_ready: bool,
    kind: MediaKind,
    /// Whether the client may report lost packets of Opus.
    has_nack: bool,
    /// Set if the client needs a first packet.
    filler: Option<FillerFormat>,
}

impl Subscription {
    /// A subscription to a publisher's track. With `has_nack`, lost packets are retransmitted; with `needs_filler`, fillers are sent
    /// until the track's first packet.
    pub(crate) fn new(
        (publisher, publisher_sid): (SessionId, String),
        track: &Track,
        has_nack: bool,
        needs_filler: bool,
    ) -> Self {
        Self {
            track: track.id,
            track_sid: track.info.sid.clone(),
            publisher,
            publisher_sid,
            mid: None,
            is_ready: false,
            kind: track.kind,
            has_nack,
            filler: needs_filler.then(|| FillerFormat::of(&track.info.mime_type)).flatten(),
        }
    }

    pub(crate) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// The track as it is forwarded on the participant's connection; `None` while it has no section.
    pub(crate) fn down_track(
        &self,
        connection: PeerConnectionId,
        settings: TrackSettings,
        sif_trailer: [u8; 16],
        now: Instant,
    ) -> Option<DownTrack> {
        let destination = StreamId { connection, mid: self.mid? };
        let filler = self.filler.map(|format| Filler::new(format, sif_trailer, now));
        Some(DownTrack::new(destination, self.kind, self.has_nack, settings).with_filler(filler))
    }

    /// The stream id, from which clients derive the publisher and the track.
    pub(crate) fn stream(&self) -> String {
        format!("{}|{}", self.publisher_sid, self.track_sid)
    }

    pub(crate) fn role(&self) -> SectionRole {
        SectionRole::Sends { stream: self.stream(), track: self.track_sid.clone(), nack: self.has_nack }
    }
}

//! Tracks that participants publish.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::{TrackSource, TrackType};
use str0m::media::{MediaKind, Mid, Rid};

use crate::ids::TrackId;
use crate::ids::new_sid;
use crate::net::sdp::{MediaSection, PendingTrack, SectionRole};
use crate::session::client_configuration;
use crate::sfu::layer_selector::{AnnouncedLayer, RIDS};
use crate::sfu::up_track::UpTrack;

/// Maximum number of a participant's pending tracks: requested and not sent yet, as in livekit-server. Past it, pending tracks
/// older than [`PUBLISH_TIMEOUT`] are removed; if there are none, the request is rejected.
const MAX_PENDING_TRACKS: usize = 20;
/// Time after which a pending track makes room for another one.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum bytes of a track's names together; past it, the request is rejected.
const MAX_NAME_BYTES: usize = 1024;
/// Maximum number of layers, codecs and features of a track together; past it, the request is rejected.
const MAX_ITEMS: usize = 32;

/// Codecs for publishing: those that str0m can negotiate. The most common video codec comes first, because clients use the first
/// one as backup codec and Flutter 2.4.2 expects no audio codec there.
const CODECS: [&str; 6] = ["video/VP8", "video/H264", "video/VP9", "video/AV1", "audio/opus", "audio/red"];

/// The codecs that a client with this configuration may publish in.
pub(crate) fn codecs(configuration: Option<&proto::ClientConfiguration>) -> Vec<proto::Codec> {
    let codec = |mime: &str| proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() };
    CODECS.into_iter().filter(|mime| client_configuration::may_publish(configuration, mime)).map(codec).collect()
}

pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) info: proto::TrackInfo,
    /// The client's id of the track.
    cid: String,
    /// The codec that the client has requested.
    codec: Option<String>,
    pub(crate) kind: MediaKind,
    /// The section that the track arrives on, once the client has offered one.
    pub(crate) mid: Option<Mid>,
    requested_at: Instant,
    /// Whether the track is visible to others.
    pub(crate) is_published: bool,
    /// Whether the publisher was sent `TrackSubscribed`.
    pub(crate) subscribed_notified: bool,
}

impl Track {
    #[expect(deprecated, reason = "clients read and write the older fields, too")]
    pub(crate) fn new(
        request: proto::AddTrackRequest,
        id: TrackId,
        configuration: Option<&proto::ClientConfiguration>,
        requested_at: Instant,
    ) -> Self {
        let kind = if request.r#type() == TrackType::Video { MediaKind::Video } else { MediaKind::Audio };
        let requested = request.simulcast_codecs.first();
        let codec = requested.map(|requested| requested.codec.clone()).filter(|codec| !codec.is_empty());
        let codec = codec.map(|codec| {
            let is_allowed = client_configuration::may_publish(configuration, &mime(kind, Some(&codec)));
            if is_allowed { codec } else { mime(kind, None) }
        });
        let mime_type = mime(kind, codec.as_deref());
        let layers = requested.map(|requested| requested.layers.clone()).filter(|layers| !layers.is_empty());
        let mut layers = layers.unwrap_or(request.layers);
        let has_rids = matches!(mime_type.as_str(), "video/VP8" | "video/H264");
        name_layers(&mut layers, has_rids);
        let info = proto::TrackInfo {
            sid: new_sid(prefix(kind, request.source)),
            r#type: request.r#type,
            name: request.name,
            muted: request.muted,
            width: request.width,
            height: request.height,
            simulcast: layers.len() > 1 && has_rids,
            disable_dtx: request.disable_dtx,
            source: request.source,
            layers: layers.clone(),
            mime_type: mime_type.clone(),
            codecs: vec![proto::SimulcastCodecInfo {
                mime_type,
                cid: request.cid.clone(),
                layers: layers.clone(),
                ..Default::default()
            }],
            stereo: request.stereo,
            disable_red: request.disable_red,
            encryption: request.encryption,
            stream: stream(request.stream, request.source),
            audio_features: request.audio_features,
            packet_trailer_features: request.packet_trailer_features,
            backup_codec_policy: request.backup_codec_policy,
            ..proto::TrackInfo::default()
        };
        Self {
            id,
            info,
            cid: request.cid,
            codec,
            kind,
            mid: None,
            requested_at,
            is_published: false,
            subscribed_notified: false,
        }
    }

    /// Whether this is the pending track that the client has requested as `cid`.
    pub(crate) fn is_pending(&self, cid: &str) -> bool {
        self.cid == cid && self.mid.is_none()
    }

    pub(crate) fn pending(&self) -> PendingTrack<'_> {
        PendingTrack { cid: &self.cid, kind: self.kind }
    }

    /// Assigns the section that the track arrives on. `has_redundant_audio`: whether the connection has negotiated RED.
    pub(crate) fn bind_mid(&mut self, mid: Mid, has_redundant_audio: bool) {
        self.mid = Some(mid);
        self.info.mid = mid.to_string();
        self.info.codecs.iter_mut().for_each(|codec| codec.mid = mid.to_string());
        if self.kind == MediaKind::Audio {
            let is_redundant = has_redundant_audio && !self.info.disable_red;
            let mime_type = if is_redundant { "audio/red" } else { "audio/opus" };
            mime_type.clone_into(&mut self.info.mime_type);
            self.info.codecs.iter_mut().for_each(|codec| mime_type.clone_into(&mut codec.mime_type));
        }
    }

    /// The track for the router, with the layers that its section declares.
    #[expect(deprecated, reason = "clients read and write the older fields, too")]
    pub(crate) fn up_track(&self, rids: &[Rid]) -> UpTrack {
        let announced = self.info.layers.iter().map(|layer| AnnouncedLayer {
            rid: &layer.rid,
            quality: layer.quality,
            height: layer.height,
        });
        UpTrack::new(self.kind, self.info.muted, &announced.collect::<Vec<_>>(), rids)
    }

    /// Whether an offer no longer sends the track.
    pub(crate) fn is_unpublished(&self, sections: &[MediaSection]) -> bool {
        self.mid.is_some_and(|mid| !sections.iter().any(|section| section.mid == mid && section.sends()))
    }

    #[expect(deprecated, reason = "the newer list of features does not contain what the client has requested")]
    pub(crate) fn role(&self) -> SectionRole {
        let (dtx, stereo) = (!self.info.disable_dtx, self.info.stereo);
        let codec = match self.kind {
            MediaKind::Audio => Some(if self.info.disable_red { "opus" } else { "red" }.to_owned()),
            MediaKind::Video => self.codec.clone(),
        };
        SectionRole::Receives { codec, dtx, stereo }
    }
}

fn prefix(kind: MediaKind, source: i32) -> &'static str {
    match (kind, TrackSource::try_from(source)) {
        (MediaKind::Audio, Ok(TrackSource::ScreenShareAudio)) => "TR_AS",
        (MediaKind::Audio, _) => "TR_AM",
        (MediaKind::Video, Ok(TrackSource::ScreenShare)) => "TR_VS",
        (MediaKind::Video, _) => "TR_VC",
    }
}

/// Sorts the layers of a track, and names those of a simulcast one.
fn name_layers(layers: &mut [proto::VideoLayer], is_simulcast: bool) {
    layers.sort_by_key(|layer| layer.quality);
    if is_simulcast && layers.len() > 1 {
        layers.iter_mut().zip(RIDS).for_each(|(layer, rid)| rid.clone_into(&mut layer.rid));
    }
}

/// Drops unknown enum values, because JSON signalling cannot encode them. The track type is validated separately.
pub(crate) fn keep_known(request: &mut proto::AddTrackRequest) {
    request.set_source(request.source());
    request.set_encryption(request.encryption());
    request.set_backup_codec_policy(request.backup_codec_policy());
    request.audio_features.retain(|feature| proto::AudioTrackFeature::try_from(*feature).is_ok());
    // Subscribers read the trailer only if each feature is announced exactly once.
    let features = &mut request.packet_trailer_features;
    features.retain(|feature| proto::PacketTrailerFeature::try_from(*feature).is_ok());
    features.sort_unstable();
    features.dedup();
    let of_codecs = request.simulcast_codecs.iter_mut().flat_map(|codec| &mut codec.layers);
    request.layers.iter_mut().chain(of_codecs).for_each(|layer| layer.set_quality(layer.quality()));
}

pub(crate) fn is_too_large(request: &proto::AddTrackRequest) -> bool {
    let codecs = &request.simulcast_codecs;
    let names = [&request.cid, &request.name, &request.stream].map(String::len).iter().sum::<usize>()
        + codecs.iter().map(|codec| codec.codec.len() + codec.cid.len()).sum::<usize>();
    let items = codecs.iter().map(|codec| 1 + codec.layers.len()).sum::<usize>()
        + request.layers.len()
        + request.audio_features.len()
        + request.packet_trailer_features.len();
    names > MAX_NAME_BYTES || items > MAX_ITEMS
}

/// The stream of a track. Clients synchronize the tracks of one stream.
fn stream(requested: String, source: i32) -> String {
    if !requested.is_empty() {
        return requested;
    }
    match TrackSource::try_from(source) {
        Ok(TrackSource::Camera | TrackSource::Microphone) => "camera".to_owned(),
        Ok(TrackSource::ScreenShare | TrackSource::ScreenShareAudio) => "screen_share".to_owned(),
        _ => String::new(),
    }
}

/// The MIME type of a codec that clients name in short, such as `vp9`.
fn mime(kind: MediaKind, codec: Option<&str>) -> String {
    let standard = if kind == MediaKind::Audio { "audio/opus" } else { "video/VP8" };
    let name = |mime: &str| mime.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let requested = codec.map(name);
    CODECS.into_iter().find(|known| requested.as_ref() == Some(&name(known))).unwrap_or(standard).to_owned()
}

/// Makes room for one more pending track. Returns the `sid`s of the tracks that are removed for it, or `None` if there is no
/// room.
pub(crate) fn make_room(tracks: &mut Vec<Track>, now: Instant) -> Option<Vec<String>> {
    if tracks.iter().filter(|track| track.mid.is_none()).count() < MAX_PENDING_TRACKS {
        return Some(Vec::new());
    }
    let is_late = |track: &mut Track| {
        let age = now.saturating_duration_since(track.requested_at);
        track.mid.is_none() && !track.info.muted && age >= PUBLISH_TIMEOUT
    };
    let removed: Vec<String> = tracks.extract_if(.., is_late).map(|track| track.info.sid).collect();
    (!removed.is_empty()).then_some(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_late_unmuted_pending_tracks_for_a_new_one() {
        let start = Instant::now();
        let pending = |index: usize, muted: bool| {
            let request = proto::AddTrackRequest { muted, ..proto::AddTrackRequest::default() };
            Track::new(request, u64::try_from(index).unwrap(), None, start)
        };
        let mut tracks: Vec<Track> = (1..MAX_PENDING_TRACKS).map(|index| pending(index, index != 3)).collect();
        assert_eq!(make_room(&mut tracks, start + PUBLISH_TIMEOUT), Some(Vec::new()));
        tracks.push(pending(0, true));
        assert_eq!(make_room(&mut tracks, start), None);
        let late = tracks[2].info.sid.clone();
        assert_eq!(make_room(&mut tracks, start + PUBLISH_TIMEOUT), Some(vec![late]));
        assert_eq!(tracks.len(), MAX_PENDING_TRACKS - 1);
    }

    #[test]
    fn counts_no_sent_track_as_pending() {
        let now = Instant::now();
        let mut tracks: Vec<Track> =
            (0..20).map(|id| Track::new(proto::AddTrackRequest::default(), id, None, now)).collect();
        for track in &mut tracks {
            track.mid = Some(Mid::from("0"));
        }
        assert_eq!(make_room(&mut tracks, now), Some(Vec::new()));
    }
}

//! The tracks that participants publish.

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

/// Maximum number of tracks of one participant that are requested and not sent yet, as livekit-server has it. Past it, those are
/// removed that were requested [`PUBLISH_TIMEOUT`] ago; if there are none, the request is rejected.
const MAX_PENDING_TRACKS: usize = 20;
/// Time for a client to send a track that it has requested, as far as others wait for its place.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a track's names.
const MAX_NAME_BYTES: usize = 1024;
/// The most layers, codecs or features of a track.
const MAX_ITEMS: usize = 32;

/// What clients may publish in: what str0m can negotiate. Video comes first, the most common codec in front, because clients take
/// their backup codec from the front and Flutter's 2.4.2 expects no audio there.
const CODECS: [&str; 6] = ["video/VP8", "video/H264", "video/VP9", "video/AV1", "audio/opus", "audio/red"];

/// The codecs that a client with that configuration may publish in.
pub(crate) fn codecs(configuration: Option<&proto::ClientConfiguration>) -> Vec<proto::Codec> {
    let codec = |mime: &str| proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() };
    CODECS.into_iter().filter(|mime| client_configuration::may_publish(configuration, mime)).map(codec).collect()
}

pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) info: proto::TrackInfo,
    /// The client's own name for it.
    cid: String,
    /// The codec that the client has asked for.
    codec: Option<String>,
    pub(crate) kind: MediaKind,
    /// The section that it comes by, once the client has offered one.
    pub(crate) mid: Option<Mid>,
    requested_at: Instant,
    /// Whether the others see it.
    pub(crate) is_published: bool,
    /// Whether its publisher was told that somebody receives it.
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
        let asked = request.simulcast_codecs.first();
        let codec = asked.map(|asked| asked.codec.clone()).filter(|codec| !codec.is_empty());
        let codec = codec.map(|codec| {
            let is_allowed = client_configuration::may_publish(configuration, &mime(kind, Some(&codec)));
            if is_allowed { codec } else { mime(kind, None) }
        });
        let mime_type = mime(kind, codec.as_deref());
        let layers = asked.map(|asked| asked.layers.clone()).filter(|layers| !layers.is_empty());
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

    /// Whether this is the track that the client requests as `cid` and does not send yet.
    pub(crate) fn is_pending(&self, cid: &str) -> bool {
        self.cid == cid && self.mid.is_none()
    }

    pub(crate) fn pending(&self) -> PendingTrack<'_> {
        PendingTrack { cid: &self.cid, kind: self.kind }
    }

    /// Notes by which section it arrives, on a connection that may have redundant audio.
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

    /// The track as it arrives by its section, in layers with those rids.
    #[expect(deprecated, reason = "clients read and write the older fields, too")]
    pub(crate) fn up_track(&self, rids: &[Rid]) -> UpTrack {
        let announced = self.info.layers.iter().map(|layer| AnnouncedLayer {
            rid: &layer.rid,
            quality: layer.quality,
            height: layer.height,
        });
        UpTrack::new(self.kind, self.info.muted, &announced.collect::<Vec<_>>(), rids)
    }

    /// Whether the client sends it no more.
    pub(crate) fn is_unpublished(&self, sections: &[MediaSection]) -> bool {
        self.mid.is_some_and(|mid| !sections.iter().any(|section| section.mid == mid && section.sends()))
    }

    #[expect(deprecated, reason = "the newer list of features does not tell what a client has asked for")]
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

/// Leaves out what no enumeration has: JSON, which some clients read, has no word for it. The type is checked for itself.
pub(crate) fn keep_known(request: &mut proto::AddTrackRequest) {
    request.set_source(request.source());
    request.set_encryption(request.encryption());
    request.set_backup_codec_policy(request.backup_codec_policy());
    request.audio_features.retain(|feature| proto::AudioTrackFeature::try_from(*feature).is_ok());
    // Subscribers read the trailer only if each of its features is announced to them, once.
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

/// What belongs together is played together.
fn stream(asked: String, source: i32) -> String {
    if !asked.is_empty() {
        return asked;
    }
    match TrackSource::try_from(source) {
        Ok(TrackSource::Camera | TrackSource::Microphone) => "camera".to_owned(),
        Ok(TrackSource::ScreenShare | TrackSource::ScreenShareAudio) => "screen_share".to_owned(),
        _ => String::new(),
    }
}

/// The type of a codec as clients name it, such as `vp9`.
fn mime(kind: MediaKind, codec: Option<&str>) -> String {
    let standard = if kind == MediaKind::Audio { "audio/opus" } else { "video/VP8" };
    let name = |mime: &str| mime.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let asked = codec.map(name);
    CODECS.into_iter().find(|known| asked.as_ref() == Some(&name(known))).unwrap_or(standard).to_owned()
}

/// Makes room for one more pending track, and returns the `sid`s of those that are removed for that. `None` if there is no room.
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
    fn a_pending_track_that_is_late_and_not_muted_makes_room_for_another() {
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
    fn tracks_that_are_sent_are_not_pending() {
        let now = Instant::now();
        let mut tracks: Vec<Track> =
            (0..20).map(|id| Track::new(proto::AddTrackRequest::default(), id, None, now)).collect();
        for track in &mut tracks {
            track.mid = Some(Mid::from("0"));
        }
        assert_eq!(make_room(&mut tracks, now), Some(Vec::new()));
    }
}

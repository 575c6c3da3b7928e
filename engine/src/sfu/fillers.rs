//! Packets that stand in for a track that sends none, such as a muted one. Clients on Pion report a subscribed track when its first
//! packet arrives, so that without them they never learn of it. livekit-server sends the same to the same clients.

use std::time::Duration;

use str0m::format::{Codec, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt};

use crate::net::peer_connection::PeerConnection;

/// Time for which stand-ins are sent, one with each tick, once the client knows the section. One that arrives suffices; after that
/// the track stays unreported until it sends a packet.
pub(crate) const FILL_TIME: Duration = Duration::from_secs(5);
/// Silence in Opus: 20 ms of CELT.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// What a track would be sent in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FillerFormat {
    pub(crate) codec: Codec,
    pub(crate) is_redundant: bool,
}

impl FillerFormat {
    pub(crate) fn of(mime_type: &str) -> Option<Self> {
        let (codec, is_redundant) = match mime_type.rsplit('/').next()?.to_ascii_lowercase().as_str() {
            "opus" => (Codec::Opus, false),
            "red" => (Codec::Opus, true),
            "vp8" => (Codec::Vp8, false),
            "vp9" => (Codec::Vp9, false),
            "h264" => (Codec::H264, false),
            "av1" => (Codec::Av1, false),
            _ => return None,
        };
        Some(Self { codec, is_redundant })
    }
}

/// The payload type of a codec in a section, and that of the redundant form if the client has it.
pub(crate) fn payload_types(connection: &PeerConnection, mid: Mid, codec: Codec) -> Option<(Pt, Option<Pt>)> {
    let offered = connection.rtc().media(mid)?.remote_pts();
    let is_it = |params: &&PayloadParams| params.spec().codec == codec && offered.contains(&params.pt());
    connection.rtc().codec_config().iter().find(is_it).map(|params| (params.pt(), params.red()))
}

/// The payload of a stand-in, and its payload type: `red` for redundant audio. Audio ends with the trailer.
pub(crate) fn payload(kind: MediaKind, pt: Pt, red: Option<Pt>, sif_trailer: &[u8]) -> (Pt, Vec<u8>) {
    let silence = |header: &[u8]| [header, &OPUS_SILENCE[..], sif_trailer].concat();
    match (kind, red) {
        (MediaKind::Audio, Some(red)) => (red, silence(&[*pt])),
        (MediaKind::Audio, None) => (pt, silence(&[])),
        (MediaKind::Video, _) => (pt, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_format_of_each_codec_that_can_be_published() {
        for mime_type in ["audio/opus", "audio/red", "video/VP8", "video/VP9", "video/H264", "video/AV1"] {
            let format = FillerFormat::of(mime_type).unwrap();
            assert_eq!(format.is_redundant, mime_type == "audio/red", "{mime_type}");
            assert_eq!(format.codec == Codec::Opus, mime_type.starts_with("audio/"), "{mime_type}");
        }
        assert!(FillerFormat::of("video/H265").is_none() && FillerFormat::of("").is_none());
    }
}

//! Fillers: packets in place of those of a track that sends none, such as a muted one. Clients on Pion report a subscribed track when
//! its first packet arrives, so they would never report such a track. livekit-server sends the same to the same clients.

use std::time::{Duration, Instant};

use str0m::format::{Codec, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt};

use crate::net::peer_connection::PeerConnection;

/// Time for which fillers are sent, one per tick, once the client knows the section. One that arrives suffices; past it, the client
/// does not report the track until the track sends a packet.
const FILL_TIME: Duration = Duration::from_secs(5);
/// Silence in Opus: 20 ms of CELT.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// The fillers of a track for one subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filler {
    format: FillerFormat,
    until: Instant,
    /// Marks packets that the server has made, which end-to-end encryption does not apply to. Fillers of audio end with it.
    sif_trailer: [u8; 16],
}

/// The codec of a track's fillers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FillerFormat {
    codec: Codec,
    is_redundant: bool,
}

impl Filler {
    /// Fillers from now on.
    pub(crate) fn new(format: FillerFormat, sif_trailer: [u8; 16], now: Instant) -> Self {
        Self { format, until: now + FILL_TIME, sif_trailer }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now < self.until
    }

    pub(super) fn codec(&self) -> Codec {
        self.format.codec
    }

    /// The payload, and its payload type: `red` for redundant audio, if the client has that.
    pub(super) fn payload(&self, kind: MediaKind, pt: Pt, red: Option<Pt>) -> (Pt, Vec<u8>) {
        let silence = |header: &[u8]| [header, &OPUS_SILENCE[..], &self.sif_trailer].concat();
        match (kind, red.filter(|_| self.format.is_redundant)) {
            (MediaKind::Audio, Some(red)) => (red, silence(&[*pt])),
            (MediaKind::Audio, None) => (pt, silence(&[])),
            (MediaKind::Video, _) => (pt, Vec::new()),
        }
    }
}

impl FillerFormat {
    /// `None` for a MIME type without fillers.
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
pub(super) fn payload_types(connection: &PeerConnection, mid: Mid, codec: Codec) -> Option<(Pt, Option<Pt>)> {
    let offered = connection.rtc().media(mid)?.remote_pts();
    let is_it = |params: &&PayloadParams| params.spec().codec == codec && offered.contains(&params.pt());
    connection.rtc().codec_config().iter().find(is_it).map(|params| (params.pt(), params.red()))
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

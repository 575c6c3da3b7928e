//! Packets that stand in for a track that sends none, such as a muted one. Clients on Pion report a subscribed track when its first
//! packet arrives, so that without them they never learn of it. livekit-server sends the same to the same clients.

use std::time::Duration;

use str0m::format::{Codec, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt};
use str0m::rtp::RtpWrite;

use crate::net::peer_connection::{Io, PeerConnection};
use crate::session::SessionId;
use crate::session::participant::Participant;
use crate::session::room::{Context, Room};
use crate::sfu::down_track::{Subscription, TrackId};

/// Time for which stand-ins are sent, one with each tick, once the client knows the section. One that arrives suffices; after that
/// the track stays unreported until it sends a packet.
pub(crate) const FILL_TIME: Duration = Duration::from_secs(5);
/// Silence in Opus: 20 ms of CELT.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// What a track would be sent in.
#[derive(Debug, Clone, Copy)]
struct FillerFormat {
    codec: Codec,
    is_redundant: bool,
}

impl FillerFormat {
    fn of(mime_type: &str) -> Option<Self> {
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

impl Room {
    /// Sends a participant stand-ins for the tracks that it waits for the first packet of.
    pub(crate) fn fill_silent_tracks(&mut self, context: &mut Context<'_>, id: SessionId) {
        let now = context.io.now;
        let Some(participant) =
            self.participants.get(&id).filter(|participant| participant.reception.needs_first_packet)
        else {
            return;
        };
        let is_due = |each: &&Subscription| each.is_ready && each.fill_until.is_some_and(|until| now < until);
        let format = |each: &Subscription| {
            let track = self.participants.get(&each.publisher)?.tracks.iter().find(|track| track.id == each.track)?;
            Some((each.track, FillerFormat::of(&track.info.mime_type)?))
        };
        let due: Vec<_> = participant.subscriptions.iter().filter(is_due).filter_map(format).collect();
        let Some(participant) = self.participants.get_mut(&id).filter(|_| !due.is_empty()) else { return };
        if participant.downlink().is_connected() {
            for (track, format) in due {
                participant.send_filler(&mut context.io, track, format);
            }
        }
    }
}

impl Participant {
    fn send_filler(&mut self, io: &mut Io<'_>, track: TrackId, format: FillerFormat) {
        let downlink = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
        let Some(each) = self.subscriptions.iter_mut().find(|each| each.track == track) else { return };
        let Some(mid) = each.mid else { return };
        let Some((pt, red)) = payload_types(downlink, mid, format.codec) else { return };
        let Some(out) = each.munger.next_filler(io.now) else {
            each.fill_until = None;
            return;
        };
        let silence = |header: &[u8]| [header, &OPUS_SILENCE[..], &self.sif_trailer[..]].concat();
        let (pt, payload) = match (each.kind, red.filter(|_| format.is_redundant)) {
            (MediaKind::Audio, Some(red)) => (red, silence(&[*pt])),
            (MediaKind::Audio, None) => (pt, silence(&[])),
            (MediaKind::Video, _) => (pt, Vec::new()),
        };
        let write = RtpWrite::new(pt, out.seq.into(), out.time, io.now, payload).marker(true);
        downlink.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
    }
}

/// The payload type of a codec in a section, and that of the redundant form if the client has it.
fn payload_types(downlink: &PeerConnection, mid: Mid, codec: Codec) -> Option<(Pt, Option<Pt>)> {
    let offered = downlink.rtc().media(mid)?.remote_pts();
    let is_it = |params: &&PayloadParams| params.spec().codec == codec && offered.contains(&params.pt());
    downlink.rtc().codec_config().iter().find(is_it).map(|params| (params.pt(), params.red()))
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

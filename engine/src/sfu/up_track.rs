//! A published track as it arrives: its layers, its codec, and when its keyframes were requested.

use std::time::Instant;

use str0m::format::{Codec, CodecSpec, PayloadParams};
use str0m::media::{MediaKind, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpPacket, UserExtensionValues};

use crate::net::extensions::forwarded_extensions;
use crate::net::peer_connection::PeerConnection;
use crate::sfu::keyframes::{PliThrottle, is_keyframe};
use crate::sfu::layer_selector::{AnnouncedLayer, LayerName, Layers, SenderClock, TrackSettings};

/// A published track, as far as it concerns all its subscribers.
pub(crate) struct UpTrack {
    kind: MediaKind,
    is_muted: bool,
    layers: Layers,
    pli: PliThrottle,
    codec: Option<(Pt, InboundCodec)>,
}

/// The codec of a payload type.
#[derive(Debug, Clone, Copy)]
pub(super) struct InboundCodec {
    pub(super) spec: CodecSpec,
    /// RED (RFC 2198): each packet repeats the payload of the one before.
    pub(super) is_redundant: bool,
}

/// A packet of a track, with what its subscribers need to know of it.
pub(super) struct InboundPacket<'a> {
    pub(super) rid: Option<Rid>,
    pub(super) packet: &'a RtpPacket,
    pub(super) kind: MediaKind,
    pub(super) codec: InboundCodec,
    /// Whether a receiver can start with it.
    pub(super) is_start: bool,
    /// The header extensions that are forwarded.
    pub(super) extensions: ExtensionValues,
    pub(super) now: Instant,
}

impl UpTrack {
    /// A track that arrives in those layers, or in a single one if `rids` is empty. `announced` tells their sizes.
    pub(crate) fn new(kind: MediaKind, is_muted: bool, announced: &[AnnouncedLayer<'_>], rids: &[Rid]) -> Self {
        let layers = Layers::declared(announced, rids);
        Self { kind, is_muted, layers, pli: PliThrottle::default(), codec: None }
    }

    pub(super) fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Takes note of a packet. `None` if it is not to be forwarded: the track is muted, or the codec or the layer was not negotiated.
    pub(super) fn on_packet<'a>(
        &mut self,
        publisher: &PeerConnection,
        rid: Option<Rid>,
        packet: &'a RtpPacket,
        now: Instant,
    ) -> Option<InboundPacket<'a>> {
        if self.is_muted {
            return None;
        }
        let codec = self.codec(publisher, packet.header.payload_type)?;
        let clock = packet.last_sender_info.as_ref().map(SenderClock::new);
        if !self.layers.mark_active(rid, clock, now) {
            return None;
        }
        let is_start = self.kind == MediaKind::Audio || is_keyframe(codec.spec.codec, &packet.payload);
        let mut extensions = forwarded_extensions(&packet.header.ext_vals);
        if matches!(codec.spec.codec, Codec::Vp8 | Codec::H264) {
            // The dependency descriptor counts frames per layer, and would jump at a change of layers.
            extensions.user_values = UserExtensionValues::default();
        }
        Some(InboundPacket { rid, packet, kind: self.kind, codec, is_start, extensions, now })
    }

    fn codec(&mut self, publisher: &PeerConnection, pt: Pt) -> Option<InboundCodec> {
        if let Some((known, codec)) = self.codec
            && known == pt
        {
            return Some(codec);
        }
        let has_pt = |params: &PayloadParams| params.pt() == pt || params.red() == Some(pt);
        let params = publisher.rtc().codec_config().find(has_pt)?;
        let codec = InboundCodec { spec: params.spec(), is_redundant: params.pt() != pt };
        self.codec = Some((pt, codec));
        Some(codec)
    }

    /// The layer to request a keyframe of for a subscriber; `None` while the track is muted.
    pub(super) fn pli_layer(&self, settings: &TrackSettings, now: Instant) -> Option<LayerName> {
        if self.is_muted { None } else { self.layers.pli_layer(settings, now) }
    }

    pub(super) fn is_pli_due(&self, layer: LayerName, now: Instant) -> bool {
        self.pli.is_due(layer, now)
    }

    pub(super) fn note_pli(&mut self, layer: LayerName, now: Instant) {
        self.pli.note_sent(layer, now);
    }
}

impl InboundPacket<'_> {
    /// How far the audio is below the loudest possible, in dB (RFC 6464).
    pub(super) fn audio_level(&self) -> Option<u8> {
        let level = self.packet.header.ext_vals.audio_level?;
        (self.kind == MediaKind::Audio).then(|| level.unsigned_abs())
    }
}

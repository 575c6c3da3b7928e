//! A published track as it arrives: its layers, its codec, and when keyframes of it were requested.

use std::time::Instant;

use livekit_protocol as proto;
use str0m::format::{CodecSpec, PayloadParams};
use str0m::media::{Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpPacket};

use crate::net::peer_connection::PeerConnection;
use crate::sfu::keyframes::PliThrottle;
use crate::sfu::layer_selector::Layers;

/// A published track's layers, as they arrive.
pub(crate) struct UpTrack {
    pub(crate) layers: Layers,
    pub(crate) pli: PliThrottle,
    codec: Option<(Pt, InboundCodec)>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InboundCodec {
    pub(crate) spec: CodecSpec,
    /// Once more with each packet comes what the one before carried.
    pub(crate) is_redundant: bool,
}

impl UpTrack {
    /// Those of a section with those names, of a track that was announced with some sizes.
    pub(crate) fn new(announced: &[proto::VideoLayer], rids: &[Rid]) -> Self {
        Self { layers: Layers::declared(announced, rids), pli: PliThrottle::default(), codec: None }
    }

    /// What the packet is in.
    pub(crate) fn codec(&mut self, peer_connection: &PeerConnection, pt: Pt) -> Option<InboundCodec> {
        if let Some((known, codec)) = self.codec
            && known == pt
        {
            return Some(codec);
        }
        let is_it = |params: &PayloadParams| params.pt() == pt || params.red() == Some(pt);
        let params = peer_connection.rtc().codec_config().find(is_it)?;
        let codec = InboundCodec { spec: params.spec(), is_redundant: params.pt() != pt };
        self.codec = Some((pt, codec));
        Some(codec)
    }
}

/// A packet as it came.
pub(crate) struct InboundPacket<'a> {
    pub(crate) rid: Option<Rid>,
    pub(crate) packet: &'a RtpPacket,
    pub(crate) codec: InboundCodec,
    /// Whether a receiver can begin with it.
    pub(crate) is_start: bool,
    pub(crate) extensions: ExtensionValues,
    pub(crate) now: Instant,
}

//! A track as one subscriber is sent it: which layer, in which payload type, and with which sequence numbers and timestamps.

use std::sync::Arc;
use std::time::Instant;

use str0m::format::{Codec, CodecSpec};
use str0m::media::{MediaKind, Pt};
use str0m::rtp::rtcp::NackEntry;
use str0m::rtp::{RtpWrite, Ssrc};
use tracing::debug;

use crate::ids::StreamId;
use crate::net::peer_connection::{Io, PeerConnection};
use crate::sfu::fillers::{self, Filler};
use crate::sfu::layer_selector::{LayerName, Layers, TrackSettings};
use crate::sfu::red;
use crate::sfu::retransmission::{RetransmissionBuffer, SentPacket};
use crate::sfu::rtp_munger::{RtpMunger, TranslationParams};
use crate::sfu::up_track::{InboundPacket, UpTrack};
use crate::sfu::vp8_munger::Vp8Munger;

/// The first sequence number: below 65,536, because the receiver's rollover counter starts at 0.
const FIRST_SEQ: u64 = 1000;
/// Maximum bytes of a payload; a longer one is dropped, because its packet fits into no datagram. Clients send at most 1,200 bytes.
const MAX_PAYLOAD_BYTES: usize = 1600;

/// The packet half of a subscription.
pub(crate) struct DownTrack {
    destination: StreamId,
    /// The destination's SSRC, once it is known.
    ssrc: Option<Ssrc>,
    kind: MediaKind,
    settings: TrackSettings,
    /// The layer that is forwarded.
    current: Option<LayerName>,
    /// The layer that was forwarded last; the munger's timestamps are on its clock.
    last_layer: Option<LayerName>,
    /// The client has sent a PLI, and no keyframe was forwarded since.
    pli_requested: bool,
    munger: RtpMunger,
    vp8: Vp8Munger,
    /// The client's payload types for the publisher's one; `None` if the client does not support the codec.
    payload: Option<(Pt, Option<PayloadTypes>)>,
    /// For a track with NACK for Opus.
    retransmission: Option<RetransmissionBuffer>,
    /// Until the first packet, for a client that needs one.
    filler: Option<Filler>,
}

/// A client's payload types for a codec.
#[derive(Debug, Clone, Copy)]
struct PayloadTypes {
    plain: Pt,
    /// For redundant audio, if the client supports that.
    redundant: Option<Pt>,
}

/// A packet's payload type and payload for one subscriber.
type OutgoingPayload = (Pt, Arc<[u8]>);

impl DownTrack {
    pub(crate) fn new(destination: StreamId, kind: MediaKind, has_nack: bool, settings: TrackSettings) -> Self {
        let clock_rate = if kind == MediaKind::Audio { 48_000 } else { 90_000 };
        Self {
            destination,
            ssrc: None,
            kind,
            settings,
            current: None,
            last_layer: None,
            pli_requested: false,
            munger: RtpMunger::new(clock_rate, FIRST_SEQ),
            vp8: Vp8Munger::default(),
            payload: None,
            retransmission: has_nack.then(RetransmissionBuffer::default),
            filler: None,
        }
    }

    /// The same track, with fillers until its first packet.
    pub(crate) fn with_filler(self, filler: Option<Filler>) -> Self {
        Self { filler, ..self }
    }

    pub(super) fn destination(&self) -> StreamId {
        self.destination
    }

    pub(super) fn set_settings(&mut self, settings: TrackSettings) {
        self.settings = settings;
    }

    /// The layer that it needs a keyframe of.
    pub(super) fn needs_keyframe(&self, up_track: &UpTrack, now: Instant) -> Option<LayerName> {
        if self.kind != MediaKind::Video || self.settings.disabled {
            return None;
        }
        let target = up_track.pli_layer(&self.settings, now)?;
        // A loss in a layer that it is to leave does not matter any more.
        if self.current == Some(target) { self.current.filter(|_| self.pli_requested) } else { Some(target) }
    }

    /// The client needs a keyframe, because it has lost packets.
    pub(super) fn on_pli(&mut self) {
        self.pli_requested = true;
    }

    /// Waits for the next packet that a receiver can start with. Packets dropped before it do not count as lost.
    pub(super) fn resync(&mut self) {
        self.current = None;
    }

    /// Whether to forward a packet: it continues the current layer, or starts the one that is to be sent.
    fn should_forward(&mut self, packet: &InboundPacket<'_>, layers: &Layers) -> bool {
        if self.settings.disabled {
            self.current = None;
            return false;
        }
        if self.current == Some(packet.rid) {
            return true;
        }
        if !packet.is_start || layers.select_layer(&self.settings, packet.now) != Some(packet.rid) {
            return false;
        }
        self.current = Some(packet.rid);
        let last = self.last_layer.replace(packet.rid);
        if self.kind == MediaKind::Video && last != Some(packet.rid) {
            let StreamId { connection, mid } = self.destination;
            debug!(subscriber = connection.0, %mid, from = ?last, to = ?packet.rid, "layer switched");
        }
        let (time, clock_rate) = (packet.packet.header.timestamp, self.munger.clock_rate());
        let on_last = last.and_then(|last| layers.convert_time(time, packet.rid, last, clock_rate));
        self.munger.switch_source(*packet.packet.seq_no, packet.packet.time.numer(), on_last, packet.now);
        self.vp8.switch_source();
        true
    }

    /// Forwards a packet of the track, if it is of the layer that is to be sent. `connection` is the destination's, and is
    /// established. `false` if this packet is the first one that shows that the client does not support the codec.
    pub(super) fn write_rtp(
        &mut self,
        io: &mut Io<'_>,
        connection: &mut PeerConnection,
        layers: &Layers,
        inbound: &InboundPacket<'_>,
    ) -> bool {
        let packet = inbound.packet;
        if !self.should_forward(inbound, layers) {
            return true;
        }
        self.pli_requested &= !inbound.is_start;
        // Empty packets are padding, which is for the publisher's connection only.
        if packet.payload.is_empty() || packet.payload.len() > MAX_PAYLOAD_BYTES {
            if !packet.payload.is_empty() {
                let (subscriber, bytes) = (self.destination.connection.0, packet.payload.len());
                debug!(subscriber, bytes, reason = "payload too long", "packet dropped");
            }
            self.munger.drop_packet(*packet.seq_no);
            return true;
        }
        let is_known = self.payload.is_some_and(|(known, _)| known == packet.header.payload_type);
        let Some(types) = self.payload_types(connection, inbound) else { return is_known };
        let Some(out) = self.munger.translate(*packet.seq_no, packet.time.numer(), inbound.now) else { return true };
        if let Some(payload) = outgoing_payload(types, inbound) {
            self.send(io, connection, inbound, out, payload);
        }
        true
    }

    fn payload_types(&mut self, connection: &PeerConnection, inbound: &InboundPacket<'_>) -> Option<PayloadTypes> {
        let source = inbound.packet.header.payload_type;
        if let Some((known, types)) = self.payload
            && known == source
        {
            return types;
        }
        let types = payload_types(connection, self.destination, &inbound.codec.spec);
        self.payload = Some((source, types));
        types
    }

    fn send(
        &mut self,
        io: &mut Io<'_>,
        connection: &mut PeerConnection,
        inbound: &InboundPacket<'_>,
        out: TranslationParams,
        (pt, payload): OutgoingPayload,
    ) {
        let packet = inbound.packet;
        if let Some(buffer) = &mut self.retransmission {
            buffer.push(SentPacket {
                pt,
                seq: out.seq,
                time: out.time,
                at: inbound.now,
                marker: packet.header.marker,
                audio_level: inbound.extensions.audio_level,
                voice_activity: inbound.extensions.voice_activity,
                payload: payload.clone(),
            });
        }
        let patch = (inbound.codec.spec.codec == Codec::Vp8).then(|| self.vp8.translate(&packet.payload)).flatten();
        let mut write = RtpWrite::new(pt, out.seq.into(), out.time, inbound.now, payload)
            .marker(packet.header.marker)
            .ext_vals(inbound.extensions.clone())
            .nackable(self.kind == MediaKind::Video);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        let (mid, ssrc) = (self.destination.mid, &mut self.ssrc);
        connection.enqueue_rtp(io, |rtc| {
            let mut api = rtc.direct_api();
            if ssrc.is_none() {
                // str0m searches all streams of the connection for it.
                *ssrc = api.stream_tx_by_mid(mid, None).map(|stream| stream.ssrc());
            }
            match ssrc.and_then(|ssrc| api.stream_tx(&ssrc)) {
                Some(stream) => stream.write_rtp(write),
                None => *ssrc = None,
            }
        });
    }

    /// Retransmits the packets that the client reports as lost.
    pub(super) fn retransmit(&mut self, io: &mut Io<'_>, connection: &mut PeerConnection, nack: &[NackEntry]) {
        let Some(buffer) = &mut self.retransmission else { return };
        let due = buffer.take(nack, io.now);
        if due.is_empty() {
            return;
        }
        let mid = self.destination.mid;
        connection.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                for packet in &due {
                    stream.write_rtp(packet.write());
                }
            }
        });
    }

    /// Sends a filler, if the track has sent no packet yet and the client needs one.
    pub(super) fn send_filler(&mut self, io: &mut Io<'_>, connection: &mut PeerConnection) {
        let Some(filler) = self.filler.filter(|filler| filler.is_due(io.now)) else { return };
        let mid = self.destination.mid;
        let Some((pt, red)) = fillers::payload_types(connection, mid, filler.codec()) else { return };
        let Some(out) = self.munger.next_filler(io.now) else {
            self.filler = None;
            return;
        };
        let (pt, payload) = filler.payload(self.kind, pt, red);
        let write = RtpWrite::new(pt, out.seq.into(), out.time, io.now, payload).marker(true);
        connection.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
    }
}

/// The payload of a packet in the form that a client supports: redundant audio, or its primary payload. `None` if it has none.
fn outgoing_payload(types: PayloadTypes, inbound: &InboundPacket<'_>) -> Option<OutgoingPayload> {
    let payload = &inbound.packet.payload;
    match types.redundant.filter(|_| inbound.codec.is_redundant) {
        Some(redundant) => Some((redundant, payload.clone())),
        None if inbound.codec.is_redundant => Some((types.plain, red::primary(payload)?.into())),
        None => Some((types.plain, payload.clone())),
    }
}

/// A client's payload types for a codec in a section: those of the same profile, or else of any.
fn payload_types(connection: &PeerConnection, destination: StreamId, codec: &CodecSpec) -> Option<PayloadTypes> {
    let offered = connection.rtc().media(destination.mid)?.remote_pts();
    let find = |is_same: &dyn Fn(&CodecSpec) -> bool| {
        let mut params = connection.rtc().codec_config().iter();
        let found = params.find(|params| offered.contains(&params.pt()) && is_same(&params.spec()))?;
        // The payload type for redundant audio is not listed in the section, and absent if the client has none.
        Some(PayloadTypes { plain: found.pt(), redundant: found.red() })
    };
    find(&|spec| spec.codec == codec.codec && spec.format == codec.format)
        .or_else(|| find(&|spec| spec.codec == codec.codec))
}

//! What one subscriber is sent of a track: which layer, in which codec, and under which numbers.

use str0m::format::{Codec, CodecSpec};
use str0m::media::{MediaKind, Mid, Pt};
use str0m::rtp::RtpWrite;
use str0m::rtp::rtcp::NackEntry;

use crate::net::peer_connection::{Io, PeerConnection};
use crate::sfu::fillers::{self, FillerFormat};
use crate::sfu::layer_selector::{LayerName, Layers, TrackSettings};
use crate::sfu::red;
use crate::sfu::retransmission::{RetransmissionBuffer, SentPacket};
use crate::sfu::rtp_munger::RtpMunger;
use crate::sfu::up_track::InboundPacket;
use crate::sfu::vp8_munger::Vp8Munger;

/// The numbers of what is sent begin here: below 65,536, since the receiver's counter of overflows begins at 0.
const FIRST_SEQ: u64 = 1000;
/// The longest payload that is sent on. Clients send at most 1,200 bytes.
const MAX_PAYLOAD_BYTES: usize = 1600;

/// The packet half of a subscription.
pub(crate) struct DownTrack {
    pub(crate) kind: MediaKind,
    pub(crate) settings: TrackSettings,
    /// The layer that is sent.
    current: Option<LayerName>,
    /// The layer that was sent last, whose clock the munger knows.
    last_layer: Option<LayerName>,
    /// The client has asked for a keyframe, and was sent none since.
    pli_requested: bool,
    munger: RtpMunger,
    vp8: Vp8Munger,
    /// The payload type for that of the publisher; `None` if the client has no such codec.
    payload: Option<(Pt, Option<PayloadTypes>)>,
    /// For a track with NACK for Opus.
    retransmission: Option<RetransmissionBuffer>,
}

/// The client has just turned out not to have the codec of the packets.
pub(crate) struct CodecUnsupported;

/// What a client knows a codec by.
#[derive(Debug, Clone, Copy)]
struct PayloadTypes {
    plain: Pt,
    /// For redundant audio, if the client reads that.
    redundant: Option<Pt>,
}

impl DownTrack {
    pub(crate) fn new(kind: MediaKind, has_nack: bool, settings: TrackSettings) -> Self {
        let clock_rate = if kind == MediaKind::Audio { 48_000 } else { 90_000 };
        Self {
            kind,
            settings,
            current: None,
            last_layer: None,
            pli_requested: false,
            munger: RtpMunger::new(clock_rate, FIRST_SEQ),
            vp8: Vp8Munger::default(),
            payload: None,
            retransmission: has_nack.then(RetransmissionBuffer::default),
        }
    }

    /// Whether the client may report lost packets of Opus.
    pub(crate) fn has_nack(&self) -> bool {
        self.retransmission.is_some()
    }

    /// The layer that it needs a keyframe of. `target` is the one that it should be sent.
    pub(crate) fn needs_keyframe(&self, target: Option<LayerName>) -> Option<LayerName> {
        // What is lost of the layer that it leaves is of no use any more.
        target.filter(|target| self.current != Some(*target)).or_else(|| self.current.filter(|_| self.pli_requested))
    }

    /// The client has lost what it cannot do without: it needs a keyframe.
    pub(crate) fn on_pli(&mut self) {
        self.pli_requested = true;
    }

    /// Waits for a packet that a receiver can begin with. What was left out before is not to look like a loss.
    pub(crate) fn resync(&mut self) {
        self.current = None;
    }

    /// Whether it is to begin, or to go on with that layer, with this packet.
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
        let (time, clock_rate) = (packet.packet.header.timestamp, self.munger.clock_rate());
        let on_last = last.and_then(|last| layers.convert_time(time, packet.rid, last, clock_rate));
        self.munger.switch_source(*packet.packet.seq_no, packet.packet.time.numer(), on_last, packet.now);
        self.vp8.switch_source();
        true
    }

    /// Sends a packet, if it is of a layer that is due. `connection` is the subscriber's, and must be connected: str0m keeps what
    /// it is given before it can send, without a bound.
    ///
    /// # Errors
    /// [`CodecUnsupported`], with the first packet of such a codec.
    pub(crate) fn write_rtp(
        &mut self,
        io: &mut Io<'_>,
        connection: &mut PeerConnection,
        mid: Mid,
        layers: &Layers,
        inbound: &InboundPacket<'_>,
    ) -> Result<(), CodecUnsupported> {
        let packet = inbound.packet;
        if !self.should_forward(inbound, layers) {
            return Ok(());
        }
        self.pli_requested &= !inbound.is_start;
        // Padding is of use to the publisher's own connection only; and what is longer than any datagram may be would break
        // the receiver's.
        if packet.payload.is_empty() || packet.payload.len() > MAX_PAYLOAD_BYTES {
            self.munger.drop_packet(*packet.seq_no);
            return Ok(());
        }
        let source = packet.header.payload_type;
        let (pt, is_new) = match self.payload {
            Some((known, pt)) if known == source => (pt, false),
            _ => {
                let pt = payload_type(connection, mid, &inbound.codec.spec);
                self.payload = Some((source, pt));
                (pt, pt.is_none())
            }
        };
        let Some(pt) = pt else { return if is_new { Err(CodecUnsupported) } else { Ok(()) } };
        let Some(out) = self.munger.translate(*packet.seq_no, packet.time.numer(), inbound.now) else { return Ok(()) };
        let (pt, payload) = match pt.redundant.filter(|_| inbound.codec.is_redundant) {
            Some(redundant) => (redundant, packet.payload.clone()),
            None if inbound.codec.is_redundant => {
                let Some(primary) = red::primary(&packet.payload) else { return Ok(()) };
                (pt.plain, primary.into())
            }
            None => (pt.plain, packet.payload.clone()),
        };
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
        connection.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
        Ok(())
    }

    /// Retransmits the packets that the client reports as lost.
    pub(crate) fn retransmit(
        &mut self,
        io: &mut Io<'_>,
        connection: &mut PeerConnection,
        mid: Mid,
        nack: &[NackEntry],
    ) {
        let Some(buffer) = &mut self.retransmission else { return };
        let due = buffer.take(nack, io.now);
        if due.is_empty() {
            return;
        }
        connection.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                for packet in &due {
                    stream.write_rtp(packet.write());
                }
            }
        });
    }

    /// Sends a stand-in for a track that sends nothing. `false` once the track has sent a packet, and needs none.
    pub(crate) fn send_filler(
        &mut self,
        io: &mut Io<'_>,
        connection: &mut PeerConnection,
        mid: Mid,
        format: FillerFormat,
        sif_trailer: &[u8],
    ) -> bool {
        let Some((pt, red)) = fillers::payload_types(connection, mid, format.codec) else { return true };
        let Some(out) = self.munger.next_filler(io.now) else { return false };
        let (pt, payload) = fillers::payload(self.kind, pt, red.filter(|_| format.is_redundant), sif_trailer);
        let write = RtpWrite::new(pt, out.seq.into(), out.time, io.now, payload).marker(true);
        connection.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
        true
    }
}

/// What the client knows the codec by in that section; another profile of it will have to do if need be.
fn payload_type(connection: &PeerConnection, mid: Mid, codec: &CodecSpec) -> Option<PayloadTypes> {
    let offered = connection.rtc().media(mid)?.remote_pts();
    let known = |is_same: &dyn Fn(&CodecSpec) -> bool| {
        let mut params = connection.rtc().codec_config().iter();
        let found = params.find(|params| offered.contains(&params.pt()) && is_same(&params.spec()))?;
        // That of redundant audio is not among those of the section, and is gone where the client has none.
        Some(PayloadTypes { plain: found.pt(), redundant: found.red() })
    };
    known(&|spec| spec.codec == codec.codec && spec.format == codec.format)
        .or_else(|| known(&|spec| spec.codec == codec.codec))
}

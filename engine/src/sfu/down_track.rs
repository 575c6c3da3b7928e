//! Media packets on their way from a publisher to its subscribers: which layer each of them gets, and under which numbers.

use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::format::{Codec, CodecSpec, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, UserExtensionValues};

use crate::net::peer_connection::{Io, PeerConnection, forwarded_extensions};
use crate::net::sdp::SectionRole;
use crate::session::SessionId;
use crate::session::participant::Participant;
use crate::session::publications::Track;
use crate::session::room::{Context, Room};
use crate::sfu::fillers::FILL_TIME;
use crate::sfu::keyframes::{PliThrottle, is_keyframe};
use crate::sfu::layer_selector::{LayerName, Layers, SenderClock, TrackSettings};
use crate::sfu::red;
use crate::sfu::retransmission::{RetransmissionBuffer, SentPacket};
use crate::sfu::rtp_munger::{RtpMunger, Vp8Munger};

pub(crate) type TrackId = u64;

/// The numbers of what is sent begin here: below 65,536, since the receiver's counter of overflows begins at 0.
const FIRST_SEQ: u64 = 1000;
/// The longest payload that is sent on. Clients send at most 1,200 bytes.
const MAX_PAYLOAD_BYTES: usize = 1600;

/// A published track's layers, as they arrive.
pub(crate) struct UpTrack {
    pub(crate) layers: Layers,
    pub(crate) pli: PliThrottle,
    codec: Option<(Pt, InboundCodec)>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
struct InboundCodec {
    spec: CodecSpec,
    /// Once more with each packet comes what the one before carried.
    is_redundant: bool,
}

impl UpTrack {
    /// Those of a section with those names, of a track that was announced with some sizes.
    pub(crate) fn new(announced: &[proto::VideoLayer], rids: &[Rid]) -> Self {
        Self { layers: Layers::declared(announced, rids), pli: PliThrottle::default(), codec: None }
    }

    /// What the packet is in.
    fn codec(&mut self, peer_connection: &PeerConnection, pt: Pt) -> Option<InboundCodec> {
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

/// A track that somebody is sent.
pub(crate) struct Subscription {
    pub(crate) track: TrackId,
    pub(crate) track_sid: String,
    pub(crate) publisher: SessionId,
    publisher_sid: String,
    pub(crate) kind: MediaKind,
    /// The section that it goes by, once there is one.
    pub(crate) mid: Option<Mid>,
    /// Whether the client knows the section.
    pub(crate) is_ready: bool,
    pub(crate) settings: TrackSettings,
    /// The layer that is sent.
    pub(crate) current: Option<LayerName>,
    /// The layer that was sent last, whose clock the rewriter knows.
    last_layer: Option<LayerName>,
    /// The client has asked for a keyframe, and was sent none since.
    pub(crate) pli_requested: bool,
    /// Until when stand-ins are sent if the track sends no packet.
    pub(crate) fill_until: Option<Instant>,
    pub(crate) munger: RtpMunger,
    vp8: Vp8Munger,
    /// The payload type for that of the publisher; `None` if the client has no such codec.
    payload: Option<(Pt, Option<PayloadTypes>)>,
    /// For a track with NACK for Opus.
    pub(crate) retransmission: Option<RetransmissionBuffer>,
}

impl Subscription {
    /// A participant's subscription to a publisher's track.
    pub(crate) fn new(
        subscriber: &Participant,
        publisher: &Participant,
        track: &Track,
        settings: TrackSettings,
    ) -> Self {
        let is_red = track.info.mime_type.eq_ignore_ascii_case("audio/red");
        let has_nack = track.kind == MediaKind::Audio
            && subscriber.subscriber.is_some()
            && !(is_red && subscriber.reception.reads_red);
        let clock_rate = if track.kind == MediaKind::Audio { 48_000 } else { 90_000 };
        Self {
            track: track.id,
            track_sid: track.info.sid.clone(),
            publisher: publisher.id,
            publisher_sid: publisher.info.sid.clone(),
            kind: track.kind,
            mid: None,
            is_ready: false,
            settings,
            current: None,
            last_layer: None,
            pli_requested: false,
            fill_until: None,
            munger: RtpMunger::new(clock_rate, FIRST_SEQ),
            vp8: Vp8Munger::default(),
            payload: None,
            retransmission: has_nack.then(RetransmissionBuffer::default),
        }
    }

    /// The stream that clients know the publisher and the track by.
    pub(crate) fn stream(&self) -> String {
        format!("{}|{}", self.publisher_sid, self.track_sid)
    }

    pub(crate) fn role(&self) -> SectionRole {
        SectionRole::Sends { stream: self.stream(), track: self.track_sid.clone(), nack: self.retransmission.is_some() }
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
}

/// What a client knows a codec by.
#[derive(Debug, Clone, Copy)]
struct PayloadTypes {
    plain: Pt,
    /// For redundant audio, if the client reads that.
    redundant: Option<Pt>,
}

/// A packet as it came.
struct InboundPacket<'a> {
    rid: Option<Rid>,
    packet: &'a RtpPacket,
    codec: InboundCodec,
    /// Whether a receiver can begin with it.
    is_start: bool,
    extensions: ExtensionValues,
    now: Instant,
}

impl Room {
    /// Sends a packet on to all who are subscribed to its track.
    pub(crate) fn forward(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        (mid, rid): (Mid, Option<Rid>),
        packet: &RtpPacket,
    ) {
        let now = context.io.now;
        let Some(publisher) = self.participants.get_mut(&id) else { return };
        let Some(track) = publisher.tracks.iter_mut().find(|track| track.mid == Some(mid)) else { return };
        let Some(codec) = track.up_track.codec(&publisher.publisher, packet.header.payload_type) else { return };
        if track.info.muted {
            return;
        }
        let clock = packet.last_sender_info.as_ref().map(SenderClock::new);
        if !track.up_track.layers.mark_active(rid, clock, now) {
            return;
        }
        let is_start = track.kind == MediaKind::Audio || is_keyframe(codec.spec.codec, &packet.payload);
        if let (MediaKind::Audio, Some(level)) = (track.kind, packet.header.ext_vals.audio_level) {
            // Of both it is told by how much it is below the loudest.
            self.speakers.observe((id, track.id), level.unsigned_abs(), packet.header.timestamp, now);
        }
        let (track_id, layers) = (track.id, track.up_track.layers);
        let mut extensions = forwarded_extensions(&packet.header.ext_vals);
        if matches!(codec.spec.codec, Codec::Vp8 | Codec::H264) {
            // The dependency descriptor counts frames, which go on counting over a change of layers only in the payload.
            extensions.user_values = UserExtensionValues::default();
        }
        let inbound = InboundPacket { rid, packet, codec, is_start, extensions, now };
        for participant in self.participants.values_mut().filter(|participant| participant.id != id) {
            participant.write_rtp(&mut context.io, track_id, &layers, &inbound);
        }
    }

    /// Begins to send what the client knows of by now.
    pub(crate) fn activate_subscriptions(&mut self, context: &mut Context<'_>, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for each in participant.subscriptions.iter_mut().filter(|each| each.mid.is_some() && !each.is_ready) {
            each.is_ready = true;
            each.fill_until = Some(context.io.now + FILL_TIME);
        }
        self.notify_track_subscribed(id);
        self.request_keyframes(context, id);
    }

    /// Tells the publishers of the tracks that a participant is sent that somebody receives them now: some clients wait for
    /// that. A hidden participant is nobody.
    pub(crate) fn notify_track_subscribed(&mut self, id: SessionId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.is_hidden() || !participant.downlink().is_connected() {
            return;
        }
        let ready = participant.subscriptions.iter().filter(|each| each.is_ready);
        let ready: Vec<_> = ready.map(|each| (each.publisher, each.track)).collect();
        for (publisher, track) in ready {
            // While it has no signalling connection it is told nothing; it is when it resumes.
            let publisher = self.participants.get_mut(&publisher).filter(|publisher| publisher.signal.is_some());
            let Some(publisher) = publisher else { continue };
            let first = publisher.tracks.iter_mut().find(|each| each.id == track && !each.subscribed_notified);
            let Some(track) = first else { continue };
            track.subscribed_notified = true;
            let track_sid = track.info.sid.clone();
            publisher.send(Message::TrackSubscribed(proto::TrackSubscribed { track_sid }));
        }
    }

    /// A track is to be heard or seen again by all: what was left out of it is not to look like a loss.
    pub(crate) fn resync_after_unmute(&mut self, context: &mut Context<'_>, id: SessionId, track: TrackId) {
        let mut subscribers = Vec::new();
        for participant in self.participants.values_mut().filter(|participant| participant.id != id) {
            for each in participant.subscriptions.iter_mut().filter(|each| each.track == track) {
                each.current = None;
                subscribers.push(participant.id);
            }
        }
        for subscriber in subscribers {
            self.request_keyframes(context, subscriber);
        }
    }

    /// Takes what a participant says of how it wants its tracks.
    pub(crate) fn update_track_settings(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        settings: &proto::UpdateTrackSettings,
    ) {
        self.update_settings(id, &settings.track_sids, |_| TrackSettings::from(settings));
        self.request_keyframes(context, id);
    }
}

impl Participant {
    /// Sends a packet, if it is of a track and layer that is due.
    fn write_rtp(&mut self, io: &mut Io<'_>, track: TrackId, layers: &Layers, inbound: &InboundPacket<'_>) {
        // Not by a method, which would take hold of the rest, too.
        let downlink = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
        let Some(each) = self.subscriptions.iter_mut().find(|each| each.track == track && each.is_ready) else {
            return;
        };
        // str0m keeps what it is given before it can send, without a bound.
        if !downlink.is_connected() {
            return;
        }
        let (Some(mid), packet) = (each.mid, inbound.packet) else { return };
        if !each.should_forward(inbound, layers) {
            return;
        }
        each.pli_requested &= !inbound.is_start;
        // Padding is of use to the publisher's own connection only; and what is longer than any datagram may be would break
        // the receiver's.
        if packet.payload.is_empty() || packet.payload.len() > MAX_PAYLOAD_BYTES {
            each.munger.drop_packet(*packet.seq_no);
            return;
        }
        let source = packet.header.payload_type;
        let (pt, is_new) = match each.payload {
            Some((known, pt)) if known == source => (pt, false),
            _ => {
                let pt = payload_type(downlink, mid, &inbound.codec.spec);
                each.payload = Some((source, pt));
                (pt, pt.is_none())
            }
        };
        let Some(pt) = pt else {
            let track_sid = each.track_sid.clone();
            if is_new {
                let err = proto::SubscriptionError::SeCodecUnsupported.into();
                self.send(Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid, err }));
            }
            return;
        };
        let Some(out) = each.munger.translate(*packet.seq_no, packet.time.numer(), inbound.now) else { return };
        let (pt, payload) = match pt.redundant.filter(|_| inbound.codec.is_redundant) {
            Some(redundant) => (redundant, packet.payload.clone()),
            None if inbound.codec.is_redundant => {
                let Some(primary) = red::primary(&packet.payload) else { return };
                (pt.plain, primary.into())
            }
            None => (pt.plain, packet.payload.clone()),
        };
        if let Some(buffer) = &mut each.retransmission {
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
        let patch = (inbound.codec.spec.codec == Codec::Vp8).then(|| each.vp8.translate(&packet.payload)).flatten();
        let mut write = RtpWrite::new(pt, out.seq.into(), out.time, inbound.now, payload)
            .marker(packet.header.marker)
            .ext_vals(inbound.extensions.clone())
            .nackable(each.kind == MediaKind::Video);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        downlink.enqueue_rtp(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
    }
}

/// What the client knows the codec by in that section; another profile of it will have to do if need be.
fn payload_type(downlink: &PeerConnection, mid: Mid, codec: &CodecSpec) -> Option<PayloadTypes> {
    let offered = downlink.rtc().media(mid)?.remote_pts();
    let known = |is_same: &dyn Fn(&CodecSpec) -> bool| {
        let mut params = downlink.rtc().codec_config().iter();
        let found = params.find(|params| offered.contains(&params.pt()) && is_same(&params.spec()))?;
        // That of redundant audio is not among those of the section, and is gone where the client has none.
        Some(PayloadTypes { plain: found.pt(), redundant: found.red() })
    };
    known(&|spec| spec.codec == codec.codec && spec.format == codec.format)
        .or_else(|| known(&|spec| spec.codec == codec.codec))
}

//! Media packets on their way from a publisher to its subscribers: which layer each of them gets, and under which numbers.

use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::format::{Codec, CodecSpec, PayloadParams};
use str0m::media::{MediaKind, Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, UserExtensionValues};

use crate::net::peer_connection::{Io, Transport, passed_on};
use crate::net::sdp::Role;
use crate::session::PeerId;
use crate::session::participant::Peer;
use crate::session::publications::Track;
use crate::session::room::{Context, Room};
use crate::sfu::fillers::FILL_TIME;
use crate::sfu::keyframes::{PliThrottle, is_keyframe};
use crate::sfu::layer_selector::{Clock, LayerName, Layers, Wanted};
use crate::sfu::red;
use crate::sfu::retransmission::{RetransmissionBuffer, SentPacket};
use crate::sfu::rtp_munger::{Rewriter, Vp8};

pub(crate) type TrackId = u64;

/// The numbers of what is sent begin here: below 65,536, since the receiver's counter of overflows begins at 0.
const FIRST_NUMBER: u64 = 1000;
/// The longest payload that is sent on. Clients send at most 1,200 bytes.
const MOST_PAYLOAD_BYTES: usize = 1600;

/// A published track's layers, as they arrive.
pub(crate) struct Layered {
    pub(crate) layers: Layers,
    pub(crate) pli: PliThrottle,
    codec: Option<(Pt, Carried)>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
struct Carried {
    spec: CodecSpec,
    /// Once more with each packet comes what the one before carried.
    is_redundant: bool,
}

impl Layered {
    /// Those of a section with those names, of a track that was announced with some sizes.
    pub(crate) fn new(announced: &[proto::VideoLayer], rids: &[Rid]) -> Self {
        Self { layers: Layers::declared(announced, rids), pli: PliThrottle::default(), codec: None }
    }

    /// What the packet is in.
    fn codec(&mut self, transport: &Transport, pt: Pt) -> Option<Carried> {
        if let Some((known, carried)) = self.codec
            && known == pt
        {
            return Some(carried);
        }
        let is_it = |params: &PayloadParams| params.pt() == pt || params.red() == Some(pt);
        let params = transport.rtc().codec_config().find(is_it)?;
        let carried = Carried { spec: params.spec(), is_redundant: params.pt() != pt };
        self.codec = Some((pt, carried));
        Some(carried)
    }
}

/// A track that somebody is sent.
pub(crate) struct Subscription {
    pub(crate) track: TrackId,
    pub(crate) track_sid: String,
    pub(crate) publisher: PeerId,
    publisher_sid: String,
    pub(crate) kind: MediaKind,
    /// The section that it goes by, once there is one.
    pub(crate) mid: Option<Mid>,
    /// Whether the client knows the section.
    pub(crate) is_ready: bool,
    pub(crate) wanted: Wanted,
    /// The layer that is sent.
    pub(crate) current: Option<LayerName>,
    /// The layer that was sent last, whose clock the rewriter knows.
    last_layer: Option<LayerName>,
    /// The client has asked for a keyframe, and was sent none since.
    pub(crate) lost_picture: bool,
    /// Until when stand-ins are sent if the track sends no packet.
    pub(crate) fill_until: Option<Instant>,
    pub(crate) rewriter: Rewriter,
    vp8: Vp8,
    /// The payload type for that of the publisher; `None` if the client has no such codec.
    payload: Option<(Pt, Option<PayloadType>)>,
    /// For a track with NACK for Opus.
    pub(crate) retransmission: Option<RetransmissionBuffer>,
}

impl Subscription {
    /// A participant's subscription to a publisher's track.
    pub(crate) fn new(subscriber: &Peer, publisher: &Peer, track: &Track, wanted: Wanted) -> Self {
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
            wanted,
            current: None,
            last_layer: None,
            lost_picture: false,
            fill_until: None,
            rewriter: Rewriter::new(clock_rate, FIRST_NUMBER),
            vp8: Vp8::default(),
            payload: None,
            retransmission: has_nack.then(RetransmissionBuffer::default),
        }
    }

    /// The stream that clients know the publisher and the track by.
    pub(crate) fn stream(&self) -> String {
        format!("{}|{}", self.publisher_sid, self.track_sid)
    }

    pub(crate) fn role(&self) -> Role {
        Role::Sends { stream: self.stream(), track: self.track_sid.clone(), nack: self.retransmission.is_some() }
    }

    /// Whether it is to begin, or to go on with that layer, with this packet.
    fn follows(&mut self, packet: &Arrived<'_>, layers: &Layers) -> bool {
        if self.wanted.disabled {
            self.current = None;
            return false;
        }
        if self.current == Some(packet.rid) {
            return true;
        }
        if !packet.is_start || layers.target(&self.wanted, packet.now) != Some(packet.rid) {
            return false;
        }
        self.current = Some(packet.rid);
        let last = self.last_layer.replace(packet.rid);
        let (time, clock_rate) = (packet.packet.header.timestamp, self.rewriter.clock_rate());
        let on_last = last.and_then(|last| layers.convert_time(time, packet.rid, last, clock_rate));
        self.rewriter.start(*packet.packet.seq_no, packet.packet.time.numer(), on_last, packet.now);
        self.vp8.start();
        true
    }
}

/// What a client knows a codec by.
#[derive(Debug, Clone, Copy)]
struct PayloadType {
    plain: Pt,
    /// For redundant audio, if the client reads that.
    redundant: Option<Pt>,
}

/// A packet as it came.
struct Arrived<'a> {
    rid: Option<Rid>,
    packet: &'a RtpPacket,
    codec: Carried,
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
        id: PeerId,
        (mid, rid): (Mid, Option<Rid>),
        packet: &RtpPacket,
    ) {
        let now = context.io.now;
        let Some(publisher) = self.peers.get_mut(&id) else { return };
        let Some(track) = publisher.tracks.iter_mut().find(|track| track.mid == Some(mid)) else { return };
        let Some(codec) = track.layers.codec(&publisher.publisher, packet.header.payload_type) else { return };
        if track.info.muted {
            return;
        }
        let clock = packet.last_sender_info.as_ref().map(Clock::new);
        if !track.layers.layers.mark_active(rid, clock, now) {
            return;
        }
        let is_start = track.kind == MediaKind::Audio || is_keyframe(codec.spec.codec, &packet.payload);
        if let (MediaKind::Audio, Some(level)) = (track.kind, packet.header.ext_vals.audio_level) {
            // Of both it is told by how much it is below the loudest.
            self.speakers.observe((id, track.id), level.unsigned_abs(), packet.header.timestamp, now);
        }
        let (track_id, layers) = (track.id, track.layers.layers);
        let mut extensions = passed_on(&packet.header.ext_vals);
        if matches!(codec.spec.codec, Codec::Vp8 | Codec::H264) {
            // The dependency descriptor counts frames, which go on counting over a change of layers only in the payload.
            extensions.user_values = UserExtensionValues::default();
        }
        let arrived = Arrived { rid, packet, codec, is_start, extensions, now };
        for peer in self.peers.values_mut().filter(|peer| peer.id != id) {
            peer.send_packet(&mut context.io, track_id, &layers, &arrived);
        }
    }

    /// Begins to send what the client knows of by now.
    pub(crate) fn begin(&mut self, context: &mut Context<'_>, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for each in peer.subscriptions.iter_mut().filter(|each| each.mid.is_some() && !each.is_ready) {
            each.is_ready = true;
            each.fill_until = Some(context.io.now + FILL_TIME);
        }
        self.tell_publishers(id);
        self.request_keyframes(context, id);
    }

    /// Tells the publishers of the tracks that a participant is sent that somebody receives them now: some clients wait for
    /// that. A hidden participant is nobody.
    pub(crate) fn tell_publishers(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.is_hidden() || !peer.media_sink().is_connected() {
            return;
        }
        let ready = peer.subscriptions.iter().filter(|each| each.is_ready);
        let ready: Vec<_> = ready.map(|each| (each.publisher, each.track)).collect();
        for (publisher, track) in ready {
            // While it has no signalling connection it is told nothing; it is when it resumes.
            let publisher = self.peers.get_mut(&publisher).filter(|publisher| publisher.link.is_some());
            let Some(publisher) = publisher else { continue };
            let first = publisher.tracks.iter_mut().find(|each| each.id == track && !each.was_subscribed);
            let Some(track) = first else { continue };
            track.was_subscribed = true;
            let track_sid = track.info.sid.clone();
            publisher.send(Message::TrackSubscribed(proto::TrackSubscribed { track_sid }));
        }
    }

    /// A track is to be heard or seen again by all: what was left out of it is not to look like a loss.
    pub(crate) fn begin_again(&mut self, context: &mut Context<'_>, id: PeerId, track: TrackId) {
        let mut subscribers = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.id != id) {
            for each in peer.subscriptions.iter_mut().filter(|each| each.track == track) {
                each.current = None;
                subscribers.push(peer.id);
            }
        }
        for subscriber in subscribers {
            self.request_keyframes(context, subscriber);
        }
    }

    /// Takes what a participant says of how it wants its tracks.
    pub(crate) fn set_tracks(&mut self, context: &mut Context<'_>, id: PeerId, settings: &proto::UpdateTrackSettings) {
        self.change_settings(id, &settings.track_sids, |_| Wanted::from(settings));
        self.request_keyframes(context, id);
    }
}

impl Peer {
    /// Sends a packet, if it is of a track and layer that is due.
    fn send_packet(&mut self, io: &mut Io<'_>, track: TrackId, layers: &Layers, arrived: &Arrived<'_>) {
        // Not by a method, which would take hold of the rest, too.
        let sink = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
        let Some(each) = self.subscriptions.iter_mut().find(|each| each.track == track && each.is_ready) else {
            return;
        };
        // str0m keeps what it is given before it can send, without a bound.
        if !sink.is_connected() {
            return;
        }
        let (Some(mid), packet) = (each.mid, arrived.packet) else { return };
        if !each.follows(arrived, layers) {
            return;
        }
        each.lost_picture &= !arrived.is_start;
        // Padding is of use to the publisher's own connection only; and what is longer than any datagram may be would break
        // the receiver's.
        if packet.payload.is_empty() || packet.payload.len() > MOST_PAYLOAD_BYTES {
            each.rewriter.skip(*packet.seq_no);
            return;
        }
        let source = packet.header.payload_type;
        let (pt, is_news) = match each.payload {
            Some((known, pt)) if known == source => (pt, false),
            _ => {
                let pt = payload_type(sink, mid, &arrived.codec.spec);
                each.payload = Some((source, pt));
                (pt, pt.is_none())
            }
        };
        let Some(pt) = pt else {
            let track_sid = each.track_sid.clone();
            if is_news {
                let err = proto::SubscriptionError::SeCodecUnsupported.into();
                self.send(Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid, err }));
            }
            return;
        };
        let Some(out) = each.rewriter.map(*packet.seq_no, packet.time.numer(), arrived.now) else { return };
        let (pt, payload) = match pt.redundant.filter(|_| arrived.codec.is_redundant) {
            Some(redundant) => (redundant, packet.payload.clone()),
            None if arrived.codec.is_redundant => {
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
                at: arrived.now,
                marker: packet.header.marker,
                audio_level: arrived.extensions.audio_level,
                voice_activity: arrived.extensions.voice_activity,
                payload: payload.clone(),
            });
        }
        let patch = (arrived.codec.spec.codec == Codec::Vp8).then(|| each.vp8.map(&packet.payload)).flatten();
        let mut write = RtpWrite::new(pt, out.seq.into(), out.time, arrived.now, payload)
            .marker(packet.header.marker)
            .ext_vals(arrived.extensions.clone())
            .nackable(each.kind == MediaKind::Video);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        sink.queue(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
                stream.write_rtp(write);
            }
        });
    }
}

/// What the client knows the codec by in that section; another profile of it will have to do if need be.
fn payload_type(sink: &Transport, mid: Mid, codec: &CodecSpec) -> Option<PayloadType> {
    let offered = sink.rtc().media(mid)?.remote_pts();
    let known = |is_same: &dyn Fn(&CodecSpec) -> bool| {
        let mut params = sink.rtc().codec_config().iter();
        let found = params.find(|params| offered.contains(&params.pt()) && is_same(&params.spec()))?;
        // That of redundant audio is not among those of the section, and is gone where the client has none.
        Some(PayloadType { plain: found.pt(), redundant: found.red() })
    };
    known(&|spec| spec.codec == codec.codec && spec.format == codec.format)
        .or_else(|| known(&|spec| spec.codec == codec.codec))
}

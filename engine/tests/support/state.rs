//! The state of a test client: its peer connection, the tracks it publishes, and everything that it has received.

mod negotiation;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};
use str0m::{Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{ReceiveFilter, Tamper};
use crate::support::TIMEOUT;

/// A VP8 keyframe in one packet: the payload descriptor (RFC 7741) and the frame header of a 16x16 picture.
pub const VP8_KEYFRAME: [u8; 14] = [0x90, 0x80, 0x80, 1, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
/// An Opus frame of silence.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// RTP timestamp ticks between two packets, 20 ms at 48 kHz and 90 kHz.
const OPUS_TICKS: u64 = 960;
const VP8_TICKS: u64 = 1800;

pub struct PublishedTrack {
    cid: String,
    pub mid: Mid,
    pub kind: MediaKind,
    /// Sequence number of the next packet.
    pub next_seq: u64,
}

#[expect(clippy::struct_excessive_bools, reason = "each one is an independent state that tests read or set")]
pub struct State {
    pub rtc: Box<Rtc>,
    udp: Arc<UdpSocket>,
    pub address: SocketAddr,
    /// The engine's media address.
    pub media_address: Option<SocketAddr>,
    /// SDP of the engine's last answer.
    pub last_answer: String,
    /// SDP of the engine's last offer.
    pub last_offer: String,
    pub(super) deadline: Instant,
    outgoing: mpsc::UnboundedSender<Message>,
    /// Signals from the engine, except those that the client handles itself.
    pub responses: Vec<Response>,
    /// The unanswered offer; the next offer waits for its answer.
    pub(super) pending_offer: Option<SdpPendingOffer>,
    /// Receive sections (audio, video) to add in the next offer.
    unoffered_sections: (u32, u32),
    /// Tracks to add in the next offer.
    unoffered_tracks: Vec<(MediaKind, String)>,
    /// Sections to deactivate in the next offer.
    unoffered_unpublishes: Vec<(Mid, MediaKind)>,
    /// The engine has asked for an offer, so one is sent even if it changes nothing.
    offer_requested: bool,
    receive_sections: Vec<Mid>,
    /// Sections of unpublished tracks, to be reused.
    idle_sections: Vec<(Mid, MediaKind)>,
    pub published: Vec<PublishedTrack>,
    /// Number of tracks published so far.
    pub(super) track_count: usize,
    /// Sends a packet of each published track every 20 ms.
    pub sends_media: bool,
    /// Number of keyframe requests received, by section.
    pub keyframe_requests: HashMap<Mid, usize>,
    /// Number of packets with a payload received, by section.
    pub packets: HashMap<Mid, usize>,
    /// Number of packets received, including those without a payload, by section.
    pub all_packets: HashMap<Mid, usize>,
    /// SSRC of the last packet, by section.
    ssrcs: HashMap<Mid, Ssrc>,
    /// First and highest sequence number of the packets with a payload, by section.
    pub seq_ranges: HashMap<Mid, (u64, u64)>,
    /// Header extensions of the last packet with a payload, by section.
    pub extensions: HashMap<Mid, ExtensionValues>,
    /// The `sid` of each received track, by section.
    pub tracks: HashMap<String, String>,
    /// All answers of the engine; `None` unless a test enables the recording.
    pub recorded_answers: Option<Vec<proto::SessionDescription>>,
    /// Open data channels, and whether each one is reliable.
    pub(super) channels: HashMap<ChannelId, bool>,
    pub data_packets: Vec<proto::DataPacket>,
    pub is_connected: bool,
    /// The engine has closed the signalling connection.
    pub is_closed: bool,
    /// Reads nothing from the signalling connection while set.
    pub pauses_reading: bool,
    /// Keeps only pongs in `responses`, because a flood would count as memory of the engine.
    pub discards_responses: bool,
    pub tamper: Option<Tamper>,
    pub receive_filter: ReceiveFilter,
}

impl State {
    pub(super) fn new(
        rtc: Box<Rtc>,
        udp: Arc<UdpSocket>,
        address: SocketAddr,
        outgoing: mpsc::UnboundedSender<Message>,
    ) -> Self {
        Self {
            rtc,
            udp,
            address,
            media_address: None,
            last_answer: String::new(),
            last_offer: String::new(),
            deadline: Instant::now(),
            outgoing,
            responses: Vec::new(),
            pending_offer: None,
            unoffered_sections: (3, 3),
            unoffered_tracks: Vec::new(),
            unoffered_unpublishes: Vec::new(),
            offer_requested: false,
            receive_sections: Vec::new(),
            idle_sections: Vec::new(),
            published: Vec::new(),
            track_count: 0,
            sends_media: false,
            keyframe_requests: HashMap::new(),
            packets: HashMap::new(),
            all_packets: HashMap::new(),
            ssrcs: HashMap::new(),
            seq_ranges: HashMap::new(),
            extensions: HashMap::new(),
            tracks: HashMap::new(),
            recorded_answers: None,
            channels: HashMap::new(),
            data_packets: Vec::new(),
            is_connected: false,
            is_closed: false,
            pauses_reading: false,
            discards_responses: false,
            tamper: None,
            receive_filter: Box::new(|_| true),
        }
    }

    /// A short description for panic messages.
    pub(super) fn summary(&self) -> String {
        let Self { is_connected, is_closed, packets, tracks, channels, .. } = self;
        let responses = self.responses.iter();
        let responses: Vec<String> = responses.map(|each| format!("{each:?}").chars().take(60).collect()).collect();
        format!("{:?}", (is_connected, is_closed, packets, tracks, channels, responses))
    }

    pub fn send_request(&mut self, request: Request) {
        let bytes = proto::SignalRequest { message: Some(request) }.encode_to_vec();
        self.send_message(Message::binary(bytes));
    }

    pub fn send_message(&mut self, message: Message) {
        // Fails only after the client was dropped.
        let _ = self.outgoing.send(message);
    }

    pub(super) fn is_sending(&self, cid: &str) -> bool {
        let track = self.published.iter().find(|track| track.cid == cid);
        track.and_then(|track| self.rtc.media(track.mid)).is_some_and(|media| media.direction().is_sending())
    }

    /// The section on which a subscribed track is received.
    pub fn mid_of(&self, sid: &str) -> Option<Mid> {
        self.tracks.iter().find(|(_, track)| *track == sid).map(|(mid, _)| Mid::from(mid.as_str()))
    }

    /// The negotiated payload type of Opus or VP8 in a section.
    pub fn payload_type(&self, mid: Mid, kind: MediaKind) -> Option<Pt> {
        let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
        let accepted = self.rtc.media(mid)?.remote_pts();
        let mut params = self.rtc.codec_config().iter();
        params.find(|params| params.spec().codec == codec && accepted.contains(&params.pt())).map(PayloadParams::pt)
    }

    /// Sends a packet of each published track if `sends_media` is set.
    pub(super) fn send_media(&mut self) {
        if self.sends_media {
            (0..self.published.len()).for_each(|index| self.send_packet(index));
        }
    }

    /// Sends a packet of a published track: a keyframe of video, silence of audio.
    pub fn send_packet(&mut self, index: usize) {
        let PublishedTrack { mid, kind, next_seq, .. } = self.published[index];
        let Some(pt) = self.payload_type(mid, kind) else { return };
        let (payload, ticks) = match kind {
            MediaKind::Audio => (OPUS_SILENCE.to_vec(), OPUS_TICKS),
            MediaKind::Video => (VP8_KEYFRAME.to_vec(), VP8_TICKS),
        };
        let timestamp = u32::try_from(next_seq * ticks % (1 << 32)).unwrap();
        self.write_rtp(mid, RtpWrite::new(pt, next_seq.into(), timestamp, Instant::now(), payload).marker(true));
        self.published[index].next_seq += 1;
    }

    /// Sends a PLI for the track received in a section.
    pub fn request_keyframe(&mut self, mid: Mid) {
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.drain();
    }

    pub fn write_rtp(&mut self, mid: Mid, write: RtpWrite) {
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.write_rtp(write);
        }
        self.drain();
    }

    /// Writes to the reliable or the lossy data channel. Returns whether str0m has accepted the message.
    pub fn write_channel(&mut self, bytes: &[u8], reliable: bool) -> bool {
        let channel = self.channels.iter().find(|(_, kind)| **kind == reliable).map(|(id, _)| *id);
        let channel = channel.and_then(|id| self.rtc.channel(id));
        let is_accepted = channel.is_some_and(|mut channel| channel.write(true, bytes).unwrap_or(false));
        self.drain();
        is_accepted
    }

    pub(super) fn on_message(&mut self, message: Option<Message>) {
        let Some(message) = message else {
            self.is_closed = true;
            return;
        };
        let response = match message {
            Message::Binary(bytes) => proto::SignalResponse::decode(bytes).unwrap(),
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            Message::Close(_) => return self.is_closed = true,
            _ => return,
        };
        match response.message.unwrap() {
            Response::Answer(answer) => self.on_answer(answer),
            Response::Offer(offer) => self.on_offer(&offer),
            Response::MediaSectionsRequirement(required) => {
                self.unoffered_sections.0 += required.num_audios;
                self.unoffered_sections.1 += required.num_videos;
                self.offer_requested = true;
                self.negotiate();
            }
            response if self.discards_responses && !matches!(response, Response::PongResp(_)) => (),
            response => self.responses.push(response),
        }
    }

    pub(super) fn on_datagram(&mut self, source: SocketAddr, bytes: &[u8]) {
        if !(self.receive_filter)(bytes) {
            return;
        }
        let Ok(contents) = bytes.try_into() else { return };
        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
    }

    pub(super) fn handle_timeout(&mut self) {
        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
    }

    /// Sends the output of str0m and processes its events.
    pub(super) fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => return self.deadline = deadline,
                Ok(Output::Transmit(transmit)) => {
                    let bytes = transmit.contents.to_vec();
                    let datagrams = self.tamper.as_mut().map_or_else(|| vec![bytes.clone()], |tamper| tamper(&bytes));
                    for bytes in datagrams {
                        let _ = self.udp.try_send_to(&bytes, transmit.destination);
                    }
                }
                Ok(Output::Event(event)) => self.on_event(event),
                // The peer connection has failed.
                Err(_) => return self.deadline = Instant::now() + TIMEOUT,
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::ChannelOpen(id, label) => drop(self.channels.insert(id, label == "_reliable")),
            Event::ChannelData(data) => self.data_packets.push(proto::DataPacket::decode(&*data.data).unwrap()),
            Event::KeyframeRequest(request) => *self.keyframe_requests.entry(request.mid).or_default() += 1,
            Event::RtpPacket(packet) => {
                let mid = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
                if let Some(mid) = mid {
                    *self.all_packets.entry(mid).or_default() += 1;
                    self.ssrcs.insert(mid, packet.header.ssrc);
                }
                if let Some(mid) = mid.filter(|_| !packet.payload.is_empty()) {
                    *self.packets.entry(mid).or_default() += 1;
                    let seq = *packet.seq_no;
                    let (_, highest) = self.seq_ranges.entry(mid).or_insert((seq, seq));
                    *highest = seq.max(*highest);
                    self.extensions.insert(mid, packet.header.ext_vals);
                }
            }
            _ => (),
        }
    }
}

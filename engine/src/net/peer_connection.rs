//! One peer connection. All changes go through [`PeerConnection::mutate_and_drain`] or, for media,
//! [`PeerConnection::enqueue_rtp`]. They keep str0m's rule that a complete drain follows each change, and confine a panic to its
//! connection.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use str0m::channel::{ChannelConfig, ChannelId};
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::rtcp::{NackEntry, Rtcp};
use str0m::rtp::{RawPacket, RtpPacket};
use str0m::stats::PeerStats;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tracing::{debug, error, warn};

use crate::ids::{SessionId, SignalTarget};
use crate::net::data_channels::{self, ChannelKind, DataChannels};
use crate::net::datagram::ReceivedDatagram;
use crate::net::dtls::crypto_provider;
use crate::net::extensions::dependency_descriptor;
use crate::net::sdp::{self, Meanings, MediaSection};
use crate::net::sockets::{CandidateChanges, Network};
use crate::net::sources::Sources;
use crate::net::ssrcs::is_rtp;
use crate::net::timers::Timers;

/// Maximum bytes of one data channel message, announced in the SDP. Past it, clients reject to send.
const MAX_MESSAGE_BYTES: u32 = 65_535;
/// Maximum bytes in str0m's send buffer for the data channels of one client. More waits in the participant's queue.
const SCTP_BUFFER_BYTES: usize = 512 * 1024;
/// Interval of str0m's statistics.
const STATS_INTERVAL: Duration = Duration::from_secs(5);

/// An event of a peer connection.
pub(crate) enum TransportEvent {
    Packet {
        mid: Mid,
        rid: Option<Rid>,
        packet: Box<RtpPacket>,
    },
    KeyframeRequest(Mid),
    /// The client reports lost Opus packets.
    Nack {
        mid: Mid,
        entries: Vec<NackEntry>,
    },
    Data {
        reliable: bool,
        bytes: Vec<u8>,
    },
    /// A message from one of the app's own data channels. It is not a `DataPacket`.
    RawData(Vec<u8>),
    Connected,
    ChannelOpen,
    ChannelLow,
    Stats(PeerStats),
    /// The client closed the connection.
    Closed,
    /// The connection failed. Its participant has to be removed.
    Failed,
}

/// Events of peer connections, in order.
pub(crate) type EventQueue = VecDeque<(SessionId, SignalTarget, TransportEvent)>;

/// Inputs and outputs of the event loop that a connection uses.
pub(crate) struct Io<'a> {
    pub(crate) network: &'a mut Network,
    pub(crate) events: &'a mut EventQueue,
    pub(crate) timers: &'a mut Timers,
    pub(crate) now: Instant,
}

/// Protocols by which a client may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CandidateFilter {
    All,
    /// TCP only, as if UDP were blocked.
    Tcp,
}

pub(crate) struct PeerConnection {
    rtc: Rtc,
    session_id: SessionId,
    target: SignalTarget,
    candidate_filter: CandidateFilter,
    /// Deadline of the next `handle_timeout`.
    deadline: Instant,
    /// Deadline of its entry in the timers.
    scheduled: Option<Instant>,
    /// Whether it panicked, failed or was closed. It ignores further input then.
    failed: bool,
    connected: bool,
    /// Time of the last datagram from the client.
    last_received_at: Instant,
    sources: Sources,
    channels: DataChannels,
    meanings: Meanings,
}

impl PeerConnection {
    /// Creates a connection with the candidates that the filter allows, with or without AV1.
    pub(crate) fn new(
        session_id: SessionId,
        target: SignalTarget,
        io: &mut Io<'_>,
        (candidate_filter, has_av1): (CandidateFilter, bool),
    ) -> Self {
        let (descriptor_id, descriptor) = dependency_descriptor();
        let rtc = Rtc::builder()
            .set_crypto_provider(crypto_provider())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, true)
            .enable_vp8(true)
            .enable_h264(true)
            .enable_vp9(true)
            .enable_av1(has_av1)
            .set_extension(descriptor_id, descriptor)
            .set_sctp_max_message_size(MAX_MESSAGE_BYTES)
            .set_sctp_max_buffered_amount(SCTP_BUFFER_BYTES)
            // str0m reports NACKs only in raw packets.
            .enable_raw_packets(target == SignalTarget::Subscriber)
            .set_stats_interval(Some(STATS_INTERVAL))
            .build(io.now);
        let mut connection = Self {
            rtc,
            session_id,
            target,
            candidate_filter,
            deadline: io.now,
            scheduled: None,
            failed: false,
            connected: false,
            last_received_at: io.now,
            sources: Sources::default(),
            channels: DataChannels::default(),
            meanings: Meanings::default(),
        };
        let added = io.network.candidates().to_vec();
        connection.change_candidates(io, &CandidateChanges { added, ..CandidateChanges::default() });
        connection
    }

    /// Adds and removes local candidates.
    pub(crate) fn change_candidates(&mut self, io: &mut Io<'_>, changes: &CandidateChanges) {
        let candidate_filter = self.candidate_filter;
        let is_open =
            |candidate: &&Candidate| candidate_filter == CandidateFilter::All || candidate.proto() == Protocol::Tcp;
        for candidate in changes.added.iter().filter(is_open).cloned() {
            self.mutate_and_drain(io, |rtc| drop(rtc.add_local_candidate(candidate).cloned()));
        }
        for candidate in changes.removed.iter().filter(is_open) {
            self.mutate_and_drain(io, |rtc| rtc.direct_api().invalidate_candidate(candidate));
        }
    }

    /// As [`data_channels::livekit_channels`].
    pub(crate) fn data_channels() -> [ChannelConfig; 2] {
        data_channels::livekit_channels()
    }

    /// Changes the connection, then sends its output and queues its events. `None` if it has failed or fails now.
    pub(crate) fn mutate_and_drain<T>(&mut self, io: &mut Io<'_>, work: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        if self.failed {
            return None;
        }
        let driven = catch_unwind(AssertUnwindSafe(|| {
            let outcome = work(&mut self.rtc);
            self.drain(io).then_some((outcome, self.rtc.is_alive()))
        }));
        let (session, target) = (self.session_id, self.target);
        let end = match driven {
            Ok(Some((outcome, true))) => {
                self.schedule(io);
                return Some(outcome);
            }
            Ok(Some((_, false))) => {
                debug!(session, ?target, "peer connection closed");
                TransportEvent::Closed
            }
            Ok(None) => {
                warn!(session, ?target, "peer connection failed");
                TransportEvent::Failed
            }
            Err(_) => {
                error!(session, ?target, "panic in a peer connection");
                TransportEvent::Failed
            }
        };
        self.fail(io, end);
        None
    }

    /// Queues RTP. It is sent by the next `handle_timeout`, in this turn of the event loop, so that a burst costs one drain.
    pub(crate) fn enqueue_rtp(&mut self, io: &mut Io<'_>, work: impl FnOnce(&mut Rtc)) {
        if self.failed {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| work(&mut self.rtc))).is_ok() {
            self.deadline = self.deadline.min(io.now);
            self.schedule(io);
        } else {
            error!(session = self.session_id, target = ?self.target, "panic in a peer connection");
            self.fail(io, TransportEvent::Failed);
        }
    }

    fn fail(&mut self, io: &mut Io<'_>, how: TransportEvent) {
        self.failed = true;
        io.events.push_back((self.session_id, self.target, how));
    }

    pub(crate) fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Read access to the connection.
    pub(crate) fn rtc(&self) -> &Rtc {
        &self.rtc
    }

    /// The local ICE username fragment, which STUN requests for this connection contain.
    pub(crate) fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    pub(crate) fn handle_datagram(&mut self, io: &mut Io<'_>, received: &ReceivedDatagram) {
        let now = io.now;
        let time = input_time(received, now);
        if let Some(input) = datagram(received, time).filter(|_| self.sources.admits(&received.bytes, now)) {
            self.last_received_at = now;
            // Invalid datagrams are dropped; they may not be from the client at all.
            self.mutate_and_drain(io, |rtc| drop(rtc.handle_input(input)));
        }
    }

    /// Advances the connection's time, if `timer` is the deadline it is scheduled for.
    pub(crate) fn handle_timeout(&mut self, io: &mut Io<'_>, timer: Instant) {
        if self.scheduled != Some(timer) || self.failed {
            return;
        }
        self.scheduled = None;
        let now = io.now;
        if self.deadline <= now {
            self.mutate_and_drain(io, |rtc| drop(rtc.handle_input(Input::Timeout(now))));
        } else {
            self.schedule(io);
        }
    }

    fn schedule(&mut self, io: &mut Io<'_>) {
        io.timers.set((self.session_id, self.target), &mut self.scheduled, self.deadline);
    }

    /// Reduces a client's description to the lines that str0m reads. `None` if it has too many sections.
    pub(crate) fn reduce(&mut self, description: &str) -> Option<String> {
        // The payload types of a section never change.
        let is_known = |mid| self.rtc.media(mid).is_some_and(|media| !media.remote_pts().is_empty());
        sdp::reduce(description, &mut self.meanings, is_known)
    }

    /// Removes the streams of sources that a client's new description no longer declares, because str0m keeps them.
    pub(crate) fn remove_stale_streams(&mut self, io: &mut Io<'_>, sections: &[MediaSection]) {
        for ssrc in self.sources.declare(sections) {
            self.mutate_and_drain(io, |rtc| rtc.direct_api().remove_stream_rx(ssrc));
        }
    }

    /// Whether RED (RFC 2198) is negotiated. Before the client's first offer, true.
    pub(crate) fn has_redundant_audio(&self) -> bool {
        self.rtc.codec_config().iter().any(|params| params.red().is_some())
    }

    /// Whether the credentials of a STUN message are this connection's.
    pub(crate) fn accepts(&self, received: &ReceivedDatagram, now: Instant) -> bool {
        let matches = || {
            let Some(Input::Receive(now, mut receive)) = datagram(received, now) else { return false };
            // str0m accepts any datagram from the client's address, though another client may have that address now.
            receive.source = (Ipv4Addr::UNSPECIFIED, 0).into();
            self.rtc.accepts(&Input::Receive(now, receive))
        };
        !self.failed && catch_unwind(AssertUnwindSafe(matches)).unwrap_or(false)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn last_received_at(&self) -> Instant {
        self.last_received_at
    }

    /// Shifts the time of the last datagram by a stall, during which none could be read.
    pub(crate) fn discount_stall(&mut self, later: impl Fn(Instant) -> Instant) {
        self.last_received_at = later(self.last_received_at);
    }

    pub(crate) fn request_keyframe(&mut self, io: &mut Io<'_>, mid: Mid, rid: Option<Rid>) {
        self.mutate_and_drain(io, |rtc| {
            if let Some(stream) = rtc.direct_api().stream_rx_by_mid(mid, rid) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        });
    }

    /// The reliable or lossy channel, once it is open.
    pub(crate) fn channel(&self, reliable: bool) -> Option<ChannelId> {
        self.channels.find(reliable)
    }

    /// Writes a message. `false` if the send buffer is full; `None` if the channel is closed or the connection failed.
    pub(crate) fn write(&mut self, io: &mut Io<'_>, channel: ChannelId, bytes: &[u8]) -> Option<bool> {
        self.mutate_and_drain(io, |rtc| rtc.channel(channel)?.write(true, bytes).ok())?
    }

    /// Bytes in the send buffer of a channel.
    pub(crate) fn buffered(&mut self, channel: ChannelId) -> usize {
        if self.failed {
            return 0;
        }
        // Read-only, so no drain is needed.
        let buffered = || self.rtc.channel(channel).map(|mut channel| channel.buffered_amount());
        catch_unwind(AssertUnwindSafe(buffered)).ok().flatten().unwrap_or(0)
    }

    /// Sends all output and queues all events. `false` if the connection failed.
    fn drain(&mut self, io: &mut Io<'_>) -> bool {
        let is_alive = loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => {
                    self.deadline = deadline;
                    break true;
                }
                Ok(Output::Transmit(transmit)) => io.network.send(&transmit),
                Ok(Output::Event(event)) => {
                    if let Some(event) = self.on_event(event) {
                        io.events.push_back((self.session_id, self.target, event));
                    }
                }
                Err(_) => break false,
            }
        };
        io.network.flush();
        is_alive
    }

    fn on_event(&mut self, event: Event) -> Option<TransportEvent> {
        match event {
            Event::RtpPacket(packet) => {
                let (mid, rid) = self.sources.stream(&mut self.rtc, packet.header.ssrc)?;
                Some(TransportEvent::Packet { mid, rid, packet: Box::new(packet) })
            }
            Event::RawPacket(packet) => self.nack(&packet),
            Event::KeyframeRequest(request) => Some(TransportEvent::KeyframeRequest(request.mid)),
            Event::ChannelData(data) => Some(match self.channels.kind(data.id)? {
                ChannelKind::LiveKit { reliable } => TransportEvent::Data { reliable, bytes: data.data },
                ChannelKind::App => TransportEvent::RawData(data.data),
            }),
            Event::ChannelOpen(id, label) => {
                let ChannelKind::LiveKit { reliable } = self.channels.add(id, &label)? else { return None };
                if let Some(mut channel) = self.rtc.channel(id) {
                    channel.set_buffered_amount_low_threshold(data_channels::low_water_mark(reliable));
                }
                Some(TransportEvent::ChannelOpen)
            }
            Event::ChannelClose(id) => {
                self.channels.remove(id);
                None
            }
            Event::ChannelBufferedAmountLow(_) => Some(TransportEvent::ChannelLow),
            Event::Connected => {
                self.connected = true;
                Some(TransportEvent::Connected)
            }
            Event::PeerStats(stats) => {
                self.sources.remove_undeclared_layers(&mut self.rtc);
                Some(TransportEvent::Stats(stats))
            }
            _ => None,
        }
    }

    /// The NACK in a raw packet, if it is for audio. str0m itself retransmits video.
    fn nack(&mut self, packet: &RawPacket) -> Option<TransportEvent> {
        let RawPacket::RtcpRx(Rtcp::Nack(nack)) = packet else { return None };
        let mid = self.rtc.direct_api().stream_tx(&nack.ssrc)?.mid();
        let is_audio = self.rtc.media(mid).is_some_and(|media| media.kind() == MediaKind::Audio);
        is_audio.then(|| TransportEvent::Nack { mid, entries: nack.reports.iter().copied().collect() })
    }
}

/// Removes the outgoing stream of a section. The section's next track has a stream with another SSRC: for a known SSRC the receiver
/// continues its packet counter, and drops sequence numbers that it has received before as replayed.
pub(crate) fn remove_stream(rtc: &mut Rtc, mid: Mid) {
    let ssrc = rtc.direct_api().stream_tx_by_mid(mid, None).map(|stream| stream.ssrc());
    if let Some(ssrc) = ssrc {
        rtc.direct_api().remove_stream_tx(ssrc);
    }
}

/// Adds an outgoing stream to a section of the engine's offer that has none.
pub(crate) fn add_stream(rtc: &mut Rtc, mid: Mid, kind: MediaKind) {
    let ssrc = rtc.direct_api().new_ssrc();
    let rtx = (kind == MediaKind::Video).then(|| rtc.direct_api().new_ssrc());
    rtc.direct_api().declare_stream_tx(ssrc, rtx, mid, None);
}

/// The time to pass to str0m with a datagram: for media its receive time, which transport feedback reports. For all else now,
/// because it drives timers, which must not run backwards.
fn input_time(received: &ReceivedDatagram, now: Instant) -> Instant {
    if is_rtp(&received.bytes) { received.arrived_at.min(now) } else { now }
}

fn datagram(received: &ReceivedDatagram, now: Instant) -> Option<Input<'_>> {
    let ReceivedDatagram { protocol, source, destination, bytes, .. } = received;
    let contents = bytes.as_slice().try_into().ok()?;
    Some(Input::Receive(now, Receive { proto: *protocol, source: *source, destination: *destination, contents }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_counts_from_its_arrival_and_all_else_from_now() {
        let (arrived_at, delay) = (Instant::now(), Duration::from_millis(50));
        let time = |second_byte: u8| {
            let ends = (Ipv4Addr::LOCALHOST, 1).into();
            let bytes = vec![0x80, second_byte, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
            let received =
                ReceivedDatagram { protocol: Protocol::Udp, source: ends, destination: ends, arrived_at, bytes };
            input_time(&received, arrived_at + delay)
        };
        let (rtp, receiver_report) = (96, 201);
        assert_eq!(time(rtp), arrived_at);
        assert_eq!(time(receiver_report), arrived_at + delay);
    }
}

//! Offers and answers of a test client.

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{Direction, MediaKind, Mid};

use super::{PublishedTrack, State};

impl State {
    /// Creates an offer with all pending changes.
    pub fn create_offer(&mut self) -> proto::SessionDescription {
        let is_first = self.receive_sections.is_empty();
        let mut reused = Vec::new();
        for (kind, cid) in std::mem::take(&mut self.unoffered_tracks) {
            match self.idle_sections.iter().position(|(_, idle)| *idle == kind) {
                Some(index) => reused.push((self.idle_sections.swap_remove(index).0, kind, cid)),
                None => self.unoffered_tracks.push((kind, cid)),
            }
        }
        for (mid, kind, _) in &reused {
            self.replace_stream(*mid, *kind);
        }
        let mut changes = self.rtc.sdp_api();
        for (mid, kind, cid) in reused {
            changes.set_direction(mid, Direction::SendOnly);
            self.published.push(PublishedTrack { cid, mid, kind, next_seq: 1 });
        }
        for (mid, kind) in self.unoffered_unpublishes.drain(..) {
            changes.set_direction(mid, Direction::Inactive);
            self.idle_sections.push((mid, kind));
        }
        // The answer has made sections without a track inactive.
        for mid in &self.receive_sections {
            changes.set_direction(*mid, Direction::RecvOnly);
        }
        let (audio, video) = std::mem::take(&mut self.unoffered_sections);
        for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            for _ in 0..count {
                self.receive_sections.push(changes.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        for (kind, cid) in self.unoffered_tracks.drain(..) {
            let (stream, track) = (Some("mine".to_owned()), Some(cid.clone()));
            let mid = changes.add_media(kind, Direction::SendOnly, stream, track, None);
            self.published.push(PublishedTrack { cid, mid, kind, next_seq: 1 });
        }
        if is_first {
            changes.add_channel("_reliable".to_owned());
            let reliability = Reliability::MaxRetransmits { retransmits: 0 };
            let lossy = ChannelConfig { label: "_lossy".to_owned(), ordered: false, reliability, ..Default::default() };
            changes.add_channel_with_config(lossy);
        }
        if std::mem::take(&mut self.offer_requested) && !changes.has_changes() {
            // Forces an offer: str0m creates none without a change.
            changes.set_direction(self.receive_sections[0], Direction::Inactive);
            changes.set_direction(self.receive_sections[0], Direction::RecvOnly);
        }
        let (offer, pending) = changes.apply().unwrap();
        self.pending_offer = Some(pending);
        proto::SessionDescription { r#type: "offer".to_owned(), sdp: offer.to_sdp_string(), ..Default::default() }
    }

    /// Sends an offer if there are changes and no offer is pending.
    pub(super) fn negotiate(&mut self) {
        let has_changes = self.unoffered_sections != (0, 0)
            || !self.unoffered_tracks.is_empty()
            || !self.unoffered_unpublishes.is_empty();
        if self.pending_offer.is_none() && (has_changes || self.offer_requested) {
            let offer = self.create_offer();
            self.send_request(Request::Offer(offer));
        }
    }

    pub(in super::super) fn publish(&mut self, kind: MediaKind, cid: &str) {
        let (r#type, source) = match kind {
            MediaKind::Audio => (proto::TrackType::Audio, proto::TrackSource::Microphone),
            MediaKind::Video => (proto::TrackType::Video, proto::TrackSource::Camera),
        };
        self.send_request(Request::AddTrack(proto::AddTrackRequest {
            cid: cid.to_owned(),
            r#type: r#type.into(),
            source: source.into(),
            ..Default::default()
        }));
        self.unoffered_tracks.push((kind, cid.to_owned()));
        self.negotiate();
    }

    /// Gives a reused section a new SSRC.
    fn replace_stream(&mut self, mid: Mid, kind: MediaKind) {
        let mut direct = self.rtc.direct_api();
        if let Some(old) = direct.stream_tx_by_mid(mid, None).map(|stream| stream.ssrc()) {
            direct.remove_stream_tx(old);
        }
        let ssrc = direct.new_ssrc();
        let rtx = (kind == MediaKind::Video).then(|| direct.new_ssrc());
        direct.declare_stream_tx(ssrc, rtx, mid, None);
    }

    pub(in super::super) fn unpublish(&mut self, cid: &str) {
        let index = self.published.iter().position(|track| track.cid == cid).unwrap();
        let PublishedTrack { mid, kind, .. } = self.published.remove(index);
        self.unoffered_unpublishes.push((mid, kind));
        self.negotiate();
    }

    pub(super) fn on_answer(&mut self, answer: proto::SessionDescription) {
        let Some(pending) = self.pending_offer.take() else { return };
        self.last_answer.clone_from(&answer.sdp);
        let sdp = SdpAnswer::from_sdp_string(&self.keep_local_candidates(&answer.sdp)).unwrap();
        match self.rtc.sdp_api().accept_answer(pending, sdp) {
            Ok(()) => self.tracks.clone_from(&answer.mid_to_track_id),
            Err(error) => panic!("{error}: {}", answer.sdp),
        }
        // str0m keeps an SSRC that is no longer announced.
        let tracks = &self.tracks;
        for (_, ssrc) in self.ssrcs.extract_if(|mid, _| !tracks.contains_key(&*mid.to_string())) {
            self.rtc.direct_api().remove_stream_rx(ssrc);
        }
        if let Some(answers) = &mut self.recorded_answers {
            answers.push(answer);
        }
        self.negotiate();
    }

    pub(super) fn on_offer(&mut self, offer: &proto::SessionDescription) {
        self.last_offer.clone_from(&offer.sdp);
        self.tracks.clone_from(&offer.mid_to_track_id);
        let sdp = SdpOffer::from_sdp_string(&self.keep_local_candidates(&offer.sdp)).unwrap();
        let sdp = self.rtc.sdp_api().accept_offer(sdp).unwrap().to_sdp_string();
        self.send_request(Request::Answer(proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp,
            id: offer.id,
            ..Default::default()
        }));
    }

    /// Removes candidates on addresses other than the client's, so that no packet leaves the machine. Sets `media_address`.
    fn keep_local_candidates(&mut self, sdp: &str) -> String {
        let is_candidate = |line: &str| line.starts_with("a=candidate:");
        let own = format!(" {} ", self.address.ip());
        let is_local = |line: &str| line.contains(" udp ") && line.contains(&own);
        let local = sdp.lines().find(|line| is_candidate(line) && is_local(line));
        let port = local.and_then(|local| local.split(' ').nth(5)?.parse().ok());
        self.media_address = port.map(|port| (self.address.ip(), port).into());
        sdp.split_inclusive('\n').filter(|line| !is_candidate(line) || is_local(line)).collect()
    }
}

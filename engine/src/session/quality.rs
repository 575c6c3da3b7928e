//! How good participants' connections are, and who speaks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::ConnectionQuality;
use proto::signal_response::Message;
use str0m::stats::PeerStats;

use crate::session::room::{Context, Room};
use crate::session::{PeerId, Side};

/// What is said of a connection that loses so much of what is sent, or takes so long for a round trip.
const GOOD: (f32, Duration) = (0.02, Duration::from_millis(300));
const POOR: (f32, Duration) = (0.10, Duration::from_millis(700));
/// Time without any packet from a client after which its connection is `LOST`. Clients send a connectivity check at least every 5
/// seconds.
const LOST_TIMEOUT: Duration = Duration::from_secs(8);
/// The first protocol version of signalling that knows `LOST`. Older clients are `POOR` instead.
const LOST_PROTOCOL: i32 = 11;

/// What is known of a participant's connections.
#[derive(Default)]
pub(crate) struct Quality {
    publisher: Measured,
    subscriber: Measured,
    /// What was said of it last.
    told: Option<ConnectionQuality>,
    /// Whose connections its client has been told of.
    told_of: BTreeSet<PeerId>,
}

#[derive(Default, Clone, Copy)]
struct Measured {
    /// The larger loss of both ways, from 0 to 1.
    loss: f32,
    round_trip: Duration,
}

impl Quality {
    pub(crate) fn note(&mut self, side: Side, stats: &PeerStats) {
        let losses = [stats.egress_loss_fraction, stats.ingress_loss_fraction].into_iter().flatten();
        let loss = losses.fold(0.0, f32::max);
        let round_trip = stats.rtt.unwrap_or_default();
        let measured = Measured { loss, round_trip };
        match side {
            Side::Publisher => self.publisher = measured,
            Side::Subscriber => self.subscriber = measured,
        }
    }

    /// What was said may be lost, and is said again.
    pub(crate) fn forget_told(&mut self) {
        self.told_of.clear();
    }

    /// The quality of a participant that nothing has come from for that time.
    fn judge(&self, silence: Duration, protocol: i32) -> ConnectionQuality {
        if silence >= LOST_TIMEOUT {
            return if protocol < LOST_PROTOCOL { ConnectionQuality::Poor } else { ConnectionQuality::Lost };
        }
        let loss = self.publisher.loss.max(self.subscriber.loss);
        let round_trip = self.publisher.round_trip.max(self.subscriber.round_trip);
        let is_within = |(most, longest): (f32, Duration)| loss <= most && round_trip <= longest;
        if is_within(GOOD) {
            ConnectionQuality::Excellent
        } else if is_within(POOR) {
            ConnectionQuality::Good
        } else {
            ConnectionQuality::Poor
        }
    }
}

/// The score that goes with it, from 1 to 5, as in a mean opinion score.
fn score(quality: ConnectionQuality) -> f32 {
    match quality {
        ConnectionQuality::Excellent => 4.5,
        ConnectionQuality::Good => 3.5,
        ConnectionQuality::Poor => 2.0,
        ConnectionQuality::Lost => 1.0,
    }
}

impl Room {
    /// What has to be said now and then.
    pub(crate) fn look_around(&mut self, context: &mut Context<'_>) {
        self.announce_counts(context.shared);
        self.tell_quality(context.io.now);
        self.tell_speakers(context.io.now);
    }

    /// Tells the participant itself and those that it is sent to how its connection is, and what changes.
    fn tell_quality(&mut self, now: Instant) {
        let mut changed: Vec<PeerId> = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.is_active()) {
            let quality = peer.quality.judge(now.saturating_duration_since(peer.heard()), peer.protocol);
            if peer.quality.told.replace(quality) != Some(quality) {
                changed.push(peer.id);
            }
        }
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get(&id) else { continue };
            let own_and_others = peer.subscriptions.iter().map(|each| each.publisher).chain([id]);
            let is_known = |id: &PeerId| self.peers.get(id).is_some_and(|peer| peer.quality.told.is_some());
            let concerning: BTreeSet<PeerId> = own_and_others.filter(is_known).collect();
            let is_news = |id: &&PeerId| changed.contains(id) || !peer.quality.told_of.contains(id);
            let news = concerning.iter().filter(is_news).filter_map(|id| self.peers.get(id)?.quality_info());
            let updates: Vec<_> = news.collect();
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.quality.told_of = concerning;
            if !updates.is_empty() {
                peer.send(Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates }));
            }
        }
    }

    /// Tells changes to the speakers themselves and to those whom they are sent to.
    fn tell_speakers(&mut self, now: Instant) {
        let peers = &self.peers;
        let speakers: Vec<_> = self
            .speakers
            .changes(now)
            .into_iter()
            .filter_map(|(id, level)| {
                let peer = peers.get(&id).filter(|peer| !peer.is_hidden())?;
                Some((id, proto::SpeakerInfo { sid: peer.info.sid.clone(), level, active: level > 0.0 }))
            })
            .collect();
        self.tell_of_speakers(&speakers);
    }

    /// Tells of speakers those who hear them.
    pub(crate) fn tell_of_speakers(&mut self, speakers: &[(PeerId, proto::SpeakerInfo)]) {
        for peer in self.peers.values_mut() {
            // Silence is no secret: whoever is not sent a speaker any more must not see it speak for ever.
            let concerns = |id: PeerId| id == peer.id || peer.subscriptions.iter().any(|each| each.publisher == id);
            let told = speakers.iter().filter(|(id, speaker)| !speaker.active || concerns(*id));
            let speakers: Vec<_> = told.map(|(_, speaker)| speaker.clone()).collect();
            if !speakers.is_empty() {
                peer.send(Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
            }
        }
    }
}

impl crate::session::participant::Peer {
    fn quality_info(&self) -> Option<proto::ConnectionQualityInfo> {
        let quality = self.quality.told?;
        let participant_sid = self.info.sid.clone();
        Some(proto::ConnectionQualityInfo { participant_sid, quality: quality.into(), score: score(quality) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_is_lost_while_nothing_arrives() {
        let quality = Quality::default();
        assert_eq!(quality.judge(LOST_TIMEOUT.saturating_sub(SECOND), LOST_PROTOCOL), ConnectionQuality::Excellent);
        assert_eq!(quality.judge(LOST_TIMEOUT, LOST_PROTOCOL), ConnectionQuality::Lost);
        assert_eq!(quality.judge(LOST_TIMEOUT, LOST_PROTOCOL - 1), ConnectionQuality::Poor);
    }

    #[test]
    fn loss_and_round_trip_of_the_worse_connection_count() {
        let judged = |loss, round_trip| {
            let subscriber = Measured { loss, round_trip };
            Quality { subscriber, ..Quality::default() }.judge(Duration::ZERO, LOST_PROTOCOL)
        };
        assert_eq!(judged(0.01, SECOND / 10), ConnectionQuality::Excellent);
        assert_eq!(judged(0.05, SECOND / 10), ConnectionQuality::Good);
        assert_eq!(judged(0.01, SECOND / 2), ConnectionQuality::Good);
        assert_eq!(judged(0.2, SECOND / 10), ConnectionQuality::Poor);
        assert_eq!(judged(0.01, SECOND), ConnectionQuality::Poor);
    }
}

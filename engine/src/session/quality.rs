//! How good participants' connections are, and who speaks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::ConnectionQuality;
use proto::signal_response::Message;
use str0m::stats::PeerStats;

use crate::ids::{SessionId, SignalTarget};
use crate::session::room::{Context, Room};

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
    publisher: LinkStats,
    subscriber: LinkStats,
    /// What was said of it last.
    last_sent: Option<ConnectionQuality>,
    /// Whose connections its client has been told of.
    reported: BTreeSet<SessionId>,
}

#[derive(Default, Clone, Copy)]
struct LinkStats {
    /// The larger loss of both ways, from 0 to 1.
    loss: f32,
    round_trip: Duration,
}

impl Quality {
    pub(crate) fn on_stats(&mut self, target: SignalTarget, stats: &PeerStats) {
        let losses = [stats.egress_loss_fraction, stats.ingress_loss_fraction].into_iter().flatten();
        let loss = losses.fold(0.0, f32::max);
        let round_trip = stats.rtt.unwrap_or_default();
        let measured = LinkStats { loss, round_trip };
        match target {
            SignalTarget::Publisher => self.publisher = measured,
            SignalTarget::Subscriber => self.subscriber = measured,
        }
    }

    /// What was said may be lost, and is said again.
    pub(crate) fn reset_reported(&mut self) {
        self.reported.clear();
    }

    /// The quality of a participant that nothing has come from for that time.
    fn evaluate(&self, silence: Duration, protocol: i32) -> ConnectionQuality {
        if silence >= LOST_TIMEOUT {
            return if protocol < LOST_PROTOCOL { ConnectionQuality::Poor } else { ConnectionQuality::Lost };
        }
        let loss = self.publisher.loss.max(self.subscriber.loss);
        let round_trip = self.publisher.round_trip.max(self.subscriber.round_trip);
        let is_within = |(max_loss, max_rtt): (f32, Duration)| loss <= max_loss && round_trip <= max_rtt;
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
    pub(crate) fn tick_room(&mut self, context: &mut Context<'_>) {
        self.flush_room_update(context.services);
        self.send_quality_updates(context.io.now);
        self.send_speaker_updates(context.io.now);
    }

    /// Tells the participant itself and those that it is sent to how its connection is, and what changes.
    fn send_quality_updates(&mut self, now: Instant) {
        let mut changed: Vec<SessionId> = Vec::new();
        for participant in self.participants.values_mut().filter(|participant| participant.is_active()) {
            let quality = participant.quality.evaluate(
                now.saturating_duration_since(participant.last_received_at(&self.connections)),
                participant.protocol,
            );
            if participant.quality.last_sent.replace(quality) != Some(quality) {
                changed.push(participant.id);
            }
        }
        let ids: Vec<SessionId> = self.participants.keys().copied().collect();
        for id in ids {
            let Some(participant) = self.participants.get(&id) else { continue };
            let own_and_others = participant.subscriptions.iter().map(|each| each.publisher).chain([id]);
            let is_known = |id: &SessionId| {
                self.participants.get(id).is_some_and(|participant| participant.quality.last_sent.is_some())
            };
            let concerning: BTreeSet<SessionId> = own_and_others.filter(is_known).collect();
            let is_due = |id: &&SessionId| changed.contains(id) || !participant.quality.reported.contains(id);
            let due = concerning.iter().filter(is_due).filter_map(|id| self.participants.get(id)?.quality_info());
            let updates: Vec<_> = due.collect();
            let Some(participant) = self.participants.get_mut(&id) else { continue };
            participant.quality.reported = concerning;
            if !updates.is_empty() {
                participant.send(Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates }));
            }
        }
    }

    /// Tells changes to the speakers themselves and to those whom they are sent to.
    fn send_speaker_updates(&mut self, now: Instant) {
        let participants = &self.participants;
        let speakers: Vec<_> = self
            .router
            .speakers()
            .changes(now)
            .into_iter()
            .filter_map(|((id, _), level)| {
                let participant = participants.get(&id).filter(|participant| !participant.is_hidden())?;
                Some((id, proto::SpeakerInfo { sid: participant.info.sid.clone(), level, active: level > 0.0 }))
            })
            .collect();
        self.broadcast_speakers(&speakers);
    }

    /// Tells of speakers those who hear them.
    pub(crate) fn broadcast_speakers(&mut self, speakers: &[(SessionId, proto::SpeakerInfo)]) {
        for participant in self.participants.values_mut() {
            // Silence is no secret: whoever is not sent a speaker any more must not see it speak for ever.
            let concerns = |id: SessionId| {
                id == participant.id || participant.subscriptions.iter().any(|each| each.publisher == id)
            };
            let last_sent = speakers.iter().filter(|(id, speaker)| !speaker.active || concerns(*id));
            let speakers: Vec<_> = last_sent.map(|(_, speaker)| speaker.clone()).collect();
            if !speakers.is_empty() {
                participant.send(Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
            }
        }
    }
}

impl crate::session::participant::Participant {
    fn quality_info(&self) -> Option<proto::ConnectionQualityInfo> {
        let quality = self.quality.last_sent?;
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
        assert_eq!(quality.evaluate(LOST_TIMEOUT.saturating_sub(SECOND), LOST_PROTOCOL), ConnectionQuality::Excellent);
        assert_eq!(quality.evaluate(LOST_TIMEOUT, LOST_PROTOCOL), ConnectionQuality::Lost);
        assert_eq!(quality.evaluate(LOST_TIMEOUT, LOST_PROTOCOL - 1), ConnectionQuality::Poor);
    }

    #[test]
    fn loss_and_round_trip_of_the_worse_connection_count() {
        let judged = |loss, round_trip| {
            let subscriber = LinkStats { loss, round_trip };
            Quality { subscriber, ..Quality::default() }.evaluate(Duration::ZERO, LOST_PROTOCOL)
        };
        assert_eq!(judged(0.01, SECOND / 10), ConnectionQuality::Excellent);
        assert_eq!(judged(0.05, SECOND / 10), ConnectionQuality::Good);
        assert_eq!(judged(0.01, SECOND / 2), ConnectionQuality::Good);
        assert_eq!(judged(0.2, SECOND / 10), ConnectionQuality::Poor);
        assert_eq!(judged(0.01, SECOND), ConnectionQuality::Poor);
    }
}

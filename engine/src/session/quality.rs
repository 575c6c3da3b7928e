//! Connection quality.

use std::collections::BTreeSet;
use std::time::Duration;

use livekit_protocol as proto;
use proto::ConnectionQuality;
use str0m::stats::PeerStats;

use crate::ids::{SessionId, SignalTarget};

/// Maximum loss, from 0 to 1, and maximum round-trip time of each quality; past the first pair, the quality is `GOOD`, past the
/// second, `POOR`.
const GOOD: (f32, Duration) = (0.02, Duration::from_millis(300));
const POOR: (f32, Duration) = (0.10, Duration::from_millis(700));
/// Time without any packet after which a connection is `LOST`. Clients send a connectivity check at least every 5 seconds.
const LOST_TIMEOUT: Duration = Duration::from_secs(8);
/// First version of the signalling protocol with `LOST`. Older clients are sent `POOR` instead.
const LOST_PROTOCOL: i32 = 11;

/// Statistics of a participant's connections, and the quality that was sent.
#[derive(Default)]
pub(crate) struct Quality {
    publisher: LinkStats,
    subscriber: LinkStats,
    /// The quality of this participant that was sent last.
    pub(crate) last_sent: Option<ConnectionQuality>,
    /// Participants whose quality this client was sent.
    pub(crate) reported: BTreeSet<SessionId>,
}

#[derive(Default, Clone, Copy)]
struct LinkStats {
    /// The larger loss of both directions, from 0 to 1.
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

    /// Sends all qualities again, because messages may be lost at a resume.
    pub(crate) fn reset_reported(&mut self) {
        self.reported.clear();
    }

    /// The quality of a participant after `silence` without a packet from it.
    pub(crate) fn evaluate(&self, silence: Duration, protocol: i32) -> ConnectionQuality {
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

/// The score of a quality, from 1 to 5, like a mean opinion score.
pub(crate) fn score(quality: ConnectionQuality) -> f32 {
    match quality {
        ConnectionQuality::Excellent => 4.5,
        ConnectionQuality::Good => 3.5,
        ConnectionQuality::Poor => 2.0,
        ConnectionQuality::Lost => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_without_packets_is_lost() {
        let quality = Quality::default();
        assert_eq!(quality.evaluate(LOST_TIMEOUT.saturating_sub(SECOND), LOST_PROTOCOL), ConnectionQuality::Excellent);
        assert_eq!(quality.evaluate(LOST_TIMEOUT, LOST_PROTOCOL), ConnectionQuality::Lost);
        assert_eq!(quality.evaluate(LOST_TIMEOUT, LOST_PROTOCOL - 1), ConnectionQuality::Poor);
    }

    #[test]
    fn rates_the_worse_of_two_connections() {
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

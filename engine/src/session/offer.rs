//! Offers of the server for the subscriber peer connection, of clients that use two.

use str0m::Rtc;
use str0m::change::{SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};

use crate::net::peer_connection::{PeerConnection, add_stream, remove_stream};
use crate::net::sdp::MAX_NEW_SECTIONS;
use crate::session::negotiation::{MAX_RECEIVED_SECTIONS, Negotiation};
use crate::session::subscription::Subscription;

/// The changes of an offer.
pub(crate) struct OfferChanges {
    adds_channels: bool,
    restarts_ice: bool,
    /// Sections of ended tracks.
    pub(crate) stopped: Vec<(Mid, MediaKind)>,
    /// Whether the client supports reusing stopped sections.
    keeps_stopped: bool,
    /// Free sections that are assigned to subscriptions.
    reused: Vec<(Mid, MediaKind)>,
    /// Maximum number of new sections.
    max_added: usize,
}

impl OfferChanges {
    /// Takes the changes that are due, and assigns free sections to subscriptions that have none.
    pub(crate) fn take(negotiation: &mut Negotiation, subscriptions: &mut [Subscription]) -> Self {
        let stopped = std::mem::take(&mut negotiation.stopped);
        let placed = subscriptions.iter().filter(|subscription| subscription.mid.is_some()).count();
        let known = negotiation.free.len() + stopped.len() + placed;
        let mut reused = Vec::new();
        for subscription in subscriptions.iter_mut().filter(|subscription| subscription.mid.is_none()) {
            subscription.mid = negotiation.take_free(subscription.kind());
            reused.extend(subscription.mid.map(|mid| (mid, subscription.kind())));
        }
        // The data section comes first and stays: clients drop the connection if the section that identifies its BUNDLE group
        // ends.
        let adds_channels = std::mem::take(&mut negotiation.offer_data_channels) || negotiation.offer_id == 0;
        Self {
            adds_channels,
            restarts_ice: std::mem::take(&mut negotiation.ice_restart),
            stopped,
            keeps_stopped: negotiation.reuse.receives,
            reused,
            max_added: MAX_RECEIVED_SECTIONS.saturating_sub(known).min(MAX_NEW_SECTIONS),
        }
    }

    /// Makes the changes, and adds sections for subscriptions that have none. `None` if there is nothing to offer.
    pub(crate) fn apply(
        &self,
        rtc: &mut Rtc,
        subscriptions: &mut [Subscription],
    ) -> Option<(SdpOffer, SdpPendingOffer)> {
        // Stops the streams of the section, including their sender reports.
        for (mid, _) in &self.stopped {
            remove_stream(rtc, *mid);
        }
        for (mid, kind) in &self.reused {
            add_stream(rtc, *mid, *kind);
        }
        let mut changes = rtc.sdp_api();
        if self.adds_channels {
            for channel in PeerConnection::data_channels() {
                changes.add_channel_with_config(channel);
            }
        }
        for (mid, _) in &self.stopped {
            if self.keeps_stopped {
                changes.set_direction(*mid, Direction::Inactive);
            } else {
                changes.stop_media(*mid);
            }
        }
        for (mid, _) in &self.reused {
            changes.set_direction(*mid, Direction::SendOnly);
        }
        let unplaced = subscriptions.iter_mut().filter(|subscription| subscription.mid.is_none());
        for subscription in unplaced.take(self.max_added) {
            let (stream, track) = (Some(subscription.stream()), Some(subscription.track_sid.clone()));
            subscription.mid = Some(changes.add_media(subscription.kind(), Direction::SendOnly, stream, track, None));
        }
        if self.restarts_ice {
            changes.ice_restart(true);
        }
        changes.apply()
    }
}

//! A participant in a room: what it publishes, what it is sent, and its signalling connection.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;
use tracing::warn;

use crate::ids::{PeerConnectionId, SessionId, SignalConnectionId, SignalTarget};
use crate::net::connections::Connections;
use crate::net::peer_connection::PeerConnection;
use crate::session::client_configuration::ReceiveSupport;
use crate::session::data::DataChannelState;
use crate::session::negotiation::Negotiation;
use crate::session::permissions::SubscriptionPermission;
use crate::session::publications::Track;
use crate::session::quality::Quality;
use crate::session::refresh_token::RefreshToken;
use crate::session::signal_channel::{SignalMessage, SignalSink};
use crate::session::subscription::Subscription;
use crate::sfu::layer_selector::TrackSettings;

pub(crate) struct Participant {
    pub(super) id: SessionId,
    /// The state that others see, with its published tracks.
    pub(super) info: proto::ParticipantInfo,
    /// Version of the signalling protocol that the client uses.
    pub(super) protocol: i32,
    /// Codecs that are disabled for the client.
    pub(super) configuration: Option<proto::ClientConfiguration>,
    /// The signalling connection, if there is one.
    pub(super) signal: Option<(SignalConnectionId, SignalSink)>,
    /// Participants whose latest state was not sent, because this client is congested.
    pub(super) pending_updates: BTreeSet<SessionId>,
    pub(super) joined: Instant,
    /// Which other participants were sent this one's state.
    pub(super) announced: Announcement,
    /// When the signalling connection was lost.
    pub(super) signal_lost_at: Option<Instant>,
    /// When one of the peer connections was closed.
    pub(super) media_closed_at: Option<Instant>,
    /// Whether there is one peer connection, which the client offers. With two, media is sent on the second one.
    pub(super) is_single: bool,
    /// Whether the client connects the second connection first. Otherwise it may never connect it.
    pub(super) is_subscriber_primary: bool,
    pub(super) negotiation: Negotiation,
    pub(super) tracks: Vec<Track>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Whether to subscribe to tracks without an override.
    pub(super) auto_subscribe: bool,
    /// Tracks, by `sid`, that the client has subscribed to or unsubscribed from.
    pub(super) subscription_overrides: HashMap<String, bool>,
    /// Settings by track `sid`, also for tracks that are not subscribed to.
    pub(super) track_settings: HashMap<String, TrackSettings>,
    /// The participants that may subscribe to the tracks of this one.
    pub(super) subscription_permission: SubscriptionPermission,
    /// Tracks that the client wants and may not subscribe to, as it was sent: the publisher's `sid` and the track's.
    pub(super) denied: Vec<(String, String)>,
    pub(super) data: DataChannelState,
    pub(super) receive_support: ReceiveSupport,
    /// Trailer of packets that the engine generates. It exempts them from end-to-end encryption.
    pub(super) sif_trailer: [u8; 16],
    pub(super) quality: Quality,
    pub(super) token: RefreshToken,
    /// The failure to simulate on the next resume.
    pub(super) resume_failure: Option<SimulatedResumeFailure>,
}

/// Which other participants were sent a participant's state. If any was, its departure is broadcast to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Announcement {
    No,
    /// Sent to another participant that has joined or resumed.
    Listed,
    Broadcast,
}

/// How a simulated resume fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SimulatedResumeFailure {
    AfterMessages,
    BeforeMessages,
}

impl Participant {
    /// Sends a message if there is a signalling connection.
    pub(crate) fn send(&mut self, message: Message) {
        self.send_shared(&SignalMessage::new(message));
    }

    pub(crate) fn send_shared(&mut self, signal: &Arc<SignalMessage>) {
        if let Some((_, signal_sink)) = &self.signal
            && !signal_sink.send(signal)
        {
            // The client does not read. It reconnects once it does, and is then sent the current state.
            warn!(participant = self.info.identity, session = self.id, "signalling queue full");
            self.close_signal();
        }
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.signal.as_ref().is_some_and(|(_, signal_sink)| signal_sink.is_congested())
    }

    /// Closes the signalling connection after the queued messages.
    pub(crate) fn close_signal(&mut self) {
        self.signal = None;
    }

    pub(crate) fn leave(&mut self, reason: proto::DisconnectReason, action: proto::leave_request::Action) {
        self.send(Message::Leave(proto::LeaveRequest {
            can_reconnect: action != proto::leave_request::Action::Disconnect,
            reason: reason.into(),
            action: action.into(),
            regions: None,
        }));
        self.close_signal();
    }

    /// The connection that the participant publishes on.
    pub(crate) fn uplink(&self) -> PeerConnectionId {
        (self.id, SignalTarget::Publisher)
    }

    /// The connection that media is sent on.
    pub(crate) fn downlink(&self) -> PeerConnectionId {
        (self.id, if self.is_single { SignalTarget::Publisher } else { SignalTarget::Subscriber })
    }

    /// The connection for outgoing data packets: the one that the client connects first.
    pub(crate) fn data_downlink(&self) -> PeerConnectionId {
        if self.is_subscriber_primary { self.downlink() } else { self.uplink() }
    }

    /// The peer connections of the participant.
    fn all<'a>(&self, connections: &'a Connections) -> impl Iterator<Item = &'a PeerConnection> + use<'a> {
        let second = (!self.is_single).then(|| self.downlink());
        [Some(self.uplink()), second].into_iter().flatten().filter_map(|id| connections.get(id))
    }

    /// Whether a peer connection is established.
    pub(crate) fn is_connected(&self, connections: &Connections) -> bool {
        self.all(connections).any(PeerConnection::is_connected)
    }

    /// When the last datagram arrived on any peer connection.
    pub(crate) fn last_received_at(&self, connections: &Connections) -> Instant {
        self.all(connections).map(PeerConnection::last_received_at).fold(self.joined, Instant::max)
    }

    pub(crate) fn permission(&self) -> &proto::ParticipantPermission {
        static NONE: std::sync::LazyLock<proto::ParticipantPermission> = std::sync::LazyLock::new(Default::default);
        self.info.permission.as_ref().unwrap_or(&NONE)
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.permission().hidden
    }

    #[expect(deprecated, reason = "older tokens still say `agent` among the permissions")]
    pub(crate) fn is_agent(&self) -> bool {
        self.info.kind() == proto::participant_info::Kind::Agent || self.permission().agent
    }

    pub(crate) fn is_active(&self) -> bool {
        self.info.state() == proto::participant_info::State::Active
    }

    pub(crate) fn track(&mut self, sid: &str) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.info.sid == sid)
    }
}

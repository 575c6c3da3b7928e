//! A participant in a room: what it publishes, what it is sent, and its signalling connection.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;

use crate::ids::{PeerConnectionId, SessionId, SignalConnectionId, SignalTarget};
use crate::net::connections::Connections;
use crate::net::peer_connection::PeerConnection;
use crate::session::client_configuration::Reception;
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
    /// What others see of it, with the tracks that they see.
    pub(super) info: proto::ParticipantInfo,
    /// The version of the signalling that its client speaks.
    pub(super) protocol: i32,
    /// What is turned off for its client.
    pub(super) configuration: Option<proto::ClientConfiguration>,
    /// Its signalling connection, while it has one.
    pub(super) signal: Option<(SignalConnectionId, SignalSink)>,
    /// Those of whom it has still to be told how they are: it takes less than there is to tell.
    pub(super) pending_updates: BTreeSet<SessionId>,
    pub(super) joined: Instant,
    /// Which other participants were sent its state.
    pub(super) announced: Announced,
    /// When it lost its signalling connection.
    pub(super) signal_lost_at: Option<Instant>,
    /// Since when one of its connections is closed.
    pub(super) media_closed_at: Option<Instant>,
    /// Whether it has one peer connection, which the client offers. With two, it is sent media on the second one.
    pub(super) is_single: bool,
    /// Whether its client connects the second connection first; else it may never connect that.
    pub(super) is_subscriber_primary: bool,
    pub(super) negotiation: Negotiation,
    pub(super) tracks: Vec<Track>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Whether it is sent what it has not chosen.
    pub(super) auto_subscribe: bool,
    /// The tracks, by `sid`, that it has asked for or does not want.
    pub(super) subscription_overrides: HashMap<String, bool>,
    /// How it wants the tracks, by `sid`, that it has said that of, whether it is sent them or not.
    pub(super) track_settings: HashMap<String, TrackSettings>,
    /// Who may subscribe to its tracks.
    pub(super) subscription_permission: SubscriptionPermission,
    /// The tracks that it wants and was told it may not have: the `sid` of the publisher and its own.
    pub(super) denied: Vec<(String, String)>,
    pub(super) data: DataChannelState,
    pub(super) reception: Reception,
    /// Ends packets that the engine makes itself, which end-to-end encryption does not apply to.
    pub(super) sif_trailer: [u8; 16],
    pub(super) quality: Quality,
    pub(super) token: RefreshToken,
    /// What it has asked to be simulated on its next resume.
    pub(super) breaks_resume: Option<BreaksResume>,
}

/// Which other participants were sent a participant's state. Once any was, all are sent that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Announced {
    No,
    /// It was among the participants that another one was sent when it joined or resumed.
    Listed,
    Broadcast,
}

/// How a resume fails that is meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreaksResume {
    AfterMessages,
    BeforeMessages,
}

impl Participant {
    /// Tells it something, if it is there to be told.
    pub(crate) fn send(&mut self, message: Message) {
        self.send_shared(&SignalMessage::new(message));
    }

    pub(crate) fn send_shared(&mut self, signal: &Arc<SignalMessage>) {
        if let Some((_, signal_sink)) = &self.signal
            && !signal_sink.send(signal)
        {
            // It takes nothing any more. Once it does, it connects anew and is told how things are.
            self.close_signal();
        }
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.signal.as_ref().is_some_and(|(_, signal_sink)| signal_sink.is_congested())
    }

    /// Ends its signalling connection once all is said.
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

    /// The connection that it publishes on.
    pub(crate) fn uplink(&self) -> PeerConnectionId {
        (self.id, SignalTarget::Publisher)
    }

    /// The connection that it is sent media on.
    pub(crate) fn downlink(&self) -> PeerConnectionId {
        (self.id, if self.is_single { SignalTarget::Publisher } else { SignalTarget::Subscriber })
    }

    /// The connection that it is sent messages on: the one that its client connects first.
    pub(crate) fn data_downlink(&self) -> PeerConnectionId {
        if self.is_subscriber_primary { self.downlink() } else { self.uplink() }
    }

    /// Its connections.
    fn all<'a>(&self, connections: &'a Connections) -> impl Iterator<Item = &'a PeerConnection> + use<'a> {
        let second = (!self.is_single).then(|| self.downlink());
        [Some(self.uplink()), second].into_iter().flatten().filter_map(|id| connections.get(id))
    }

    /// Whether one of its connections is established.
    pub(crate) fn is_connected(&self, connections: &Connections) -> bool {
        self.all(connections).any(PeerConnection::is_connected)
    }

    /// When a datagram arrived last on any of its connections.
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

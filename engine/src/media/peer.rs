//! A participant in a room: its connections, what it publishes, and what it is sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::bucket::TokenBucket;
use super::client_configuration::Reception;
use super::data::Mail;
use super::forwarding::{Subscription, TrackId};
use super::joining::{Credentials, TokenState};
use super::layers::Wanted;
use super::negotiation::Negotiation;
use super::outbox::{Outbox, Signal};
use super::permissions::Audience;
use super::publishing::Track;
use super::quality::Quality;
use super::transport::Transport;
use super::{LinkId, PeerId, Side};

pub(super) struct Peer {
    pub(super) id: PeerId,
    /// What others see of it, with the tracks that they see.
    pub(super) info: proto::ParticipantInfo,
    pub(super) credentials: Credentials,
    /// The version of the signalling that its client speaks.
    pub(super) protocol: i32,
    /// What is turned off for its client.
    pub(super) configuration: Option<proto::ClientConfiguration>,
    /// Its signalling connection, while it has one.
    pub(super) link: Option<(LinkId, Outbox)>,
    /// Those of whom it has still to be told how they are: it takes less than there is to tell.
    pub(super) untold: BTreeSet<PeerId>,
    pub(super) joined: Instant,
    /// Which other participants were sent its state.
    pub(super) announced: Announced,
    /// When it lost its signalling connection.
    pub(super) silent_since: Option<Instant>,
    /// Since when one of its connections is closed.
    pub(super) closed: Option<Instant>,
    pub(super) publisher: Transport,
    pub(super) subscriber: Option<Transport>,
    /// Whether its client connects the second connection first; else it may never connect that.
    pub(super) is_subscriber_primary: bool,
    pub(super) negotiation: Negotiation,
    pub(super) tracks: Vec<Track>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Whether it is sent what it has not chosen.
    pub(super) subscribes_to_all: bool,
    /// The tracks, by `sid`, that it has asked for or does not want.
    pub(super) choices: HashMap<String, bool>,
    /// How it wants the tracks, by `sid`, that it has said that of, whether it is sent them or not.
    pub(super) settings: HashMap<String, Wanted>,
    /// Who may subscribe to its tracks.
    pub(super) audience: Audience,
    /// The tracks that it wants and was told it may not have: the `sid` of the publisher and its own.
    pub(super) denied: Vec<(String, String)>,
    /// How many PLIs it has caused, by track.
    pub(super) plis: HashMap<TrackId, TokenBucket>,
    pub(super) mail: Mail,
    pub(super) reception: Reception,
    /// Ends packets that the engine makes itself, which end-to-end encryption does not apply to.
    pub(super) sif_trailer: [u8; 16],
    pub(super) quality: Quality,
    pub(super) token: TokenState,
    /// What it has asked to be simulated on its next resume.
    pub(super) breaks_resume: Option<BreaksResume>,
}

/// Which other participants were sent a participant's state. Once any was, all are sent that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Announced {
    No,
    /// It was among the participants that another one was sent when it joined or resumed.
    Listed,
    Broadcast,
}

/// How a resume fails that is meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreaksResume {
    AfterMessages,
    BeforeMessages,
}

impl Peer {
    /// Tells it something, if it is there to be told.
    pub(super) fn send(&mut self, message: Message) {
        self.send_shared(&Signal::new(message));
    }

    pub(super) fn send_shared(&mut self, signal: &Arc<Signal>) {
        if let Some((_, outbox)) = &self.link
            && !outbox.send(signal)
        {
            // It takes nothing any more. Once it does, it connects anew and is told how things are.
            self.hang_up();
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.link.as_ref().is_some_and(|(_, outbox)| outbox.is_behind())
    }

    /// Ends its signalling connection once all is said.
    pub(super) fn hang_up(&mut self) {
        self.link = None;
    }

    pub(super) fn leave(&mut self, reason: proto::DisconnectReason, action: proto::leave_request::Action) {
        self.send(Message::Leave(proto::LeaveRequest {
            can_reconnect: action != proto::leave_request::Action::Disconnect,
            reason: reason.into(),
            action: action.into(),
            regions: None,
        }));
        self.hang_up();
    }

    pub(super) fn transport(&mut self, side: Side) -> Option<&mut Transport> {
        match side {
            Side::Publisher => Some(&mut self.publisher),
            Side::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// The connection that it is sent media on.
    pub(super) fn media_sink(&mut self) -> &mut Transport {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher)
    }

    /// The connection that it is sent messages on: that which is there from the beginning.
    pub(super) fn data_sink(&mut self) -> &mut Transport {
        self.subscriber.as_mut().filter(|_| self.is_subscriber_primary).unwrap_or(&mut self.publisher)
    }

    pub(super) fn transports(&mut self) -> impl Iterator<Item = (Side, &mut Transport)> {
        let subscriber = self.subscriber.as_mut().map(|transport| (Side::Subscriber, transport));
        std::iter::once((Side::Publisher, &mut self.publisher)).chain(subscriber)
    }

    /// Which side has to work for the client to count as connected: that which it waits for.
    pub(super) fn is_connected(&self) -> bool {
        self.subscriber.as_ref().map_or(self.publisher.is_connected(), Transport::is_connected)
            || self.publisher.is_connected()
    }

    pub(super) fn heard(&self) -> Instant {
        let subscriber = self.subscriber.as_ref().map(Transport::heard);
        subscriber.into_iter().fold(self.publisher.heard(), Instant::max)
    }

    pub(super) fn permission(&self) -> &proto::ParticipantPermission {
        static NONE: std::sync::LazyLock<proto::ParticipantPermission> = std::sync::LazyLock::new(Default::default);
        self.info.permission.as_ref().unwrap_or(&NONE)
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.permission().hidden
    }

    #[expect(deprecated, reason = "older tokens still say `agent` among the permissions")]
    pub(super) fn is_agent(&self) -> bool {
        self.info.kind() == proto::participant_info::Kind::Agent || self.permission().agent
    }

    pub(super) fn is_active(&self) -> bool {
        self.info.state() == proto::participant_info::State::Active
    }

    pub(super) fn track(&mut self, sid: &str) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.info.sid == sid)
    }
}

//! A participant in a room: its connections, what it publishes, and what it is sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;

use crate::net::peer_connection::Transport;
use crate::session::client_configuration::Reception;
use crate::session::data::Mail;
use crate::session::join::{Credentials, TokenState};
use crate::session::negotiation::Negotiation;
use crate::session::permissions::Audience;
use crate::session::publications::Track;
use crate::session::quality::Quality;
use crate::session::signal_channel::{Outbox, Signal};
use crate::session::{LinkId, PeerId, Side};
use crate::sfu::down_track::{Subscription, TrackId};
use crate::sfu::layer_selector::Wanted;
use crate::token_bucket::TokenBucket;

pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// What others see of it, with the tracks that they see.
    pub(crate) info: proto::ParticipantInfo,
    pub(crate) credentials: Credentials,
    /// The version of the signalling that its client speaks.
    pub(crate) protocol: i32,
    /// What is turned off for its client.
    pub(crate) configuration: Option<proto::ClientConfiguration>,
    /// Its signalling connection, while it has one.
    pub(crate) link: Option<(LinkId, Outbox)>,
    /// Those of whom it has still to be told how they are: it takes less than there is to tell.
    pub(crate) untold: BTreeSet<PeerId>,
    pub(crate) joined: Instant,
    /// Which other participants were sent its state.
    pub(crate) announced: Announced,
    /// When it lost its signalling connection.
    pub(crate) silent_since: Option<Instant>,
    /// Since when one of its connections is closed.
    pub(crate) closed: Option<Instant>,
    pub(crate) publisher: Transport,
    pub(crate) subscriber: Option<Transport>,
    /// Whether its client connects the second connection first; else it may never connect that.
    pub(crate) is_subscriber_primary: bool,
    pub(crate) negotiation: Negotiation,
    pub(crate) tracks: Vec<Track>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Whether it is sent what it has not chosen.
    pub(crate) subscribes_to_all: bool,
    /// The tracks, by `sid`, that it has asked for or does not want.
    pub(crate) choices: HashMap<String, bool>,
    /// How it wants the tracks, by `sid`, that it has said that of, whether it is sent them or not.
    pub(crate) settings: HashMap<String, Wanted>,
    /// Who may subscribe to its tracks.
    pub(crate) audience: Audience,
    /// The tracks that it wants and was told it may not have: the `sid` of the publisher and its own.
    pub(crate) denied: Vec<(String, String)>,
    /// How many PLIs it has caused, by track.
    pub(crate) plis: HashMap<TrackId, TokenBucket>,
    pub(crate) mail: Mail,
    pub(crate) reception: Reception,
    /// Ends packets that the engine makes itself, which end-to-end encryption does not apply to.
    pub(crate) sif_trailer: [u8; 16],
    pub(crate) quality: Quality,
    pub(crate) token: TokenState,
    /// What it has asked to be simulated on its next resume.
    pub(crate) breaks_resume: Option<BreaksResume>,
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

impl Peer {
    /// Tells it something, if it is there to be told.
    pub(crate) fn send(&mut self, message: Message) {
        self.send_shared(&Signal::new(message));
    }

    pub(crate) fn send_shared(&mut self, signal: &Arc<Signal>) {
        if let Some((_, outbox)) = &self.link
            && !outbox.send(signal)
        {
            // It takes nothing any more. Once it does, it connects anew and is told how things are.
            self.hang_up();
        }
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.link.as_ref().is_some_and(|(_, outbox)| outbox.is_behind())
    }

    /// Ends its signalling connection once all is said.
    pub(crate) fn hang_up(&mut self) {
        self.link = None;
    }

    pub(crate) fn leave(&mut self, reason: proto::DisconnectReason, action: proto::leave_request::Action) {
        self.send(Message::Leave(proto::LeaveRequest {
            can_reconnect: action != proto::leave_request::Action::Disconnect,
            reason: reason.into(),
            action: action.into(),
            regions: None,
        }));
        self.hang_up();
    }

    pub(crate) fn transport(&mut self, side: Side) -> Option<&mut Transport> {
        match side {
            Side::Publisher => Some(&mut self.publisher),
            Side::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// The connection that it is sent media on.
    pub(crate) fn media_sink(&mut self) -> &mut Transport {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher)
    }

    /// The connection that it is sent messages on: that which is there from the beginning.
    pub(crate) fn data_sink(&mut self) -> &mut Transport {
        self.subscriber.as_mut().filter(|_| self.is_subscriber_primary).unwrap_or(&mut self.publisher)
    }

    pub(crate) fn transports(&mut self) -> impl Iterator<Item = (Side, &mut Transport)> {
        let subscriber = self.subscriber.as_mut().map(|transport| (Side::Subscriber, transport));
        std::iter::once((Side::Publisher, &mut self.publisher)).chain(subscriber)
    }

    /// Which side has to work for the client to count as connected: that which it waits for.
    pub(crate) fn is_connected(&self) -> bool {
        self.subscriber.as_ref().map_or(self.publisher.is_connected(), Transport::is_connected)
            || self.publisher.is_connected()
    }

    pub(crate) fn heard(&self) -> Instant {
        let subscriber = self.subscriber.as_ref().map(Transport::heard);
        subscriber.into_iter().fold(self.publisher.heard(), Instant::max)
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

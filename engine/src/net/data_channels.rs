//! The data channels of a peer connection: LiveKit's two, and the app's own.

use std::collections::{HashMap, HashSet};

use str0m::channel::{ChannelConfig, ChannelId, Reliability};

/// Maximum number of the app's own data channels per connection, besides LiveKit's. Messages on further ones are dropped.
const MAX_APP_CHANNELS: usize = 16;
/// Low-water marks of the reliable and of the lossy channel's send buffer, in bytes. Below them, queued messages are written.
const SCTP_LOW_BYTES: usize = 128 * 1024;
const SCTP_LOW_LOSSY_BYTES: usize = 64 * 1024;

const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";
/// Data tracks, which the engine does not support.
const DATA_TRACK: &str = "_data_track";

/// The open data channels of a connection.
#[derive(Debug, Default)]
pub(crate) struct DataChannels {
    /// LiveKit's channels, and whether each is the reliable one.
    livekit: HashMap<ChannelId, bool>,
    /// Channels with any other label.
    app: HashSet<ChannelId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    /// Carries `DataPacket`s.
    LiveKit { reliable: bool },
    /// Carries messages of the app in a format of its own.
    App,
}

impl DataChannels {
    /// Adds an open channel; `None` if its messages are to be dropped.
    pub(crate) fn add(&mut self, id: ChannelId, label: &str) -> Option<ChannelKind> {
        let reliable = match label {
            RELIABLE => true,
            LOSSY => false,
            DATA_TRACK => return None,
            _ => {
                let has_room = self.app.len() < MAX_APP_CHANNELS;
                return (has_room && self.app.insert(id)).then_some(ChannelKind::App);
            }
        };
        self.livekit.insert(id, reliable);
        Some(ChannelKind::LiveKit { reliable })
    }

    pub(crate) fn remove(&mut self, id: ChannelId) {
        self.livekit.remove(&id);
        self.app.remove(&id);
    }

    pub(crate) fn kind(&self, id: ChannelId) -> Option<ChannelKind> {
        if self.app.contains(&id) {
            return Some(ChannelKind::App);
        }
        self.livekit.get(&id).map(|reliable| ChannelKind::LiveKit { reliable: *reliable })
    }

    /// LiveKit's reliable or lossy channel, once it is open.
    pub(crate) fn find(&self, reliable: bool) -> Option<ChannelId> {
        self.livekit.iter().find(|(_, kind)| **kind == reliable).map(|(id, _)| *id)
    }
}

/// LiveKit's data channels, for a connection that the engine offers. In other connections, the client creates them.
pub(crate) fn livekit_channels() -> [ChannelConfig; 2] {
    let channel = |label: &str| ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() };
    let reliability = Reliability::MaxRetransmits { retransmits: 0 };
    [channel(RELIABLE), ChannelConfig { ordered: false, reliability, ..channel(LOSSY) }]
}

/// Bytes in the send buffer of a channel below which queued messages are written.
pub(crate) fn low_water_mark(reliable: bool) -> usize {
    if reliable { SCTP_LOW_BYTES } else { SCTP_LOW_LOSSY_BYTES }
}

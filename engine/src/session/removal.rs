//! How participants are removed.

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;

use crate::services::Services;

/// How a participant is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal {
    pub(crate) reason: DisconnectReason,
    /// The action in the participant's leave; `None`: it is sent none.
    pub(crate) action: Option<Action>,
    /// Whether others are notified; not if the participant is replaced by a rejoin.
    pub(crate) notify_others: bool,
    /// The failure that causes the removal, for the log; `None` if it was requested.
    pub(crate) cause: Option<&'static str>,
}

impl Removal {
    /// Ends the session for good; the client is sent the reason.
    pub(crate) fn disconnect(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Disconnect), notify_others: true, cause: None }
    }

    /// Ends the session; the client rejoins.
    pub(crate) fn full_reconnect(reason: DisconnectReason) -> Self {
        Self { reason, action: Some(Action::Reconnect), notify_others: true, cause: None }
    }

    /// Ends a session that has failed; the client rejoins.
    pub(crate) fn failure(cause: &'static str) -> Self {
        Self { cause: Some(cause), ..Self::full_reconnect(DisconnectReason::StateMismatch) }
    }

    /// Ends the session without a leave: the client is gone, or is to assume that the server is gone.
    pub(crate) fn without_leave(reason: DisconnectReason) -> Self {
        Self { reason, action: None, notify_others: true, cause: None }
    }
}

/// Removes a participant from the rooms of the server API, unless it was replaced by another one of the same identity.
pub(crate) fn leave_registry(services: &Services, room: &str, identity: &str, sid: &str, reason: DisconnectReason) {
    services.rooms(|rooms, now| {
        let known = rooms.get(room, now).and_then(|room| room.participant(identity));
        if known.is_some_and(|known| known.sid == sid) {
            // Cannot fail: the participant was found above.
            let _ = rooms.leave(room, identity, reason, now);
        }
    });
}

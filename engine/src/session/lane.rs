//! Whom work on the media thread is charged to.

/// A source of work that is queued and charged as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// The server API. It is not charged.
    Api,
    /// A hash of room and identity: a participant keeps its lane when it rejoins.
    Participant(u64),
}

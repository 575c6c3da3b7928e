//! Identifiers.

use rand::Rng as _;
use str0m::media::Mid;

/// A participant's session in a room. Each join that is no resume starts a new one.
pub(crate) type SessionId = u64;
/// A signalling connection. A resume brings a new one.
pub(crate) type SignalConnectionId = u64;
/// A published track.
pub(crate) type TrackId = u64;
/// A peer connection of a participant.
pub(crate) type PeerConnectionId = (SessionId, SignalTarget);

/// One section of a peer connection. It carries one track in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId {
    pub(crate) connection: PeerConnectionId,
    pub(crate) mid: Mid,
}

/// The peer connections of a participant, by who offers them. Clients of today have the first one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SignalTarget {
    /// The client offers it. It publishes there, and is sent everything else unless there is a second one.
    Publisher,
    /// We offer it, to send there what the client subscribes to.
    Subscriber,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A random `sid` with the prefix of its kind.
pub(crate) fn new_sid(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + 12);
    id.push_str(prefix);
    // Two draws rather than twelve: a room is created in a microsecond.
    for mut draw in rand::rng().random::<[u64; 2]>() {
        for _ in 0..6 {
            id.push(char::from(DIGITS[usize::try_from(draw % 62).unwrap_or_default()]));
            draw /= 62;
        }
    }
    id
}

//! Identifiers.

use rand::Rng as _;
use str0m::media::Mid;

/// A participant's session in a room. A resume continues it; any other join starts a new one.
pub(crate) type SessionId = u64;
/// A signalling connection. A resume opens a new one.
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

/// The peer connections of a participant. Clients with a single peer connection have only the publisher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SignalTarget {
    /// The client sends the offers. Carries published tracks, and without a subscriber connection everything else.
    Publisher,
    /// The engine sends the offers. Carries subscribed tracks.
    Subscriber,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A random `sid`: the prefix, such as `PA_`, and 12 letters or digits.
pub(crate) fn new_sid(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + 12);
    id.push_str(prefix);
    // Two random numbers instead of twelve save time: creating a room takes less than a microsecond.
    for mut draw in rand::rng().random::<[u64; 2]>() {
        for _ in 0..6 {
            id.push(char::from(DIGITS[usize::try_from(draw % 62).unwrap_or_default()]));
            draw /= 62;
        }
    }
    id
}

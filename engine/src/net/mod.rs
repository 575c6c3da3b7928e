//! Sockets and peer connections: what sends and receives packets. Knows no participant, room or track of LiveKit's.

pub(crate) mod connections;
pub(crate) mod datagram;
mod dtls;
mod interfaces;
pub(crate) mod peer_connection;
mod receive_time;
pub(crate) mod sdp;
pub(crate) mod sockets;
mod ssrcs;
pub(crate) mod stun;
mod tcp;
pub(crate) mod timers;
mod udp;

//! Sockets and peer connections, which send and receive packets. Independent of LiveKit's rooms, participants and tracks.

pub(crate) mod connections;
pub(crate) mod data_channels;
pub(crate) mod datagram;
mod dtls;
pub(crate) mod extensions;
mod interfaces;
pub(crate) mod peer_connection;
mod receive_time;
pub(crate) mod sdp;
pub(crate) mod sockets;
mod sources;
mod ssrcs;
pub(crate) mod stun;
mod tcp;
pub(crate) mod timers;
mod udp;

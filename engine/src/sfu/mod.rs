//! The packet path: published tracks, the subscribers of each, and how packets are rewritten for them. Knows no participant, and
//! nothing of signalling.

mod active_speakers;
pub(crate) mod down_track;
pub(crate) mod fillers;
mod keyframes;
pub(crate) mod layer_selector;
mod red;
mod retransmission;
pub(crate) mod router;
mod rtp_munger;
pub(crate) mod up_track;
mod vp8_munger;

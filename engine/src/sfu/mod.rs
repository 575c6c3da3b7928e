//! The packet path: published tracks, what each subscriber is sent of them, and how packets are rewritten for it.

pub(crate) mod active_speakers;
pub(crate) mod down_track;
pub(crate) mod fillers;
pub(crate) mod keyframes;
pub(crate) mod layer_selector;
mod red;
pub(crate) mod retransmission;
mod rtp_munger;
pub(crate) mod up_track;
mod vp8_munger;

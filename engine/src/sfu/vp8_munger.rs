//! Counters of VP8's payload descriptor: continuous for a subscriber across layer switches.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// Translates the counters in VP8's payload descriptor (RFC 7741, section 4.2), as [`super::rtp_munger::RtpMunger`] does sequence
/// numbers.
#[derive(Debug, Default)]
pub(crate) struct Vp8Munger {
    picture: Counter<0x7fff>,
    base_layer: Counter<0xff>,
    keyframe: Counter<0x1f>,
}

impl Vp8Munger {
    /// The next packet starts another layer.
    pub(crate) fn switch_source(&mut self) {
        self.picture.starts = true;
        self.base_layer.starts = true;
        self.keyframe.starts = true;
    }

    /// The change to the packet's descriptor; `None` if it has no counters.
    pub(crate) fn translate(&mut self, payload: &[u8]) -> Option<Vp8Patch> {
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let mut patch = descriptor.patch();
        if let Some(id) = descriptor.picture_id() {
            let id = self.picture.map(id);
            // A 7-bit picture id has the lower bits only.
            let is_long = payload.get(2).is_some_and(|byte| byte & 0x80 != 0);
            patch = patch.picture_id(if is_long { id } else { id & 0x7f });
        }
        if let Some(index) = descriptor.tl0_pic_idx() {
            patch = patch.tl0_pic_idx(u8::try_from(self.base_layer.map(index.into())).unwrap_or_default());
        }
        if let Some(index) = descriptor.key_idx() {
            patch = patch.key_idx(u8::try_from(self.keyframe.map(index.into())).unwrap_or_default());
        }
        patch.build().ok()
    }
}

/// A counter that wraps after `MAX`, which is all ones.
#[derive(Debug, Default)]
struct Counter<const MAX: u16> {
    starts: bool,
    offset: u16,
    last: Option<u16>,
}

impl<const MAX: u16> Counter<MAX> {
    fn map(&mut self, value: u16) -> u16 {
        if std::mem::take(&mut self.starts)
            && let Some(last) = self.last
        {
            self.offset = last.wrapping_add(1).wrapping_sub(value) & MAX;
        }
        let out = value.wrapping_add(self.offset) & MAX;
        let is_newer = |last: u16| (out.wrapping_sub(last) & MAX) <= MAX / 2;
        if self.last.is_none_or(is_newer) {
            self.last = Some(out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vp8s_counters_go_on_over_a_change() {
        let payload = |id: u16, base: u8, key: u8| {
            let [high, low] = id.to_be_bytes();
            [0x90, 0xf0, 0x80 | high, low, base, key, 0, 0]
        };
        let mapped = |vp8: &mut Vp8Munger, id, base, key| {
            let payload = payload(id, base, key);
            let patch = vp8.translate(&payload).unwrap();
            format!("{patch:?}")
        };
        let (mut one, mut other) = (Vp8Munger::default(), Vp8Munger::default());
        mapped(&mut one, 0x7fff, 255, 31);
        one.switch_source();
        other.switch_source();
        assert_eq!(mapped(&mut one, 500, 7, 3), mapped(&mut other, 0, 0, 0), "each is one more than before, and wraps");
        assert!(one.translate(&[0x90]).is_none());
    }

    proptest! {
        #[test]
        fn no_payload_is_too_strange(payload in proptest::collection::vec(any::<u8>(), 0..16)) {
            let mut vp8 = Vp8Munger::default();
            vp8.translate(&payload);
            vp8.switch_source();
            vp8.translate(&payload);
            crate::sfu::red::primary(&payload);
        }
    }
}

//! Redundant audio (RED, RFC 2198), for clients without support for it.

/// The primary block of a RED payload; `None` if the payload is not RED.
pub(crate) fn primary(payload: &[u8]) -> Option<&[u8]> {
    let mut headers = payload;
    let mut redundant = 0;
    // Headers: four bytes per redundant block, one for the primary block.
    while headers.first()? & 0x80 != 0 {
        let &[_, _, high, low, ..] = headers else { return None };
        redundant += usize::from(high & 0x03) << 8 | usize::from(low);
        headers = headers.get(4..)?;
    }
    headers.get(1 + redundant..).filter(|primary| !primary.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a redundant block of Opus, but for its time and length.
    const REDUNDANT: u8 = 0xef;

    #[test]
    fn the_newest_block_is_the_last() {
        assert_eq!(primary(&[111, 1, 2]), Some(&[1, 2][..]));
        assert_eq!(primary(&[REDUNDANT, 0, 0, 2, 111, 8, 9, 1, 2]), Some(&[1, 2][..]));
        let two = [REDUNDANT, 0, 0, 1, REDUNDANT, 0, 0, 2, 111, 7, 8, 9, 1, 2];
        assert_eq!(primary(&two), Some(&[1, 2][..]));
    }

    #[test]
    fn what_is_cut_short_has_none() {
        let whole = [REDUNDANT, 0, 0, 2, 111, 8, 9, 1];
        for length in 0..whole.len() {
            assert_eq!(primary(&whole[..length]), None, "{length}");
        }
        assert_eq!(primary(&[0x80, 0, 3, 255, 111, 1]), None);
    }
}

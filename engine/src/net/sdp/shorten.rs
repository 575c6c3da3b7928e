//! Shortens a client's description before it reaches the media thread.

use super::reduce::{MAX_LINE_BYTES, MAX_LINES, MAX_SECTIONS, first_line, max_group_bytes, write_line};

/// Maximum bytes of a description that the media thread parses without noticeable delay. Chromium writes 30 kB for eight tracks.
const SHORT_BYTES: usize = 64 * 1024;

/// Removes most lines that [`reduce`](super::reduce) would remove from a long description, in linear time and without the state
/// of the connection, so that it can run outside the media thread. In sections with more than [`MAX_LINES`] it may remove other
/// lines than `reduce`.
pub(crate) fn shorten(description: &mut String) {
    if description.len() <= SHORT_BYTES {
        return;
    }
    let mut out = String::new();
    let (mut sections, mut lines) = (0, 0);
    for line in description.lines() {
        if line.starts_with("m=") {
            (sections, lines) = (sections + 1, 0);
            if sections > MAX_SECTIONS + 1 {
                // One section past the maximum is enough for `reduce` to reject it.
                break;
            }
            write_line(first_line(line), &mut out);
            continue;
        }
        let is_candidate = sections > 0 && line.starts_with("a=candidate:");
        if lines < MAX_LINES && line.len() <= max_line_bytes(sections) && !is_candidate {
            lines += 1;
            write_line(line, &mut out);
        }
    }
    *description = out;
}

/// Maximum length of a line: the session part, before the first section, contains the list of all sections.
fn max_line_bytes(sections: usize) -> usize {
    if sections == 0 { max_group_bytes(MAX_SECTIONS) } else { MAX_LINE_BYTES }
}

//! The parts of a session description.

use str0m::media::Mid;

/// Splits a description into the part before its media sections and the sections.
pub(super) fn split(sdp: &str) -> (&str, Vec<&str>) {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().copied().skip(1).chain([sdp.len()]);
    let parts = starts.iter().zip(ends).map(|(start, end)| &sdp[*start..end]).collect();
    (&sdp[..starts.first().copied().unwrap_or(sdp.len())], parts)
}

/// The mid of a section as str0m reads it: at most 16 letters and digits.
pub(super) fn mid_of(part: &str) -> Option<Mid> {
    part.lines().find_map(|line| line.strip_prefix("a=mid:")).map(Mid::from)
}

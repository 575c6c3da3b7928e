//! Reduces a client's session description to the lines that str0m reads, before str0m parses it.
//!
//! str0m compares candidates, sources and payload types with each other, so that the cost of a description grows with the
//! square of its length, or faster. Here each kind of line has a maximum that no client reaches. Lines past it, and lines that
//! str0m does not read, are left out.

use std::borrow::Cow;
use std::collections::HashMap;

use str0m::media::Mid;

use super::parts::{mid_of, split};
use super::payload_types::{Meanings, PayloadType, PayloadTypes, listed_formats, parse_fmtp, parse_rtpmap};

/// Maximum number of sections. A description with more is rejected.
pub(crate) const MAX_SECTIONS: usize = 512;
/// Maximum number of sections that one description may add. A description with more is rejected. A client's own
/// 64 tracks and the sections that it is asked for at once are as many.
pub(crate) const MAX_NEW_SECTIONS: usize = 96;
/// Maximum number of lines of a section, candidates not counted; further ones are left out. Chromium writes 190.
pub(super) const MAX_LINES: usize = 400;
/// Maximum number of payload types of a section; further ones are left out. Chromium offers 34 for video.
const MAX_PAYLOAD_TYPES: usize = 48;
/// Maximum number of header extensions of a section; further ones are left out. One-byte headers have 14 identifiers.
const MAX_EXTENSIONS: usize = 14;
/// Maximum number of simulcast layers of a section; further ones are left out. LiveKit's clients send three.
pub(crate) const MAX_RIDS: usize = 4;
/// Maximum number of sources of a section; further ones are left out. Chromium sends two: media and RTX.
const MAX_SSRCS: usize = 9;
/// Maximum length of a line in bytes, but for the list of all sections; longer lines are left out.
pub(super) const MAX_LINE_BYTES: usize = 512;
/// Maximum length of a section's first line in bytes; the rest is left out. Chromium writes 180.
const MAX_FIRST_LINE_BYTES: usize = 1024;
/// The lines about a payload type.
const FORMAT_LINES: [&str; 3] = ["a=rtcp-fb:", "a=rtpmap:", "a=fmtp:"];
/// Placeholder for a section's payload types when str0m already has them: 0 (PCMU) is static and needs no `a=rtpmap` (RFC
/// 3551).
const KNOWN_PAYLOAD_TYPES: &str = "0";

/// The description without the lines that str0m does not need. `None` if it has too many sections.
///
/// `is_known`: whether str0m already has the payload types of a section, and does not parse them again.
pub(crate) fn reduce(description: &str, meanings: &mut Meanings, is_known: impl Fn(Mid) -> bool) -> Option<String> {
    let (head, parts) = split(description);
    if parts.len() > MAX_SECTIONS {
        return None;
    }
    let is_known: Vec<bool> = parts.iter().map(|part| mid_of(part).is_some_and(&is_known)).collect();
    if is_known.iter().filter(|is_known| !**is_known).count() > MAX_NEW_SECTIONS {
        return None;
    }
    let mut out = String::with_capacity(description.len() / 2);
    reduce_head(head, parts.len(), &mut out);
    let mut has_feedback = [false; 128];
    for (part, is_known) in parts.into_iter().zip(is_known) {
        let mut section = Section::read(part, is_known);
        section.payload_types.retain(|payload_type| meanings.agree(payload_type));
        section.write(&mut has_feedback, &mut out);
    }
    Some(out)
}

/// The first [`MAX_FIRST_LINE_BYTES`] of a section's first line.
pub(super) fn first_line(line: &str) -> &str {
    let end = (0..=MAX_FIRST_LINE_BYTES.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    &line[..end.unwrap_or_default()]
}

/// Maximum length of the BUNDLE line of that many sections: str0m reads 16 characters of each name.
pub(super) fn max_group_bytes(sections: usize) -> usize {
    32 + 17 * sections
}

pub(super) fn write_line(line: &str, out: &mut String) {
    out.push_str(line);
    out.push_str("\r\n");
}

/// Writes the lines before the first section that str0m reads.
fn reduce_head(head: &str, sections: usize, out: &mut String) {
    let max_group_bytes = max_group_bytes(sections);
    let mut once = vec!["v=", "o=", "s=", "t=", "a=group:BUNDLE"];
    let mut counts = Counts::default();
    for line in head.lines().take(MAX_LINES) {
        let kind = once.iter().position(|kind| line.starts_with(kind)).map(|index| once.remove(index));
        let is_kept = match kind {
            Some("a=group:BUNDLE") => line.len() <= max_group_bytes,
            Some(_) => line.len() <= MAX_LINE_BYTES,
            None => line.len() <= MAX_LINE_BYTES && counts.keeps(name_of(line)),
        };
        if is_kept {
            write_line(line, out);
        }
    }
}

/// The name of an attribute, such as `a=mid`.
fn name_of(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

/// Counts the lines that are kept unchanged.
#[derive(Default)]
struct Counts {
    single: [bool; 7],
    fingerprints: usize,
    setups: usize,
}

impl Counts {
    /// Whether to keep a line with this name. Keeps two lines of a kind that str0m rejects duplicates of.
    fn keeps(&mut self, name: &str) -> bool {
        let count = |counted: &mut usize, max| {
            *counted += 1;
            *counted <= max
        };
        let index = match name {
            "a=fingerprint" => return count(&mut self.fingerprints, 4),
            "a=setup" => return count(&mut self.setups, 2),
            "a=ice-ufrag" => 0,
            "a=ice-pwd" => 1,
            "a=msid" => 2,
            "a=sctp-port" => 3,
            "a=max-message-size" => 4,
            "a=ice-lite" => 5,
            "a=rtcp-mux" => 6,
            _ => return false,
        };
        !std::mem::replace(&mut self.single[index], true)
    }
}

/// The kept parts of a section.
struct Section<'a> {
    first: &'a str,
    lines: Vec<&'a str>,
    is_media: bool,
    is_known: bool,
    mids: Vec<&'a str>,
    /// At most two: str0m rejects a second one.
    directions: Vec<&'a str>,
    simulcast: Option<&'a str>,
    payload_types: Vec<PayloadType<'a>>,
}

impl<'a> Section<'a> {
    fn read(part: &'a str, is_known: bool) -> Self {
        let mut lines = part.lines();
        let first = lines.next().map_or("", first_line);
        let is_media = first.starts_with("m=audio ") || first.starts_with("m=video ");
        let is_about_format = |line: &str| FORMAT_LINES.iter().any(|name| line.starts_with(name));
        let is_read = |line: &&str| {
            line.len() <= MAX_LINE_BYTES && !line.starts_with("a=candidate:") && !(is_known && is_about_format(line))
        };
        let kept = lines.filter(is_read);
        let mut section = Self {
            first,
            lines: kept.take(MAX_LINES).collect(),
            is_media,
            is_known,
            mids: Vec::new(),
            directions: Vec::new(),
            simulcast: None,
            payload_types: Vec::new(),
        };
        let mut is_listed = listed_formats(first);
        let mut parameters: HashMap<u8, &str> = HashMap::new();
        for line in &section.lines {
            match name_of(line) {
                "a=mid" if section.mids.len() < 2 => section.mids.push(line),
                "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive" if section.directions.len() < 2 => {
                    section.directions.push(line);
                }
                "a=simulcast" if section.simulcast.is_none() => section.simulcast = Some(line),
                "a=rtpmap" if is_media && section.payload_types.len() < MAX_PAYLOAD_TYPES => {
                    section.payload_types.extend(parse_rtpmap(line, &mut is_listed));
                }
                "a=fmtp" if parameters.len() < 2 * MAX_PAYLOAD_TYPES => {
                    if let Some((number, of_it)) = parse_fmtp(line) {
                        parameters.entry(number).or_insert(of_it);
                    }
                }
                _ => (),
            }
        }
        for payload_type in &mut section.payload_types {
            payload_type.parameters = parameters.remove(&payload_type.number);
        }
        section
    }

    fn write(&self, has_feedback: &mut PayloadTypes, out: &mut String) {
        write_line(&self.first_line(), out);
        // str0m searches for the mid from the start of a section, once per other section.
        self.mids.iter().chain(&self.directions).for_each(|line| write_line(line, out));
        for PayloadType { number, codec, parameters } in &self.payload_types {
            write_line(&format!("a=rtpmap:{number} {codec}"), out);
            if let Some(parameters) = parameters {
                write_line(&format!("a=fmtp:{number} {parameters}"), out);
            }
        }
        let is_dual = |simulcast: &&str| simulcast.split([';', ',']).count() <= 2 * MAX_RIDS;
        self.simulcast.filter(is_dual).into_iter().for_each(|line| write_line(line, out));
        let mut kept = Kept::default();
        for line in &self.lines {
            if let Some(line) = kept.reduce(self, line, has_feedback) {
                write_line(&line, out);
            }
        }
    }

    fn first_line(&self) -> Cow<'a, str> {
        if !self.is_media {
            return self.first.get(..MAX_LINE_BYTES).unwrap_or(self.first).into();
        }
        let mut words = self.first.split(' ');
        let mut line = words.by_ref().take(3).collect::<Vec<_>>().join(" ");
        let supported = self.payload_types.iter().map(|payload_type| payload_type.number.to_string());
        let mut formats: Vec<String> =
            if self.is_known { vec![KNOWN_PAYLOAD_TYPES.to_owned()] } else { supported.collect() };
        if formats.is_empty() {
            // A section needs at least one payload type. A static one needs no `rtpmap` line.
            formats.extend(words.next().map(|_| KNOWN_PAYLOAD_TYPES.to_owned()));
        }
        for format in &formats {
            line.extend([" ", format]);
        }
        line.into()
    }

    fn has(&self, number: u8) -> bool {
        self.payload_types.iter().any(|known| known.number == number)
    }

    /// str0m reads sources only in a section without simulcast.
    fn has_sources(&self) -> bool {
        matches!(self.directions.first(), Some(&("a=sendrecv" | "a=sendonly"))) && self.simulcast.is_none()
    }
}

/// Counts of the lines kept in a section.
#[derive(Default)]
struct Kept<'a> {
    counts: Counts,
    extensions: Vec<&'a str>,
    rids: usize,
    sources: Vec<&'a str>,
    groups: usize,
}

impl<'a> Kept<'a> {
    /// The line, shortened to the parts that are kept.
    fn reduce(
        &mut self,
        section: &Section<'_>,
        line: &'a str,
        has_feedback: &mut PayloadTypes,
    ) -> Option<Cow<'a, str>> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if self.counts.keeps(name) {
            return Some(line.into());
        }
        let is_kept = match name {
            _ if !section.is_media => false,
            "a=extmap" => self.extension(value),
            "a=rtcp-fb" => feedback(section, value, has_feedback),
            "a=rid" => return self.rid(value),
            "a=ssrc" => section.has_sources() && self.source(value),
            "a=ssrc-group" => {
                self.groups += 1;
                section.has_sources() && self.groups <= MAX_SSRCS && value.split(' ').count() == 3
            }
            _ => false,
        };
        is_kept.then(|| line.into())
    }

    fn extension(&mut self, value: &'a str) -> bool {
        let id = value.split([' ', '/']).next().unwrap_or_default();
        let is_kept = self.extensions.len() < MAX_EXTENSIONS && !self.extensions.contains(&id);
        if is_kept {
            self.extensions.push(id);
        }
        is_kept
    }

    /// A rid without its restrictions, which str0m does not read.
    fn rid(&mut self, value: &'a str) -> Option<Cow<'a, str>> {
        let mut words = value.split(' ');
        let (rid, direction) = (words.next()?, words.next()?);
        self.rids += 1;
        (self.rids <= MAX_RIDS).then(|| format!("a=rid:{rid} {direction}").into())
    }

    /// Whether this is the first line of a source. str0m needs only that.
    fn source(&mut self, value: &'a str) -> bool {
        let Some((source, attribute)) = value.split_once(' ') else { return false };
        let is_kept = self.sources.len() < MAX_SSRCS && attribute.contains(':') && !self.sources.contains(&source);
        if is_kept {
            self.sources.push(source);
        }
        is_kept
    }
}

/// Whether the line is the first in the description that enables transport-wide feedback for its payload type. str0m ignores
/// other feedback.
fn feedback(section: &Section<'_>, value: &str, has_feedback: &mut PayloadTypes) -> bool {
    let Some(format) = value.strip_suffix(" transport-cc").and_then(|format| format.parse().ok()) else { return false };
    let known = has_feedback.get_mut(usize::from(format)).filter(|_| section.has(format));
    known.is_some_and(|known| !std::mem::replace(known, true))
}

//! Session descriptions as text: parses offers of clients, and rewrites str0m's answers for LiveKit's clients.
//!
//! str0m's API cannot set the msids, directions and codec order of an answer. str0m does not parse its own answer, so the text may
//! be changed as long as str0m supports what it says.

#[cfg(test)]
mod cost;
mod parts;
mod payload_types;
mod reduce;
mod shorten;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use str0m::media::{Direction, MediaKind, Mid, Rid};
use str0m::rtp::Ssrc;

use parts::{mid_of, split};

pub(crate) use payload_types::Meanings;
pub(crate) use reduce::{MAX_NEW_SECTIONS, MAX_RIDS, MAX_SECTIONS, reduce};
pub(crate) use shorten::shorten;

/// An `m=` section of an offer; directions are the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaSection {
    pub(crate) mid: Mid,
    /// `None` for data channels.
    pub(crate) kind: Option<MediaKind>,
    pub(crate) direction: Direction,
    /// The track id in the msid. It is the track's `cid` in Chromium, but not in Firefox.
    pub(crate) track: Option<String>,
    /// Whether the client has stopped the transceiver.
    pub(crate) is_rejected: bool,
    /// The rids of the simulcast layers that the client sends.
    pub(crate) rids: Vec<Rid>,
    /// The sources (SSRCs) that the client declares.
    pub(crate) sources: Vec<Ssrc>,
}

impl MediaSection {
    /// Whether the client sends a track in it.
    pub(crate) fn sends(&self) -> bool {
        !self.is_rejected && self.kind.is_some() && self.direction.is_sending()
    }

    /// Whether the client only receives in it.
    pub(crate) fn is_placeholder(&self) -> bool {
        !self.is_rejected && self.kind.is_some() && self.direction == Direction::RecvOnly
    }

    /// Whether neither side sends in it, because the client has unpublished its track.
    pub(crate) fn is_unused(&self) -> bool {
        !self.is_rejected && self.kind.is_some() && self.direction == Direction::Inactive
    }
}

/// A track from `AddTrackRequest` that has no section yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingTrack<'a> {
    pub(crate) cid: &'a str,
    pub(crate) kind: MediaKind,
}

/// Role of a section in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SectionRole {
    /// The engine sends a track. White space in the names is removed. `nack`: the client may report lost Opus packets, and the
    /// packets have no header extension whose value depends on the time of sending.
    Sends { stream: String, track: String, nack: bool },
    /// Nothing is sent yet. Must be `inactive`: after a first track, clients fire no further `track` event for a new msid.
    Idle,
    /// The client sends, in the first codec of the answer that it supports: the one named here (`VP9` or `video/VP9`), or str0m's
    /// first. The other fields are for Opus.
    Receives { codec: Option<String>, dtx: bool, stereo: bool },
}

/// The roles of an answer's sections by mid. Other sections stay unchanged.
pub(crate) type AnswerPlan = HashMap<Mid, SectionRole>;

/// The number of sections of a description.
pub(crate) fn count_sections(description: &str) -> usize {
    description.lines().filter(|line| line.starts_with("m=")).count()
}

/// Parses the sections of an offer, in order. Leaves out sections without a mid, which str0m rejects.
pub(crate) fn sections(offer: &str) -> Vec<MediaSection> {
    let (head, parts) = split(offer);
    let bundle = head.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE ")).unwrap_or_default();
    let bundle: HashSet<_> = bundle.split_whitespace().map(Mid::from).collect();
    let section = |part: &str| {
        let mid = mid_of(part)?;
        let mut words = part.lines().next()?.split(' ');
        let kind = match words.next() {
            Some("m=audio") => Some(MediaKind::Audio),
            Some("m=video") => Some(MediaKind::Video),
            _ => None,
        };
        // Port 0 alone does not mean rejected: Firefox writes it in all bundled sections but the first.
        let is_rejected = words.next() == Some("0") && !bundle.contains(&mid);
        let direction = part.lines().find_map(direction_of).unwrap_or(Direction::SendRecv);
        let names = part.lines().find_map(|line| line.strip_prefix("a=msid:"));
        let track = names.and_then(|names| names.split_whitespace().nth(1)).filter(|track| *track != "-");
        let rids = attributes(part, "a=rid:").filter(|(_, rest)| rest.starts_with("send")).map(|(rid, _)| rid.into());
        let sources = attributes(part, "a=ssrc:").filter_map(|(ssrc, _)| Some(ssrc.parse::<u32>().ok()?.into()));
        Some(MediaSection {
            mid,
            kind,
            direction,
            track: track.map(str::to_owned),
            is_rejected,
            rids: rids.collect(),
            sources: sources.collect(),
        })
    };
    parts.into_iter().filter_map(section).collect()
}

/// Assigns a section to each track, `None` if there is none left. A section whose msid names a track is that track's; the others
/// are assigned in the order of the tracks.
pub(crate) fn assign(
    pending: &[PendingTrack<'_>],
    sections: &[MediaSection],
    is_taken: impl Fn(Mid) -> bool,
) -> Vec<Option<Mid>> {
    let mut free: Vec<_> = sections.iter().filter(|section| section.sends() && !is_taken(section.mid)).collect();
    let mut take = |track: &PendingTrack<'_>, is_named: bool| {
        let fits = |section: &&MediaSection| {
            section.kind == Some(track.kind) && (!is_named || section.track.as_deref() == Some(track.cid))
        };
        free.iter().position(fits).map(|at| free.remove(at).mid)
    };
    let named: Vec<_> = pending.iter().map(|track| take(track, true)).collect();
    pending.iter().zip(named).map(|(track, mid)| mid.or_else(|| take(track, false))).collect()
}

/// Rewrites an answer, so that each section has its role.
pub(crate) fn rewrite(answer: &str, plan: &AnswerPlan) -> String {
    let (head, parts) = split(answer);
    let mut out = String::with_capacity(answer.len() + 128 * plan.len());
    out.push_str(head);
    for part in parts {
        match mid_of(part).and_then(|mid| plan.get(&mid)) {
            None => out.push_str(part),
            Some(SectionRole::Idle) => edit(part, &mut out, idle),
            Some(SectionRole::Sends { stream, track, nack: false }) => {
                let msid = format!("msid:{} {}", token(stream), token(track));
                edit(part, &mut out, |line| Some(sends(line, &msid)));
            }
            Some(SectionRole::Sends { stream, track, nack: true }) => {
                let msid = format!("msid:{} {}", token(stream), token(track));
                let formats = without_nack(part, payload_types(part, "opus"));
                edit(part, &mut out, |line| {
                    (!is_extension_of_sending(line)).then(|| with_nack(sends(line, &msid), &formats))
                });
            }
            Some(SectionRole::Receives { codec, dtx, stereo }) => {
                let preferred =
                    codec.as_deref().map(|codec| with_rtx(payload_types(part, codec), part)).unwrap_or_default();
                let opus = Opus::new(part, *dtx, *stereo);
                edit(part, &mut out, |line| Some(opus.tune(prefer(line, &preferred))));
            }
        }
    }
    out
}

fn idle(line: &str) -> Option<Cow<'_, str>> {
    if direction_of(line).is_some() {
        return Some("a=inactive".into());
    }
    let names_a_track = ["a=msid:", "a=ssrc:", "a=ssrc-group:"].iter().any(|name| line.starts_with(name));
    (!names_a_track).then_some(line.into())
}

fn sends<'a>(line: &'a str, msid: &str) -> Cow<'a, str> {
    let ssrc = |line: &'a str| {
        let (ssrc, attribute) = line.strip_prefix("a=ssrc:")?.split_once(' ')?;
        attribute.starts_with("msid:").then_some(ssrc)
    };
    if line.starts_with("a=msid:") {
        format!("a={msid}").into()
    } else if let Some(ssrc) = ssrc(line) {
        format!("a=ssrc:{ssrc} {msid}").into()
    } else if line == "a=sendrecv" {
        // The answer must not send if the offer does not receive.
        "a=sendonly".into()
    } else {
        line.into()
    }
}

/// The payload types among these that have no NACK in the section yet.
fn without_nack<'a>(part: &str, mut formats: Vec<&'a str>) -> Vec<&'a str> {
    let is_nack = |format: &str, (of, feedback): (&str, &str)| of == format && feedback.trim_end() == "nack";
    formats.retain(|format| !attributes(part, "a=rtcp-fb:").any(|feedback| is_nack(format, feedback)));
    formats
}

/// Whether the line declares a header extension whose value differs between a packet and its retransmission: the send time, the
/// transport-wide sequence number, or the mid, which str0m sends only until the first receiver report.
fn is_extension_of_sending(line: &str) -> bool {
    const CHANGING: [&str; 3] = ["abs-send-time", "transport-wide-cc-extensions-01", "sdes:mid"];
    line.starts_with("a=extmap:") && CHANGING.iter().any(|name| line.trim_end().ends_with(name))
}

/// Adds NACK after the `rtpmap` line of one of these payload types. Other lines stay unchanged.
fn with_nack<'a>(line: Cow<'a, str>, formats: &[&str]) -> Cow<'a, str> {
    match attribute(&line, "a=rtpmap:") {
        Some((format, _)) if formats.contains(&format) => format!("{line}\r\na=rtcp-fb:{format} nack").into(),
        _ => line,
    }
}

/// Moves these payload types to the front of a section's first line. Other lines stay unchanged.
fn prefer<'a>(line: &'a str, preferred: &[&str]) -> Cow<'a, str> {
    if !line.starts_with("m=") || preferred.is_empty() {
        return line.into();
    }
    let mut words: Vec<_> = line.split(' ').collect();
    if let Some(formats) = words.get_mut(3..) {
        // The sort is stable, so that a codec's profiles, and each with its rtx, stay in order.
        formats.sort_by_key(|format| !preferred.contains(format));
    }
    words.join(" ").into()
}

fn payload_types<'a>(part: &'a str, codec: &str) -> Vec<&'a str> {
    let codec = codec.rsplit('/').next().unwrap_or(codec);
    let is_named = |map: &str| map.split('/').next().is_some_and(|name| name.eq_ignore_ascii_case(codec));
    attributes(part, "a=rtpmap:").filter(|(_, map)| is_named(map)).map(|(format, _)| format).collect()
}

fn with_rtx<'a>(mut formats: Vec<&'a str>, part: &'a str) -> Vec<&'a str> {
    let repairs = |parameters: &str| parameters.strip_prefix("apt=").is_some_and(|format| formats.contains(&format));
    let rtx: Vec<_> =
        attributes(part, "a=fmtp:").filter(|(_, parameters)| repairs(parameters)).map(|(format, _)| format).collect();
    formats.extend(rtx);
    formats
}

/// Parameters for a client's Opus encoder.
struct Opus<'a> {
    formats: Vec<&'a str>,
    /// The payload types among them without an `fmtp` line.
    bare: Vec<&'a str>,
    wanted: Vec<&'static str>,
}

impl<'a> Opus<'a> {
    fn new(part: &'a str, dtx: bool, stereo: bool) -> Self {
        let mut wanted = Vec::new();
        if dtx {
            wanted.push("usedtx=1");
        }
        if stereo {
            wanted.extend(["stereo=1", "maxaveragebitrate=510000"]);
        }
        let formats = if wanted.is_empty() { Vec::new() } else { payload_types(part, "opus") };
        let has_parameters = |format: &&str| attributes(part, "a=fmtp:").any(|(other, _)| other == *format);
        let bare = formats.iter().copied().filter(|format| !has_parameters(format)).collect();
        Self { formats, bare, wanted }
    }

    fn tune<'b>(&self, line: Cow<'b, str>) -> Cow<'b, str> {
        if let Some((format, parameters)) = attribute(&line, "a=fmtp:") {
            let is_set = |one: &str| parameters.split(';').any(|other| key(other) == key(one));
            let missing: Vec<_> = self.wanted.iter().copied().filter(|one| !is_set(one)).collect();
            if self.formats.contains(&format) && !missing.is_empty() {
                return format!("{line};{}", missing.join(";")).into();
            }
        } else if let Some((format, _)) = attribute(&line, "a=rtpmap:")
            && self.bare.contains(&format)
        {
            return format!("{line}\r\na=fmtp:{format} {}", self.wanted.join(";")).into();
        }
        line
    }
}

fn key(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or(parameter).trim()
}

/// Replaces each line by the result of `change`, and keeps the line ends.
fn edit<'a>(part: &'a str, out: &mut String, change: impl Fn(&'a str) -> Option<Cow<'a, str>>) {
    for line in part.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        if let Some(changed) = change(text) {
            out.push_str(&changed);
            out.push_str(&line[text.len()..]);
        }
    }
}

fn direction_of(line: &str) -> Option<Direction> {
    match line {
        "a=sendrecv" => Some(Direction::SendRecv),
        "a=sendonly" => Some(Direction::SendOnly),
        "a=recvonly" => Some(Direction::RecvOnly),
        "a=inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// The payload types with a line of this kind, and the values of these lines.
fn attributes<'a>(part: &'a str, name: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    part.lines().filter_map(move |line| attribute(line, name))
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(name)?.split_once(' ')
}

fn token(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).collect()
}

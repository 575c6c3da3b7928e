//! The payload types of a client's description that str0m supports.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use str0m::format::FormatParams;

/// Maximum number of parameters of a payload type; further ones are left out. Opus has eight.
const MAX_PARAMETERS: usize = 12;
/// The codecs that the engine enables in str0m.
const CODECS: [&str; 7] = ["opus", "red", "VP8", "VP9", "H264", "AV1", "rtx"];

/// A set of payload types.
pub(super) type PayloadTypes = [bool; 128];

/// A payload type that str0m can use.
pub(super) struct PayloadType<'a> {
    pub(super) number: u8,
    /// Including clock rate and channels.
    pub(super) codec: &'a str,
    pub(super) parameters: Option<&'a str>,
}

/// Codec and parameters of each payload type of a connection. BUNDLE forbids different ones in another section (RFC 9143,
/// section 9.1), and str0m panics then.
#[derive(Debug, Default)]
pub(crate) struct Meanings {
    known: HashMap<u8, Meaning>,
}

#[derive(Debug, PartialEq)]
struct Meaning {
    /// In lower case.
    codec: String,
    /// Only those that str0m reads: clients add others, such as `x-google-start-bitrate`, for a single track.
    parameters: FormatParams,
    /// The payload type that this one retransmits.
    repeats: Option<u8>,
}

impl Meaning {
    fn of(payload_type: &PayloadType<'_>) -> Self {
        let codec = payload_type.codec.to_ascii_lowercase();
        let parameters = payload_type.parameters.unwrap_or_default();
        let repeated = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt="));
        // The parameters of Opus are preferences of a receiver (RFC 7587, section 6.1): clients add `stereo=1` for a single track.
        let is_opus = codec.starts_with("opus/");
        let parameters = if is_opus { FormatParams::default() } else { FormatParams::parse_line(parameters) };
        Self { codec, parameters, repeats: repeated.and_then(|number| number.parse().ok()) }
    }
}

impl Meanings {
    /// Whether a payload type is new or has the same codec and parameters as before.
    pub(super) fn agree(&mut self, payload_type: &PayloadType<'_>) -> bool {
        let meaning = Meaning::of(payload_type);
        match self.known.entry(payload_type.number) {
            Entry::Occupied(known) => *known.get() == meaning,
            Entry::Vacant(new) => {
                new.insert(meaning);
                true
            }
        }
    }
}

/// The payload types that a section's first line lists.
pub(super) fn listed_formats(first: &str) -> PayloadTypes {
    let mut listed = [false; 128];
    for format in first.split(' ').skip(3) {
        if let Some(listed) = format.parse().ok().and_then(|format: usize| listed.get_mut(format)) {
            *listed = true;
        }
    }
    listed
}

/// The payload type of an `rtpmap` line, if str0m supports its codec and it is listed. Removes it from the list.
pub(super) fn parse_rtpmap<'a>(line: &'a str, is_listed: &mut PayloadTypes) -> Option<PayloadType<'a>> {
    let (number, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
    let number: u8 = number.parse().ok()?;
    let name = codec.split('/').next()?;
    let is_supported = CODECS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_listed = is_listed.get_mut(usize::from(number)).filter(|_| is_supported)?;
    std::mem::take(is_listed).then_some(PayloadType { number, codec, parameters: None })
}

/// The parameters of a payload type, up to the maximum.
pub(super) fn parse_fmtp(line: &str) -> Option<(u8, &str)> {
    let (number, parameters) = line.strip_prefix("a=fmtp:")?.split_once(' ')?;
    let end = parameters.match_indices(';').nth(MAX_PARAMETERS - 1).map_or(parameters.len(), |(end, _)| end);
    Some((number.parse().ok()?, &parameters[..end]))
}

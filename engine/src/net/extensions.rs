//! RTP header extensions that are forwarded.

use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
const DEPENDENCY_DESCRIPTOR_ID: u8 = 12;

/// The dependency descriptor of VP9 and AV1, which str0m does not support itself, and its identifier in offers.
pub(crate) fn dependency_descriptor() -> (u8, Extension) {
    (DEPENDENCY_DESCRIPTOR_ID, Extension::with_serializer(DEPENDENCY_DESCRIPTOR, PassThrough))
}

/// The header extensions to forward with a packet: all except those that each connection sets itself.
pub(crate) fn forwarded_extensions(values: &ExtensionValues) -> ExtensionValues {
    ExtensionValues {
        mid: None,
        rid: None,
        rid_repair: None,
        transport_cc: None,
        abs_send_time: None,
        tx_time_offs: None,
        ..values.clone()
    }
}

/// A header extension that is forwarded unchanged.
#[derive(Debug)]
struct PassThrough;

#[derive(Debug)]
struct Raw(Vec<u8>);

impl ExtensionSerializer for PassThrough {
    fn write_to(&self, into: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Raw(raw)) = values.user_values.get::<Raw>() else { return 0 };
        let Some(into) = into.get_mut(..raw.len()) else { return 0 };
        into.copy_from_slice(raw);
        raw.len()
    }

    fn parse_value(&self, raw: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(Raw(raw.to_vec()));
        true
    }

    /// RFC 8285, section 4.2: one byte of header has no room for an empty value, or one of more than 16 bytes.
    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        values.user_values.get::<Raw>().is_some_and(|Raw(raw)| raw.is_empty() || raw.len() > 16)
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn is_video(&self) -> bool {
        true
    }
}

use std::cmp::Ordering;

use super::error::{ArgumentFault, MediaError};

/// The most bytes of UTF-8 that LiveKit takes in a room name or an identity.
const MOST_NAME_BYTES: usize = 256;

/// What stands before every room name on the server, so that several apps can share it; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RoomPrefix(String);

impl RoomPrefix {
    /// Takes a prefix that the configuration has checked.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self(prefix)
    }

    /// The caller's name for a room of the server, or `None` if the room is another app's.
    #[must_use]
    pub fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.0).filter(|id| self.0.is_empty() || !id.is_empty())
    }
}

/// A room's name on the server, prefix included: 1 to 256 bytes, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomName {
    full: String,
    prefix_len: usize,
}

impl RoomName {
    /// Parses what the caller passed as `roomId`.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] if it is empty, too long with the prefix, or holds control characters.
    pub fn parse(prefix: &RoomPrefix, id: String) -> Result<Self, MediaError> {
        let prefix_len = prefix.0.len();
        check_name("roomId", &id, prefix_len + id.len())?;
        let full = if prefix_len == 0 { id } else { format!("{}{id}", prefix.0) };
        Ok(Self { full, prefix_len })
    }

    /// The name on the server.
    #[must_use]
    pub fn on_server(&self) -> &str {
        &self.full
    }

    /// The name as the caller gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.full[self.prefix_len..]
    }

    /// The name as the caller gave it.
    #[must_use]
    pub fn into_id(self) -> String {
        if self.prefix_len == 0 { self.full } else { self.id().to_owned() }
    }
}

/// Refuses what no name may be; `bytes` is its length on the server.
pub(super) fn check_name(parameter: &str, name: &str, bytes: usize) -> Result<(), MediaError> {
    let fault = if name.is_empty() {
        ArgumentFault::Empty
    } else if bytes > MOST_NAME_BYTES {
        ArgumentFault::TooLong { bytes, most: MOST_NAME_BYTES }
    } else if name.chars().any(char::is_control) {
        ArgumentFault::ControlCharacter
    } else {
        return Ok(());
    };
    Err(MediaError::InvalidArgument { parameter: parameter.to_owned(), fault })
}

/// What a new room is made with; `0` and the empty text are the server's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomSettings {
    /// Most participants at once.
    pub max_participants: u32,
    /// Seconds an empty room lives before the first join.
    pub empty_timeout_secs: u32,
    /// Seconds a room lives after the last leave.
    pub departure_timeout_secs: u32,
    /// Text handed to everyone in the room.
    pub metadata: String,
}

/// A room as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The caller's name for it, without the prefix.
    pub name: String,
    /// Participants in it.
    pub num_participants: u32,
    /// Most participants at once; 0: no limit.
    pub max_participants: u32,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// The room is open on the server.
    pub active: bool,
}

/// The order of JavaScript's `sort`: by UTF-16 code units. It is the order of the UTF-8 bytes, but that what takes four
/// bytes (lead byte F0 and up, surrogates in UTF-16) comes before U+E000 to U+FFFF (lead bytes EE and EF).
#[must_use]
pub fn by_name(a: &str, b: &str) -> Ordering {
    match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
        Some((0xEE | 0xEF, 0xF0..)) => Ordering::Greater,
        Some((0xF0.., 0xEE | 0xEF)) => Ordering::Less,
        Some((a, b)) => a.cmp(&b),
        None => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(prefix: &str, id: &str) -> ArgumentFault {
        match RoomName::parse(&RoomPrefix::new(prefix.into()), id.to_owned()) {
            Err(MediaError::InvalidArgument { fault, .. }) => fault,
            other => panic!("expected INVALID_ARGUMENT, got {other:?}"),
        }
    }

    #[test]
    fn a_name_is_one_to_256_bytes_with_its_prefix() {
        assert_eq!(fault("", ""), ArgumentFault::Empty);
        assert_eq!(fault("t:", ""), ArgumentFault::Empty);
        assert_eq!(fault("t:", &"é".repeat(128)), ArgumentFault::TooLong { bytes: 258, most: 256 });
        let name = RoomName::parse(&RoomPrefix::new("t:".into()), "é".repeat(127)).unwrap();
        assert_eq!(name.on_server().len(), 256);
        assert_eq!(name.id(), "é".repeat(127));
    }

    #[test]
    fn control_characters_are_refused() {
        for id in ["a\0b", "a\n", "\u{7f}", "\u{85}"] {
            assert_eq!(fault("", id), ArgumentFault::ControlCharacter, "{id:?}");
        }
        for id in ["huddle:1", "a/b #c", "😀", " "] {
            assert!(RoomName::parse(&RoomPrefix::default(), id.to_owned()).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn names_sort_as_in_javascript() {
        let names =
            ["", "a", "ab", "b", "é", "\u{d7ff}", "😀", "😁", "\u{10ffff}", "\u{e000}", "\u{ffee}", "\u{ffee}a"];
        for (i, a) in names.iter().enumerate() {
            for (j, b) in names.iter().enumerate() {
                assert_eq!(by_name(a, b), a.encode_utf16().cmp(b.encode_utf16()), "{a:?} {b:?}");
                assert_eq!(by_name(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_prefix_is_taken_off_its_own_rooms_only() {
        let prefix = RoomPrefix::new("t1:".into());
        assert_eq!(prefix.strip("t1:a"), Some("a"));
        assert_eq!(prefix.strip("t10:a"), None);
        assert_eq!(prefix.strip("t1:"), None, "no method takes an empty name");
    }
}

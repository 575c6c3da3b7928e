use std::cmp::Ordering;

use super::error::{ArgumentFault, MediaError};

/// Maximum length of a room name or an identity on the server, in bytes of UTF-8. Longer ones are `INVALID_ARGUMENT`.
const MAX_NAME_BYTES: usize = 256;

/// Prefix of every room name on the server, so that several apps can share a server; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RoomPrefix(String);

impl RoomPrefix {
    /// Wraps a validated prefix.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self(prefix)
    }

    /// Whether rooms have no prefix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The room name without the prefix; `None` if the room belongs to another app.
    #[must_use]
    pub fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.0).filter(|id| self.0.is_empty() || !id.is_empty())
    }
}

/// A room name, validated: with its prefix 1 to 256 bytes of UTF-8, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomName {
    full: String,
    prefix_len: usize,
}

impl RoomName {
    /// Validates the argument `roomId`.
    ///
    /// # Errors
    /// [`MediaError::InvalidArgument`] if it is empty, too long with the prefix, or contains control characters.
    pub fn parse(prefix: &RoomPrefix, id: String) -> Result<Self, MediaError> {
        let prefix_len = prefix.0.len();
        check_name("roomId", &id, prefix_len + id.len())?;
        let full = if prefix_len == 0 { id } else { format!("{}{id}", prefix.0) };
        Ok(Self { full, prefix_len })
    }

    /// The name on the server, with the prefix.
    #[must_use]
    pub fn on_server(&self) -> &str {
        &self.full
    }

    /// The name without the prefix.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.full[self.prefix_len..]
    }

    /// The name without the prefix.
    #[must_use]
    pub fn into_id(self) -> String {
        if self.prefix_len == 0 { self.full } else { self.id().to_owned() }
    }
}

/// Rejects empty and long names and control characters; `bytes` is the length on the server.
pub(super) fn check_name(parameter: &str, name: &str, bytes: usize) -> Result<(), MediaError> {
    let fault = if name.is_empty() {
        ArgumentFault::Empty
    } else if bytes > MAX_NAME_BYTES {
        ArgumentFault::TooLong { bytes, max: MAX_NAME_BYTES }
    } else if let Some(control) = name.chars().find(|c| c.is_control()) {
        ArgumentFault::ControlCharacter(control)
    } else {
        return Ok(());
    };
    Err(MediaError::InvalidArgument { parameter: parameter.to_owned(), fault })
}

/// Settings of a new room; `0` and the empty string are the server's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomSettings {
    /// Maximum number of participants; further joins are rejected.
    pub max_participants: u32,
    /// Seconds until the room closes if no participant joins.
    pub empty_timeout_secs: u32,
    /// Seconds until the room closes after the last participant left.
    pub departure_timeout_secs: u32,
    /// Text that all participants receive.
    pub metadata: String,
}

/// A room on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Name without the prefix.
    pub name: String,
    /// Number of participants.
    pub num_participants: u32,
    /// Maximum number of participants; 0: no limit.
    pub max_participants: u32,
    /// Time of creation, in milliseconds since the epoch.
    pub created_at: i64,
    /// Whether clients can join.
    pub active: bool,
}

/// Order by UTF-16 code units, as JavaScript's `sort` has it: UTF-8 byte order, except that astral characters (4 bytes,
/// lead byte F0 and up) sort before U+E000-U+FFFF (lead bytes EE and EF).
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
    fn accepts_1_to_256_bytes_with_the_prefix() {
        assert_eq!(fault("", ""), ArgumentFault::Empty);
        assert_eq!(fault("t:", ""), ArgumentFault::Empty);
        assert_eq!(fault("t:", &"é".repeat(128)), ArgumentFault::TooLong { bytes: 258, max: 256 });
        let name = RoomName::parse(&RoomPrefix::new("t:".into()), "é".repeat(127)).unwrap();
        assert_eq!(name.on_server().len(), 256);
        assert_eq!(name.id(), "é".repeat(127));
    }

    #[test]
    fn rejects_control_characters() {
        for id in ["a\0", "a\n", "\u{7f}", "\u{85}"] {
            assert_eq!(fault("", id), ArgumentFault::ControlCharacter(id.chars().last().unwrap()), "{id:?}");
        }
        for id in ["huddle:1", "a/b #c", "😀", " "] {
            assert!(RoomName::parse(&RoomPrefix::default(), id.to_owned()).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn sorts_names_as_javascript_does() {
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
    fn strips_the_prefix_from_its_own_rooms_only() {
        let prefix = RoomPrefix::new("t1:".into());
        assert_eq!(prefix.strip("t1:a"), Some("a"));
        assert_eq!(prefix.strip("t10:a"), None);
        assert_eq!(prefix.strip("t1:"), None, "an empty name is not valid");
    }
}

//! The part of STUN (RFC 5389) that is needed to route a datagram. str0m parses and verifies the message for its connection.

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 0x0006;

/// Whether a datagram is a STUN message (RFC 5389, section 6).
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE
}

/// The recipient's ICE username fragment in a binding request (RFC 8445, section 7.2.2). Not verified: the message
/// integrity is checked by the connection that has this fragment.
///
/// `None` for every other message, because an ICE-lite agent sends no requests and so expects no responses.
pub(crate) fn recipient_ufrag(datagram: &[u8]) -> Option<&str> {
    if !is_stun(datagram) || datagram[..2] != BINDING_REQUEST {
        return None;
    }
    let mut attributes = &datagram[HEADER_BYTES..];
    loop {
        let (kind, rest) = attributes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if u16::from_be_bytes(*kind) == USERNAME {
            let (recipient, _sender) = str::from_utf8(rest.get(..length)?).ok()?.split_once(':')?;
            return Some(recipient);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: [u8; 2], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u16::try_from(body.len()).unwrap();
        [&kind[..], &length.to_be_bytes(), &MAGIC_COOKIE, &[7; 12], &body].concat()
    }

    #[test]
    fn the_recipient_ufrag_is_the_first_part_of_the_username() {
        let request = message(BINDING_REQUEST, &[(0x0024, &[0; 4]), (0x8022, b"odd"), (USERNAME, b"ours:theirs")]);
        assert!(is_stun(&request));
        assert_eq!(recipient_ufrag(&request), Some("ours"));
    }

    #[test]
    fn other_messages_have_no_recipient_ufrag() {
        let name: &[(u16, &[u8])] = &[(USERNAME, b"ours:theirs")];
        for other in [[0, 0x11], [1, 1], [1, 0x11], [0, 3]] {
            assert_eq!(recipient_ufrag(&message(other, name)), None, "{other:?}");
        }
        assert_eq!(recipient_ufrag(&message(BINDING_REQUEST, &[(0x0024, &[0; 4])])), None);
        for name in [&b"ours"[..], b"\xff:theirs", b""] {
            assert_eq!(recipient_ufrag(&message(BINDING_REQUEST, &[(USERNAME, name)])), None, "{name:?}");
        }
        let mut cut_off = message(BINDING_REQUEST, name);
        cut_off.truncate(cut_off.len() - 2);
        assert_eq!(recipient_ufrag(&cut_off), None);
    }

    proptest! {
        #[test]
        fn never_panics(mut datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = recipient_ufrag(&datagram);
            let head = message(BINDING_REQUEST, &[]);
            let shared = head.len().min(datagram.len());
            datagram[..shared].copy_from_slice(&head[..shared]);
            let _ = recipient_ufrag(&datagram);
        }
    }
}

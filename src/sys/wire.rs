//! D-Bus messages from bytes that somebody else wrote.

use std::os::fd::OwnedFd;

use zbus::message::Message;
use zbus::wire::Endian;
use zbus::wire::serialized::{Context, Data};

/// Reads a message that was received whole, with the descriptors that came with it.
///
/// # Errors
/// Those of zbus, for bytes that are no message.
pub fn message(bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> zbus::Result<Message> {
    let endian = match bytes.first() {
        Some(b'B') => Endian::Big,
        _ => Endian::Little,
    };
    let data = Data::new_fds(bytes, Context::new(endian, 0), descriptors);
    // SAFETY: the function is marked so because bytes may be malformed. It checks them as zbus
    // checks what it receives itself, and answers with an error: no memory is touched unchecked.
    unsafe { Message::from_bytes(data) }
}

/// Whether the message that starts with these bytes is a signal.
pub fn is_signal(start: &[u8]) -> bool {
    start.get(1) == Some(&4)
}

/// Length of the fixed part of a message's header, up to and with the length of its fields.
pub const FIXED_HEADER: usize = 16;

/// The length of the whole message that starts with these bytes, once [`FIXED_HEADER`] of them are
/// there (D-Bus specification, "Message Format").
pub fn length(start: &[u8]) -> Option<usize> {
    let word = |from: usize| {
        let bytes: [u8; 4] = start.get(from..from.checked_add(4)?)?.try_into().ok()?;
        let word = match start.first()? {
            b'B' => u32::from_be_bytes(bytes),
            _ => u32::from_le_bytes(bytes),
        };
        usize::try_from(word).ok()
    };
    let fields = FIXED_HEADER.checked_add(word(12)?)?;
    fields.checked_next_multiple_of(8)?.checked_add(word(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back_and_its_length_is_in_its_start() {
        let message = Message::method_call("/a", "B").build(&("text", 7_u32));
        let bytes = message.expect("a message").data().bytes().to_vec();
        let start = bytes.get(..FIXED_HEADER).expect("a header");
        assert_eq!(length(start), Some(bytes.len()));
        let read = super::message(bytes, Vec::new()).expect("a message");
        let body: (String, u32) = read.body().deserialize().expect("a body");
        assert_eq!(body, ("text".into(), 7));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [vec![], vec![0; 15], vec![b'l'; 64], vec![0xff; 64]] {
            assert!(super::message(bytes, Vec::new()).is_err());
        }
    }
}

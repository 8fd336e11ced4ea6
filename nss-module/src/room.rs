//! The caller's buffer, given away in pieces. What C hands over is not initialised, and is not made so: clearing a long
//! buffer would take longer than the look-up.

use core::ffi::c_char;
use core::mem::{self, MaybeUninit};
use core::ptr;

/// A byte that may be written, and not read before.
pub(crate) type Byte = MaybeUninit<u8>;

/// What is left of a buffer. Every piece of it is given away once.
pub(crate) struct Room<'b>(&'b mut [Byte]);

impl<'b> Room<'b> {
    /// All of a buffer.
    pub(crate) const fn new(buffer: &'b mut [Byte]) -> Self {
        Self(buffer)
    }

    fn take(&mut self, length: usize) -> Option<&'b mut [Byte]> {
        let (piece, rest) = mem::take(&mut self.0).split_at_mut_checked(length)?;
        self.0 = rest;
        Some(piece)
    }

    /// Puts down a word with its NUL; `None` if there is no room for it.
    pub(crate) fn word(&mut self, word: &[u8]) -> Option<*mut c_char> {
        // One piece for both, so that the pointer may be followed up to the NUL.
        let piece = self.take(word.len().checked_add(1)?)?;
        let (nul, text) = piece.split_last_mut()?;
        for (to, from) in text.iter_mut().zip(word) {
            to.write(*from);
        }
        nul.write(0);
        Some(piece.as_mut_ptr().cast())
    }

    /// Puts down words, and an array of pointers to them with a null pointer at its end; `None` if there is no room for
    /// them. It takes all that is left: nothing stands behind it.
    pub(crate) fn list<'w>(
        mut self,
        words: impl Iterator<Item = &'w [u8]> + Clone,
    ) -> Option<*mut *mut c_char> {
        let mut count: usize = 0;
        let mut length: usize = 0;
        for word in words.clone() {
            count = count.checked_add(1)?;
            length = length.checked_add(word.len())?.checked_add(1)?;
        }
        let mut text = Room(self.take(length)?);
        // Nobody promises an aligned buffer, and words of any length stand before this.
        // SAFETY: both may have any content or none, so bytes are as good as pointers.
        let (_, slots, _) = unsafe { self.0.align_to_mut::<MaybeUninit<*mut c_char>>() };
        let list = slots.get_mut(..count.checked_add(1)?)?;
        let (end, slots) = list.split_last_mut()?;
        for (slot, word) in slots.iter_mut().zip(words) {
            slot.write(text.word(word)?);
        }
        end.write(ptr::null_mut());
        Some(list.as_mut_ptr().cast())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
pub(crate) mod tests {
    use super::*;

    /// A buffer as nobody leaves one.
    pub(crate) fn buffer<const LENGTH: usize>() -> [Byte; LENGTH] {
        [MaybeUninit::new(0xAA); LENGTH]
    }

    /// What is in a buffer that was made by [`buffer`].
    pub(crate) fn content(buffer: &[Byte]) -> Vec<u8> {
        // SAFETY: it was initialised when it was made.
        buffer
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect()
    }

    /// Where a pointer into `buffer` points, counted from its beginning.
    pub(crate) fn offset<T>(buffer: &[Byte], pointer: *mut T) -> Option<usize> {
        pointer.addr().checked_sub(buffer.as_ptr().addr())
    }

    /// The array of pointers at `list` in `buffer`, as offsets of what they point to.
    pub(crate) fn pointers(buffer: &[Byte], list: *mut *mut c_char) -> Vec<usize> {
        let at = offset(buffer, list).and_then(|at| buffer.get(at..));
        let bytes = content(at.unwrap_or_default());
        let (array, _) = bytes.as_chunks::<{ size_of::<usize>() }>();
        let addresses = array.iter().map(|bytes| usize::from_ne_bytes(*bytes));
        let start = buffer.as_ptr().addr();
        addresses
            .take_while(|address| *address != 0)
            .map(|address| address.wrapping_sub(start))
            .collect()
    }

    #[test]
    fn words_stand_one_after_the_other_and_end_in_nul() {
        let mut buffer = buffer::<8>();
        let mut room = Room::new(&mut buffer);
        let words = [room.word(b"abc"), room.word(b""), room.word(b"d")];
        assert!(room.word(b"e").is_none(), "one byte is left");
        assert_eq!(content(&buffer), b"abc\0\0d\0\xAA");
        let at = words.map(|word| word.and_then(|word| offset(&buffer, word)));
        assert_eq!(at, [Some(0), Some(4), Some(5)]);
    }

    #[test]
    fn a_list_is_aligned_wherever_the_buffer_begins() {
        for skipped in 0..16 {
            let mut buffer = buffer::<80>();
            let (_, unaligned) = buffer.split_at_mut(skipped);
            let words = [&b"ab"[..], b"c", b"def"];
            let list = Room::new(unaligned).list(words.into_iter());
            let Some(list) = list else {
                panic!("{skipped}: there is room");
            };
            assert!(list.is_aligned());
            assert_eq!(pointers(unaligned, list), [0, 3, 5]);
            assert!(content(unaligned).starts_with(b"ab\0c\0def\0"));
        }
    }

    #[test]
    fn a_list_fits_or_is_none() {
        let mut aligned = [0_u64; 8].map(|_| buffer::<8>());
        let start = aligned.as_ptr().addr() % 8;
        let bytes = aligned.as_flattened_mut();
        for length in 0..=bytes.len() {
            let (short, _) = bytes.split_at_mut(length);
            let list = Room::new(short).list([&b"ab"[..], b"c"].into_iter());
            // Five bytes of text, then what aligning costs, then three pointers.
            let need = 5 + (8 - (start + 5) % 8) % 8 + 3 * size_of::<usize>();
            assert_eq!(list.is_some(), length >= need, "{length}");
        }
    }
}

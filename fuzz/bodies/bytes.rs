//! Decisions taken from a fuzzer's bytes.

/// A program that ends with its bytes; numbers read beyond them are zero.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    /// The next byte, unless the program is over.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// A number of `count` bytes, the lowest first.
    pub(crate) fn number(&mut self, count: u32) -> u64 {
        (0..count).fold(0, |number, place| number | u64::from(self.byte()) << (8 * place))
    }

    /// An index below `length`, which isn't 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::from(self.byte()) % length
    }
}

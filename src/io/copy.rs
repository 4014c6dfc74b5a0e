//! From one stream into another.

use super::{AsyncRead, AsyncWrite};
use std::io;

/// Bytes read at a time, at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// Writes all that `from` gives to `into`, to the end of the stream, and flushes; returns how many
/// bytes that were. It does not close `into`.
///
/// Cancel safety: none. What was read but not yet written is lost.
///
/// # Errors
/// Those of both streams.
pub async fn copy(from: &mut impl AsyncRead, into: &mut impl AsyncWrite) -> io::Result<u64> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut copied = 0;
    loop {
        buffer.clear();
        let count = from.read_into(&mut buffer).await?;
        if count == 0 {
            into.flush().await?;
            return Ok(copied);
        }
        into.write_all(&buffer).await?;
        copied += count as u64;
    }
}

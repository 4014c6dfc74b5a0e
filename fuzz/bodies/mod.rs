//! What the fuzz targets do with their input: one file a target, each with a `run` that panics when
//! something is wrong with what the input led to.
//!
//! Nothing here depends on the fuzzer, so the stable test `tests/corpus.rs` replays the corpora
//! through the same files.

mod bytes;
mod split;

pub mod event_parser;
pub mod http_request;
pub mod http_response;
pub mod kernels;
pub mod reactor_events;
pub mod timers;
pub mod url;

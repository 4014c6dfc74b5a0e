//! The delayserver and its clients, as far as they are not particular to one program.
//!
//! `GET /{ms}/{message}` is answered with the message after that many milliseconds. So a client's
//! handling of time, and of many requests at once, can be tried against answers whose order and
//! time are known.

mod answer;
mod arguments;
mod attempts;
mod client;
mod gate;
mod listen;
mod log;
mod plan;
mod service;
mod share;
mod usage;

pub use answer::Incoming;
pub use arguments::{ArgumentError, Arguments, Flag, with_port};
pub use attempts::{Attempt, Attempts};
pub use client::{Order, Planned, Report, client_main};
pub use listen::{listen, listen_shared};
pub use log::{Log, RequestCount};
pub use plan::{Plan, plan};
pub use service::{ServiceOptions, serve};
pub use share::serve_shared;
pub use usage::Usage;

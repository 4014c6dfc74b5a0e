//! HTTP/1.1 messages: pure, incremental parsers and writers (RFC 9110 and RFC 9112).
//!
//! Nothing here reads a socket or a clock. A caller owns a buffer, appends what arrives, and asks a
//! parser after each arrival; the parser remembers how far it has looked, so that a head that drips
//! in byte by byte costs the same passes as one that comes whole. What it returns borrows from the
//! buffer: nothing is copied or allocated.
//!
//! ```text
//!   bytes --> RequestParser / ResponseParser --> Request / Response   (the head)
//!                                                    | framing
//!   bytes --> BodyDecoder <--------------------------+   --> data     (the body)
//!
//!   head, data --> write_request_head, write_response_head, write_chunk --> bytes
//! ```
//!
//! Three things hold for every parser here, and the tests check them:
//!
//! - **The split does not matter.** However the bytes are cut, the verdict is the same: each byte
//!   is judged once, in order, and no verdict waits for a byte it does not need.
//! - **Doubt is refused.** Two programs that read one message differently let requests be smuggled
//!   past one of them (RFC 9112, section 11.2). So bare CR or LF, folded lines, a repeated
//!   `Content-Length` and their kin are errors, although other servers forgive some of them.
//! - **Everything has a bound.** [`Limits`] for heads, named constants for the rest.
//!
//! # Examples
//!
//! ```
//! use whirligig::http::{BodyDecoder, Connection, Limits, Method, RequestParser, write_text};
//!
//! let mut received = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Le".to_vec();
//! let mut parser = RequestParser::new();
//! assert_eq!(parser.parse(&received, &Limits::default()), Ok(None)); // not all here yet
//!
//! received.extend_from_slice(b"ngth: 5\r\n\r\nhello");
//! let request = parser.parse(&received, &Limits::default())?.ok_or("incomplete")?;
//! assert_eq!((request.method, request.path()), (Method::Post, "/echo"));
//!
//! let mut body = BodyDecoder::new(request.framing, 1024)?;
//! let decoded = body.decode(&received[request.head_bytes..])?;
//! assert_eq!((decoded.data, decoded.done), (&b"hello"[..], true));
//!
//! let mut answer = Vec::new();
//! write_text(&mut answer, Connection::Unsaid, decoded.data);
//! assert!(answer.ends_with(b"Content-Length: 5\r\n\r\nhello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod body;
mod buffer;
mod class;
mod client;
mod drain;
mod error;
mod exchange;
mod facts;
mod head;
mod message;
mod percent;
mod request;
mod response;
mod server;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use answer::Answer;
pub use body::{
    BodyDecoder, CHUNK_SIZE_DIGITS_MAX, Decoded, EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX,
};
pub(crate) use class::find_either;
pub use client::{Client, Reply, get};
pub use error::{ParseError, WriteError};
pub use head::Headers;
pub use message::{Connection, Framing, Limits, Method, Version};
pub use percent::{PercentError, percent_decode, percent_encode};
pub use request::{LEADING_EMPTY_LINES_MAX, Request, RequestParser};
pub use response::{RequestKind, Response, ResponseParser};
pub use server::{Server, ServerOptions};
pub use status::reason_phrase;
pub use target::TargetForm;
pub use write::{
    CONTINUE, RequestHead, ResponseHead, write_chunk, write_last_chunk, write_request,
    write_request_head, write_response, write_response_head, write_text,
};

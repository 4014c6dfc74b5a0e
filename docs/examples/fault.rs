//! Testing a program against a kernel that misbehaves on demand.
//!
//! `cargo run --example fault --features fault`: the same exchange on three kernels. The runtime
//! and the sockets are the real ones; only chosen system calls come out differently.

use std::io;
use std::sync::Arc;
use whirligig::Runtime;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sys::fault::{Call, Fault, PassThrough};

// errno(3)
const EINTR: i32 = 4;
const EMFILE: i32 = 24;
const ECONNRESET: i32 = 104;

fn main() -> io::Result<()> {
    let kernel = PassThrough::new();
    println!("as it is: {:?}", outcome(&kernel)?);

    // Nothing that a correct program may notice, but most have never met.
    kernel.set_rule(|call, nth| match call {
        Call::Send | Call::Recv if nth % 2 == 0 => Some(Fault::Error(EINTR)),
        Call::Send | Call::Recv => Some(Fault::Limit(1)),
        _ => None,
    });
    println!("a byte at a time, with interruptions: {:?}", outcome(&kernel)?);
    println!("  {} sends, {} receives", kernel.count(Call::Send), kernel.count(Call::Recv));

    let kernel = PassThrough::new();
    kernel.set_rule(|call, nth| match (call, nth) {
        (Call::Accept, 1) => Some(Fault::Error(EMFILE)),
        (Call::Recv, _) => Some(Fault::Error(ECONNRESET)),
        _ => None,
    });
    println!("reset: {:?}", outcome(&kernel)?);
    println!(
        "  {} accepts, {} descriptors left open",
        kernel.count(Call::Accept),
        kernel.open_count()
    );
    Ok(())
}

/// What `exchange` comes to on `kernel`.
fn outcome(kernel: &Arc<PassThrough>) -> io::Result<Result<String, String>> {
    let runtime = Runtime::on(kernel.handle())?;
    Ok(runtime.block_on(exchange()).map_err(|error| error.to_string()))
}

/// The program under test: a greeting goes over, and what arrived is returned.
async fn exchange() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = whirligig::spawn(async move {
        let mut accepted = listener.accept().await;
        if accepted.as_ref().is_err_and(whirligig::sys::is_exhaustion) {
            accepted = listener.accept().await;
        }
        let (mut stream, _) = accepted?;
        let mut greeting = Vec::new();
        stream.read_to_end(&mut greeting, 1024).await?;
        String::from_utf8(greeting).map_err(io::Error::other)
    });
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"good morning").await?;
    stream.close().await?;
    server.await?
}

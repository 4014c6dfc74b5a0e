//! An echo server: every connection is a task that sends back what it receives.
//!
//! `cargo run --example echo` serves three clients of its own and ends. With an address, such as
//! `cargo run --example echo 127.0.0.1:7000`, it serves there until it is interrupted.

use std::io;
use std::time::Duration;
use whirligig::future::join_all;
use whirligig::io::{AsyncRead, AsyncWrite, copy};
use whirligig::net::{SocketAddr, TcpListener, TcpStream};
use whirligig::sys::is_exhaustion;
use whirligig::time::sleep;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    whirligig::run(async {
        match address {
            Some(address) => serve(TcpListener::bind(address).await?).await,
            None => serve_three_clients().await,
        }
    })?
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Dropping the handle detaches the task: it goes on by itself.
                whirligig::spawn(async move {
                    match echo(stream).await {
                        Ok(bytes) => println!("{peer}: {bytes} bytes sent back"),
                        Err(error) => println!("{peer}: {error}"),
                    }
                });
            }
            // The connection stays in the queue. Asking again at once would only fail again.
            Err(error) if is_exhaustion(&error) => sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let (mut reader, mut writer) = stream.split();
    copy(&mut reader, &mut writer).await
}

async fn serve_three_clients() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = whirligig::spawn(serve(listener));
    for echoed in join_all(["one", "two", "three"].map(|word| say(address, word))).await {
        println!("came back: {}", echoed?);
    }
    server.abort();
    Ok(())
}

/// Says one word, ends its side, and reads the answer to the end.
async fn say(server: SocketAddr, word: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(word.as_bytes()).await?;
    stream.close().await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes, 1024).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

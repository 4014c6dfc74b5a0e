//! Finding a bug by its seed: a client that tries again, in some thousands of simulated worlds.
//!
//! `cargo run --release --example seeds --features sim`: the client fetches a text, and begins again
//! when its connection breaks. It was tested against a server that works, and one that is gone. What
//! it does when a connection breaks halfway nobody has tried: that happens too rarely. Here it
//! happens in a fifth of all worlds.

use std::io;
use std::time::Duration;
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpStream};
use whirligig::sim::{Fault, Faults, World, seeds};
use whirligig::time::sleep;

const TEXT: &[u8] = b"It is a long text, for it does not go into one packet.";

/// How the client begins again.
#[derive(Clone, Copy)]
enum Manner {
    /// The bug: what a broken attempt brought stays in the buffer.
    AsItWas,
    Mended,
}

/// Sends the text to whoever connects, a few bytes at a time.
async fn server() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:70").await?;
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        whirligig::spawn(async move {
            for part in TEXT.chunks(10) {
                stream.write_all(part).await?;
                sleep(Duration::from_millis(5)).await;
            }
            io::Result::Ok(())
        });
    }
}

/// The program under test. It knows nothing of simulations.
async fn fetch(address: &str, manner: Manner) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        if let Manner::Mended = manner {
            text.clear();
        }
        let attempt = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.read_to_end(&mut text, 10_000).await
        };
        match attempt.await {
            Ok(_) => return text,
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

/// One world: what stands in it, what goes wrong, and what has to hold all the same.
fn check(world: &World, manner: Manner) {
    world.host("server", server);
    world.set_faults(Faults::none().with(Fault::Reset, 20_000).with(Fault::Refuse, 50_000));
    let text = world.run_until(fetch("server:70", manner));
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(TEXT));
}

fn main() {
    let report = seeds(0..2000, |world| check(world, Manner::AsItWas));
    let (seed, story) = report.failure.expect("the bug is found");
    println!("{story}\n");
    println!("seed {seed} shows it each time: the text begins twice\n");

    let report = seeds(0..2000, |world| check(world, Manner::Mended));
    report.check();
    println!(
        "mended, it passes {} seeds, with {:?} faults",
        report.seeds,
        report.injected.iter().sum::<u64>()
    );
}

//! What the server asks of the kernel, counted.

use crate::Runtime;
use crate::http::{Answer, Request, Server, ServerOptions};
use crate::net::TcpListener;
use crate::sys::fault::{Call, Fault, PassThrough};
use std::future::ready;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

/// Serves one connection, that of `client`, which is done when this returns.
fn serve(client: impl FnOnce(TcpStream) + Send + 'static) -> Arc<PassThrough> {
    serve_on(PassThrough::new(), client)
}

fn serve_on(
    kernel: Arc<PassThrough>,
    client: impl FnOnce(TcpStream) + Send + 'static,
) -> Arc<PassThrough> {
    let runtime = Runtime::on(kernel.handle()).unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let client = thread::spawn(move || client(TcpStream::connect(address).unwrap()));
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let handler = |_: &Request<'_>, _| ready(Answer::text(vec![b'x'; 100]));
        let server = Server::new(ServerOptions::default(), handler);
        server.serve(stream).await.unwrap();
        assert_eq!(server.shared.buffers.unused(), 1, "its buffer is there for the next");
        client.join().unwrap();
    });
    kernel
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    while !answer.ends_with(&[b'x'; 100]) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    answer
}

#[test]
fn a_request_costs_one_receive_and_one_send() {
    const REQUESTS: u64 = 200;
    let kernel = serve(|mut stream| {
        for _ in 0..REQUESTS {
            stream.write_all(REQUEST).unwrap();
            read_answer(&mut stream);
        }
    });
    // One receive more finds the end.
    assert_eq!(kernel.count(Call::Recv), REQUESTS + 1);
    assert_eq!(kernel.count(Call::Send), REQUESTS);
    // Registered: the notifier, the listener perhaps, and the connection, once.
    assert!(kernel.count(Call::EpollAdd) <= 3);
    assert_eq!(kernel.count(Call::EpollModify), 0);
}

#[test]
fn answers_to_requests_that_came_together_go_together_up_to_a_bound() {
    const REQUESTS: usize = 700;
    let kernel = serve(|mut stream| {
        // All in one receive of the server: its buffer holds them.
        stream.write_all(&REQUEST.repeat(REQUESTS)).unwrap();
        for _ in 0..REQUESTS {
            read_answer(&mut stream);
        }
    });
    let sent = kernel.count(Call::Send);
    // About 190 bytes each, so 130,000: more than 16 KiB at a time, and not one by one.
    assert!((7..=16).contains(&sent), "{sent}");
}

#[test]
fn answers_that_the_kernel_takes_in_pieces_arrive_whole() {
    const REQUESTS: usize = 20;
    let kernel = PassThrough::new();
    kernel.set_rule(|call, _| (call == Call::Send).then_some(Fault::Limit(70)));
    let kernel = serve_on(kernel, |mut stream| {
        stream.write_all(&REQUEST.repeat(REQUESTS)).unwrap();
        let first = read_answer(&mut stream);
        for _ in 1..REQUESTS {
            assert_eq!(read_answer(&mut stream), first);
        }
    });
    assert!(kernel.count(Call::Send) > 2 * REQUESTS as u64);
}

//! Clients of every kind: well-behaved, impatient, demanding and bad.

use super::Run;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use whirligig::http::{self, Client, Connection, Method, RequestHead, RequestKind, ResponseParser};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpSocket, TcpStream, UdpSocket};
use whirligig::sys::{Connect, Family};
use whirligig::time::{Instant, sleep, timeout};

pub(super) async fn client(run: Rc<Run>, index: usize) {
    for round in 0..super::ROUNDS {
        let message = format!("{index}-{round}-{}", "x".repeat(run.some_size(2048)));
        sleep(Duration::from_millis(run.below(300))).await;
        // Each is made when it is wanted: all of them side by side would make a large future.
        let work: Pin<Box<dyn Future<Output = ()> + '_>> = match run.below(17) {
            0..=3 => Box::pin(one(&run, &message)),
            4 | 5 => Box::pin(kept_alive(&run, &message)),
            6 | 7 => Box::pin(run.patient("a pipeline", pipelined(&run, &message))),
            8 | 9 => Box::pin(given_up(&run, &message)),
            10..=12 => Box::pin(run.patient("an echo", echoed(&run, index))),
            13 => Box::pin(run.patient("urgent data", urgent(&run))),
            14 => Box::pin(run.patient("datagrams", datagrams(&run))),
            _ => Box::pin(run.patient("a bad client", bad(&run))),
        };
        work.await;
    }
}

fn delay(run: &Run) -> u64 {
    [0, 0, run.below(20), run.below(1500)][run.below(4) as usize]
}

pub(super) async fn one(run: &Run, message: &str) {
    let delay_ms = delay(run);
    run.ask();
    let start = Instant::now();
    let target = format!("/{delay_ms}/{message}");
    let reply = run.patient("a request", http::get("server:8080", "server", &target)).await;
    run.note(reply.and_then(|reply| check(run, &reply, message, start, delay_ms)));
}

fn check(
    run: &Run,
    reply: &http::Reply,
    message: &str,
    start: Instant,
    delay_ms: u64,
) -> io::Result<()> {
    // The server's own timeouts may go off when its clock jumps.
    if reply.status == 408 && !run.steady {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if reply.status != 200 || reply.body != message.as_bytes() {
        let text = format!("{} with {} bytes", reply.status, reply.body.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if run.steady {
        let lasted = start.elapsed();
        assert!(lasted >= Duration::from_millis(delay_ms), "{delay_ms} ms were over too early");
    }
    Ok(())
}

async fn kept_alive(run: &Run, message: &str) {
    let Ok(mut client) = run.patient("a connect", Client::connect("server:8080")).await else {
        return assert!(!run.strict, "no connection");
    };
    for _ in 0..6 {
        let delay_ms = delay(run);
        let target = format!("/{delay_ms}/{message}");
        let (method, connection) = (Method::Get, Connection::KeepAlive);
        let head =
            RequestHead { method, target: &target, host: "server", headers: &[], connection };
        run.ask();
        let start = Instant::now();
        let reply = run.patient("a kept request", client.request(&head, &[])).await;
        let done = reply.and_then(|reply| check(run, &reply, message, start, delay_ms));
        let failed = done.is_err();
        run.note(done);
        if failed || !client.is_reusable() {
            break;
        }
        if run.below(3) == 0 {
            sleep(Duration::from_millis(run.below(500))).await;
        }
    }
}

/// Several requests at once; the answers come in their order.
async fn pipelined(run: &Run, message: &str) {
    let count = 2 + run.below(13);
    let wanted: Vec<String> = (0..count).map(|index| format!("{index}-{message}")).collect();
    let mut bytes = Vec::new();
    for message in &wanted {
        let delay_ms = delay(run) / 10;
        let request = format!("GET /{delay_ms}/{message} HTTP/1.1\r\nHost: server\r\n\r\n");
        bytes.extend_from_slice(request.as_bytes());
        run.ask();
    }
    let mut answered = 0;
    let work = async {
        let mut stream = TcpStream::connect("server:8080").await?;
        run.check_connected(&stream);
        // In two parts, now and then.
        let cut = run.below(2 * bytes.len() as u64).min(bytes.len() as u64) as usize;
        stream.write_all(&bytes[..cut]).await?;
        if run.below(2) == 0 {
            sleep(Duration::from_millis(run.below(30))).await;
        }
        stream.write_all(&bytes[cut..]).await?;
        let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
        while let Some(wanted) = wanted.get(answered) {
            let mut parser = ResponseParser::new(RequestKind::from(Method::Get));
            let parsed = parser.parse(&received, &http::Limits::default());
            let parsed =
                parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // The server's own timeouts may go off when its clock jumps.
            if !run.steady && parsed.is_some_and(|response| response.status == 408) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let whole = parsed.map(|response| (response.status, response.head_bytes));
            let whole = whole.filter(|(_, head)| received.len() >= head + wanted.len());
            if let Some((status, head)) = whole {
                let body = &received[head..head + wanted.len()];
                assert!(status == 200 && body == wanted.as_bytes(), "out of order, or wrong");
                received.drain(..head + wanted.len());
                answered += 1;
                continue;
            }
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(&chunk[..count]);
        }
        io::Result::Ok(())
    };
    let done = work.await;
    for index in 0..wanted.len() {
        let failed = || done.as_ref().map_or_else(io::Error::kind, |()| io::ErrorKind::Other);
        run.note(if index < answered { Ok(()) } else { Err(failed().into()) });
    }
}

async fn given_up(run: &Run, message: &str) {
    run.ask();
    let target = format!("/{}/{message}", 100 + run.below(2000));
    let patience = Duration::from_millis(run.below(100));
    let start = Instant::now();
    match timeout(patience, http::get("server:8080", "server", &target)).await {
        Err(_) => {
            run.check_time(start, patience, Duration::from_secs(2));
            run.given_up.set(run.given_up.get() + 1);
        }
        Ok(Ok(_)) => {
            assert!(!run.steady, "an answer came too early");
            run.note(Ok(()));
        }
        Ok(Err(error)) => run.note(Err(error)),
    }
}

/// Bytes go there and back, while more are sent, up to the end of the stream.
async fn echoed(run: &Run, index: usize) {
    run.ask();
    let size = run.some_size(1 << 15);
    let pattern: Vec<u8> = (0..251).map(|at: u8| at.wrapping_add(index as u8)).collect();
    let mut bytes = pattern.repeat(size / pattern.len() + 1);
    bytes.truncate(size);
    let expected = bytes.clone();
    let (pause, chunk) = (run.below(3), 200 + run.below(5000) as usize);
    let work = async {
        let mut stream = echo_stream(run).await?;
        run.check_connected(&stream);
        stream.set_nodelay(true)?;
        assert!(stream.nodelay()?, "what was set is set");
        // First a word at a time, each of which waits for the answer to the last.
        for length in [1, 1 + run.below(20) as usize] {
            let mut back = [0; 20];
            stream.write_all(&[7; 20][..length]).await?;
            stream.read_exact(&mut back[..length]).await?;
            assert!(back[..length] == [7; 20][..length], "another word came back");
        }
        let (mut reader, mut writer) = stream.into_split();
        let writing = whirligig::spawn(async move {
            for part in bytes.chunks(chunk) {
                writer.write_all(part).await?;
                if pause == 0 {
                    whirligig::yield_now().await;
                }
            }
            writer.close().await
        });
        let mut received = Vec::new();
        let read = reader.read_to_end(&mut received, 1 << 20).await;
        let written = writing.await.expect("a writer does not panic");
        read?;
        written?;
        if received.len() < expected.len() && !run.strict {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received != expected {
            let wrong = received.iter().zip(&expected).position(|(one, other)| one != other);
            let (length, most) = (received.len(), expected.len());
            panic!("{most} bytes came back as {length}, wrong from {wrong:?}");
        }
        io::Result::Ok(())
    };
    let done = work.await;
    run.note(done);
}

/// A connection to the echo, now and then one whose buffers hold next to nothing.
async fn echo_stream(run: &Run) -> io::Result<TcpStream> {
    if run.below(4) > 0 {
        return TcpStream::connect("server:7").await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer(1)?;
    socket.set_receive_buffer(1)?;
    socket.connect(run.server(7)).await
}

/// Some datagrams, each sent until one that is the same comes back.
async fn datagrams(run: &Run) {
    run.ask();
    let done = exchange_datagrams(run).await;
    run.note(done);
}

async fn exchange_datagrams(run: &Run) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(run.server(9)).await?;
    let size = run.some_size(1 << 11).max(2);
    for number in 0..3 {
        let sent = vec![number; size];
        // Who is cut off has time enough to be healed.
        let mut tries = 0..40;
        loop {
            if tries.next().is_none() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.send(&sent).await?;
            let mut received = vec![0; size + 1];
            match timeout(Duration::from_millis(250), socket.recv(&mut received)).await {
                Ok(Ok(count)) if received[..count] == sent => break,
                // That of a try before.
                Ok(Ok(count)) if count == size && received[0] < number => {}
                Ok(Ok(count)) => panic!("{count} bytes came back of {size}, number {number}"),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Bytes before and behind an urgent one, which is no part of the stream and keeps none of them.
async fn urgent(run: &Run) {
    run.ask();
    let done = urgent_bytes(run).await;
    run.note(done);
}

async fn urgent_bytes(run: &Run) -> io::Result<()> {
    // Nobody wakes it: it asks again, and ever less often.
    let pause_ms = Cell::new(5);
    let rest = || {
        let pause = pause_ms.replace(1000.min(2 * pause_ms.get()));
        sleep(Duration::from_millis(pause))
    };
    let socket = run.world.kernel().socket(Family::V4)?;
    while socket.connect(run.server(7))? == Connect::InProgress {
        rest().await;
    }
    for (part, is_urgent) in [(&b"before"[..], false), (b"!", true), (b"behind", false)] {
        let mut left = part;
        while !left.is_empty() {
            let sent = match is_urgent {
                true => socket.send_urgent(left[0]).map(|()| 1),
                false => socket.send(left),
            };
            match sent {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => rest().await,
                Err(error) => return Err(error),
            }
        }
    }
    socket.shutdown(Shutdown::Write)?;
    let (mut received, mut buffer) = (Vec::new(), [0; 20]);
    loop {
        match socket.recv(&mut buffer) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => rest().await,
            Err(error) => return Err(error),
        }
    }
    let whole = received == b"beforebehind";
    assert!(whole || !run.strict, "{:?} came back", String::from_utf8_lossy(&received));
    if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A client that does not do as it should; the server survives it.
async fn bad(run: &Run) {
    let Ok(mut stream) = TcpStream::connect("server:8080").await else { return };
    let sent = match run.below(4) {
        0 => stream.write_all(b"GET /10/half HT").await,
        1 => stream.write_all(b"BREW / COFFEE\r\n\r\n").await,
        2 => stream.write_all(b"GET /500/x HTTP/1.1\r\nHost: x\r\n\r\nGET").await,
        _ => Ok(()),
    };
    // Whatever came of it, the stream goes in one way or another.
    if sent.is_ok() && run.below(2) == 0 {
        let mut buffer = [0; 100];
        let _ = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
    }
    let _ = stream.take_error();
    if run.below(2) == 0 {
        let _ = stream.set_linger(Some(Duration::ZERO));
    }
}

//! HTTP, the delayserver, and the other styles.

use crate::scene::{Scene, helper, listener, pair};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use whirligig::callback::EventLoop;
use whirligig::coroutine;
use whirligig::delay::{self, Log, Planned, ServiceOptions};
use whirligig::fiber::{self, Fiber};
use whirligig::http;
use whirligig::http::{
    Answer, Client, Connection, Method, Request, RequestHead, Server, ServerOptions,
};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{SocketAddr, TcpStream};
use whirligig::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// Serves connections that come, until the scene ends.
fn serve() -> io::Result<(SocketAddr, crate::scene::Helper<()>)> {
    let (listener, address) = listener()?;
    let server = Rc::new(Server::new(ServerOptions::default(), |_: &Request<'_>, _| async {
        sleep(2 * MS).await;
        Answer::text(b"late".to_vec())
    }));
    let serves = helper(async move {
        let mut connections = whirligig::TaskSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let server = Rc::clone(&server);
            connections.spawn(async move { server.serve(stream).await });
        }
    });
    Ok((address, serves))
}

fn head() -> RequestHead<'static> {
    RequestHead {
        method: Method::Get,
        target: "/",
        host: "host",
        headers: &[],
        connection: Connection::KeepAlive,
    }
}

pub(crate) async fn client_connect(scene: Scene) -> io::Result<()> {
    let (address, _serves) = serve()?;
    let mut client = scene.cut.retry(async || Client::connect(address).await).await?;
    assert_eq!(client.request(&head(), b"").await?.body, b"late");
    Ok(())
}

pub(crate) async fn client_request(scene: Scene) -> io::Result<()> {
    let (address, _serves) = serve()?;
    let mut client = Client::connect(address).await?;
    match scene.cut.poll(client.request(&head(), b"")).await {
        Some(reply) => assert_eq!(reply?.body, b"late"),
        // It must not give the late answer to the next request.
        None => {
            if let Ok(reply) = client.request(&head(), b"").await {
                assert_eq!(reply.body, b"late");
                assert!(client.is_reusable());
            }
        }
    }
    Ok(())
}

pub(crate) async fn get(scene: Scene) -> io::Result<()> {
    let (address, _serves) = serve()?;
    let reply = scene.cut.retry(async || http::get(address, "host", "/").await).await?;
    assert_eq!(reply.body, b"late");
    Ok(())
}

pub(crate) async fn serve_connection(scene: Scene) -> io::Result<()> {
    let (mut ours, theirs) = pair().await?;
    ours.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let server = Server::new(ServerOptions::default(), |_: &Request<'_>, _| async {
        sleep(2 * MS).await;
        Answer::text(b"late".to_vec())
    });
    let client = helper(async move {
        let mut answer = Vec::new();
        // Whole, nothing, or broken off; but the connection ends.
        let _ = ours.write_all(b"").await;
        sleep(10 * MS).await;
        let _ = ours.shutdown(std::net::Shutdown::Write);
        let _ = ours.read_to_end(&mut answer, 1000).await;
        answer
    });
    if let Some(served) = scene.cut.poll(server.serve(theirs)).await {
        served?;
    }
    let answer = client.join().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    Ok(())
}

pub(crate) async fn listen(scene: Scene) -> io::Result<()> {
    let listeners = scene.cut.retry(async || delay::listen("localhost:4000").await).await?;
    assert!(!listeners.is_empty());
    Ok(())
}

pub(crate) async fn listen_shared(scene: Scene) -> io::Result<()> {
    let shared = scene.cut.retry(async || delay::listen_shared("localhost:4000", 2).await).await?;
    assert_eq!(shared.len(), 2);
    Ok(())
}

pub(crate) async fn serve_delays(scene: Scene) -> io::Result<()> {
    let listeners = delay::listen("127.0.0.1:0").await?;
    let address = listeners[0].local_addr()?;
    let serving = delay::serve(listeners, ServiceOptions::default(), log(), stop);
    served(&scene, address, serving).await
}

pub(crate) async fn serve_shared(scene: Scene) -> io::Result<()> {
    let listeners = delay::listen_shared("127.0.0.1:0", 2).await?;
    let address = listeners[0][0].local_addr()?;
    let options = ServiceOptions::default();
    let report = |event| panic!("{event}");
    served(&scene, address, delay::serve_shared(listeners, &options, log, report, stop)).await
}

fn log() -> Log {
    Log::new(None, Box::new(io::sink()))
}

async fn stop() -> io::Result<()> {
    sleep(20 * MS).await;
    Ok(())
}

/// A service, with a client that asks and one that does not.
async fn served(
    scene: &Scene,
    address: SocketAddr,
    serving: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let client = helper(async move { http::get(address, "host", "/1/hello").await });
    let mut idle = TcpStream::connect(address).await?;
    let served = scene.cut.poll(serving).await;
    let answered = client.join().await;
    // At its end or by a reset, but long before its idle time is over.
    let ended = timeout(Duration::from_secs(5), AsyncRead::read(&mut idle, &mut [0])).await;
    assert!(ended.is_ok(), "an idle connection is closed");
    // A client whose packets were late may have found nobody any more.
    if let Ok(reply) = answered {
        assert_eq!(reply.body, b"hello");
    }
    served.unwrap_or(Ok(()))
}

pub(crate) async fn ask(scene: Scene) -> io::Result<()> {
    let (address, _serves) = serve()?;
    let planned = || Planned { delay_ms: 2, message: "late".into() };
    let asked = scene
        .cut
        .retry(async || {
            let request = planned().to_bytes("host").map_err(io::Error::other)?;
            coroutine::ask([address].into(), planned(), request).await
        })
        .await;
    asked.map(|_| ())
}

pub(crate) async fn fiber(scene: Scene) -> io::Result<()> {
    struct Ended(Rc<Cell<u32>>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let (mut ours, theirs) = pair().await?;
    let ended = Rc::new(Cell::new(0));
    let counted = Ended(Rc::clone(&ended));
    let fiber = Fiber::new(move || {
        let (_counted, mut stream) = (counted, theirs);
        let mut byte = [0];
        while fiber::wait(AsyncRead::read(&mut stream, &mut byte))? > 0 {
            fiber::wait(sleep(MS));
            fiber::wait(stream.write_all(&byte))?;
        }
        io::Result::Ok(())
    })?;
    let peer = helper(async move {
        for byte in 0..2 {
            if ours.write_all(&[byte]).await.is_err() {
                break;
            }
            let _ = ours.read_exact(&mut [0]).await;
        }
    });
    let output = scene.cut.poll(fiber).await;
    assert_eq!(ended.get(), 1, "its frames are gone");
    peer.join().await;
    output.unwrap_or(Ok(()))
}

pub(crate) async fn callbacks(scene: Scene) -> io::Result<()> {
    let event_loop = EventLoop::new();
    let calls = Rc::new(Cell::new(0));
    let counts = Rc::clone(&calls);
    event_loop.set_interval(MS, move |event_loop, timer| {
        counts.set(counts.get() + 1);
        if counts.get() == 3 {
            event_loop.close(timer);
        }
    });
    scene.cut.retry(async || event_loop.run().await).await?;
    assert_eq!(calls.get(), 3, "it goes on where it stood");
    Ok(())
}

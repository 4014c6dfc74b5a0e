//! What the loop asks of the kernel, and what it makes of a kernel that refuses.

use super::EventLoop;
use crate::Runtime;
use crate::sys::fault::{Call, Fault, PassThrough};
use crate::sys::{Descriptor, Family};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;

/// Runs `program` on a kernel that counts; afterwards nothing may be open.
fn on_counting_kernel(program: impl AsyncFnOnce(&EventLoop, &Arc<PassThrough>)) {
    let kernel = PassThrough::new();
    let runtime = Runtime::on(kernel.handle()).unwrap();
    runtime.block_on(async {
        let event_loop = EventLoop::new();
        program(&event_loop, &kernel).await;
    });
    drop(runtime);
    assert_eq!(kernel.open_count(), 0, "descriptors stay open");
}

/// What a loop calls that reads `bytes`, which come one by one, each by one callback, and what its
/// callback ends with.
fn calls_to_read(bytes: u8, end: fn() -> io::Result<()>) -> u64 {
    let modifications = Cell::new(0);
    on_counting_kernel(async |event_loop, kernel| {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let watch = event_loop.watch(near).unwrap();
        event_loop
            .on_readable(watch, move |event_loop, watch, source| {
                let (mut source, mut byte) = (source, [0]);
                source.read_exact(&mut byte)?;
                if byte[0] == bytes {
                    event_loop.close(watch);
                }
                end()
            })
            .unwrap();
        let mut next = 0;
        event_loop.set_interval(Duration::from_millis(1), move |event_loop, timer| {
            next += 1;
            far.write_all(&[next]).unwrap();
            if next == bytes {
                event_loop.close(timer);
            }
        });
        event_loop.run().await.unwrap();
        assert_eq!(kernel.count(Call::EpollAdd), 2, "the notifier, and this");
        assert_eq!((kernel.count(Call::Adopt), kernel.count(Call::EpollRemove)), (1, 1));
        modifications.set(kernel.count(Call::EpollModify));
    });
    modifications.get()
}

#[test]
fn a_callback_that_would_block_costs_no_call_and_one_that_does_not_say_so_costs_one() {
    // The last callback closes the handle, so nothing is asked for it.
    assert_eq!(calls_to_read(10, || Err(io::ErrorKind::WouldBlock.into())), 0);
    assert_eq!(calls_to_read(10, || Ok(())), 9);
}

#[test]
fn a_descriptor_is_watched_itself_and_comes_back() {
    on_counting_kernel(async |event_loop, kernel| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = crate::reactor::current_kernel().socket(Family::V4).unwrap();
        let _ = socket.connect(listener.local_addr().unwrap()).unwrap();
        let watch = event_loop.watch(socket).unwrap();
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        event_loop
            .on_writable(watch, move |event_loop, watch, socket: &Descriptor| {
                let count = Rc::clone(&count);
                event_loop.release(watch, move |_, socket| {
                    count.set(socket.send(b"hello").unwrap());
                });
                socket.local_address().map(drop)
            })
            .unwrap();
        event_loop.run().await.unwrap();
        assert_eq!(sent.get(), 5);
        assert_eq!(kernel.count(Call::Adopt), 0, "there is no duplicate");
    });
}

#[test]
fn a_kernel_that_refuses_to_watch_is_an_error_where_it_is_asked() {
    on_counting_kernel(async |event_loop, kernel| {
        kernel.set_rule(|call, _| (call == Call::EpollAdd).then_some(Fault::Error(ENOMEM)));
        let (near, mut far) = UnixStream::pair().unwrap();
        let watch = event_loop.watch(near).unwrap();
        let error = event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ENOMEM));
        // The callback is gone with the error, so it keeps nothing running.
        event_loop.run().await.unwrap();
        kernel.set_rule(|call, _| (call == Call::EpollModify).then_some(Fault::Error(ENOMEM)));
        far.write_all(b"x").unwrap();
        event_loop.on_readable(watch, |_, _, _| Ok(())).unwrap();
        let error = event_loop.run().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ENOMEM));
        assert_eq!(event_loop.handle_count(), 0, "it is closed, as after an error of its own");
        kernel.set_rule(|call, _| (call == Call::Adopt).then_some(Fault::Error(EMFILE)));
        let (near, _far) = UnixStream::pair().unwrap();
        let error = event_loop.watch(near).unwrap_err();
        assert_eq!((error.raw_os_error(), event_loop.handle_count()), (Some(EMFILE), 0));
        event_loop.run().await.unwrap();
    });
}

#[test]
fn on_a_simulated_kernel_a_loop_runs_in_virtual_time() {
    let world = crate::sim::World::seeded(3);
    let hours = world.run_until(async {
        let (event_loop, hours) = (EventLoop::new(), Rc::new(Cell::new(0)));
        let count = Rc::clone(&hours);
        event_loop.set_interval(Duration::from_secs(3600), move |event_loop, timer| {
            count.set(count.get() + 1);
            if count.get() == 20 {
                event_loop.close(timer);
            }
        });
        event_loop.run().await.unwrap();
        hours.get()
    });
    assert_eq!((hours, world.elapsed().as_secs()), (20, 20 * 3600));
}

//! What the runtime costs, where that can be counted: docs/BUDGETS.md has the bounds.
#![expect(unsafe_code, reason = "an allocator that counts is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

const BUDGETS: &str = include_str!("../docs/BUDGETS.md");

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Counts what the calling thread allocates.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(size: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + size);
}

// SAFETY: all is done by the system's allocator, with the caller's own promises; the counters are
// thread-locals without destructor, which are there for as long as the thread runs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// The budget of `what`.
fn budget(what: &str) -> u64 {
    let row = BUDGETS.lines().find_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        (cells.next()? == what).then(|| cells.next().unwrap_or_default().to_string())
    });
    let row = row.unwrap_or_else(|| panic!("docs/BUDGETS.md has no budget for {what:?}"));
    row.parse().unwrap_or_else(|_| panic!("the budget for {what:?} is no number: {row:?}"))
}

#[track_caller]
fn within(what: &str, cost: u64) {
    let budget = budget(what);
    assert!(cost <= budget, "{what} costs {cost}, and the budget is {budget}");
    println!("{what}: {cost} of {budget}");
}

/// How much a counter grows in one of many rounds, on average, rounded up, once it was used.
async fn each(count: impl Fn() -> u64, mut round: impl AsyncFnMut()) -> u64 {
    const ROUNDS: u64 = 64;
    for _ in 0..4 {
        round().await;
    }
    let before = count();
    for _ in 0..ROUNDS {
        round().await;
    }
    (count() - before).div_ceil(ROUNDS)
}

/// The costs of memory are those without features: with them a descriptor is larger.
#[cfg(not(feature = "fault"))]
mod memory {
    use super::*;
    use std::io::{Read, Write};
    use std::rc::Rc;
    use std::thread;
    use std::time::Duration;
    use whirligig::http::{Answer, Server, ServerOptions};
    use whirligig::io::{AsyncRead, AsyncWrite};
    use whirligig::net::{TcpListener, TcpStream};
    use whirligig::sync;
    use whirligig::task::JoinHandle;
    use whirligig::time::{Sleep, sleep, timeout};
    use whirligig::{run, spawn, yield_now};

    fn allocations() -> u64 {
        ALLOCATIONS.get()
    }

    #[test]
    fn sizes_are_within_their_budgets() {
        within("`Sleep`", size_of::<Sleep>() as u64);
        within("`TcpStream`", size_of::<TcpStream>() as u64);
        within("`JoinHandle`", size_of::<JoinHandle<String>>() as u64);
        const TASKS: usize = 100_000;
        let task = run(async {
            let mut handles = Vec::with_capacity(TASKS);
            let (before, mut size) = (BYTES.get(), 0);
            for _ in 0..TASKS {
                let large = [1_u64; 16];
                let future = async move { std::hint::black_box(&large).len() };
                size = size_of_val(&future);
                handles.push(spawn(future));
            }
            // They come out of larger blocks of memory, which is rounded away here.
            let task = (BYTES.get() - before) / TASKS - size;
            for handle in handles {
                handle.await.unwrap();
            }
            task
        });
        within("a task, beside its future or output", task.unwrap() as u64);
    }

    #[test]
    fn tasks_and_timers_allocate_within_their_budgets() {
        run(async {
            let cost = each(allocations, async || spawn(yield_now()).await.unwrap()).await;
            within("allocations a spawn", cost);
            let cost = each(allocations, async || sleep(Duration::from_micros(1)).await).await;
            within("allocations a sleep", cost);
            let round = async || timeout(Duration::MAX, yield_now()).await.unwrap();
            within("allocations a timeout", each(allocations, round).await);
        })
        .unwrap();
    }

    #[test]
    fn channels_allocate_within_their_budgets() {
        run(async {
            let (sender, mut receiver) = sync::local::mpsc::channel(1);
            let round = async || {
                sender.send(1).await.unwrap();
                assert_eq!(receiver.try_recv(), Ok(1));
            };
            within("allocations a message through a local channel", each(allocations, round).await);
            let (sender, mut receiver) = sync::mpsc::channel(1);
            let round = async || {
                sender.send(1).await.unwrap();
                assert_eq!(receiver.try_recv(), Ok(1));
            };
            within("allocations a message through a channel", each(allocations, round).await);
        })
        .unwrap();
    }

    #[test]
    fn reads_and_writes_allocate_within_their_budget() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let round = async || {
                let mut bytes = [0; 4];
                client.write_all(b"ping").await.unwrap();
                server.read_exact(&mut bytes).await.unwrap();
            };
            within("allocations a read and a write", each(allocations, round).await);
        })
        .unwrap();
    }

    #[test]
    fn connections_allocate_within_their_budget() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    spawn(async move {
                        let mut bytes = [0; 4];
                        stream.read_exact(&mut bytes).await.unwrap();
                        stream.write_all(&bytes).await.unwrap();
                        assert_eq!(stream.read(&mut bytes).await.unwrap(), 0);
                    });
                }
            });
            // Both sides wait for what the other says: both are registered.
            let round = async || {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(b"ping").await.unwrap();
                client.read_exact(&mut [0; 4]).await.unwrap();
            };
            within("allocations a connection, both sides", each(allocations, round).await);
            server.abort();
        })
        .unwrap();
    }

    #[test]
    fn requests_allocate_within_their_budget() {
        const REQUESTS: u64 = 64;
        let cost = run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                let mut answer = [0; 512];
                for _ in 0..2 * REQUESTS {
                    stream.write_all(b"GET /0/x HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                    let mut count = 0;
                    while !answer[..count].ends_with(b"\r\n\r\nhello") {
                        let more = stream.read(&mut answer[count..]).unwrap();
                        assert!(more > 0, "the server closed the connection");
                        count += more;
                    }
                }
            });
            let half = Rc::new(Cell::new((0, 0)));
            let seen = Rc::clone(&half);
            let server = Server::new(ServerOptions::default(), move |_: &_, _| {
                let (requests, allocations) = seen.get();
                let is_half = requests == REQUESTS;
                seen.set((requests + 1, if is_half { ALLOCATIONS.get() } else { allocations }));
                async { Answer::text(b"hello".to_vec()) }
            });
            let (stream, _) = listener.accept().await.unwrap();
            server.serve(stream).await.unwrap();
            client.join().unwrap();
            (ALLOCATIONS.get() - half.get().1).div_ceil(REQUESTS)
        });
        within("allocations an HTTP request served", cost.unwrap());
    }
}

/// Which calls are made.
#[cfg(feature = "fault")]
mod calls {
    use super::*;
    use std::future::Future;
    use std::sync::Arc;
    use std::time::Duration;
    use whirligig::io::{AsyncRead, AsyncWrite};
    use whirligig::net::{TcpListener, TcpStream};
    use whirligig::sync;
    use whirligig::sys::fault::{Call, PassThrough};
    use whirligig::time::sleep;
    use whirligig::{Runtime, spawn, yield_now};

    const TRANSFERS: [Call; 2] = [Call::Recv, Call::Send];
    const CONNECTING: [Call; 4] = [Call::Socket, Call::Bind, Call::Connect, Call::Close];
    const REGISTERING: [Call; 3] = [Call::EpollAdd, Call::EpollModify, Call::EpollRemove];
    const OTHERS: [Call; 4] = [Call::Accept, Call::Option, Call::Shutdown, Call::Raise];

    /// All calls but waits.
    fn all(kernel: &PassThrough) -> u64 {
        let groups: [&[Call]; 4] = [&TRANSFERS, &CONNECTING, &REGISTERING, &OTHERS];
        groups.into_iter().flatten().map(|call| kernel.count(*call)).sum()
    }

    /// Runs `program` on a kernel of its own, which counts.
    fn counted<F: Future<Output = ()>>(program: impl FnOnce(Arc<PassThrough>) -> F) {
        let kernel = PassThrough::new();
        Runtime::on(kernel.handle()).unwrap().block_on(program(Arc::clone(&kernel)));
    }

    #[test]
    fn tasks_make_calls_within_their_budget() {
        counted(|kernel| async move {
            let (sender, mut receiver) = sync::mpsc::channel(1);
            let round = async || {
                spawn(yield_now()).await.unwrap();
                sender.send(1).await.unwrap();
                assert_eq!(receiver.try_recv(), Ok(1));
            };
            let cost = each(|| all(&kernel), round).await;
            within("a spawn, yield or message between tasks", cost);
        });
    }

    #[test]
    fn a_sleep_waits_within_its_budget() {
        counted(|kernel| async move {
            let waits = || kernel.count(Call::EpollWait);
            let cost = each(waits, async || sleep(Duration::from_micros(100)).await).await;
            within("a sleep", cost);
            let cost =
                each(|| all(&kernel), async || sleep(Duration::from_micros(100)).await).await;
            assert_eq!(cost, 0, "a sleep makes no other calls");
        });
    }

    #[test]
    fn connections_make_calls_within_their_budgets() {
        counted(|kernel| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // What both sides cost, less what is the connecting side's alone.
            let count = |calls: &'static [Call]| {
                let kernel = Arc::clone(&kernel);
                move || calls.iter().map(|call| kernel.count(*call)).sum::<u64>()
            };
            let mut round = async || {
                let client = TcpStream::connect(address).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                drop((client, server));
            };
            let closes = 1;
            let connecting =
                each(count(&[Call::Socket, Call::Bind, Call::Connect]), &mut round).await;
            within("a connection, connecting side", connecting + closes);
            let both = {
                let kernel = Arc::clone(&kernel);
                each(move || all(&kernel), round).await
            };
            within("a connection, accepting side", both - connecting - closes);
        });
    }

    #[test]
    fn exchanges_make_calls_within_their_budget() {
        counted(|kernel| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let echo = spawn(async move {
                let mut bytes = [0; 64];
                while let Ok(1..) = server.read(&mut bytes).await {
                    server.write_all(&bytes[..4]).await.unwrap();
                }
            });
            let mut round = async || {
                client.write_all(b"ping").await.unwrap();
                // With room to spare, so that a read tells that there is no more.
                assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 4);
            };
            let transfers = || TRANSFERS.iter().map(|call| kernel.count(*call)).sum::<u64>();
            let both = each(transfers, &mut round).await;
            within("an exchange on a connection, one side", both.div_ceil(2));
            let others = each(|| all(&kernel) - transfers(), round).await;
            assert_eq!(others, 0, "an exchange makes no other calls");
            drop(client);
            echo.await.unwrap();
        });
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn dependencies_are_within_their_budget() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    within("dependencies", packages as u64 - 1);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn lines_with_unsafe_are_within_their_budget() {
    let is_unsafe = |line: &&str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == "unsafe")
    };
    let lines: usize = sources(&root().join("src"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap().lines().filter(is_unsafe).count())
        .sum();
    within("lines with `unsafe`", lines as u64);
}

#[test]
fn a_cost_beyond_its_budget_is_found() {
    let beyond = std::panic::catch_unwind(|| within("dependencies", budget("dependencies") + 1));
    assert!(beyond.is_err());
    assert!(std::panic::catch_unwind(|| budget("what nobody asked for")).is_err());
}

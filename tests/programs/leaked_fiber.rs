//! Run by `make test` where panics abort: what becomes of a fiber that is dropped while it waits.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() {}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn main() {
    use std::cell::Cell;
    use std::future::{Future, pending};
    use std::rc::Rc;
    use std::task::{Context, Waker};
    use whirligig::fiber::{self, Fiber, wait};

    if cfg!(panic = "unwind") {
        eprintln!("this is about panics that abort: cargo run --profile abort");
        std::process::exit(1);
    }
    let held = Rc::new(Cell::new(0));
    let local = Rc::clone(&held);
    let fiber = Fiber::new(move || {
        wait(pending::<()>());
        local.set(1);
    });
    let mut fiber = Box::pin(fiber.unwrap());
    assert!(fiber.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(fiber::leaked_count(), 0);
    drop(fiber);
    assert_eq!(fiber::leaked_count(), 1);
    assert_eq!(Rc::strong_count(&held), 2, "what it held is still there");
    assert_eq!(fiber::pooled_stack_count(), 0, "its stack as well");

    // One that never began needs no unwinding.
    let unused = Rc::clone(&held);
    drop(Fiber::new(move || drop(unused)).unwrap());
    assert_eq!((fiber::leaked_count(), Rc::strong_count(&held)), (1, 2));
}

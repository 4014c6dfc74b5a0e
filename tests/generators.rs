//! Generators, with a stack and without.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use whirligig::generator;

/// Counts how many of it were dropped.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_stackless_generator_runs_only_when_it_is_asked_and_ends_for_good() {
    let log = RefCell::new(Vec::new());
    let mut generator = generator::stackless(|yielder| {
        let log = &log;
        async move {
            for number in 1..=2 {
                log.borrow_mut().push(number);
                yielder.suspend(number * 10).await;
            }
            log.borrow_mut().push(3);
        }
    });
    assert!(log.borrow().is_empty());
    assert_eq!(generator.next(), Some(10));
    assert_eq!(*log.borrow(), [1]);
    assert_eq!(generator.next(), Some(20));
    assert_eq!(generator.next(), None);
    assert_eq!(generator.next(), None);
    assert_eq!(*log.borrow(), [1, 2, 3]);
}

#[test]
fn a_stackless_generator_that_is_dropped_halfway_drops_what_it_holds() {
    let dropped = Rc::new(Cell::new(0));
    let (first, second, yielded) =
        (Counted(Rc::clone(&dropped)), Counted(Rc::clone(&dropped)), Counted(Rc::clone(&dropped)));
    let mut generator = generator::stackless(|yielder| async move {
        let _first = first;
        yielder.suspend(yielded).await;
        drop(second);
        yielder.suspend(Counted(Rc::default())).await;
    });
    let taken = generator.next().unwrap();
    assert_eq!(dropped.get(), 0);
    drop(generator);
    assert_eq!(dropped.get(), 2);
    drop(taken);
    assert_eq!(dropped.get(), 3);
}

#[test]
fn a_stackless_generator_that_panics_is_at_its_end() {
    let dropped = Rc::new(Cell::new(0));
    let held = Counted(Rc::clone(&dropped));
    let mut generator = generator::stackless(|yielder| async move {
        let _held = held;
        yielder.suspend(1).await;
        panic!("no more");
    });
    assert_eq!(generator.next(), Some(1));
    assert!(catch_unwind(AssertUnwindSafe(|| generator.next())).is_err());
    assert_eq!(dropped.get(), 1);
    assert_eq!(generator.next(), None);
}

#[test]
fn a_stackless_generator_that_waits_for_something_else_is_told_so() {
    let mut generator = generator::stackless(|yielder| async move {
        yielder.suspend(1).await;
        std::future::pending::<()>().await;
    });
    assert_eq!(generator.next(), Some(1));
    let panicked = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
    assert!(panicked.downcast_ref::<&str>().unwrap().contains("its own yields only"));
    assert_eq!(generator.next(), None);
}

#[test]
fn generators_are_iterators_like_others_and_may_run_each_other() {
    fn count_down(from: u32) -> impl Iterator<Item = u32> {
        generator::stackless(move |yielder| async move {
            for number in (1..=from).rev() {
                yielder.suspend(number).await;
            }
        })
    }
    let nested = generator::stackless(|yielder| async move {
        for from in 1..=3 {
            for number in count_down(from) {
                yielder.suspend(number).await;
            }
        }
    });
    assert!(nested.eq([1, 2, 1, 3, 2, 1]));
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stackful {
    use super::*;
    use whirligig::generator::{Resumed, StackfulYielder};

    #[test]
    fn arguments_go_in_and_values_come_out_in_turn() {
        let mut echo = generator::stackful(|yielder, first: String| {
            let mut heard = vec![first];
            while heard.len() < 3 {
                let next = yielder.suspend(heard.len());
                heard.push(next);
            }
            heard.join(" ")
        })
        .unwrap();
        assert_eq!(echo.resume("one".into()), Resumed::Yielded(1));
        assert_eq!(echo.resume("two".into()), Resumed::Yielded(2));
        assert!(!echo.is_done());
        assert_eq!(echo.resume("three".into()), Resumed::Returned("one two three".into()));
        assert!(echo.is_done());
        let again = catch_unwind(AssertUnwindSafe(|| echo.resume("four".into())));
        let said = again.map(drop).unwrap_err();
        assert!(said.downcast_ref::<&str>().unwrap().contains("not resumed after its end"));
    }

    #[test]
    fn it_yields_from_any_depth() {
        fn permute(letters: &mut Vec<char>, from: usize, yielder: &StackfulYielder<(), String>) {
            if from == letters.len() {
                yielder.suspend(letters.iter().collect());
            }
            for other in from..letters.len() {
                letters.swap(from, other);
                permute(letters, from + 1, yielder);
                letters.swap(from, other);
            }
        }
        let mut letters = vec!['a', 'b', 'c'];
        let all = generator::stackful(move |yielder, ()| permute(&mut letters, 0, yielder));
        let all: Vec<String> = all.unwrap().collect();
        assert_eq!(all, ["abc", "acb", "bac", "bca", "cba", "cab"]);
    }

    #[test]
    fn one_that_is_dropped_halfway_drops_what_it_holds_and_what_was_handed_to_it() {
        let dropped = Rc::new(Cell::new(0));
        let counts = Rc::clone(&dropped);
        let counted = move || Counted(Rc::clone(&counts));
        let (held, outside) = (counted(), counted.clone());
        let mut generator = generator::stackful(move |yielder, first: Counted| {
            let _local = counted();
            let _second = yielder.suspend(counted());
            drop((held, first));
            yielder.suspend(counted());
            unreachable!("nobody asks for a third");
        })
        .unwrap();
        drop(generator.resume(outside()));
        assert_eq!(dropped.get(), 1);
        drop(generator.resume(outside()));
        assert_eq!(dropped.get(), 4);
        drop(generator);
        assert_eq!(dropped.get(), 6);
    }

    #[test]
    fn one_that_was_never_resumed_only_drops_what_it_was_made_of() {
        let dropped = Rc::new(Cell::new(0));
        let held = Counted(Rc::clone(&dropped));
        let generator = generator::stackful(move |_: &StackfulYielder<(), ()>, ()| {
            drop(held);
            unreachable!("it is not run");
        });
        drop(generator.unwrap());
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn catching_the_end_does_not_keep_it_alive() {
        let raised = Rc::new(Cell::new(0));
        let count = Rc::clone(&raised);
        let mut generator = generator::stackful(move |yielder, ()| {
            for number in 0..4 {
                let yields = AssertUnwindSafe(|| yielder.suspend(number));
                count.set(count.get() + u32::from(catch_unwind(yields).is_err()));
            }
            yielder.suspend(4);
            unreachable!("it was dropped");
        })
        .unwrap();
        assert_eq!(generator.next(), Some(0));
        drop(generator);
        assert_eq!(raised.get(), 4);
    }

    #[test]
    fn a_panic_comes_out_of_the_resume() {
        let mut generator = generator::stackful(|yielder, ()| {
            yielder.suspend(1);
            panic!("no more");
        })
        .unwrap();
        assert_eq!(generator.resume(()), Resumed::Yielded(1));
        let panicked = catch_unwind(AssertUnwindSafe(|| generator.resume(())));
        assert_eq!(panicked.map(drop).unwrap_err().downcast_ref(), Some(&"no more"));
        assert!(generator.is_done());
        assert_eq!(generator.next(), None);
    }

    #[test]
    fn two_of_them_take_turns() {
        let numbers = generator::stackful(|yielder, ()| (0..9).for_each(|n| yielder.suspend(n)));
        let letters =
            generator::stackful(|yielder, ()| ('a'..='z').for_each(|c| yielder.suspend(c)));
        let pairs: Vec<(u32, char)> = numbers.unwrap().zip(letters.unwrap()).take(3).collect();
        assert_eq!(pairs, [(0, 'a'), (1, 'b'), (2, 'c')]);
    }
}

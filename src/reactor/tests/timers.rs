//! The timers of a reactor: when they start, when to wake for them, and what is known of them.

use super::*;

#[test]
fn timers_that_were_not_started_start_at_the_next_look_whichever_it_is() {
    let (_kernel, reactor, _entered) = reactor();
    let (wakes, waker) = Wakes::new();
    let set = |duration| {
        let key = reactor.timers().insert_unstarted(duration);
        assert!(reactor.timers().renew(Slack::Shared, key, &waker));
    };
    set(timer::NEVER);
    assert_eq!(reactor.next_deadline(), None, "it has started, and never fires");
    let before = reactor.kernel().now();
    set(1);
    assert!(reactor.next_deadline().is_some_and(|deadline| deadline > before));
    for (round, wait) in [Wait::UntilEvent, Wait::No].into_iter().enumerate() {
        set(0);
        reactor.look(wait, nobody).unwrap();
        assert_eq!((wakes.count(), reactor.timer_count()), (2 + round, 1));
    }
}

#[test]
fn a_timer_that_was_cancelled_before_it_started_is_used_for_the_next_or_goes_at_the_next_look() {
    let (_kernel, reactor, _entered) = reactor();
    let (timers, counts) = (reactor.timers(), || reactor.timers().len());
    let (wakes, waker) = Wakes::new();
    let set = |duration| {
        let key = timers.insert_unstarted(duration);
        assert!(timers.renew(Slack::Shared, key, &waker));
        key
    };
    let first = set(5);
    Rc::clone(timers).remove(Slack::Shared, first);
    assert_eq!((counts(), Arc::strong_count(&wakes)), (0, 3), "it keeps its waker");
    assert_eq!(set(timer::NEVER), first);
    let second = set(7);
    Rc::clone(timers).remove(Slack::Shared, first);
    assert_eq!((counts(), Arc::strong_count(&wakes)), (1, 3), "not the newest: it goes at once");
    Rc::clone(timers).remove(Slack::Shared, second);
    assert_eq!(reactor.next_deadline(), None);
    assert_eq!((counts(), Arc::strong_count(&wakes), wakes.count()), (0, 2, 0));

    // A duration is that of the last who set it, and one that has started is no spare.
    Rc::clone(timers).remove(Slack::Shared, set(timer::NEVER));
    let key = set(0);
    reactor.look(Wait::No, nobody).unwrap();
    assert_eq!((wakes.count(), counts()), (1, 0));
    assert!(!timers.renew(Slack::Shared, key, &waker));
    let key = set(timer::NEVER);
    reactor.look(Wait::No, nobody).unwrap();
    Rc::clone(timers).remove(Slack::Shared, key);
    assert_eq!((counts(), Arc::strong_count(&wakes)), (0, 2));
    Rc::clone(timers).remove(Slack::Shared, set(1));
    reactor.close();
    assert_eq!((counts(), Arc::strong_count(&wakes)), (0, 2));
}

#[test]
fn a_timer_with_a_slack_of_its_own_is_not_taken_for_one_that_was_not_started() {
    let (_kernel, reactor, _entered) = reactor();
    let timers = reactor.timers();
    let unstarted = timers.insert_unstarted(timer::NEVER);
    let own = timers.insert_own(timer::NEVER, 0, Waker::noop().clone());
    assert_eq!(unstarted, own, "the first keys of two queues");
    Rc::clone(timers).remove(Slack::Own, own);
    assert!(timers.renew(Slack::Shared, unstarted, Waker::noop()));
    assert!(!timers.renew(Slack::Own, own, Waker::noop()));
}

#[test]
fn the_pace_counts_only_wakes_for_timers_and_none_is_kept_back_beyond_the_slack() {
    let (_kernel, reactor, _entered) = reactor();
    let hour = Duration::from_secs(3600);
    reactor.set_slack(hour);
    let next_wake = || {
        let now = reactor.kernel().now();
        let key = reactor.timers().insert(now, Waker::noop().clone());
        let wake = reactor.timers().next_wake(|| now).unwrap();
        (Rc::clone(reactor.timers()).remove(Slack::Shared, key), wake - now).1
    };
    for _ in 0..20 {
        reactor.timers().insert(0, Waker::noop().clone());
        reactor.look(Wait::No, nobody).unwrap();
    }
    assert_eq!(next_wake(), 0, "looks that were made anyway say nothing");
    for _ in 0..20 {
        reactor.timers().insert(0, Waker::noop().clone());
        reactor.timers().expire(|| reactor.kernel().now(), true);
    }
    assert!((1..=hour.as_nanos() as u64).contains(&next_wake()));
    let key = reactor.timers().insert_own(5, 0, Waker::noop().clone());
    assert_eq!(
        reactor.timers().next_wake(|| 0),
        Some(5),
        "one with a slack of its own is not kept"
    );
    Rc::clone(reactor.timers()).remove(Slack::Own, key);

    let now = reactor.kernel().now();
    reactor.timers().insert(now, Waker::noop().clone());
    assert_ne!(reactor.timers().next_wake(|| now), Some(now));
    reactor.set_slack(Duration::ZERO);
    assert_eq!(reactor.timers().next_wake(|| now), Some(now), "without slack all are exact");
}

#[test]
fn what_the_timers_said_is_asked_anew_when_one_is_set_or_goes() {
    let (_kernel, reactor, _entered) = reactor();
    let timers = reactor.timers();
    let next = || {
        reactor.look(Wait::No, nobody).unwrap();
        timers.next_wake(|| 0)
    };
    let far = u64::MAX / 2;
    for set_another in [
        |timers: &TimerQueue, time: u64| (Slack::Shared, timers.insert(time, waker())),
        |timers: &TimerQueue, time: u64| (Slack::Own, timers.insert_own(time, 0, waker())),
    ] {
        assert_eq!((next(), timers.is_in_use()), (None, false));
        let key = timers.insert(far, waker());
        assert_eq!(next(), Some(far));
        let (slack, nearer) = set_another(timers, far / 2);
        assert_eq!(next(), Some(far / 2));
        Rc::clone(timers).remove(slack, nearer);
        assert_eq!(next(), Some(far));
        set_another(timers, 1);
        assert_eq!((next(), timers.len()), (Some(far), 1), "that one was due");
        let key_of_never = timers.insert_unstarted(timer::NEVER);
        assert_eq!((next(), timers.len()), (Some(far), 2));
        Rc::clone(timers).remove(Slack::Shared, key);
        assert_eq!((next(), timers.is_in_use()), (None, true));
        Rc::clone(timers).remove(Slack::Shared, key_of_never);
    }
}

fn waker() -> Waker {
    Waker::noop().clone()
}

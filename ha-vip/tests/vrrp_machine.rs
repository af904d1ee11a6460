//! The VRRP state machine, input by input, in virtual time.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::Instant;
use ha_vip::vrrp::{
    Action, AdvertInterval, Cause, Heard, Input, Ipv4Checksum, Machine, MachineConfig, Preempt, Priority,
    VrrpEvent, VrrpState,
};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: Preempt = Preempt::After(Duration::ZERO);
const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn node(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn config(last: u8, priority: u8, preempt: Preempt) -> MachineConfig {
    let interval = AdvertInterval::DEFAULT;
    MachineConfig { source: node(last), priority: Priority(priority), interval, preempt }
}

fn heard(last: u8, priority: u8) -> Heard {
    let (interval, checksum) = (AdvertInterval::DEFAULT, Ipv4Checksum::PseudoHeader);
    Heard { source: node(last), priority: Priority(priority), interval, checksum }
}

/// Started and permitted at `START`, at 10.77.0.5.
fn backup(priority: u8, preempt: Preempt) -> Machine {
    let mut machine = Machine::new(config(5, priority, preempt));
    let _ = machine.handle(START, Input::Start);
    let _ = machine.handle(START, Input::Permit(true));
    machine
}

/// The same, active at the instant that is returned.
fn active(priority: u8) -> (Machine, Instant) {
    let mut machine = backup(priority, AT_ONCE);
    let at = machine.deadline().unwrap_or(START);
    let _ = machine.handle(at, Input::Tick);
    assert_eq!(machine.state(), VrrpState::Active);
    (machine, at)
}

fn entered(state: VrrpState, cause: Cause) -> Action {
    Action::Report(VrrpEvent::Entered { state, cause })
}

#[test]
fn it_listens_for_three_intervals_and_its_skew_then_speaks_once_an_interval() {
    let mut machine = backup(100, AT_ONCE);
    let due = START + Duration::from_nanos(3_609_375_000);
    assert_eq!(machine.deadline(), Some(due));
    assert_eq!(machine.handle(due - Duration::from_nanos(1), Input::Tick), []);
    let todo = machine.handle(due, Input::Tick);
    assert_eq!(todo, [Action::Advertise(Priority(100)), entered(VrrpState::Active, Cause::Silence)]);
    assert_eq!(machine.deadline(), Some(due + SECOND));
    assert_eq!(machine.handle(due + SECOND, Input::Tick), [Action::Advertise(Priority(100))]);
}

#[test]
fn without_permission_it_never_speaks() {
    let mut machine = Machine::new(config(5, 255, AT_ONCE));
    assert_eq!(machine.handle(START, Input::Start), [entered(VrrpState::Backup, Cause::Started)]);
    let due = machine.deadline().unwrap();
    assert_eq!(machine.handle(due, Input::Tick), [Action::Report(VrrpEvent::Withheld { last: None })]);
    assert_eq!((machine.state(), machine.deadline()), (VrrpState::Backup, None));
    for input in [Input::Tick, Input::Heard(heard(9, 0)), Input::Heard(heard(9, 1)), Input::Stopped(node(9))]
    {
        assert_eq!(machine.handle(due + SECOND, input), [], "{input:?}");
    }
    // The permission comes when nobody has been there for long enough: no more waiting.
    let todo = machine.handle(due + SECOND, Input::Permit(true));
    assert_eq!(todo, [Action::Advertise(Priority(255)), entered(VrrpState::Active, Cause::Permitted)]);
}

#[test]
fn a_permission_is_no_order_to_push_a_higher_one_aside() {
    let mut machine = Machine::new(config(5, 100, AT_ONCE));
    let _ = machine.handle(START, Input::Start);
    assert_eq!(machine.handle(START, Input::Heard(heard(9, 150))), []);
    assert_eq!(machine.handle(START, Input::Permit(true)), []);
    let todo = machine.handle(START + SECOND, Input::Heard(heard(9, 150)));
    assert_eq!(todo, [Action::Report(VrrpEvent::Outranked { by: heard(9, 150) })]);
    assert_eq!(machine.handle(START + SECOND, Input::Heard(heard(9, 150))), [], "said once");
    assert_eq!(machine.outranked_by(), Some(heard(9, 150)));
    assert_eq!(machine.state(), VrrpState::Backup);
}

#[test]
fn a_permission_taken_back_ends_with_priority_zero() {
    let (mut machine, at) = active(100);
    let todo = machine.handle(at, Input::Permit(false));
    assert_eq!(todo, [Action::Advertise(Priority::RELEASE), entered(VrrpState::Backup, Cause::NotPermitted)]);
    assert_eq!(machine.deadline(), Some(at + AdvertInterval::DEFAULT.down(Priority(100))));
    assert_eq!(machine.handle(at + SECOND, Input::Permit(false)), []);
}

#[test]
fn stopping_an_active_one_says_so_and_a_backup_goes_silently() {
    let (mut machine, at) = active(100);
    let todo = machine.handle(at, Input::Stop);
    assert_eq!(todo, [Action::Advertise(Priority::RELEASE), entered(VrrpState::Initialize, Cause::Stopped)]);
    assert_eq!(machine.handle(at, Input::Stop), []);
    let mut machine = backup(100, AT_ONCE);
    assert_eq!(machine.handle(at, Input::Stop), [entered(VrrpState::Initialize, Cause::Stopped)]);
    assert_eq!(machine.deadline(), None);
}

#[test]
fn a_leaving_speaker_shortens_the_wait_to_the_skew_and_never_lengthens_it() {
    let mut machine = backup(100, AT_ONCE);
    let skew = AdvertInterval::DEFAULT.skew(Priority(100));
    let todo = machine.handle(START + SECOND, Input::Heard(heard(9, 0)));
    assert_eq!(todo, [Action::Report(VrrpEvent::Released { by: heard(9, 0) })]);
    assert_eq!(machine.deadline(), Some(START + SECOND + skew));
    // Repeating it holds up nothing.
    assert_eq!(machine.handle(START + SECOND + skew / 2, Input::Heard(heard(9, 0))), []);
    assert_eq!(machine.deadline(), Some(START + SECOND + skew));
}

#[test]
fn the_active_speakers_interval_is_learnt_with_the_skew_scaled_by_it() {
    let mut machine = backup(156, AT_ONCE);
    let interval = AdvertInterval::from_centiseconds(25).unwrap();
    let _ = machine.handle(START, Input::Heard(Heard { interval, ..heard(9, 200) }));
    // 3 * 250 ms + 100/256 * 250 ms
    assert_eq!(machine.deadline(), Some(START + Duration::from_nanos(847_656_250)));
    let due = machine.deadline().unwrap();
    let _ = machine.handle(due, Input::Tick);
    assert_eq!(machine.deadline(), Some(due + SECOND), "it speaks at its own interval");
}

#[test]
fn an_active_one_yields_to_a_higher_one_and_to_an_equal_one_with_a_larger_address() {
    for by in [heard(9, 101), heard(4, 101), heard(6, 100)] {
        let (mut machine, at) = active(100);
        let todo = machine.handle(at, Input::Heard(by));
        let outranked = Action::Report(VrrpEvent::Outranked { by });
        assert_eq!(todo, [entered(VrrpState::Backup, Cause::Outranked(by)), outranked], "{by:?}");
        assert_eq!(machine.deadline(), Some(at + AdvertInterval::DEFAULT.down(Priority(100))));
    }
}

#[test]
fn an_active_one_answers_a_lower_one_at_once() {
    let (machine, at) = active(100);
    for by in [heard(9, 99), heard(4, 100), heard(9, 0)] {
        let mut machine = machine.clone();
        let then = at + SECOND / 2;
        let answer = [Action::Advertise(Priority(100)), Action::Report(VrrpEvent::Contested { by })];
        assert_eq!(machine.handle(then, Input::Heard(by)), answer, "{by:?}");
        assert_eq!(machine.deadline(), Some(then + SECOND));
    }
}

#[test]
fn a_flood_of_lower_ones_is_answered_at_most_once_a_centisecond_and_never_forgotten() {
    let (mut machine, at) = active(100);
    let (mut now, mut answers, mut contests) = (at, 0, 0);
    for _ in 0..100_000 {
        now += Duration::from_micros(10);
        for input in [Input::Heard(heard(9, 1)), Input::Tick] {
            let todo = machine.handle(now, input);
            answers += todo.iter().filter(|action| matches!(action, Action::Advertise(_))).count();
            contests += todo.len();
        }
    }
    assert_eq!(answers, 100, "in one second");
    assert_eq!(contests - answers, 100, "each is reported");
    // One that came within the gap is still answered when the gap ends.
    let _ = machine.handle(now + Duration::from_millis(1), Input::Heard(heard(8, 1)));
    assert!(machine.deadline().unwrap().since(now) <= Duration::from_millis(10));
}

#[test]
fn the_owner_waits_for_nobody_and_yields_to_nobody_below() {
    let mut machine = Machine::new(config(5, 255, AT_ONCE));
    let _ = machine.handle(START, Input::Permit(true));
    let todo = machine.handle(START, Input::Start);
    assert_eq!(todo.last(), Some(&entered(VrrpState::Active, Cause::Owner)));
    let todo = machine.handle(START + SECOND / 2, Input::Heard(heard(9, 254)));
    assert_eq!(todo[0], Action::Advertise(Priority::OWNER));
    assert_eq!(machine.state(), VrrpState::Active);
}

#[test]
fn a_higher_one_preempts_after_the_silence_that_it_keeps_itself() {
    let mut machine = backup(100, AT_ONCE);
    let due = machine.deadline();
    assert_eq!(machine.handle(START + SECOND, Input::Heard(heard(9, 99))), []);
    assert_eq!(machine.deadline(), due, "a lower one is as good as silent");
}

#[test]
fn without_preemption_a_lower_one_is_followed_until_it_leaves() {
    let mut machine = backup(100, Preempt::Never);
    let mut now = START;
    for _ in 0..1000 {
        now += SECOND;
        assert_eq!(machine.handle(now, Input::Heard(heard(9, 1))), []);
        assert_eq!(machine.handle(now, Input::Tick), []);
    }
    let _ = machine.handle(now, Input::Heard(heard(9, 0)));
    let _ = machine.handle(machine.deadline().unwrap(), Input::Tick);
    assert_eq!(machine.state(), VrrpState::Active);
}

#[test]
fn preemption_waits_its_delay_from_the_first_lower_advertisement() {
    let mut machine = backup(100, Preempt::After(SECOND * 5));
    let down = AdvertInterval::DEFAULT.down(Priority(100));
    let mut now = START;
    for _ in 0..5 {
        now += SECOND;
        let _ = machine.handle(now, Input::Heard(heard(9, 50)));
        assert_eq!(machine.deadline(), Some(now + down));
    }
    let due = machine.deadline();
    for _ in 0..3 {
        now += SECOND;
        let _ = machine.handle(now, Input::Heard(heard(9, 50)));
        assert_eq!(machine.deadline(), due, "the delay is over");
    }
    let _ = machine.handle(due.unwrap(), Input::Tick);
    assert_eq!(machine.state(), VrrpState::Active);
}

#[test]
fn an_active_one_that_slept_longer_than_others_wait_is_active_no_more() {
    let wait = AdvertInterval::DEFAULT.down(Priority(254));
    for input in [Input::Tick, Input::Permit(true), Input::Heard(heard(9, 1)), Input::Priority(Priority(7))] {
        let (mut machine, at) = active(100);
        let woken = machine.handle(at + wait, input);
        let backup = entered(VrrpState::Backup, Cause::Overslept { silent: wait });
        assert_eq!(woken, [backup], "{input:?}: not a word before it has listened");
        assert!(machine.deadline().unwrap() > at + wait);
    }
    let (mut machine, at) = active(100);
    let todo = machine.handle(at + wait - Duration::from_nanos(1), Input::Tick);
    assert_eq!(todo, [Action::Advertise(Priority(100))], "a nanosecond less, and nobody took over yet");
}

#[test]
fn a_backup_that_wakes_late_listens_once_more() {
    let mut machine = backup(100, AT_ONCE);
    let due = machine.deadline().unwrap();
    let late = SECOND + Duration::from_nanos(1);
    assert_eq!(machine.handle(due + late, Input::Tick), [Action::Report(VrrpEvent::WokeLate { late })]);
    assert_eq!(machine.state(), VrrpState::Backup);
    let again = machine.deadline().unwrap();
    assert_eq!(again, due + late + AdvertInterval::DEFAULT.down(Priority(100)));
    let _ = machine.handle(again + SECOND, Input::Tick);
    assert_eq!(machine.state(), VrrpState::Active, "a little late is not late");
}

#[test]
fn a_fault_silences_and_its_end_begins_anew() {
    let (mut machine, at) = active(100);
    let todo = machine.handle(at, Input::Fault(true));
    assert_eq!(todo, [Action::Advertise(Priority::RELEASE), entered(VrrpState::Fault, Cause::Fault)]);
    for input in [
        Input::Fault(true),
        Input::Heard(heard(9, 1)),
        Input::Permit(false),
        Input::Permit(true),
        Input::Tick,
    ] {
        assert_eq!(machine.handle(at + SECOND, input), [], "{input:?}");
    }
    let todo = machine.handle(at + SECOND, Input::Fault(false));
    assert_eq!(todo, [entered(VrrpState::Backup, Cause::Repaired)]);
    assert_eq!(machine.deadline(), Some(at + SECOND + AdvertInterval::DEFAULT.down(Priority(100))));
}

#[test]
fn a_proven_stop_of_the_active_one_ends_the_wait_and_of_another_one_does_not() {
    let mut machine = backup(100, AT_ONCE);
    let _ = machine.handle(START, Input::Heard(heard(9, 200)));
    assert_eq!(machine.handle(START + SECOND, Input::Stopped(node(8))), []);
    let todo = machine.handle(START + SECOND, Input::Stopped(node(9)));
    assert_eq!(todo, [Action::Advertise(Priority(100)), entered(VrrpState::Active, Cause::Silence)]);
}

#[test]
fn a_changed_priority_changes_the_wait_and_the_next_advertisement() {
    let mut machine = backup(100, AT_ONCE);
    assert_eq!(machine.handle(START + SECOND, Input::Priority(Priority(200))), []);
    assert_eq!(machine.deadline(), Some(START + AdvertInterval::DEFAULT.down(Priority(200))));
    let _ = machine.handle(START, Input::Priority(Priority::RELEASE));
    assert_eq!(machine.priority(), Priority::LOWEST, "zero is a word of farewell, no priority");
}

proptest! {
    #[test]
    fn whatever_happens_an_unpermitted_one_is_silent(
        steps in proptest::collection::vec((0u8..8, any::<u8>(), 0u64..5_000_000_000), 0..60)
    ) {
        let mut machine = Machine::new(config(5, 100, AT_ONCE));
        let (mut now, mut permitted) = (START, false);
        for (kind, byte, nanos) in steps {
            now += Duration::from_nanos(nanos);
            let input = match kind {
                0 => Input::Start,
                1 => Input::Tick,
                2 | 3 => Input::Heard(heard(byte % 8, byte)),
                4 => Input::Priority(Priority(byte)),
                5 => Input::Fault(byte % 2 == 0),
                6 => Input::Stopped(node(byte % 8)),
                _ => Input::Permit(byte % 2 == 0),
            };
            let was = permitted;
            permitted = matches!(input, Input::Permit(true)) || (permitted && !matches!(input, Input::Permit(_)));
            for action in machine.handle(now, input) {
                match action {
                    Action::Advertise(Priority::RELEASE) => prop_assert!(was, "{input:?}"),
                    Action::Advertise(_) => prop_assert!(permitted, "{input:?}"),
                    Action::Report(_) => {}
                }
            }
            prop_assert!(permitted || machine.state() != VrrpState::Active);
        }
    }
}

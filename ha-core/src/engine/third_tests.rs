//! One engine and its third party, answer by answer.

use super::*;
use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::config::{ArbiterConfig, ArbiterKind, Config, GroupConfig, LinkConfig};
use crate::*;
use std::sync::Arc;
use std::time::Duration;

const G: GroupId = GroupId(0);
const ME: Incarnation = Incarnation(7);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn config(group: GroupConfig) -> Config {
    Config::pair("one", "a", "b")
        .link(LinkConfig::datagram("lan", ms(50), ms(300)))
        .group(group)
        .arbiter(ArbiterConfig::new(ArbiterKind::ThirdParty, ms(1000)).with_trusts_host_pauses(true))
}

struct One {
    engine: Engine,
    now: Instant,
    asked: Vec<(OpId, ArbiterRequest)>,
    permission: Permission,
    writes: Vec<(WriteId, NodeRecord)>,
    asks: Vec<Question>,
}

impl One {
    /// Booted with `record`, alone, with a lease of a second that proves an owner's end.
    fn boot(record: NodeRecord) -> Self {
        Self::boot_after(record, GroupConfig::new("mail"), Predecessor::Gone)
    }

    fn boot_after(mut record: NodeRecord, group: GroupConfig, predecessor: Predecessor) -> Self {
        record.init = Some(InitId(1));
        let config = config(group);
        let boot = Boot {
            me: NodeId(0),
            incarnation: ME,
            boot: BootId(1),
            record,
            predecessor,
            guarded: true,
            outside: 1,
        };
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut engine = Engine::boot(Arc::new(config), boot, now);
        engine.check_marks();
        let (asked, writes, asks) = (Vec::new(), Vec::new(), Vec::new());
        let mut one = Self { engine, now, asked, permission: Permission::Revoked, writes, asks };
        one.feed(Input::Tick);
        one
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Arbiter { op, request, .. } => self.asked.push((op, request)),
                Action::Token { permission, .. } => self.permission = permission,
                Action::Persist { write, record } => self.writes.push((write, record)),
                Action::Event(Event { kind: EventKind::Asked { question, .. }, .. }) => {
                    self.asks.push(question)
                }
                _ => {}
            }
        }
    }

    /// Time passes from wake-up to wake-up; records become durable at once; requests stay unanswered.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.engine.next_deadline().min(end).max(self.now);
            self.feed(Input::Tick);
            self.save();
        }
    }

    fn save(&mut self) {
        while let Some((write, _)) = self.writes.pop() {
            self.feed(Input::Persisted { write, ok: true });
        }
    }

    fn request(&self) -> (OpId, ArbiterRequest) {
        *self.asked.last().expect("a request")
    }

    fn answer(&mut self, answer: ArbiterAnswer) {
        let (op, _) = self.request();
        self.feed(Input::Arbiter { op, answer });
        self.save();
    }

    /// The owner, granted at the arbiter and durably.
    fn owner() -> Self {
        let mut one = Self::boot(NodeRecord::blank(StoreId(1), None));
        one.answer(ArbiterAnswer::View(view(Some(earlier(5)), 3)));
        // Beyond the boot wait; readings in between say the same.
        for _ in 0..20 {
            one.wait(ms(90));
            match one.request().1 {
                ArbiterRequest::Read => one.answer(ArbiterAnswer::View(view(Some(earlier(5)), 3))),
                ArbiterRequest::Swap { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        let (_, ArbiterRequest::Swap { revision: 3, record }) = one.request() else { panic!("no swap") };
        assert_eq!((record.owner, record.incarnation, record.epoch), (Some(NodeId(0)), ME, Epoch(6)));
        assert_eq!(one.permission, Permission::Revoked, "nothing acts before the swap is done");
        one.answer(ArbiterAnswer::Swapped { revision: 4 });
        assert!(one.acts());
        one
    }

    fn acts(&self) -> bool {
        matches!(self.permission, Permission::Valid { until, .. } if until > self.now)
    }
}

/// The record of an earlier life of this node.
fn earlier(epoch: u64) -> OwnerRecord {
    let mut record = OwnerRecord::new(InitId(1), Incarnation(3));
    (record.epoch, record.owner, record.in_sync) = (Epoch(epoch), Some(NodeId(0)), 3);
    record
}

fn view(record: Option<OwnerRecord>, revision: u64) -> ArbiterView {
    ArbiterView::new(record, Lease::Held { incarnation: Incarnation(3), renewal: 1 }, revision)
}

#[test]
fn a_renewal_answered_in_time_extends_and_a_late_one_gives_nothing_back() {
    let mut one = One::owner();
    one.wait(ms(210));
    let (op, ArbiterRequest::Renew { .. }) = one.request() else { panic!("{:?}", one.request()) };
    one.feed(Input::Arbiter { op, answer: ArbiterAnswer::Renewed(true) });
    assert!(one.acts());
    // The next renewal is asked; then this node does not run until its lease is over.
    one.wait(ms(200));
    let (op, ArbiterRequest::Renew { .. }) = one.request() else { panic!("{:?}", one.request()) };
    one.now += ms(850);
    one.feed(Input::Arbiter { op, answer: ArbiterAnswer::Renewed(true) });
    assert!(!one.acts(), "{:?}", one.permission);
    // Only a swap of the unchanged record confirms it: that takes the revision from under a taker.
    let (_, ArbiterRequest::Swap { revision: 4, record }) = one.request() else {
        panic!("{:?}", one.request())
    };
    assert_eq!((record.epoch, record.incarnation), (Epoch(6), ME));
    one.answer(ArbiterAnswer::Swapped { revision: 5 });
    assert!(one.acts());
}

#[test]
fn without_answers_the_permission_ends_with_the_lease() {
    let mut one = One::owner();
    one.wait(ms(900));
    assert!(one.acts());
    one.wait(ms(110));
    assert!(!one.acts());
    assert!(
        one.asks.contains(&Question::ArbiterSilent) || {
            one.wait(ms(2000));
            one.asks.contains(&Question::ArbiterSilent)
        }
    );
}

#[test]
fn an_owner_whose_record_names_another_one_stops() {
    let mut one = One::owner();
    one.wait(ms(210));
    one.answer(ArbiterAnswer::Renewed(false));
    let (_, ArbiterRequest::Read) = one.request() else { panic!("{:?}", one.request()) };
    let mut other = earlier(9);
    (other.owner, other.incarnation) = (Some(NodeId(1)), Incarnation(8));
    one.answer(ArbiterAnswer::View(view(Some(other), 9)));
    assert_eq!(one.permission, Permission::Revoked);
}

#[test]
fn an_arbiter_with_a_lower_epoch_or_of_another_installation_is_not_acted_on() {
    let mut foreign = earlier(5);
    foreign.init = InitId(2);
    let mut record = NodeRecord::blank(StoreId(1), None);
    record.groups.insert(G, GroupRecord { granted: Epoch(7), ..GroupRecord::default() });
    for (record, found) in [
        (record.clone(), Some(earlier(6))),
        (record, None),
        (NodeRecord::blank(StoreId(1), None), Some(foreign)),
    ] {
        let mut one = One::boot(record);
        for _ in 0..40 {
            if let (_, ArbiterRequest::Read) = one.request() {
                one.answer(ArbiterAnswer::View(view(found, 3)));
            }
            one.wait(ms(100));
        }
        assert!(one.asked.iter().all(|(_, what)| *what == ArbiterRequest::Read), "{:?}", one.asked);
        assert!(one.asks.contains(&Question::ArbiterForgot));
        // An operator's word lets it be written anew, but is no proof of anybody's end.
        one.feed(Input::Command(Command::TrustArbiter(G)));
        one.wait(ms(500));
        assert!(!one.acts());
    }
}

#[test]
fn a_swap_without_an_answer_is_read_before_anything_follows_from_it() {
    for done in [true, false] {
        let mut one = One::owner();
        one.now += ms(1200);
        one.feed(Input::Tick);
        let (_, ArbiterRequest::Swap { record, .. }) = one.request() else { panic!("{:?}", one.request()) };
        one.answer(ArbiterAnswer::Unavailable);
        assert!(!one.acts());
        one.wait(ms(101));
        let (_, ArbiterRequest::Read) = one.request() else { panic!("{:?}", one.request()) };
        let revision = if done { 5 } else { 4 };
        one.answer(ArbiterAnswer::View(view(Some(record), revision)));
        let (_, ArbiterRequest::Swap { revision: next, .. }) = one.request() else { panic!() };
        assert_eq!(next, revision);
        one.answer(ArbiterAnswer::Swapped { revision: revision + 1 });
        assert!(one.acts());
    }
}

/// What survived its guardian could still write, whatever the third party's record says of the owner.
#[test]
fn shared_data_of_an_own_earlier_life_waits_until_nothing_of_that_life_is_left() {
    for (predecessor, shared, granted) in [
        (Predecessor::Gone, true, true),
        (Predecessor::Leftovers, true, false),
        (Predecessor::Leftovers, false, true),
    ] {
        let mut record = NodeRecord::blank(StoreId(1), None);
        record.groups.insert(G, GroupRecord { granted: Epoch(5), ..GroupRecord::default() });
        let mut group = GroupConfig::new("mail");
        group.shared = shared;
        let mut one = One::boot_after(record, group, predecessor);
        let swaps = |one: &One| one.asked.iter().any(|(_, what)| matches!(what, ArbiterRequest::Swap { .. }));
        for _ in 0..40 {
            if swaps(&one) {
                break;
            }
            one.answer(ArbiterAnswer::View(view(Some(earlier(5)), 3)));
            one.wait(ms(100));
        }
        assert_eq!(swaps(&one), granted, "{predecessor:?}, shared {shared}");
        assert_eq!(one.asks.contains(&Question::NoStopProof), !granted, "{:?}", one.asks);
    }
}

/// Whom an earlier life promised to act without the third party may do so below the epoch that the record names, and not
/// know of it: "mine", or "nobody's", is no reason to begin before the promise is over.
#[test]
fn a_promise_binds_whatever_the_record_says_of_this_nodes_own_grant() {
    for owner in [Some(NodeId(0)), None] {
        let swapped_after = |promised: bool| {
            let mut record = NodeRecord::blank(StoreId(1), None);
            let group = GroupRecord { granted: Epoch(5), promised, ..GroupRecord::default() };
            record.groups.insert(G, group);
            let mut one = One::boot(record);
            let began = one.now;
            let found = OwnerRecord { owner, ..earlier(5) };
            while !one.asked.iter().any(|(_, what)| matches!(what, ArbiterRequest::Swap { .. })) {
                one.answer(ArbiterAnswer::View(view(Some(found), 3)));
                one.wait(ms(20));
                assert!(one.now.since(began) < ms(20_000), "{:?}", one.asked);
            }
            one.now.since(began)
        };
        let wait = config(GroupConfig::new("mail")).takeover_wait().unwrap();
        assert!(swapped_after(false) < wait);
        assert!(swapped_after(true) >= wait, "{:?} of {wait:?}", swapped_after(true));
    }
}

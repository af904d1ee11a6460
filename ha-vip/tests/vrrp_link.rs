//! Speakers of ours on a real link: what is hostile on it, what fails on it, and the speaker as a resource.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod vrrp_lab;

use futures::future::BoxFuture;
use ha_core::api::{Ctx, Environment, Resource, UndoError};
use ha_core::engine::Health;
use ha_core::testkit::resource::ResourceTest;
use ha_core::{Epoch, GroupId, Instant, TokenCell, Undo};
use ha_vip::vrrp::{
    AddressList, Admission, AdvertInterval, Audience, Cause, GROUP_V4, GROUP_V6, Ipv4Checksum, Priority,
    Refusal, Vrid, VrrpAnnouncer, VrrpError, VrrpEvent, VrrpSpeaker, VrrpState, VrrpStatus, WhenOutranked,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use vrrp_lab::{Family, INTERVAL, Lab, VRID, event, ip, is, until};

const HOSTILE: u8 = 3;

/// Somebody on the link with a raw socket, who can send whatever he likes.
struct Attacker {
    socket: Socket,
    to: SockAddr,
    from: IpAddr,
    group: IpAddr,
    family: Family,
}

impl Attacker {
    /// To be called inside of his namespace.
    fn new(family: Family, hop_limit: u32) -> Self {
        let (from, group) = match family {
            Family::V4 => (family.of_node(HOSTILE), IpAddr::V4(GROUP_V4)),
            Family::V6 => (family.of_node(HOSTILE), IpAddr::V6(GROUP_V6)),
        };
        let domain = Domain::for_address(SocketAddr::new(from, 0));
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(112))).unwrap();
        socket.bind_device(Some(b"lan0")).unwrap();
        let any = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
        let index = rustix::net::netdevice::name_to_index(any, "lan0").unwrap();
        let to = match group {
            IpAddr::V4(_) => {
                socket.set_multicast_ttl_v4(hop_limit).unwrap();
                SocketAddr::new(group, 0).into()
            }
            IpAddr::V6(v6) => {
                socket.set_multicast_hops_v6(hop_limit).unwrap();
                SocketAddrV6::new(v6, 0, 0, index).into()
            }
        };
        Self { socket, to, from, group, family }
    }

    fn advertisement(&self, priority: u8) -> Vec<u8> {
        let speaker = Admission {
            vrid: Vrid::new(VRID).unwrap(),
            source: self.from,
            audience: Audience::Group,
            addresses: AddressList::new(&[self.family.virtual_address()]).unwrap(),
            same_addresses: true,
        };
        let interval = AdvertInterval::from_duration(INTERVAL).unwrap();
        speaker.advertisement(Priority(priority), interval).encode(
            self.from,
            self.group,
            Ipv4Checksum::PseudoHeader,
        )
    }

    fn send(&self, message: &[u8]) {
        // A full queue of the interface is no matter to a flood.
        let _dropped = self.socket.send_to(message, &self.to);
    }
}

async fn active(lab: &Lab, number: u8, family: Family, priority: u8) -> VrrpSpeaker {
    let speaker = lab.speaker(number, family, priority).spawn().unwrap();
    speaker.permit(true);
    is(&speaker, VrrpState::Active).await;
    speaker
}

async fn a_message_from_beyond_the_link_is_refused(family: Family) {
    let lab = Lab::new(HOSTILE);
    let ours = active(&lab, 1, family, 100).await;
    lab.inside(HOSTILE, || {
        let attacker = Attacker::new(family, 254);
        attacker.send(&attacker.advertisement(200));
    });
    let status = until(&ours, "refusing", |status| status.refused > 0).await;
    let source_address = family.of_node(HOSTILE);
    assert_eq!(status.last_refusal, Some(Refusal::HopLimit { found: 254, at_least: 255, source_address }));
    assert_eq!((status.state, status.heard), (VrrpState::Active, 0));
    // The same message from the link itself is heard: nothing else was wrong with it.
    lab.inside(HOSTILE, || {
        let attacker = Attacker::new(family, 255);
        attacker.send(&attacker.advertisement(200));
    });
    is(&ours, VrrpState::Backup).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_message_with_ttl_254_is_refused() {
    a_message_from_beyond_the_link_is_refused(Family::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_message_with_hop_limit_254_is_refused() {
    a_message_from_beyond_the_link_is_refused(Family::V6).await;
}

/// Everything at once, as fast as one thread can: noise, damaged ones, other routers', lower and leaving speakers'.
fn flood(attacker: &Attacker, until: &AtomicBool) -> u64 {
    let lower = attacker.advertisement(1);
    let mut damaged = attacker.advertisement(250);
    damaged[6] ^= 0xFF;
    let mut other = attacker.advertisement(250);
    other[1] = 99;
    let leaving = attacker.advertisement(0);
    let messages = [lower, damaged, other, leaving, vec![0xAA; 1400], Vec::from([0x31; 9])];
    let mut sent = 0;
    while !until.load(Ordering::Relaxed) {
        for message in &messages {
            attacker.send(message);
            sent += 1;
        }
    }
    sent
}

/// Ends the flood, also when the test fails.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn a_flood_is_borne(family: Family) {
    let lab = Arc::new(Lab::new(HOSTILE));
    let ours = active(&lab, 1, family, 100).await;
    let (before, began) = (ours.status(), std::time::Instant::now());
    let over = Arc::new(AtomicBool::new(false));
    let (ends, place) = (Ends(Arc::clone(&over)), Arc::clone(&lab));
    let attack = tokio::task::spawn_blocking(move || {
        place.inside(HOSTILE, || flood(&Attacker::new(family, 255), &over))
    });
    until(&ours, "refusing much", |status| status.refused > 20_000 && status.heard > 10_000).await;
    let borne = until(&ours, "speaking on", |status| status.sent > before.sent + 20).await;
    let took = began.elapsed();
    // In the midst of it a speaker that ranks higher is heard and yielded to.
    let higher = lab.speaker(2, family, 150).spawn().unwrap();
    higher.permit(true);
    until(&ours, "yielding", |status| status.outranked_by.is_some_and(|by| by.priority == Priority(150)))
        .await;
    drop(ends);
    let sent = attack.await.unwrap();
    assert_eq!(borne.state, VrrpState::Active, "nothing in it ranks higher");
    // One in a hundredth of a second at most, and those of its own interval.
    let most = took.as_millis() / 10 + took.as_millis() / INTERVAL.as_millis() + 2;
    let answers = u128::from(borne.sent - before.sent);
    assert!(answers <= most, "{answers} answers in {took:?} to {sent} messages; at most {most} expected");
    is(&higher, VrrpState::Active).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_hostile_flood_over_ipv4_is_borne() {
    a_flood_is_borne(Family::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_hostile_flood_over_ipv6_is_borne() {
    a_flood_is_borne(Family::V6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn of_three_on_a_link_one_is_active_and_the_next_follows_when_it_goes() {
    for family in [Family::V4, Family::V6] {
        let lab = Lab::new(3);
        let first = active(&lab, 1, family, 200).await;
        let second = lab.speaker(2, family, 102).spawn().unwrap();
        let third = lab.speaker(3, family, 101).spawn().unwrap();
        for backup in [&second, &third] {
            backup.permit(true);
            until(backup, "outranked", |status| status.outranked_by.is_some()).await;
        }
        first.stop();
        // Their skews differ by less than a busy machine's delays: the third may speak, too, but not for long.
        let second_leads = |status: &VrrpStatus| {
            status.state == VrrpState::Backup
                && status.outranked_by.is_some_and(|by| by.source == family.of_node(2))
        };
        until(&third, "outranked by the second", second_leads).await;
        let heard = third.status().heard;
        until(&third, "following the second", |status| second_leads(status) && status.heard > heard + 5)
            .await;
        is(&second, VrrpState::Active).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn an_interface_that_fails_is_a_fault_and_comes_back_even_as_another_one() {
    let lab = Lab::new(1);
    let ours = active(&lab, 1, Family::V4, 100).await;
    let mut events = ours.events();
    let node = lab.namespace(1);
    ip(&format!("-n {node} link set lan0 down"));
    is(&ours, VrrpState::Fault).await;
    ip(&format!("-n {node} link set lan0 up"));
    let repaired = |event| match event {
        VrrpEvent::Entered { state: VrrpState::Backup, cause } => Some(cause),
        _ => None,
    };
    assert_eq!(event(&mut events, "repair", repaired).await, Cause::Repaired);
    is(&ours, VrrpState::Active).await;

    ip(&format!("-n {node} link del lan0"));
    is(&ours, VrrpState::Fault).await;
    lab.plug(1);
    is(&ours, VrrpState::Active).await;
    // Its voice reaches the link again.
    let sent = ours.status().sent;
    until(&ours, "sending", |status| status.sent > sent + 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_backup_that_loses_its_carrier_knows_that_the_silence_is_its_own() {
    let lab = Lab::new(2);
    let _higher = active(&lab, 2, Family::V4, 200).await;
    let ours = lab.speaker(1, Family::V4, 100).spawn().unwrap();
    ours.permit(true);
    until(&ours, "outranked", |status| status.outranked_by.is_some()).await;
    let mut events = ours.events();
    let entered = |event| match event {
        VrrpEvent::Entered { state, .. } => Some(state),
        _ => None,
    };
    let switch = lab.namespace(0);
    ip(&format!("-n {switch} link set p1 down"));
    assert_eq!(event(&mut events, "fault", entered).await, VrrpState::Fault);
    ip(&format!("-n {switch} link set p1 up"));
    assert_eq!(event(&mut events, "repair", entered).await, VrrpState::Backup);
    let heard = ours.status().heard;
    let status = until(&ours, "hearing again", |status| status.heard > heard + 5).await;
    assert_eq!((status.state, status.sent), (VrrpState::Backup, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_token_that_runs_out_silences_the_speaker_by_itself() {
    let lab = Lab::new(2);
    let ours = lab.speaker(1, Family::V4, 150).spawn().unwrap();
    let other = lab.speaker(2, Family::V4, 100).spawn().unwrap();
    other.permit(true);
    let token = TokenCell::new(GroupId(0));
    token.set(Epoch(1), Instant::FAR);
    ours.permit_while(token.clone());
    is(&ours, VrrpState::Active).await;
    until(&other, "outranked", |status| status.outranked_by.is_some()).await;
    let mut events = ours.events();
    token.revoke();
    let cause = event(&mut events, "silence", |event| match event {
        VrrpEvent::Entered { state: VrrpState::Backup, cause } => Some(cause),
        _ => None,
    })
    .await;
    assert_eq!(cause, Cause::NotPermitted);
    is(&other, VrrpState::Active).await;
}

struct Real;

impl Environment for Real {
    fn now(&self) -> Instant {
        Instant::from_nanos(1)
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        panic!("a message needs no undo, found {undo:?}")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn an_announcer_speaks_exactly_while_its_group_is_active() {
    let lab = Lab::new(2);
    let token = TokenCell::new(GroupId(0));
    let ctx = Ctx::new(Arc::new(Real), Epoch(1), Instant::FAR, token.clone());
    let speaker = Arc::new(lab.speaker(1, Family::V4, 100).spawn().unwrap());
    let report = VrrpAnnouncer::new("beats", Arc::clone(&speaker), WhenOutranked::Report);
    let fail = VrrpAnnouncer::new("beats", Arc::clone(&speaker), WhenOutranked::Fail);

    report.start(&ctx).await.unwrap_err();
    assert!(!speaker.status().permitted, "no token, no permission");
    token.set(Epoch(1), Instant::FAR);
    assert_eq!(report.monitor(&ctx).await, Health::Stopped);
    report.start(&ctx).await.unwrap();
    assert_eq!(report.monitor(&ctx).await, Health::Running, "it waits for its turn");
    is(&speaker, VrrpState::Active).await;
    assert_eq!(report.monitor(&ctx).await, Health::Running);

    let foreign = active(&lab, 2, Family::V4, 200).await;
    until(&speaker, "outranked", |status| status.outranked_by.is_some()).await;
    assert_eq!((report.monitor(&ctx).await, fail.monitor(&ctx).await), (Health::Degraded, Health::Failed));
    foreign.stop();
    is(&speaker, VrrpState::Active).await;
    assert_eq!(fail.monitor(&ctx).await, Health::Running);

    let listener = lab.speaker(2, Family::V4, 1).spawn().unwrap();
    until(&listener, "hearing", |status| status.last_heard.is_some()).await;
    report.stop(&ctx).await.unwrap();
    assert_eq!((speaker.status().state, report.monitor(&ctx).await), (VrrpState::Backup, Health::Stopped));
    let farewell = |status: &VrrpStatus| status.last_heard.is_some_and(|by| by.priority.0 == 0);
    until(&listener, "told of the end", farewell).await;
    report.stop(&ctx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn an_announcer_passes_the_kit() {
    let lab = Lab::new(1);
    let made: Arc<Mutex<Vec<Weak<VrrpSpeaker>>>> = Arc::default();
    let speaking = Arc::clone(&made);
    // The speaker is a thread of the process: it goes with the resource that owns it.
    let make = move || -> Arc<dyn Resource> {
        let speaker = Arc::new(lab.speaker(1, Family::V4, 100).spawn().unwrap());
        made.lock().unwrap().push(Arc::downgrade(&speaker));
        Arc::new(VrrpAnnouncer::new("beats", speaker, WhenOutranked::Report))
    };
    let speaks = move || {
        let speakers = speaking.lock().unwrap();
        let status = speakers.iter().filter_map(Weak::upgrade).map(|speaker| speaker.status());
        status.filter(|status| status.permitted).map(|status| format!("{status:?}")).collect()
    };
    let report = ResourceTest::new(make).left_behind(speaks).run().await;
    let report = report.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!(report.passed.len(), 10, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn what_cannot_begin_says_why() {
    let lab = Lab::new(1);
    let speaker = |interface: &str| {
        let builder = VrrpSpeaker::builder(VRID, interface).namespace(lab.open(1).into());
        builder.addresses([Family::V4.virtual_address()])
    };
    let missing = speaker("lan9").spawn().unwrap_err();
    assert!(matches!(&missing, VrrpError::Interface { interface, .. } if interface == "lan9"), "{missing}");
    let foreign = speaker("lan0").source("10.77.0.9".parse().unwrap()).spawn().unwrap_err();
    assert!(matches!(foreign, VrrpError::NoSource { .. }), "{foreign}");
    ip(&format!("-n {} addr flush dev lan0", lab.namespace(1)));
    let bare = speaker("lan0").spawn().unwrap_err();
    assert!(matches!(bare, VrrpError::NoSource { .. }), "{bare}");
}

//! Beside Debian's keepalived, in both directions, over both families. Needs root, `ip` and `keepalived`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod vrrp_lab;

use ha_vip::vrrp::{Cause, Ipv4Checksum, Preempt, Priority, Refusal, VrrpEvent, VrrpSpeaker, VrrpState};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use vrrp_lab::keepalived::{Instance, Keepalived};
use vrrp_lab::{Family, INTERVAL, Lab, VRID, event, is, until};

const OURS: u8 = 1;
const THEIRS: u8 = 2;

async fn we_yield_to_a_higher_one_and_take_over_when_it_is_killed(family: Family) {
    let lab = Lab::new(2);
    let ours = lab.speaker(OURS, family, 100).spawn().unwrap();
    ours.permit(true);
    is(&ours, VrrpState::Active).await;
    let mut events = ours.events();

    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(family, 150));
    let by = event(&mut events, "higher speaker", |event| match event {
        VrrpEvent::Entered { state: VrrpState::Backup, cause: Cause::Outranked(by) } => Some(by),
        _ => None,
    })
    .await;
    assert_eq!((by.source, by.priority), (family.of_node(THEIRS), Priority(150)));
    assert_eq!(by.checksum, Ipv4Checksum::PseudoHeader);
    assert_eq!(by.interval.duration(), INTERVAL);
    keepalived.is_master();
    // It stays so while it is heard.
    let heard = ours.status().heard;
    let status = until(&ours, "hearing more", |status| status.heard > heard + 10).await;
    assert_eq!((status.state, status.outranked_by), (VrrpState::Backup, Some(by)));

    let log = keepalived.kill();
    assert!(!log.contains("sent 0 priority"), "it died without a word:\n{log}");
    let cause = event(&mut events, "takeover", |event| match event {
        VrrpEvent::Entered { state: VrrpState::Active, cause } => Some(cause),
        VrrpEvent::Released { by } => panic!("{by:?} left in good order"),
        _ => None,
    })
    .await;
    assert_eq!(cause, Cause::Silence);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn we_yield_to_a_higher_keepalived_and_take_over_when_it_is_killed_over_ipv4() {
    we_yield_to_a_higher_one_and_take_over_when_it_is_killed(Family::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn we_yield_to_a_higher_keepalived_and_take_over_when_it_is_killed_over_ipv6() {
    we_yield_to_a_higher_one_and_take_over_when_it_is_killed(Family::V6).await;
}

async fn it_yields_to_us_and_takes_over_when_we_stop(family: Family) {
    let lab = Lab::new(2);
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(family, 100));
    keepalived.is_master();
    let ours = lab.speaker(OURS, family, 150).spawn().unwrap();
    ours.permit(true);
    is(&ours, VrrpState::Active).await;
    keepalived.says("advert from");
    keepalived.says_again("Entering BACKUP STATE", 1); // once at its start, once now
    let masters = keepalived.count("Entering MASTER STATE");
    let sent = ours.status().sent;
    until(&ours, "speaking on", |status| status.sent > sent + 5).await;
    assert_eq!(keepalived.count("Entering MASTER STATE"), masters, "quiet while we speak:\n{}", keepalived.log());

    ours.stop();
    keepalived.says_again("Entering MASTER STATE", masters);
    assert!(keepalived.log().contains("received priority 0"), "{}", keepalived.log());
    keepalived.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn keepalived_yields_to_our_higher_priority_and_takes_over_when_we_stop_over_ipv4() {
    it_yields_to_us_and_takes_over_when_we_stop(Family::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn keepalived_yields_to_our_higher_priority_and_takes_over_when_we_stop_over_ipv6() {
    it_yields_to_us_and_takes_over_when_we_stop(Family::V6).await;
}

/// Not a test of its own: the process that the next ones kill.
#[tokio::test]
#[ignore = "a process that another test starts"]
async fn speaks_until_it_is_killed() {
    let family = if std::env::var("VRRP_FAMILY").unwrap() == "V6" { Family::V6 } else { Family::V4 };
    let builder = VrrpSpeaker::builder(VRID, "lan0").addresses([family.virtual_address()]);
    let speaker = builder.priority(150).interval(INTERVAL).spawn().unwrap();
    speaker.permit(true);
    is(&speaker, VrrpState::Active).await;
    println!("active");
    let _killed = std::io::stdin().read(&mut [0]);
}

fn in_a_process(lab: &Lab, family: Family) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &lab.namespace(OURS)]).arg(program);
    command.args(["--exact", "speaks_until_it_is_killed", "--ignored", "--nocapture"]);
    command.env("VRRP_FAMILY", format!("{family:?}")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("active")), "it never became active");
    child
}

async fn it_takes_over_when_we_are_killed(family: Family) {
    let lab = Lab::new(2);
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(family, 100));
    keepalived.is_master();
    let mut ours = in_a_process(&lab, family);
    keepalived.says_again("Entering BACKUP STATE", 1);
    let masters = keepalived.count("Entering MASTER STATE");
    ours.kill().unwrap();
    ours.wait().unwrap();
    keepalived.says_again("Entering MASTER STATE", masters);
    let log = keepalived.log();
    assert!(!log.contains("received priority 0"), "we died without a word:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn keepalived_takes_over_when_our_process_is_killed_over_ipv4() {
    it_takes_over_when_we_are_killed(Family::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn keepalived_takes_over_when_our_process_is_killed_over_ipv6() {
    it_takes_over_when_we_are_killed(Family::V6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn beside_keepalived_an_unpermitted_node_of_higher_priority_never_says_a_word() {
    let lab = Lab::new(2);
    let ours = lab.speaker(OURS, Family::V4, 200).spawn().unwrap();
    let mut events = ours.events();
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(Family::V4, 100));
    keepalived.is_master();
    let heard = ours.status().heard;
    let status = until(&ours, "hearing", |status| status.heard > heard + 25).await;
    assert_eq!((status.state, status.sent), (VrrpState::Backup, 0));
    keepalived.kill();
    let withheld = |event| matches!(event, VrrpEvent::Withheld { .. }).then_some(());
    event(&mut events, "withheld takeover", withheld).await;
    assert_eq!((ours.status().state, ours.status().sent), (VrrpState::Backup, 0));
    // The silence has been waited for already.
    ours.permit(true);
    let cause = event(&mut events, "activity", |event| match event {
        VrrpEvent::Entered { state: VrrpState::Active, cause } => Some(cause),
        _ => None,
    })
    .await;
    assert_eq!(cause, Cause::Permitted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_keepalived_that_leaves_is_followed_after_the_skew() {
    let lab = Lab::new(2);
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(Family::V4, 150));
    keepalived.is_master();
    let ours = lab.speaker(OURS, Family::V4, 100).preempt(Preempt::Never).spawn().unwrap();
    ours.permit(true);
    until(&ours, "outranked", |status| status.outranked_by.is_some()).await;
    let mut events = ours.events();
    assert!(keepalived.stop().contains("sent 0 priority"));
    event(&mut events, "farewell", |event| matches!(event, VrrpEvent::Released { .. }).then_some(())).await;
    is(&ours, VrrpState::Active).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn unicast_with_keepalived_goes_both_ways() {
    let lab = Lab::new(2);
    let (us, them) = (Family::V4.of_node(OURS), Family::V4.of_node(THEIRS));
    let more = format!("unicast_src_ip {them}\n unicast_peer {{\n {us}\n }}");
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance { more, ..Instance::new(Family::V4, 100) });
    keepalived.is_master();
    let ours = lab.speaker(OURS, Family::V4, 50).unicast([them]).spawn().unwrap();
    ours.permit(true);
    let status = until(&ours, "outranked", |status| status.outranked_by.is_some()).await;
    assert_eq!(status.outranked_by.unwrap().source, them);
    ours.set_priority(Priority(150));
    is(&ours, VrrpState::Active).await;
    keepalived.says_again("Entering BACKUP STATE", 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn keepalived_refuses_the_checksum_of_rfc_9568_and_so_it_is_not_the_default() {
    let lab = Lab::new(2);
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(Family::V4, 100));
    keepalived.is_master();
    let ours = lab.speaker(OURS, Family::V4, 150).checksum(Ipv4Checksum::MessageOnly).spawn().unwrap();
    ours.permit(true);
    is(&ours, VrrpState::Active).await;
    keepalived.says("Invalid VRRPv3 checksum");
    assert_eq!(keepalived.count("Entering BACKUP STATE"), 1, "it does not listen to us:\n{}", keepalived.log());
    until(&ours, "hearing it all the same", |status| status.heard > 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_keepalived_of_version_2_is_named() {
    let lab = Lab::new(2);
    let ours = lab.speaker(OURS, Family::V4, 150).spawn().unwrap();
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance { version: 2, ..Instance::new(Family::V4, 90) });
    keepalived.is_master();
    let status = until(&ours, "refusing", |status| status.refused > 0).await;
    let (source_address, priority) = (Family::V4.of_node(THEIRS), Priority(90));
    let named = Refusal::Version2 { source_address, vrid: VRID, priority, interval_s: 1 };
    assert_eq!(status.last_refusal, Some(named));
}

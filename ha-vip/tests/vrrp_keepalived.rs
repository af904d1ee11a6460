//! Beside Debian's keepalived, in both directions, over both families. Needs root, `ip` and `keepalived`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod vrrp_lab;

use ha_vip::vrrp::{
    Cause, Ipv4Checksum, Preempt, Priority, Refusal, VrrpEvent, VrrpSpeaker, VrrpState, VrrpStatus,
};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use vrrp_lab::keepalived::{Instance, Keepalived};
use vrrp_lab::{Family, INTERVAL, Lab, PATIENCE, VRID, event, is, until};

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
    let follows = |status: &VrrpStatus| status.state == VrrpState::Backup && status.outranked_by == Some(by);
    until(&ours, "following", |status| follows(status) && status.heard > heard + 10).await;

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
    let sent = ours.status().sent;
    until(&ours, "speaking on", |status| status.sent > sent + 5).await;
    keepalived.is_backup();
    let masters = keepalived.count("Entering MASTER STATE");

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

/// Not a test of its own: the process that others kill, freeze and deprive of privileges.
#[tokio::test]
#[ignore = "a process that another test starts"]
async fn speaks_until_it_is_killed() {
    let family = if std::env::var("VRRP_FAMILY").unwrap() == "V6" { Family::V6 } else { Family::V4 };
    let preempt =
        std::env::var("VRRP_NEVER_PREEMPTS").map_or(Preempt::After(Duration::ZERO), |_| Preempt::Never);
    let builder = VrrpSpeaker::builder(VRID, "lan0").addresses([family.virtual_address()]);
    let speaker = match builder.priority(150).interval(INTERVAL).preempt(preempt).spawn() {
        Ok(speaker) => speaker,
        Err(error) => return println!("error: {error}"),
    };
    let mut events = speaker.events();
    speaker.permit(true);
    while let Some(event) = events.next().await {
        println!("{event:?} sent {}", speaker.status().sent);
    }
}

/// That process, ended when dropped.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// By way of `through` (a program with arguments that becomes it, or settings of `env`), in our namespace of the lab.
    fn start(lab: &Lab, family: Family, through: &[&str]) -> Self {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &lab.namespace(OURS)])
            .args(through)
            .arg(std::env::current_exe().unwrap());
        command.args(["--exact", "speaks_until_it_is_killed", "--ignored", "--nocapture"]);
        command.env("VRRP_FAMILY", format!("{family:?}")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (say, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || output.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines }
    }

    /// The next line with `words` in it.
    fn says(&self, words: &str) -> String {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(words) {
                return line;
            }
            said.push(line);
        }
        panic!("it never said {words:?}, but {said:#?}")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn it_takes_over_when_we_are_killed(family: Family) {
    let lab = Lab::new(2);
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(family, 100));
    keepalived.is_master();
    let ours = Process::start(&lab, family, &[]);
    keepalived.says_again("Entering BACKUP STATE", 1);
    let masters = keepalived.count("Entering MASTER STATE");
    drop(ours);
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

#[test]
#[ignore = "needs network namespaces"]
fn frozen_until_keepalived_took_over_we_say_nothing_when_we_wake() {
    let lab = Lab::new(2);
    let ours = Process::start(&lab, Family::V4, &["env", "VRRP_NEVER_PREEMPTS=1"]);
    ours.says("state: Active");
    let keepalived = Keepalived::start(&lab, THEIRS, &Instance::new(Family::V4, 100));
    ours.signal(Signal::STOP);
    keepalived.is_master();
    ours.signal(Signal::CONT);
    ours.says("Overslept");
    // It follows the lower one now, as it does not preempt. When that leaves it says nothing but what comes of it.
    let log = keepalived.stop();
    assert_eq!(log.matches("Entering BACKUP STATE").count(), 1, "master until its end:\n{log}");
    ours.says("Released");
    ours.says("state: Active");
}

#[test]
#[ignore = "needs network namespaces"]
fn an_ordinary_user_needs_cap_net_raw_and_nothing_else() {
    let lab = Lab::new(1);
    let nobody = |capabilities: &'static str| {
        let mut through = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        through.extend(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        Process::start(&lab, Family::V4, &through)
    };
    nobody("-all,+net_raw").says("state: Active");
    let refused = nobody("-all").says("error");
    assert!(refused.contains("CAP_NET_RAW"), "{refused}");
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
    assert_eq!(
        keepalived.count("Entering BACKUP STATE"),
        1,
        "it does not listen to us:\n{}",
        keepalived.log()
    );
    until(&ours, "hearing it all the same", |status| status.heard > 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs network namespaces"]
async fn a_keepalived_of_version_2_is_named() {
    let lab = Lab::new(2);
    let ours = lab.speaker(OURS, Family::V4, 150).spawn().unwrap();
    let keepalived =
        Keepalived::start(&lab, THEIRS, &Instance { version: 2, ..Instance::new(Family::V4, 90) });
    keepalived.is_master();
    let status = until(&ours, "refusing", |status| status.refused > 0).await;
    let (source_address, priority) = (Family::V4.of_node(THEIRS), Priority(90));
    let named = Refusal::Version2 { source_address, vrid: VRID, priority, interval_s: 1 };
    assert_eq!(status.last_refusal, Some(named));
}

//! 14: pauses of every length around every boundary of time that the engine has.

use crate::support::*;
use ha_core::config::Config;
use ha_core::sim::Fault;
use std::collections::BTreeSet;
use std::time::Duration;

/// Every length at which a pause meets a deadline of somebody.
fn boundaries(config: &Config) -> Vec<(&'static str, Duration)> {
    let (t, dead, slot) = (&config.timing, config.latest_dead(), config.slot());
    let fence = config.fence.as_ref().map_or(Duration::ZERO, |f| f.timeout);
    let mut all = vec![
        ("renewal", t.token_validity / 2),
        ("permission", t.token_validity),
        ("confirm", t.token_validity + t.confirm_deadline),
        ("mirror stalls", t.mirror_stall),
        ("ask", t.ask_deadline),
        ("ask once more", t.ask_deadline * 2),
        ("ask after the stall", t.mirror_stall + t.ask_deadline),
        ("feed limit", t.feed_limit),
        ("guardian done", t.feed_limit + t.kill_grace),
        ("fence timeout", fence),
        ("fence after dead", dead + fence),
        ("device asked again", dead + t.query_interval),
        ("persist", t.persist_deadline),
        ("takeover", t.takeover_deadline),
        ("prepare", t.prepare_deadline),
        ("boot wait", t.boot_wait),
        ("stop budget", ms(300)),
        ("start budget", ms(800)),
        ("own gap forgotten", seconds(1)),
    ];
    for link in &config.links {
        all.extend([("beat", link.interval), ("suspect", link.suspect), ("dead", link.dead)]);
    }
    for n in 0..4 {
        all.extend([("slot", dead + slot * n), ("slot's window", dead + slot * n + slot / 10)]);
    }
    all
}

fn paused(config: &Config, fault: Fault) {
    let mut cluster = served(config.clone());
    cluster.inject(fault);
    cluster.run_for(seconds(11));
    let Some(owner) = cluster.actor(MAIL) else { panic!("{fault}: nobody\n{}", cluster.timeline()) };
    whole(&cluster, owner, MAIL);
    // The permission ends by itself, and nobody is fenced twice for one pause.
    assert!(cluster.probes().count("device", "shot hit") <= 1, "{fault}\n{}", cluster.timeline());
}

fn sweep(lengths: impl IntoIterator<Item = Duration>) {
    let config = pair();
    for span in lengths {
        for node in 0..2 {
            paused(&config, Fault::PauseTree(node, span));
            paused(&config, Fault::PauseChild(node, span));
        }
    }
}

/// Two milliseconds before and behind each boundary, of the owner and of the standby, with and without its guardian.
#[test]
fn s014_pauses_around_every_boundary_keep_one_owner_and_end_whole() {
    let config = pair();
    let around = |(_, at): (&str, Duration)| (0..5).map(move |d| (at + ms(d)).saturating_sub(ms(2)));
    let lengths: BTreeSet<Duration> = boundaries(&config).into_iter().flat_map(around).collect();
    assert!(lengths.len() > 80);
    sweep(lengths);
}

#[test]
#[ignore = "needs a minute: every millisecond up to 3.5 s"]
fn s014_pauses_of_every_millisecond_keep_one_owner_and_end_whole() {
    sweep((1..3500).map(ms));
}

/// The same while everything is cut: nobody can confirm anything.
#[test]
fn s014_pauses_around_every_boundary_of_a_node_that_is_cut_off_keep_one_owner() {
    let config = pair();
    for (name, at) in boundaries(&config) {
        for (late, node) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let mut cluster = served(config.clone());
            cluster.inject(Fault::PauseTree(node, at + ms(late)));
            cluster.run_for(ms(20));
            cluster.inject(Fault::Isolate(seconds(3)));
            cluster.run_for(seconds(18));
            let Some(owner) = cluster.actor(MAIL) else { panic!("{name}: nobody\n{}", cluster.timeline()) };
            whole(&cluster, owner, MAIL);
        }
    }
}

use super::super::options::{Command, Options};
use super::*;
use clap::Parser;
use ha_core::wire::WireTerms;

const COMMON: &str = "--key-file k --state-dir s --control c";

fn options(flags: &str) -> RunOptions {
    let words = ["pair-node", "run"].into_iter().chain(flags.split(' ')).chain(COMMON.split(' '));
    match Options::try_parse_from(words).unwrap_or_else(|e| panic!("{e}")).command {
        Command::Run(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn plan(flags: &str) -> Result<Plan, PlanError> {
    Plan::of(&options(flags))
}

const LEFT: &str = "--name n1 --peer n2 --link udp:10.78.0.1:694,10.78.0.2:694 --link udp:10.79.0.1:694,10.79.0.2:694 \
                    --link serial:/dev/pts/3,115200 --address 10.77.0.100/24@lan0 --address 2001:db8::100/64@lan0";
const RIGHT: &str = "--name n2 --peer n1 --link serial:/dev/ttyUSB0,115200 --link udp:10.79.0.2:694,10.79.0.1:694 \
                     --link udp:10.78.0.2:694,10.78.0.1:694 --address 2001:db8::100/64@eth1 --address 10.77.0.100/24@eth1";

#[test]
fn mirrored_flags_give_one_configuration_and_two_nodes() {
    for rest in [
        "--beat 20ms --dead 150ms --fence-command fence --fence-timeout 500ms --start one --start two",
        "--beat 20ms --dead 150ms --fence-command fence --fence-scope processes",
        "--lease /dev/sdz --lease-duration 3s",
        "--accept-split-brain",
    ] {
        let (left, right) =
            (plan(&format!("{LEFT} {rest}")).unwrap(), plan(&format!("{RIGHT} {rest}")).unwrap());
        assert_eq!(left.config, right.config, "{rest}");
        assert_eq!(WireTerms::of(&left.config).parameters, WireTerms::of(&right.config).parameters);
        assert_eq!((left.me, right.me), (NodeId(0), NodeId(1)));
        let names: Vec<_> = left.links.iter().map(|link| &link.name).collect();
        assert_eq!(names, right.links.iter().map(|link| &link.name).collect::<Vec<_>>());
        assert_eq!(left.factories().len(), 3);
        assert!(left.proof.outages.iter().all(|o| o.total.is_some()), "{rest}: {}", left.proof);
    }
}

#[test]
fn the_issue_s_own_flags_are_proven_and_keep_their_durations() {
    let found = plan(&format!("{LEFT} --beat 20ms --dead 150ms --fence-command fence")).unwrap();
    let config = &found.config;
    assert!(
        config.links.iter().all(|l| l.interval.as_millis() == 20 && l.dead.as_millis() == 150),
        "{config:?}"
    );
    assert_eq!(config.fence.as_ref().unwrap().timeout, Duration::from_secs(2));
    assert!(config.timing.token_validity <= Duration::from_millis(75));
    assert_eq!(config.groups[0].resources.len(), 1);
    assert_eq!(config.groups[0].address_lifetime, Duration::from_secs(2));
}

#[test]
fn other_flags_show_in_the_tag_that_both_nodes_compare() {
    let base = format!("{LEFT} --fence-command fence");
    let tag = |flags: &str| WireTerms::of(&plan(flags).unwrap().config).parameters;
    for other in [
        "--beat 25ms",
        "--dead 250ms",
        "--fence-timeout 1s",
        "--start x",
        "--address 10.77.0.101/24@lan0",
        "--address-lifetime 3s",
    ] {
        assert_ne!(tag(&base), tag(&format!("{base} {other}")), "{other}");
    }
}

#[test]
fn what_cannot_be_planned_is_said() {
    let said = |flags: &str| plan(flags).unwrap_err().to_string();
    let link = "--link udp:10.78.0.1:694,10.78.0.2:694 --address 10.77.0.100/24@lan0 --accept-split-brain";
    assert!(said(&format!("--name a --peer a {link}")).contains("both \"a\""));
    assert!(said(&format!("--name a --peer b {link} --address 10.77.0.100/16@lan1")).contains("twice"));
    assert!(
        said(&format!("--name a --peer b {link} --beat 50ms --dead 100ms"))
            .contains("more than twice the beat")
    );
    assert!(said(&format!("--name a --peer b {link} --dead 70s")).contains("links[0].dead"));
}

#[test]
fn durations_that_are_not_safe_together_are_refused_with_sentences() {
    let error =
        plan(&format!("{LEFT} --beat 50ms --dead 101ms --accept-split-brain")).unwrap_err().to_string();
    assert!(
        error.contains("not safe together") && error.contains("101 ms") && error.contains("--beat"),
        "{error}"
    );
    let error = plan(&format!("{LEFT} --lease /dev/sdz --lease-duration 100ms")).unwrap_err().to_string();
    assert!(error.contains("at least 500ms"), "{error}");
}

#[test]
fn bad_flags_are_refused_by_the_command_line() {
    for (flags, expected) in [
        ("", "--name"),
        ("--name a --peer b", "--link"),
        ("--name a --peer b --link udp:1.1.1.1:1,1.1.1.2:1 --address 10.0.0.1/24@l", "--fence-command"),
        ("--name a --peer b --link tcp:1 --address 10.0.0.1/24@l --accept-split-brain", "udp:BIND,PEER"),
        (
            "--name a --peer b --link udp:1.1.1.1:1,1.1.1.2:1 --address 10.0.0.1 --accept-split-brain",
            "ADDRESS/PREFIX@INTERFACE",
        ),
        ("--accept-split-brain --lease x", "cannot be used with"),
        ("--fence-command f --accept-split-brain", "cannot be used with"),
        ("--fence-command f --lease x", "cannot be used with"),
        ("--accept-split-brain --fence-timeout 1s", "--fence-command"),
        ("--fence-command f --lease-duration 1s", "--lease"),
        ("--fence-command {node}", "not {action}"),
        ("--fence-command 'open", "unclosed"),
        ("--beat 20", "time unit"),
        ("--fence-command f --fence-scope access", "incarnation"),
    ] {
        let words = ["pair-node", "run"].into_iter().chain(flags.split(' ').filter(|w| !w.is_empty()));
        let error = Options::try_parse_from(words).expect_err(flags);
        assert_eq!(error.exit_code(), 2, "{flags}");
        assert!(error.to_string().contains(expected), "{flags}: {error}");
    }
}

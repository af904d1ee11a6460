//! Where a group should be, when it moves back, what its failures lead to, and what monitors' findings mean.
//!
//! Every default is the behaviour of a pair without a policy: a group stays where it serves, and moves only when
//! it must.

use super::{Config, Problem, duration};
use crate::GroupId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether a group returns to its preferred node. Only while that node could take over at once: its data is
/// current, it is willing and free of failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Failback {
    /// Never by itself.
    #[default]
    Never,
    /// As soon as it may.
    Automatic,
    /// When it might have for so long without a break.
    #[serde(with = "duration")]
    After(Duration),
}

/// When a group follows the outside: the node that reaches more targets serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutsidePolicy {
    /// How many targets more the other node must reach; at least one. More is hysteresis.
    #[serde(default = "one")]
    pub difference: u8,
    /// For how long, without a break and confirmed at the end of it.
    #[serde(with = "duration", default = "seconds_5")]
    pub hold_off: Duration,
}

impl OutsidePolicy {
    /// Moves to the node that reaches `difference` targets more for `hold_off`.
    #[must_use]
    pub const fn new(difference: u8, hold_off: Duration) -> Self {
        Self { difference, hold_off }
    }
}

/// The policy of one group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GroupPolicy {
    /// Whether it returns to its preferred node.
    pub failback: Failback,
    /// How long it stays where it became active before failback or the outside moves it again.
    #[serde(with = "duration")]
    pub stickiness: Duration,
    /// Restarts older than this no longer count towards a resource's limit.
    #[serde(with = "duration")]
    pub restart_window: Duration,
    /// How long a node where the group failed is no target for it; zero: until an operator clears it.
    #[serde(with = "duration")]
    pub failure_memory: Duration,
    /// How long its resources may drain before a planned move stops them; zero: they are stopped at once.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// How long it waits for the groups of `after` before it starts without them.
    #[serde(with = "duration")]
    pub order_wait: Duration,
    /// It must be where this group is, and starts after it. An earlier group of the list.
    pub with: Option<GroupId>,
    /// It starts after these groups serve, wherever they do. Earlier groups of the list.
    pub after: Vec<GroupId>,
    /// Whether it follows the outside; absent: only a mirror's rule 10 looks there.
    pub outside: Option<OutsidePolicy>,
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            failback: Failback::Never,
            stickiness: Duration::ZERO,
            restart_window: Duration::from_mins(10),
            failure_memory: Duration::from_hours(1),
            drain: Duration::ZERO,
            order_wait: Duration::from_secs(30),
            with: None,
            after: Vec::new(),
            outside: None,
        }
    }
}

const fn one() -> u8 {
    1
}

const fn seconds_5() -> Duration {
    Duration::from_secs(5)
}

/// What a finding of a monitor leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Restart in place; beyond the restart limit move to a viable target.
    Restart,
    /// Move to a viable target at once. Without one: restart what is stopped or failed, keep what still serves.
    Move,
    /// Say so, and change nothing.
    Report,
    /// Change nothing, and say nothing but in the status.
    Ignore,
}

/// What each finding of a resource's monitor leads to. Unknown is not failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HealthPolicy {
    /// Broken, by its own word.
    pub on_failed: Reaction,
    /// Stopped, though nobody stopped it.
    pub on_stopped: Reaction,
    /// Serving, but not well, `degraded_limit` times in a row.
    pub on_degraded: Reaction,
    /// Nobody can tell, or the monitor overran, `unknown_limit` times in a row.
    pub on_unknown: Reaction,
    /// How many findings in a row make a degradation.
    pub degraded_limit: u8,
    /// How many findings in a row make an uncertainty.
    pub unknown_limit: u8,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            on_failed: Reaction::Restart,
            on_stopped: Reaction::Restart,
            on_degraded: Reaction::Report,
            on_unknown: Reaction::Report,
            degraded_limit: 3,
            unknown_limit: 3,
        }
    }
}

macro_rules! setters {
    ($on:ty: $($name:ident => $field:ident: $kind:ty),+ $(,)?) => {
        impl $on {
            $(
                #[doc = concat!("The same with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $name(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

setters!(GroupPolicy:
    with_failback => failback: Failback,
    with_stickiness => stickiness: Duration,
    with_restart_window => restart_window: Duration,
    with_failure_memory => failure_memory: Duration,
    with_drain => drain: Duration,
    with_order_wait => order_wait: Duration,
    with_lead => with: Option<GroupId>,
    with_after => after: Vec<GroupId>,
    with_outside => outside: Option<OutsidePolicy>,
);

setters!(HealthPolicy:
    with_on_failed => on_failed: Reaction,
    with_on_stopped => on_stopped: Reaction,
    with_on_degraded => on_degraded: Reaction,
    with_on_unknown => on_unknown: Reaction,
    with_degraded_limit => degraded_limit: u8,
    with_unknown_limit => unknown_limit: u8,
);

impl super::GroupConfig {
    /// The same under another policy.
    #[must_use]
    pub fn with_policy(mut self, policy: GroupPolicy) -> Self {
        self.policy = policy;
        self
    }
}

impl super::ResourceConfig {
    /// The same with other reactions to its monitor's findings.
    #[must_use]
    pub const fn with_health(mut self, health: HealthPolicy) -> Self {
        self.health = health;
        self
    }
}

/// Everything that is wrong with the policies of `config`.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    for (place, group) in config.groups.iter().enumerate() {
        let (at, policy) = (format!("groups[{place}].policy"), &group.policy);
        for (name, to) in
            policy.with.iter().map(|g| ("with", g)).chain(policy.after.iter().map(|g| ("after", g)))
        {
            if usize::from(to.0) >= place {
                found.push(Problem {
                    field: format!("{at}.{name}"),
                    found: format!("{to}"),
                    expected: format!("the number of a group before this one, which is {place}"),
                    why: "a group that waits for a later one, or for itself, could wait for ever",
                    mend: "put the group that leads before the ones that follow".into(),
                });
            }
        }
        if policy.with.is_some() && group.mirrored {
            found.push(Problem {
                field: format!("{at}.with"),
                found: "a mirrored group".into(),
                expected: "a group without data of its own".into(),
                why: "a mirror's data decide where it may be; two of them could be current on different nodes",
                mend: "put both services into one group, or tie the one without data to the mirror".into(),
            });
        }
        for (name, zero) in [
            ("restart_window", policy.restart_window.is_zero()),
            ("order_wait", policy.order_wait.is_zero() && !policy.after.is_empty()),
            ("outside.difference", policy.outside.is_some_and(|o| o.difference == 0)),
        ] {
            if zero {
                found.push(Problem {
                    field: format!("{at}.{name}"),
                    found: "0".into(),
                    expected: "more than 0".into(),
                    why: "zero would never or always hold",
                    mend: format!("leave {at}.{name} out for its default"),
                });
            }
        }
        for (r, resource) in group.resources.iter().enumerate() {
            for (name, limit) in [
                ("degraded_limit", resource.health.degraded_limit),
                ("unknown_limit", resource.health.unknown_limit),
            ] {
                if limit == 0 {
                    found.push(Problem {
                        field: format!("groups[{place}].resources[{r}].health.{name}"),
                        found: "0".into(),
                        expected: "1 to 255".into(),
                        why: "it counts findings in a row, the present one included",
                        mend: "set it to 1 to react at the first finding".into(),
                    });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GroupConfig, LinkConfig, ResourceConfig};

    fn pair(first: GroupConfig, second: GroupConfig) -> Config {
        let ms = Duration::from_millis;
        Config::pair("mail", "a", "b")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .group(first)
            .group(second)
    }

    fn fields(config: &Config) -> Vec<String> {
        problems(config).into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn a_group_may_only_wait_for_earlier_ones() {
        let tied = |to| GroupPolicy::default().with_lead(Some(GroupId(to))).with_after(vec![GroupId(to)]);
        let group = |name| GroupConfig::new(name);
        assert_eq!(fields(&pair(group("a"), group("b").with_policy(tied(0)))), Vec::<String>::new());
        let wrong = ["groups[0].policy.with", "groups[0].policy.after"];
        assert_eq!(fields(&pair(group("a").with_policy(tied(1)), group("b"))), wrong);
        assert_eq!(fields(&pair(group("a").with_policy(tied(0)), group("b"))), wrong);
    }

    #[test]
    fn a_mirror_follows_nobody_and_zeros_are_refused() {
        let tied = GroupPolicy::default().with_lead(Some(GroupId(0)));
        let mirror = GroupConfig::new("b").mirrored().with_policy(tied);
        assert_eq!(fields(&pair(GroupConfig::new("a"), mirror)), ["groups[1].policy.with"]);
        let zeros = GroupPolicy::default()
            .with_restart_window(Duration::ZERO)
            .with_outside(Some(OutsidePolicy::new(0, Duration::ZERO)));
        let resource = ResourceConfig::new("r").with_health(HealthPolicy::default().with_unknown_limit(0));
        let config = pair(GroupConfig::new("a").with_policy(zeros).then(resource), GroupConfig::new("b"));
        assert_eq!(
            fields(&config),
            [
                "groups[0].policy.restart_window",
                "groups[0].policy.outside.difference",
                "groups[0].resources[0].health.unknown_limit"
            ]
        );
        assert!(config.check().is_err(), "the check asks for these problems too");
    }

    #[cfg(feature = "toml")]
    #[test]
    fn policies_are_read_from_text_as_they_are_built() {
        let text = r#"
            cluster = "mail"
            nodes = [{ name = "a" }, { name = "b" }]
            links = [{ name = "lan", interval = "20ms", suspect = "100ms", dead = "200ms" }]
            [[groups]]
            name = "mail"
            policy = { failback = { after = "30s" }, stickiness = "1m", outside = { difference = 2 } }
            resources = [{ name = "smtp", health = { on_unknown = "move", unknown_limit = 5 } }]
            [[groups]]
            name = "web"
            policy = { failback = "automatic", with = 0, drain = "5s" }
        "#;
        let read = Config::from_toml(text).unwrap();
        let first = GroupPolicy::default()
            .with_failback(Failback::After(Duration::from_secs(30)))
            .with_stickiness(Duration::from_mins(1))
            .with_outside(Some(OutsidePolicy::new(2, Duration::from_secs(5))));
        let health = HealthPolicy::default().with_on_unknown(Reaction::Move).with_unknown_limit(5);
        let second = GroupPolicy::default()
            .with_failback(Failback::Automatic)
            .with_lead(Some(GroupId(0)))
            .with_drain(Duration::from_secs(5));
        assert_eq!(read.groups[0].policy, first);
        assert_eq!(read.groups[0].resources[0].health, health);
        assert_eq!(read.groups[1].policy, second);
        assert_eq!(Config::from_toml(&toml::to_string(&read).unwrap()).unwrap(), read);
        assert!(Config::from_toml(&text.replace("on_unknown", "on_unkown")).is_err());
    }
}

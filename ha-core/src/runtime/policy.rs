//! Operators' policy commands by name, and policy as programs read it.

use super::error::NodeError;
use super::names::Names;
use super::node::Node;
use crate::PolicyScope;
use crate::engine::{Command, Finding, Placement, PolicyStatus, Status};
use serde::{Deserialize, Serialize};

impl Node {
    /// Lets the node called `node` (this one or the other) stand by, or ends that. What runs there moves to a
    /// viable target; without one it stays. Both nodes remember it.
    ///
    /// # Errors
    /// As [`Node::command`], and [`NodeError::UnknownNode`].
    pub fn standby(&self, node: &str, on: bool) -> Result<(), NodeError> {
        self.command(Command::Standby { node: self.names.find_node(node)?, on })
    }

    /// Begins or ends maintenance of everything: nothing is started, stopped, moved or fenced by policy. Both
    /// nodes remember it.
    ///
    /// # Errors
    /// As [`Node::command`].
    pub fn maintain_cluster(&self, on: bool) -> Result<(), NodeError> {
        self.command(Command::Maintenance { scope: PolicyScope::Cluster, on })
    }

    /// Begins or ends maintenance of the node called `node`, this one or the other.
    ///
    /// # Errors
    /// As [`Node::command`], and [`NodeError::UnknownNode`].
    pub fn maintain_node(&self, node: &str, on: bool) -> Result<(), NodeError> {
        let scope = PolicyScope::Node(self.names.find_node(node)?);
        self.command(Command::Maintenance { scope, on })
    }

    /// Begins or ends maintenance of the group called `group`, wherever it is.
    ///
    /// # Errors
    /// As [`Node::command`], and [`NodeError::UnknownGroup`].
    pub fn maintain_group(&self, group: &str, on: bool) -> Result<(), NodeError> {
        let scope = PolicyScope::Group(self.group(group)?);
        self.command(Command::Maintenance { scope, on })
    }

    /// Ends this node without stopping what it owns; its next life takes that over. Only in maintenance, with the
    /// peer's promise, and where every resource [outlives the engine](crate::api::Resource::outlives_engine):
    /// whether it was refused is an event. Where it was not, [`Node::ended`] says
    /// [`Ended::Detached`](super::Ended::Detached), and the process must exit.
    ///
    /// # Errors
    /// As [`Node::command`].
    pub fn detach(&self) -> Result<(), NodeError> {
        self.command(Command::Detach)
    }

    /// Forgets that the group called `group` failed on this node.
    ///
    /// # Errors
    /// As [`Node::command`], and [`NodeError::UnknownGroup`].
    pub fn clear_failures(&self, group: &str) -> Result<(), NodeError> {
        self.command(Command::ClearFailures(self.group(group)?))
    }
}

/// One operator's word that is in force or was, in a [`StatusReport`](super::StatusReport).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OrderReport {
    /// `cluster`, `node` or `group`.
    pub scope: String,
    /// The node's or group's name.
    pub name: Option<String>,
    /// The node stands by.
    pub standby: bool,
    /// It is in maintenance.
    pub maintenance: bool,
}

/// Why a group is where it is, in a [`GroupReport`](super::GroupReport).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyReport {
    /// A short name, for example `preferred`, `stays`, `moves-at` or `no-target`.
    pub placement: String,
    /// Why it moves, for example `failback`, where it does or will.
    pub reason: Option<String>,
    /// When it moves, in nanoseconds of this machine's boot clock.
    pub moves_at_ns: Option<u64>,
    /// Why this node would not start it: `standby`, or of what it is in maintenance.
    pub hold: Option<String>,
    /// Since when it is in this node's failure memory, in nanoseconds of this machine's boot clock.
    pub failed_at_ns: Option<u64>,
    /// When that is forgotten; none: only when an operator clears it.
    pub forgotten_at_ns: Option<u64>,
    /// Restarts in place that count at present.
    pub restarts: u32,
    /// What the monitors found, in the order of the resources.
    pub findings: Vec<FindingReport>,
}

/// What a resource's monitor found last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FindingReport {
    /// The resource's name.
    pub resource: String,
    /// `running`, `degraded`, `stopped`, `failed` or `unknown`; none before the first finding of this grant.
    pub health: Option<String>,
    /// `reported`, `timed-out` or `call-failed`.
    pub cause: Option<String>,
    /// How many findings in a row were this one.
    pub in_a_row: u16,
    /// How many monitors in a row overran.
    pub timeouts: u16,
    /// The newest finding that was not `running`, under this grant or an earlier one.
    pub last_trouble: Option<String>,
}

impl PolicyReport {
    pub(super) fn new(names: &Names, group: crate::GroupId, status: &PolicyStatus) -> Self {
        let (reason, at) = match status.placement {
            Placement::Moving(reason) => (Some(reason), None),
            Placement::MovesAt(reason, at) => (Some(reason), Some(at)),
            _ => (None, None),
        };
        let found = (0u8..).zip(status.findings.iter().zip(&status.troubles));
        Self {
            placement: super::report::kebab(&status.placement),
            reason: reason.map(|r| super::report::kebab(&r)),
            moves_at_ns: at.map(|at| at.as_nanos()),
            hold: status.hold.map(|h| super::report::kebab(&h)),
            failed_at_ns: status.quarantine.map(|(at, _)| at.as_nanos()),
            forgotten_at_ns: status.quarantine.and_then(|(_, until)| until).map(|at| at.as_nanos()),
            restarts: status.restarts,
            findings: found
                .map(|(r, (finding, trouble))| {
                    FindingReport::new(names.resource(group, r), *finding, *trouble)
                })
                .collect(),
        }
    }
}

impl FindingReport {
    fn new(resource: String, finding: Option<Finding>, trouble: Option<Finding>) -> Self {
        Self {
            resource,
            health: finding.map(|f| super::report::kebab(&f.health)),
            cause: finding.map(|f| super::report::kebab(&f.cause)),
            in_a_row: finding.map_or(0, |f| f.in_a_row),
            timeouts: finding.map_or(0, |f| f.timeouts),
            last_trouble: trouble.map(|f| super::report::kebab(&f.health)),
        }
    }
}

/// Every word that was ever given, by name.
pub(super) fn orders(names: &Names, status: &Status) -> Vec<OrderReport> {
    let said = status.policy.said().map(|(scope, flags)| {
        let (kind, name) = names.scope(scope);
        OrderReport { scope: kind.into(), name, standby: flags.standby, maintenance: flags.maintenance }
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, GroupConfig, LinkConfig, ResourceConfig};
    use crate::engine::{Cause, Health, Hold, MoveReason};
    use crate::{GroupId, Instant};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_policy_is_told_by_names() {
        let link = LinkConfig::datagram("lan", Duration::from_millis(20), Duration::from_millis(200));
        let group = GroupConfig::new("mail").then(ResourceConfig::new("smtp"));
        let names = Names::new(Arc::new(Config::pair("post", "left", "right").link(link).group(group)));
        let at = Instant::from_nanos;
        let finding = Finding {
            health: Health::Unknown,
            cause: Cause::TimedOut,
            in_a_row: 3,
            timeouts: 2,
            since: at(1),
        };
        let status = PolicyStatus {
            placement: Placement::MovesAt(MoveReason::Failback, at(7)),
            hold: Some(Hold::Standby),
            quarantine: Some((at(5), Some(at(9)))),
            findings: vec![Some(finding)],
            troubles: vec![Some(finding)],
            ..PolicyStatus::default()
        };
        let report = PolicyReport::new(&names, GroupId(0), &status);
        assert_eq!((report.placement.as_str(), report.reason.as_deref()), ("moves-at", Some("failback")));
        assert_eq!((report.moves_at_ns, report.forgotten_at_ns), (Some(7), Some(9)));
        assert_eq!(report.hold.as_deref(), Some("standby"));
        let found = &report.findings[0];
        assert_eq!((found.resource.as_str(), found.cause.as_deref()), ("smtp", Some("timed-out")));
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<PolicyReport>(&json).unwrap(), report);
    }
}

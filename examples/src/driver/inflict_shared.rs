//! What a fault is, or what is seen of it, where both nodes share one store and an owner needs nobody.

use super::cluster::{DriveError, Statuses, active, in_words, is_whole, mail};
use super::fault::Fault;
use super::inflict::{EFFECT, HOLD, Injury, WHOLE, ms, role};
use super::layout::NODES;
use super::network::{Cut, DATAGRAMS};
use crate::chassis::Order;

fn proof(statuses: &Statuses, node: usize) -> &str {
    statuses[node].as_ref().and_then(mail).and_then(|group| group.proof.as_deref()).unwrap_or("")
}

impl Injury<'_> {
    /// Runs what is another fault here; none if it is the same one.
    pub(super) fn run_shared(&mut self, fault: Fault) -> Option<Result<(), DriveError>> {
        match fault {
            Fault::PowerLossStandby => Some(self.standby_lost()),
            // There is no stream besides the beats.
            Fault::HeartbeatCut => Some(self.isolation()),
            Fault::NetworkCut => Some(self.network_lost()),
            Fault::BothDown => Some(self.both_down_shared()),
            _ => None,
        }
    }

    fn check_untouched(&mut self) {
        let statuses = self.cluster.statuses();
        let asks = statuses[self.owner].as_ref().and_then(mail).is_some_and(|group| group.question.is_some());
        let serves = active(&statuses) == Some(self.owner) && !asks;
        self.check(serves, || format!("the owner does not simply go on: {}", in_words(&statuses)));
    }

    fn standby_lost(&mut self) -> Result<(), DriveError> {
        let (owner, standby) = (self.owner, self.standby());
        self.order(standby, Order::Off)?;
        self.cluster.wait("the owner to call the standby dead", EFFECT, |s| {
            s[owner].as_ref().is_some_and(|s| s.node.peer.state == "dead")
        })?;
        self.cluster.sleep(HOLD)?;
        self.check_untouched();
        self.order(standby, Order::On).map(drop)
    }

    fn network_lost(&mut self) -> Result<(), DriveError> {
        self.cluster.cut(Cut::Network)?;
        let seen = self.cluster.wait("both to miss the networks", EFFECT, |s| {
            s.iter().all(|s| {
                s.as_ref().is_some_and(|s| {
                    s.node.peer.state == "alive"
                        && DATAGRAMS
                            .iter()
                            .all(|name| s.node.peer.links.iter().any(|l| l.link == *name && l.state != "up"))
                })
            })
        });
        self.cluster.sleep(ms(500))?;
        self.check_untouched();
        self.cluster.heal()?;
        seen.map(drop)
    }

    /// As with a mirror; but one node alone need not ask: the disk knows whose the group was, and the store is complete.
    fn both_down_shared(&mut self) -> Result<(), DriveError> {
        self.both_return()?;
        for owner_returns in [true, false] {
            let whole =
                self.cluster.wait("the pair to be whole between two power losses", WHOLE, is_whole)?;
            let owner = active(&whole).unwrap_or(0);
            let lone = if owner_returns { owner } else { 1 - owner };
            // It was the owner itself; or the other one's device says that it is off.
            let expected = if owner_returns { "StillOwner" } else { "Fenced" };
            self.both_off()?;
            self.order(lone, Order::On)?;
            let what = format!("{} to serve alone by the disk's word", NODES[lone]);
            let serves = self.cluster.wait(&what, EFFECT, |s| role(s, lone) == "active")?;
            let found = proof(&serves, lone).to_owned();
            self.check(found == expected, || {
                format!("{} serves alone on \"{found}\", expected {expected}", NODES[lone])
            });
            self.order(1 - lone, Order::On)?;
        }
        Ok(())
    }
}

//! Each fault: what is done, what is waited for, and how the pair is made whole again.

use super::cluster::{Cluster, DriveError, Statuses, active, in_words, is_whole, mail};
use super::fault::{Fault, Found, SHORT_FREEZE};
use super::layout::NODES;
use super::network::Cut;
use crate::chassis::{FenceMode, Order};
use crate::node::{Mode, Question};
use crate::start::boot_ns;
use std::time::{Duration, Instant};

/// How long a fault's effect may take to be seen, whatever its own limit is.
pub(super) const EFFECT: Duration = Duration::from_secs(15);
/// How long the pair may take to be whole again.
pub(crate) const WHOLE: Duration = Duration::from_secs(30);
/// How long the effect is watched before the pair is mended.
pub(super) const HOLD: Duration = Duration::from_millis(300);

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What was done and found, with the window of it on the boot clock.
#[derive(Debug)]
pub(crate) struct Inflicted {
    pub(crate) fault: Fault,
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    pub(crate) owner_before: usize,
    pub(crate) owner_after: usize,
    pub(crate) found: Found,
    /// Who was shot.
    pub(crate) fenced: Vec<&'static str>,
    /// What the fault's own checks found wrong.
    pub(crate) wrong: Vec<String>,
}

/// One fault under way.
pub(super) struct Injury<'a> {
    pub(super) cluster: &'a Cluster<'a>,
    pub(super) owner: usize,
    epoch: u64,
    from_ns: u64,
    shots: [u64; 2],
    mode: FenceMode,
    /// Until when grants and exclusions belong to the fault; those of the healing may not count.
    until_ns: u64,
    wrong: Vec<String>,
}

/// Inflicts `fault` on a whole pair, and leaves it whole.
pub(crate) fn inflict(cluster: &Cluster<'_>, fault: Fault, mode: FenceMode) -> Result<Inflicted, DriveError> {
    let before = cluster.wait("the pair to be whole before the fault", WHOLE, is_whole)?;
    let owner = active(&before).unwrap_or(0);
    let epoch_before = epoch_of(&before, owner);
    let shots = cluster.shots()?;
    let from_ns = boot_ns();
    let mut injury = Injury {
        cluster,
        owner,
        epoch: epoch_before,
        from_ns,
        shots,
        mode,
        until_ns: u64::MAX,
        wrong: Vec::new(),
    };
    match injury.run(fault) {
        Err(DriveError::Interrupted) => return Err(DriveError::Interrupted),
        Err(error) => injury.wrong.push(error.to_string()),
        Ok(()) => {}
    }
    injury.mend()?;
    let whole = if fault == Fault::IsolationLying {
        cluster.wait("the lie to be named and one to serve", WHOLE, |s| {
            active(s).is_some() && s.iter().flatten().any(|s| s.node.peer.fence_lied)
        })?
    } else {
        cluster.wait(&format!("the pair to be whole again after {}", fault.name()), WHOLE, is_whole)?
    };
    // The first acknowledgement of the healed pair belongs to the fault.
    let to_ns = boot_ns();
    let owner_after = active(&whole).unwrap_or(0);
    let (grants, exclusions) = injury.proofs();
    let after = cluster.shots()?;
    let fenced: Vec<_> = (0..2).filter(|n| after[*n] > shots[*n]).map(|n| NODES[n]).collect();
    let found = Found {
        same_owner: owner_after == owner,
        epoch_before,
        epoch_after: epoch_of(&whole, owner_after),
        grants,
        exclusions,
        shots: after.iter().sum::<u64>() - shots.iter().sum::<u64>(),
    };
    let wrong = injury.wrong;
    Ok(Inflicted { fault, from_ns, to_ns, owner_before: owner, owner_after, found, fenced, wrong })
}

fn epoch_of(statuses: &Statuses, node: usize) -> u64 {
    statuses[node].as_ref().and_then(mail).map_or(0, |group| group.epoch)
}

pub(super) fn protection(statuses: &Statuses, node: usize) -> &str {
    statuses[node].as_ref().and_then(mail).map_or("", |group| &group.protection)
}

pub(super) fn role(statuses: &Statuses, node: usize) -> &str {
    statuses[node].as_ref().and_then(mail).map_or("", |group| &group.role)
}

impl Injury<'_> {
    fn run(&mut self, fault: Fault) -> Result<(), DriveError> {
        if self.cluster.layout.mode == Mode::Shared
            && let Some(done) = self.run_shared(fault)
        {
            return done;
        }
        match fault {
            Fault::PowerLossActive => self.power_loss_active(),
            Fault::PowerLossStandby => self.power_loss_standby(),
            Fault::ProcessKill => self.strike(Order::KillNode),
            Fault::FreezeChild => self.strike(Order::StopNode),
            Fault::GuardianKill => self.guardian_kill(),
            Fault::GuardianThenChild => self.until_fenced(Order::KillBoth),
            Fault::FreezeShort => self.freeze_short(),
            Fault::FreezeLong => self.until_fenced(Order::StopAll),
            Fault::ReplicationCut => self.cut_and_stay(Cut::Replication),
            Fault::CutThenPowerLoss => self.cut_then_power_loss(),
            Fault::HeartbeatCut => self.heartbeat_cut(),
            Fault::NetworkCut => self.cut_and_stay(Cut::Network),
            Fault::NetworkCutActive => self.network_cut_active(),
            Fault::Isolation => self.isolation(),
            Fault::StopFails => self.stop_fails(),
            Fault::Switchover => self.switchover(),
            Fault::BothDown => self.both_down(),
            Fault::IsolationNofence => self.isolation_nofence(),
            Fault::IsolationLying => self.isolation_lying(),
        }
    }

    pub(super) fn standby(&self) -> usize {
        1 - self.owner
    }

    pub(super) fn order(&self, node: usize, order: Order) -> Result<String, DriveError> {
        self.cluster.order(node, order)
    }

    /// Notes what is not as it should be; the run goes on.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    /// Waits until the other node serves in a newer epoch.
    fn taken_over(&self, what: &str) -> Result<(), DriveError> {
        let (standby, epoch) = (self.standby(), self.epoch);
        self.cluster.wait(&format!("{} to take over ({what})", NODES[standby]), EFFECT, |s| {
            role(s, standby) == "active" && epoch_of(s, standby) > epoch
        })?;
        self.cluster.sleep(HOLD)
    }

    fn power_loss_active(&self) -> Result<(), DriveError> {
        self.order(self.owner, Order::Off)?;
        self.taken_over("the active one has no power")?;
        self.order(self.owner, Order::On).map(drop)
    }

    fn power_loss_standby(&self) -> Result<(), DriveError> {
        self.order(self.standby(), Order::Off)?;
        let owner = self.owner;
        self.cluster.wait("the owner to go on alone", EFFECT, |s| {
            role(s, owner) == "active" && protection(s, owner) == "standalone"
        })?;
        self.cluster.sleep(HOLD)?;
        self.order(self.standby(), Order::On).map(drop)
    }

    /// Something that the guardian finishes, and mends by starting the node again.
    fn strike(&self, order: Order) -> Result<(), DriveError> {
        self.order(self.owner, order)?;
        self.taken_over("its guardian released")
    }

    fn guardian_kill(&self) -> Result<(), DriveError> {
        self.order(self.owner, Order::KillGuardian)?;
        let epoch = self.epoch;
        self.cluster.wait("a new grant after the guardian's death", EFFECT, |s| {
            active(s).is_some_and(|owner| epoch_of(s, owner) > epoch)
        })?;
        self.cluster.sleep(HOLD)
    }

    fn until_fenced(&self, order: Order) -> Result<(), DriveError> {
        self.order(self.owner, order)?;
        self.taken_over("nobody can release, it must be fenced")?;
        // The chassis killed and verified; a late wake-up finds nobody.
        self.order(self.owner, Order::ContinueAll)?;
        self.power_on_again(self.owner)
    }

    fn power_on_again(&self, node: usize) -> Result<(), DriveError> {
        let until = Instant::now() + EFFECT;
        while self.order(node, Order::Status)? != "off" {
            if Instant::now() >= until {
                let what = format!("{} to be off", NODES[node]);
                return Err(DriveError::Waited { what, limit: EFFECT, saw: "it is on".into() });
            }
            self.cluster.sleep(ms(5))?;
        }
        self.order(node, Order::On).map(drop)
    }

    fn freeze_short(&self) -> Result<(), DriveError> {
        self.order(self.owner, Order::StopAll)?;
        std::thread::sleep(SHORT_FREEZE);
        self.order(self.owner, Order::ContinueAll)?;
        self.cluster.sleep(ms(700))
    }

    fn cut_and_stay(&self, what: Cut) -> Result<(), DriveError> {
        self.cluster.cut(what)?;
        let owner = self.owner;
        let alone = self.cluster.wait("the owner to go on alone", EFFECT, |s| {
            role(s, owner) == "active" && protection(s, owner) == "standalone"
        });
        self.cluster.sleep(ms(500))?;
        self.cluster.heal()?;
        alone.map(drop)
    }

    /// The excluded standby must not serve, whatever happens to the one that went on without it.
    fn cut_then_power_loss(&mut self) -> Result<(), DriveError> {
        let (owner, standby) = (self.owner, self.standby());
        self.cluster.cut(Cut::Replication)?;
        let alone = self.cluster.wait("the owner to go on alone", EFFECT, |s| {
            role(s, owner) == "active" && protection(s, owner) == "standalone"
        });
        self.cluster.sleep(HOLD)?;
        self.order(owner, Order::Off)?;
        self.cluster.sleep(ms(1500))?;
        let statuses = self.cluster.statuses();
        self.check(role(&statuses, standby) != "active", || {
            format!("{} serves without what was acknowledged alone: {}", NODES[standby], in_words(&statuses))
        });
        self.cluster.heal()?;
        self.order(owner, Order::On)?;
        alone.map(drop)
    }

    fn heartbeat_cut(&mut self) -> Result<(), DriveError> {
        self.cluster.cut(Cut::Heartbeats)?;
        let seen = self.cluster.wait("both to call the other unreachable", EFFECT, |s| {
            s.iter().all(|s| s.as_ref().is_some_and(|s| s.node.peer.state == "unreachable"))
        });
        self.cluster.sleep(ms(700))?;
        self.cluster.heal()?;
        seen.map(drop)
    }

    fn network_cut_active(&self) -> Result<(), DriveError> {
        self.cluster.cut(Cut::NetworkAndOutside(self.owner))?;
        let moved = self.taken_over("the active one lost the outside");
        self.cluster.heal()?;
        moved
    }

    fn shot(&self) -> Result<[u64; 2], DriveError> {
        let now = self.cluster.shots()?;
        Ok([now[0] - self.shots[0], now[1] - self.shots[1]])
    }

    pub(super) fn isolation(&mut self) -> Result<(), DriveError> {
        self.cluster.cut(Cut::Isolation)?;
        let ended = self.while_isolated();
        self.cluster.heal()?;
        ended
    }

    fn while_isolated(&mut self) -> Result<(), DriveError> {
        let until = Instant::now() + EFFECT;
        let victim = loop {
            match self.shot()? {
                [0, 0] if Instant::now() < until => self.cluster.sleep(ms(5))?,
                [0, 0] => {
                    let saw = in_words(&self.cluster.statuses());
                    return Err(DriveError::Waited { what: "one to be fenced".into(), limit: EFFECT, saw });
                }
                [_, 0] => break 0,
                [0, _] => break 1,
                both => {
                    self.wrong.push(format!("both were shot: {both:?}"));
                    break 0;
                }
            }
        };
        let survivor = 1 - victim;
        // An owner of shared data has no copy to exclude: its protection is "none".
        self.cluster.wait("the survivor to serve alone", EFFECT, |s| {
            role(s, survivor) == "active" && matches!(protection(s, survivor), "standalone" | "none")
        })?;
        self.cluster.sleep(HOLD)?;
        self.power_on_again(victim)?;
        // It hears nothing, is not current, and must not shoot.
        self.cluster.wait("the fenced node to be back", EFFECT, |s| s[victim].is_some())?;
        self.cluster.sleep(ms(2500))?;
        let statuses = self.cluster.statuses();
        self.check(active(&statuses) == Some(survivor), || {
            format!("the survivor does not serve alone: {}", in_words(&statuses))
        });
        let shots = self.shot()?;
        self.check(shots.iter().sum::<u64>() == 1, || format!("shots {shots:?}, expected one in all"));
        Ok(())
    }

    fn stop_fails(&self) -> Result<(), DriveError> {
        self.order(self.owner, Order::StopSidecar)?;
        self.ask_to_move()?;
        self.taken_over("its service ignored the stop")
    }

    fn switchover(&self) -> Result<(), DriveError> {
        self.ask_to_move()?;
        self.taken_over("as ordered")
    }

    /// Asks for a switchover until it is not refused: the owner may not have heard yet that the other is viable.
    fn ask_to_move(&self) -> Result<(), DriveError> {
        let until = Instant::now() + EFFECT;
        loop {
            let from = boot_ns();
            if self.cluster.request(self.owner, Question::Switchover) {
                self.cluster.sleep(ms(20))?;
                let refused = self.cluster.events(self.owner, from).iter().any(|e| e.kind == "refused");
                if !refused {
                    return Ok(());
                }
            }
            if Instant::now() >= until {
                let saw = in_words(&self.cluster.statuses());
                let what = "the switchover to be accepted".into();
                return Err(DriveError::Waited { what, limit: EFFECT, saw });
            }
            self.cluster.sleep(ms(20))?;
        }
    }

    fn both_down(&mut self) -> Result<(), DriveError> {
        self.both_return()?;
        // What both hold says nothing about who went on: one alone must ask.
        self.both_off()?;
        let one = self.owner;
        self.order(one, Order::On)?;
        self.cluster.wait("the lone node to ask", EFFECT, |s| {
            s[one].as_ref().and_then(mail).is_some_and(|g| g.question.is_some())
        })?;
        self.cluster.sleep(ms(500))?;
        let statuses = self.cluster.statuses();
        self.check(active(&statuses).is_none(), || {
            format!("a lone node whose record proves nothing serves: {}", in_words(&statuses))
        });
        self.order(1 - one, Order::On).map(drop)
    }

    /// Both lose their power and return one second apart, in either order.
    pub(super) fn both_return(&self) -> Result<(), DriveError> {
        for first in [self.owner, self.standby()] {
            self.both_off()?;
            self.order(first, Order::On)?;
            self.cluster.sleep(ms(1000))?;
            self.order(1 - first, Order::On)?;
            self.cluster.wait(&format!("both to be back, {} first", NODES[first]), WHOLE, is_whole)?;
        }
        Ok(())
    }

    /// At rest first: a power loss during a change of the in-sync set is another fault.
    pub(super) fn both_off(&self) -> Result<(), DriveError> {
        self.cluster.wait("the pair to be whole before both lose power", WHOLE, is_whole)?;
        // At one instant, so that neither journal gets what the other one lacks.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| self.order(self.standby(), Order::Off));
            let first = self.order(self.owner, Order::Off);
            let panicked = |_| DriveError::Interrupted;
            other.join().map_err(panicked).flatten().and(first).map(drop)
        })
    }

    fn with_devices(&self, mode: FenceMode) -> Result<(), DriveError> {
        [0, 1].into_iter().try_for_each(|node| self.order(node, Order::Mode(mode)).map(drop))
    }

    fn isolation_nofence(&mut self) -> Result<(), DriveError> {
        self.with_devices(FenceMode::Dead)?;
        self.cluster.cut(Cut::Isolation)?;
        let held = self.cluster.sleep(ms(3000));
        let statuses = self.cluster.statuses();
        let standby = self.standby();
        self.check(role(&statuses, standby) != "active", || {
            format!("{} took over without a proof: {}", NODES[standby], in_words(&statuses))
        });
        self.check(protection(&statuses, self.owner) != "standalone", || "the owner went alone".into());
        // Beats are heard again before the stream is: the owner may then go alone with consent.
        self.until_ns = boot_ns();
        self.cluster.heal()?;
        self.with_devices(self.mode)?;
        held
    }

    fn isolation_lying(&mut self) -> Result<(), DriveError> {
        self.with_devices(FenceMode::Lying)?;
        self.cluster.cut(Cut::Isolation)?;
        let standby = self.standby();
        let both = self.cluster.wait("both to serve, deceived by a lying device", EFFECT, |s| {
            role(s, standby) == "active" || protection(s, self.owner) == "standalone"
        });
        let held = self.cluster.sleep(ms(1500));
        self.cluster.heal()?;
        self.with_devices(self.mode)?;
        both?;
        held
    }

    /// Takes everything back that a fault may have left, so that the next one finds a whole pair.
    fn mend(&self) -> Result<(), DriveError> {
        self.cluster.heal()?;
        self.with_devices(self.mode)?;
        for node in [0, 1] {
            self.order(node, Order::ContinueAll)?;
            if self.order(node, Order::Status)? == "off" {
                self.order(node, Order::On)?;
            }
        }
        Ok(())
    }

    /// The proofs of all grants, and of all exclusions, since the fault began.
    fn proofs(&self) -> (Vec<String>, Vec<String>) {
        let mut events: Vec<_> = (0..2).flat_map(|n| self.cluster.events(n, self.from_ns)).collect();
        events.sort_by_key(|event| event.at_ns);
        let of = |kind: &str| {
            let chosen = events.iter().filter(|e| e.kind == kind && e.at_ns < self.until_ns);
            chosen.filter_map(|e| e.fields.get("proof").cloned()).collect()
        };
        (of("granted"), of("alone"))
    }
}

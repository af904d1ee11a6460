//! How lives begin and end: power, processes and their guardians, machines that stop, disks that are replaced.

use super::world::{World, at};
use crate::engine::{Boot, DataReport, Engine, Input, Predecessor, ReleasedNotice, RoleName};
use crate::{BootId, Incarnation, NodeId, NodeRecord, StoreId};
use std::collections::VecDeque;

/// A guardian restarts its child after so many units.
const RESTART: u32 = 4;

impl World {
    /// What the woken process finds: its sockets first.
    pub(super) fn thaw(&mut self, n: usize) {
        self.nodes[n].frozen = false;
        self.nodes[n].healthy_since = self.t;
        for (link, beat) in std::mem::take(&mut self.nodes[n].inbox) {
            self.beat_arrives(n, link, beat);
        }
        self.complete(n);
        self.tick(n);
    }

    pub(super) fn restart_if_due(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.power && !node.frozen && node.restart_at.take_if(|at| *at <= self.t).is_some() {
            self.boot(n);
        }
    }

    /// A new life begins, on a machine that gets power if it had none.
    pub(super) fn boot(&mut self, n: usize) {
        let (t, links) = (self.t, self.config.links.len());
        let node = &mut self.nodes[n];
        if !node.power {
            (node.power, node.boots) = (true, node.boots + 1);
        }
        (node.cut_off, node.leaving, node.down_since) = (false, false, None);
        node.said_released.fill(false);
        node.life += 1;
        node.incarnation = Incarnation(((n as u128 + 1) << 96) | u128::from(node.life));
        node.healthy_since = t;
        node.sent = vec![VecDeque::new(); links];
        (node.heard, node.echoed) = (vec![0; links], vec![0; links]);
        node.ever_echoed = vec![false; links];
        (node.restart_at, node.notice) = (None, None);
        let boot = Boot {
            me: NodeId(n as u8),
            incarnation: node.incarnation,
            boot: BootId(((n as u128 + 1) << 96) | u128::from(node.boots)),
            record: node.record.clone(),
            predecessor: Predecessor::Gone,
            guarded: true,
            outside: node.outside,
        };
        let mut engine = Engine::boot(self.config.clone(), boot, at(t));
        if crate::sim::process::all_are_witnessed() {
            engine.check_marks();
        }
        #[cfg(feature = "sabotage")]
        if let Some(switch) = self.family.sabotage {
            engine.sabotage(switch);
        }
        node.engine = Some(engine);
        let life = node.life;
        self.say(Some(n), || format!("boots, life {life}"));
        self.feed(n, Input::Tick);
    }

    /// The process is gone; its services end with it.
    pub(super) fn end_process(&mut self, n: usize, durable: bool) {
        let node = &mut self.nodes[n];
        if let (Some(w), true) = (node.write.take(), durable) {
            node.record = w.record;
        }
        node.engine = None;
        self.oracle.excused |= self.third.as_ref().is_some_and(|t| t.forgot);
        node.down_since = node.down_since.or(Some(self.t));
        node.frozen = false;
        node.inbox.clear();
        node.ops.clear();
        node.permits.clear();
        node.roles.fill(RoleName::Waiting);
        node.running.fill(false);
        node.primary.fill(None);
        node.told.fill(DataReport::default());
        self.stream_ends_with(n);
    }

    pub(super) fn power_off(&mut self, n: usize, durable: bool) {
        self.end_process(n, durable);
        let node = &mut self.nodes[n];
        (node.power, node.restart_at, node.notice) = (false, None, None);
    }

    /// The guardian finishes a dead child: undoes, verifies, says so, starts it again.
    pub(super) fn process_dies(&mut self, n: usize, durable: bool) {
        let Some(engine) = &self.nodes[n].engine else { return };
        let (incarnation, groups) = (self.nodes[n].incarnation, engine.owned());
        self.end_process(n, durable);
        let node = &mut self.nodes[n];
        node.notice = Some(ReleasedNotice { incarnation, groups, complete: true });
        node.restart_at = Some(self.t + RESTART);
    }

    /// The disk is another one, and empty.
    pub(super) fn replace_disk(&mut self, n: usize) {
        self.power_off(n, false);
        let node = &mut self.nodes[n];
        node.stores += 1;
        node.record = NodeRecord::blank(store_id(n, node.stores), None);
        for (g, mirror) in self.mirrors.iter_mut().enumerate() {
            if let Some(mirror) = mirror {
                mirror.copies[n] = Default::default();
            }
            self.oracle.epochs[g].forget(n);
        }
        self.oracle.disk_replaced = true;
    }

    /// The guardian's last word arrives over any link that carries.
    pub(super) fn notice_from(&mut self, from: usize) -> Option<ReleasedNotice> {
        let carries = self.cut.iter().any(|c| !c[from]) && self.nodes[from].power && !self.nodes[from].frozen;
        if carries { self.nodes[from].notice.take() } else { None }
    }
}

pub(super) fn store_id(n: usize, replaced: u32) -> StoreId {
    StoreId(((n as u128 + 1) << 96) | u128::from(replaced))
}

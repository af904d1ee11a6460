//! Fence devices: one a node, each in the mood that a choice gave it.

use super::choice::Device;
use super::world::{EFFECT, LATE, Order, World};
use crate::FenceScope;
use crate::OpId;

impl World {
    pub(super) fn scope(&self) -> FenceScope {
        self.config.fence.as_ref().map_or(FenceScope::Incarnation, |f| f.scope)
    }

    /// Whether the device of `n` would truly say *off*.
    pub(super) fn is_off(&self, n: usize) -> bool {
        !self.nodes[n].power || (self.scope() == FenceScope::Access && self.nodes[n].cut_off)
    }

    pub(super) fn order(&mut self, by: usize, op: OpId, shoot: bool) {
        let t = self.t;
        if shoot {
            self.check_shot(by);
            self.say(Some(by), || "orders to fence its peer".into());
        }
        let does = self.nodes[1 - by].device;
        let effective = shoot && matches!(does, Device::Works | Device::Mute);
        let answers = match does {
            Device::Works if shoot => t + EFFECT,
            Device::Works | Device::Fails => t + 1,
            Device::Hangs | Device::Mute => t + LATE,
        };
        let life = self.nodes[by].life;
        let hits = effective.then_some(t + EFFECT);
        let fails = does != Device::Works;
        self.orders.push(Order { by, life, op, ordered: t, hits, answers, fails });
    }

    /// Orders that take effect now. Two that cross both do.
    pub(super) fn devices_act(&mut self) {
        let t = self.t;
        let due: Vec<_> =
            self.orders.iter().filter(|o| o.hits == Some(t)).map(|o| (1 - o.by, o.ordered)).collect();
        for (victim, ordered) in due {
            self.hit(victim, ordered);
        }
        let lives = [self.nodes[0].life, self.nodes[1].life];
        // An order whose giver ended stays until it had its effect.
        self.orders.retain(|o| o.hits.is_some_and(|at| at > t) || o.life == lives[o.by]);
    }

    fn hit(&mut self, victim: usize, ordered: u32) {
        if self.nodes[victim].engine.is_some() {
            self.note_hit(victim, ordered);
        }
        self.say(Some(victim), || "is fenced".into());
        if self.scope() == FenceScope::Access {
            self.nodes[victim].cut_off = true;
        } else {
            self.power_off(victim, false);
        }
    }
}

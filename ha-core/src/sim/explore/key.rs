//! The fingerprint by which a state is recognised: everything that can matter from here on, relative to now.
//!
//! Whatever a fingerprint leaves out can only hide a state from the exploration, never invent one: what is
//! explored is always a state of two real engines.

use super::world::{Node, World, at};
use crate::engine::{Frame, Statement};
use crate::{GroupId, Lsn};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Longer than any deadline of a family, with all the turns of a contested shot.
const HORIZON: Duration = Duration::from_millis(128);
/// Times of the world older than this are all alike.
const OLD: u32 = 40;

/// Multiplies and folds, a word at a time: states are many, and nobody attacks them.
#[derive(Default)]
pub(super) struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

impl World {
    /// The fingerprint of this state.
    pub(super) fn key(&self) -> u64 {
        let mut h = Digest::default();
        let bases: Vec<Lsn> = (0..self.mirrors.len()).map(|g| Lsn(self.base(g) as u64)).collect();
        for n in 0..2 {
            self.hash_node(n, &bases, &mut h);
            self.hash_beats(n, &bases, &mut h);
        }
        (&self.cut, self.mirror_cut, self.oracle.disk_replaced).hash(&mut h);
        for since in &self.clear_since {
            self.ago(*since).hash(&mut h);
        }
        for o in &self.orders {
            (o.by, self.ago(o.ordered), o.fails).hash(&mut h);
            (o.life == self.nodes[o.by].life, o.hits.map(|at| at - self.t.min(at))).hash(&mut h);
            o.answers.saturating_sub(self.t).hash(&mut h);
        }
        for g in 0..self.mirrors.len() {
            self.hash_mirror(g, &mut h);
        }
        self.hash_third(&mut h);
        h.finish()
    }

    fn ago(&self, t: u32) -> u32 {
        (self.t - t.min(self.t)).min(OLD)
    }

    fn hash_node(&self, n: usize, bases: &[Lsn], h: &mut Digest) {
        let node: &Node = &self.nodes[n];
        let frame = Frame { horizon: HORIZON, bases, order: false };
        node.engine.as_ref().map(|e| e.canonical_in(at(self.t), frame)).hash(h);
        (node.power, node.life, node.boots, node.stores, node.frozen, node.slow_disk).hash(h);
        (&node.record, node.device, node.cut_off, node.outside, &node.running).hash(h);
        (self.ago(node.healthy_since), self.ago(node.disk_slow_until), &node.notice).hash(h);
        node.restart_at.map(|at| at - self.t.min(at)).hash(h);
        (&node.said_released, node.leaving, node.down_since.map(|t| self.ago(t))).hash(h);
        if let Some(w) = &node.write {
            (&w.record, self.ago(w.began), w.due - self.t.min(w.due), w.fails).hash(h);
        }
        for o in &node.ops {
            (o.group, o.target, o.kind, o.due - self.t.min(o.due), o.fails).hash(h);
        }
        for g in 0..bases.len() {
            self.valid_until(n, g).hash(h);
        }
        for (l, sent) in node.sent.iter().enumerate() {
            // How far the peer's echo lags behind: the canonical forms of the engines leave the numbers out.
            let newest = sent.back().map_or(0, |(seq, _)| *seq);
            newest.wrapping_sub(self.nodes[1 - n].heard[l]).min(64).hash(h);
            self.ago(node.echoed[l]).hash(h);
        }
    }

    fn hash_beats(&self, to: usize, bases: &[Lsn], h: &mut Digest) {
        let newest = |n: usize, l: usize| self.nodes[n].sent[l].back().map_or(0, |(seq, _)| *seq);
        let late = self.delayed[to].iter().map(|b| (1u8, b));
        let stored = self.nodes[to].inbox.iter().map(|b| (2u8, b));
        for (how, (link, beat)) in self.flight[to].iter().map(|b| (0u8, b)).chain(late).chain(stored) {
            let l = usize::from(link.0);
            (how, l, beat.incarnation, beat.to).hash(h);
            newest(1 - to, l).wrapping_sub(beat.seq).hash(h);
            beat.echo.map(|echo| newest(to, l).wrapping_sub(echo)).hash(h);
            for statement in &beat.statements {
                relative(*statement, bases).hash(h);
            }
        }
    }

    fn hash_third(&self, h: &mut Digest) {
        let Some(third) = &self.third else { return };
        for (g, row) in third.rows.iter().enumerate() {
            (row.record, row.revision).hash(h);
            let Some((by, renewal, at)) = row.held else { continue };
            (by, self.ago(at), third.told[0][g] == renewal, third.told[1][g] == renewal).hash(h);
        }
        for row in &third.older {
            row.record.hash(h);
        }
        for r in &third.requests {
            (r.by, r.life == self.nodes[r.by].life, r.group, r.what, r.answer.is_some()).hash(h);
        }
        (third.cut, third.mute, third.forgot, self.oracle.excused).hash(h);
    }

    fn hash_mirror(&self, g: usize, h: &mut Digest) {
        let Some(m) = &self.mirrors[g] else { return };
        let base = self.base(g);
        let first = m.copies[0].log.get(base).map_or(m.next_message, |r| r.message);
        for copy in &m.copies {
            for r in copy.log.iter().skip(base) {
                (r.epoch, r.message.wrapping_sub(first), r.alone).hash(h);
            }
            (copy.known, copy.log.len() - base.min(copy.log.len())).hash(h);
        }
        for a in m.acknowledged.iter().filter(|a| a.index >= base) {
            (a.index - base, a.message.wrapping_sub(first)).hash(h);
        }
        if let Some(s) = &m.session {
            (s.owner, s.epoch, s.lives, s.caught_up, self.ago(s.opened).min(2)).hash(h);
        }
        if let Some((from, records)) = &m.append {
            (from.wrapping_sub(base), records.len()).hash(h);
        }
        m.ack.map(|upto| upto.wrapping_sub(base)).hash(h);
        (m.broken_since.map(|t| self.ago(t)), m.diverged).hash(h);
        for node in &self.nodes {
            let Some(p) = &node.primary[g] else { continue };
            (p.epoch, p.rule, p.acked.max(base) - base, p.peer.max(base) - base).hash(h);
            (p.promoted.max(base) - base, p.waiting.map(|t| self.ago(t))).hash(h);
            (self.ago(p.since).min(8), p.next_message.saturating_sub(self.t)).hash(h);
            node.told[g].caught_up.is_some().hash(h);
        }
    }
}

/// Positions in the log count from the place up to which both copies are equal.
fn relative(statement: Statement, bases: &[Lsn]) -> Statement {
    let from = |group: GroupId, lsn: Lsn| {
        Lsn(lsn.0.saturating_sub(bases.get(usize::from(group.0)).map_or(0, |b| b.0)))
    };
    match statement {
        Statement::Claim { group, epoch, state, set, lsn, highest } => {
            Statement::Claim { group, epoch, state, set, lsn: from(group, lsn), highest }
        }
        Statement::Released { group, epoch, final_lsn, excluded, leaving } => {
            let final_lsn = final_lsn.map(|lsn| from(group, lsn));
            Statement::Released { group, epoch, final_lsn, excluded, leaving }
        }
        other => other,
    }
}

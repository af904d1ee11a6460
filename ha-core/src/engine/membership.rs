//! Who is alive: links by echoing beats, the node by its links, our own lateness first (rules 9 and 10).

use super::machine::Engine;
use super::state::{Link, Suspended};
use super::{EventKind, LinkState, PeerState, TimeoutEdge};
use crate::Instant;
use crate::config::LinkConfig;
use std::time::Duration;

impl Engine {
    /// Rule 9: being later than our own promise extends the peer's deadline, at most by `dead` a detection.
    pub(super) fn note_own_gap(&mut self, now: Instant) {
        let gap = now.since(self.st.wake);
        let tolerance = self.cfg.links.iter().map(|l| l.interval).min().unwrap_or_default() / 2;
        if self.st.wake == Instant::FAR || gap <= tolerance {
            return;
        }
        let remembered = self.cfg.latest_dead().max(Duration::from_secs(1));
        if gap > self.st.stall || now.since(self.st.stall_at) > remembered {
            self.st.stall = gap;
            self.st.stall_at = now;
        }
        self.st.drains = Some(now);
        self.emit(EventKind::Late { gap_ms: u32::try_from(gap.as_millis()).unwrap_or(u32::MAX) });
        self.ask_for_confirmation_anew(now, gap);
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::BlameThePeer) {
            return;
        }
        let promised = self.st.wake;
        for (link, config) in self.st.links.iter_mut().zip(&self.cfg.links) {
            let dead_before = link.two_way.is_none_or(|at| promised.since(at + link.grace) >= config.dead);
            link.grace = (link.grace + gap).min(config.dead);
            if let (Some(at), false) = (link.two_way, dead_before) {
                // However long the gap: nobody is dead before a round trip was possible again.
                let silent = now.since(at + link.grace);
                link.grace += silent.saturating_sub(config.suspect);
            }
        }
    }

    /// Nobody could confirm anything to a node that did not run; and what was confirmed before the gap, and waits in its sockets, says
    /// nothing of it. After a long one whoever took over meanwhile has the whole time to speak up.
    fn ask_for_confirmation_anew(&mut self, now: Instant, gap: Duration) {
        let long = gap >= self.cfg.timing.token_validity;
        for g in self.group_ids() {
            let Some(suspended) = self.group(g).suspended else { continue };
            let nonce = if long { self.nonce() } else { suspended.nonce };
            let since = if long { now } else { suspended.since + gap };
            let overdue = suspended.overdue && !long;
            self.gr(g).suspended = Some(Suspended { since, nonce, overdue });
        }
    }

    pub(super) fn watch_links(&mut self) {
        let now = self.st.now;
        for i in 0..self.st.links.len() {
            let (link, config) = (&self.st.links[i], &self.cfg.links[i]);
            let state = link_state(link, config, now);
            let before = link.state;
            if state == before {
                continue;
            }
            self.st.links[i].state = state;
            if state == LinkState::Suspect {
                self.timed_out(TimeoutEdge::LinkSuspect);
            } else if state == LinkState::Dead {
                self.timed_out(TimeoutEdge::LinkDead);
            }
            self.emit(EventKind::Link { link: crate::LinkId(i as u8), state });
        }
    }

    pub(super) fn watch_peer(&mut self) {
        let state = self.peer_state();
        if state == self.st.peer.state {
            return;
        }
        let before = std::mem::replace(&mut self.st.peer.state, state);
        if state == PeerState::Dead && before != PeerState::Unknown {
            self.timed_out(TimeoutEdge::PeerDead);
        }
        if matches!(state, PeerState::Alive) {
            self.st.fence.failures = 0;
            self.st.fence.last_slot = None;
        }
        let incarnation = self.st.peer.incarnation();
        self.emit(EventKind::Peer { incarnation, state });
        self.again = true;
    }

    fn peer_state(&self) -> PeerState {
        let Some(life) = self.st.peer.current() else { return PeerState::Unknown };
        if life.ended.is_some() {
            return PeerState::Gone;
        }
        let mut normal =
            self.st.links.iter().zip(&self.cfg.links).filter(|(_, c)| !c.evidence_only).map(|(l, _)| l.state);
        let evidence = self
            .st
            .links
            .iter()
            .zip(&self.cfg.links)
            .any(|(l, c)| c.evidence_only && l.state == LinkState::Up);
        let best = normal.clone().find(|s| *s == LinkState::Up);
        if best.is_some() {
            return PeerState::Alive;
        }
        let ever = self.st.links.iter().any(|l| l.two_way.is_some());
        if !ever {
            return PeerState::Unknown;
        }
        if normal.any(|s| s == LinkState::Suspect) {
            return if evidence { PeerState::Unreachable } else { PeerState::Suspect };
        }
        if evidence { PeerState::Unreachable } else { PeerState::Dead }
    }

    /// When the state of some link changes next by silence alone.
    pub(super) fn membership_deadline(&self) -> Instant {
        let mut next = Instant::FAR;
        for (link, config) in self.st.links.iter().zip(&self.cfg.links) {
            if let Some(heard) = link.two_way {
                for limit in [config.suspect, config.dead] {
                    let at = heard + limit + link.grace;
                    if at > self.st.now {
                        next = next.min(at);
                    }
                }
            }
        }
        next
    }

    /// The send time of our newest beat that the peer is known to have heard: the origin of rule 11's slots.
    pub(super) fn last_echoed(&self) -> Option<Instant> {
        self.st.links.iter().filter_map(|l| l.echoed).max()
    }

    /// The newest sign of the peer's life on any link, echoing or not.
    pub(super) fn last_heard(&self) -> Instant {
        self.st.links.iter().filter_map(|l| l.last_heard).max().unwrap_or(Instant::ZERO)
    }
}

fn link_state(link: &Link, config: &LinkConfig, now: Instant) -> LinkState {
    let age = |at: Instant| now.since(at + link.grace);
    match (link.two_way, link.last_heard) {
        (Some(at), _) if age(at) < config.suspect => LinkState::Up,
        (_, Some(heard))
            if age(heard) < config.suspect && link.two_way.is_none_or(|t| age(t) >= config.dead) =>
        {
            LinkState::HalfOpen
        }
        (Some(at), _) if age(at) < config.dead => LinkState::Suspect,
        (Some(_), _) => LinkState::Dead,
        (None, _) => LinkState::Silent,
    }
}

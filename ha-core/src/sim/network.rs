//! Heartbeat paths and the mirror's path: latency, loss, repetition, reordering and cuts by direction.

use super::fault::Cut;
use super::rng::Rng;
use crate::config::Config;
use crate::engine::Beat;

const MICRO: u64 = 1000;

/// One direction of one path.
#[derive(Clone, Debug)]
pub struct Path {
    cuts: u32,
    /// Since when it carries without loss (true time), as of the last change.
    pub clear_since: u64,
    /// Frames lost of a thousand.
    pub loss_per_mille: u32,
    /// Frames repeated of a thousand.
    pub repeat_per_mille: u32,
    latency: u64,
    jitter: u64,
    /// Extra delay of up to so many nanoseconds.
    pub slow: u64,
    /// What is sent before this true time arrives after it.
    clogged_until: u64,
}

impl Path {
    /// An intact direction with some latency.
    #[must_use]
    pub fn new(rng: &mut Rng, serial: bool) -> Self {
        Self {
            cuts: 0,
            clear_since: 0,
            loss_per_mille: 0,
            repeat_per_mille: if serial { 0 } else { 5 },
            latency: if serial { 6000 * MICRO } else { rng.range(100, 1500) * MICRO },
            jitter: if serial { 300 * MICRO } else { rng.range(50, 2500) * MICRO },
            slow: 0,
            clogged_until: 0,
        }
    }

    /// Whether nothing passes.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cuts > 0
    }

    /// Whether it carried everything since `then` (true time).
    #[must_use]
    pub const fn is_clear_since(&self, then: u64) -> bool {
        self.cuts == 0
            && self.loss_per_mille == 0
            && self.slow == 0
            && self.clogged_until <= then
            && self.clear_since <= then
    }

    /// The delays after which copies of a frame sent now arrive: none, one or two.
    pub fn arrivals(&self, now: u64, rng: &mut Rng) -> [Option<u64>; 2] {
        if self.is_cut() || (self.loss_per_mille > 0 && rng.chance(u64::from(self.loss_per_mille))) {
            return [None, None];
        }
        let first = Some(self.delay(now, rng));
        let repeated = self.repeat_per_mille > 0 && rng.chance(u64::from(self.repeat_per_mille));
        [first, if repeated { Some(self.delay(now, rng) + 5000 * MICRO) } else { None }]
    }

    /// The delay of one frame that is not lost.
    pub const fn delay(&self, now: u64, rng: &mut Rng) -> u64 {
        self.clogged_until.saturating_sub(now)
            + self.latency
            + rng.range(0, self.jitter + 1)
            + if self.slow > 0 { rng.range(0, self.slow) } else { 0 }
    }
}

/// Old frames that somebody recorded and plays again.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Vec<Beat>);

impl Recorded {
    const KEPT: usize = 12;

    /// Records one frame.
    pub fn keep(&mut self, beat: &Beat, rng: &mut Rng) {
        if self.0.len() < Self::KEPT {
            self.0.push(beat.clone());
        } else {
            let at = rng.index(Self::KEPT);
            self.0[at] = beat.clone();
        }
    }

    /// A frame that was meant for another life than `current`. The wire refuses recorded frames for the
    /// current one (replay window), so those are never played.
    pub fn stale(&self, current: Option<crate::Incarnation>, rng: &mut Rng) -> Option<Beat> {
        let beat = self.0.get(rng.index(self.0.len()))?;
        (beat.to.is_some() && beat.to != current).then(|| beat.clone())
    }
}

/// All paths between the two nodes. The first index of a path is its link, the second the sending node.
#[derive(Clone, Debug)]
pub struct Network {
    /// The heartbeat links.
    pub links: Vec<[Path; 2]>,
    /// The mirror's path.
    pub mirror: [Path; 2],
    /// Recorded frames by link and sender.
    pub recorded: Vec<[Recorded; 2]>,
    evidence: Vec<bool>,
    /// +1 at each healing: ends of faults from before it are ignored.
    pub healings: u32,
}

impl Network {
    /// Intact paths for the links of `config`.
    #[must_use]
    pub fn new(config: &Config, rng: &mut Rng) -> Self {
        let links = config
            .links
            .iter()
            .map(|l| {
                let serial = l.bits_per_second.is_some();
                [Path::new(rng, serial), Path::new(rng, serial)]
            })
            .collect();
        Self {
            links,
            mirror: [Path::new(rng, false), Path::new(rng, false)],
            recorded: config.links.iter().map(|_| [Recorded::default(), Recorded::default()]).collect(),
            evidence: config.links.iter().map(|l| l.evidence_only).collect(),
            healings: 0,
        }
    }

    /// The direction from node `from` on `link`. A link inside the mirror's stream shares its fate.
    #[must_use]
    pub fn path(&self, link: usize, from: usize) -> Option<&Path> {
        if self.evidence.get(link).copied().unwrap_or(false) {
            Some(&self.mirror[from])
        } else {
            self.links.get(link).map(|l| &l[from])
        }
    }

    /// Cuts (or mends a cut of) the chosen paths.
    pub fn cut(&mut self, now: u64, what: Reach, cut: Cut, mend: bool) {
        let change = |p: &mut Path| {
            p.cuts = if mend { p.cuts.saturating_sub(1) } else { p.cuts + 1 };
            p.clear_since = now;
        };
        let ends: &[usize] = match cut {
            Cut::From(0) => &[0],
            Cut::From(_) => &[1],
            Cut::Both => &[0, 1],
        };
        let last = self.last_beating();
        for end in ends {
            for (i, link) in self.links.iter_mut().enumerate() {
                let hit = match what {
                    Reach::Link(l) => i == usize::from(l),
                    Reach::Beats | Reach::Everything => true,
                    Reach::AllButLast => i != last,
                    Reach::Mirror => false,
                };
                if hit {
                    change(&mut link[*end]);
                }
            }
            if matches!(what, Reach::Mirror | Reach::AllButLast | Reach::Everything) {
                change(&mut self.mirror[*end]);
            }
        }
    }

    /// Clogs the chosen path: what is sent before `until` (true time) arrives after it.
    pub fn clog(&mut self, what: Reach, cut: Cut, until: u64) {
        let path = match what {
            Reach::Link(link) => self.links.get_mut(usize::from(link)),
            _ => Some(&mut self.mirror),
        };
        let ends = match cut {
            Cut::From(0) => 0..1,
            Cut::From(_) => 1..2,
            Cut::Both => 0..2,
        };
        for way in path.into_iter().flat_map(|ways| &mut ways[ends.clone()]) {
            way.clogged_until = way.clogged_until.max(until);
        }
    }

    fn last_beating(&self) -> usize {
        self.evidence.iter().rposition(|e| !e).unwrap_or(0)
    }

    /// Whether the mirror's path carries both ways.
    #[must_use]
    pub const fn mirror_carries(&self) -> bool {
        !self.mirror[0].is_cut() && !self.mirror[1].is_cut()
    }

    /// Mends everything.
    pub fn heal(&mut self, now: u64) {
        self.healings += 1;
        for path in self.links.iter_mut().flatten().chain(&mut self.mirror) {
            path.cuts = 0;
            path.loss_per_mille = 0;
            path.slow = 0;
            path.clogged_until = 0;
            path.clear_since = now;
        }
    }
}

/// Which paths a cut reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// One link.
    Link(u8),
    /// All links that carry beats of their own.
    Beats,
    /// The mirror's path, with the link inside it.
    Mirror,
    /// Everything but the last link with beats of its own.
    AllButLast,
    /// Everything.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LinkConfig;
    use std::time::Duration;

    fn network() -> (Network, Rng) {
        let ms = Duration::from_millis;
        let config = Config::pair("c", "a", "b")
            .link(LinkConfig::datagram("n", ms(50), ms(200)))
            .link(LinkConfig::serial("t", ms(100), ms(500), 115_200))
            .link(LinkConfig::evidence("s", ms(100), ms(400)));
        let mut rng = Rng::new(3);
        (Network::new(&config, &mut rng), rng)
    }

    #[test]
    fn a_cut_one_way_leaves_the_other_way() {
        let (mut net, mut rng) = network();
        net.cut(0, Reach::Link(0), Cut::From(1), false);
        assert!(net.path(0, 1).unwrap().arrivals(0, &mut rng).iter().all(Option::is_none));
        assert!(net.path(0, 0).unwrap().arrivals(0, &mut rng)[0].is_some());
    }

    #[test]
    fn two_cuts_need_two_mendings() {
        let (mut net, _) = network();
        net.cut(0, Reach::Everything, Cut::Both, false);
        net.cut(0, Reach::Link(0), Cut::Both, false);
        net.cut(0, Reach::Everything, Cut::Both, true);
        assert!(net.path(0, 0).unwrap().is_cut());
        assert!(!net.path(1, 0).unwrap().is_cut());
        net.heal(0);
        assert!(!net.path(0, 0).unwrap().is_cut());
    }

    #[test]
    fn the_link_inside_the_stream_shares_its_fate() {
        let (mut net, _) = network();
        net.cut(0, Reach::Mirror, Cut::Both, false);
        assert!(net.path(2, 0).unwrap().is_cut());
        assert!(!net.path(0, 0).unwrap().is_cut());
        net.heal(0);
        net.cut(0, Reach::AllButLast, Cut::Both, false);
        assert!(net.path(2, 1).unwrap().is_cut() && !net.path(1, 1).unwrap().is_cut());
    }

    #[test]
    fn a_clogged_path_delivers_late_what_it_was_given() {
        let (mut net, mut rng) = network();
        net.clog(Reach::Link(0), Cut::From(1), 500 * MICRO * 1000);
        let held = net.path(0, 1).unwrap().arrivals(100 * MICRO * 1000, &mut rng)[0].unwrap();
        assert!((400 * MICRO * 1000..410 * MICRO * 1000).contains(&held));
        assert!(net.path(0, 0).unwrap().arrivals(0, &mut rng)[0].unwrap() < 10 * MICRO * 1000);
        assert!(!net.path(0, 1).unwrap().is_clear_since(0));
    }

    #[test]
    fn loss_loses_about_its_share() {
        let (mut net, mut rng) = network();
        net.links[0][0].loss_per_mille = 300;
        let lost = (0..10_000).filter(|_| net.links[0][0].arrivals(0, &mut rng)[0].is_none()).count();
        assert!((2500..3500).contains(&lost));
    }
}

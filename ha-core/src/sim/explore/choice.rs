//! What the surroundings of a pair may do at a boundary between two units of time, with a text for each.

use std::fmt;
use std::str::FromStr;

/// How the fence device that ends one node behaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// Does what it is told and says so.
    #[default]
    Works,
    /// Has no effect and says that it failed.
    Fails,
    /// Has no effect and does not answer in time.
    Hangs,
    /// Does what it is told, and its answer is lost.
    Mute,
}

/// One thing that happens between two units of time. Nodes are 0 and 1, links and groups by their place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Choice {
    /// The node loses its power. A write of its record under way becomes durable or is lost.
    PowerLoss {
        /// Which node.
        node: usize,
        /// Whether the write under way became durable.
        durable: bool,
    },
    /// The node's process dies; its guardian undoes, verifies, says so and starts it again.
    ProcessDies {
        /// Which node.
        node: usize,
        /// Whether the write under way became durable.
        durable: bool,
    },
    /// The node loses its power and comes back with an empty disk.
    DiskReplaced(usize),
    /// The whole machine stops, its guardian included, and goes on at [`Choice::Thaw`].
    Freeze(usize),
    /// Nothing that the node sends on a link arrives.
    Cut {
        /// The sender.
        from: usize,
        /// The link.
        link: usize,
    },
    /// No link carries anything in either direction.
    CutLinks,
    /// Nothing that the node sends to the other copy arrives.
    CutMirror(usize),
    /// The stream between the copies is cut both ways.
    CutStream,
    /// Links and stream at once.
    Isolate,
    /// The beats that are under way to the node are lost.
    Lose(usize),
    /// The beats that are under way to the node arrive a unit later.
    Delay(usize),
    /// The node's fence device changes its behaviour.
    Device {
        /// Whose device.
        node: usize,
        /// What it does from now on.
        does: Device,
    },
    /// The node's present or next write takes long.
    SlowDisk(usize),
    /// The node's present write fails and says so.
    WriteFails {
        /// Which node.
        node: usize,
        /// Whether it became durable all the same.
        durable: bool,
    },
    /// The node's present operation fails and says so.
    OpFails(usize),
    /// The node's present operation does not end before its budget.
    OpHangs(usize),
    /// The node reaches nothing outside.
    OutsideLost(usize),
    /// The node does not reach the arbiter.
    ArbiterCut(usize),
    /// The arbiter does what the node asks, and its answers are lost.
    ArbiterMute(usize),
    /// The arbiter comes back with what it kept before its last swap.
    ArbiterForgets,
    /// An operator moves a group away from the node.
    Switchover {
        /// From which node.
        node: usize,
        /// Which group.
        group: usize,
    },
    /// An operator sends the node away in good order.
    Shutdown(usize),
    /// The node gets power, or a process.
    Boot(usize),
    /// The stopped machine goes on.
    Thaw(usize),
    /// Everything on the network carries again: links and stream.
    Heal,
    /// The stream carries again.
    HealStream,
    /// Devices, the outside and the way to the arbiter are well again.
    Repair,
    /// An operator confirms truthfully that the peer of this node is off.
    ConfirmOff(usize),
}

/// On which budget a choice draws.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Draws {
    Fault,
    Repair,
    Command,
}

impl Choice {
    pub(super) const fn draws(self) -> Draws {
        match self {
            Self::Boot(_)
            | Self::Thaw(_)
            | Self::Heal
            | Self::HealStream
            | Self::Repair
            | Self::ConfirmOff(_) => Draws::Repair,
            Self::Switchover { .. } | Self::Shutdown(_) => Draws::Command,
            _ => Draws::Fault,
        }
    }

    /// Every choice of a pair with so many links and groups.
    #[must_use]
    pub fn all(links: usize, groups: usize) -> Vec<Self> {
        let mut all = vec![
            Self::CutLinks,
            Self::CutStream,
            Self::Isolate,
            Self::Heal,
            Self::HealStream,
            Self::Repair,
            Self::ArbiterForgets,
        ];
        for node in 0..2 {
            for durable in [false, true] {
                all.extend([
                    Self::PowerLoss { node, durable },
                    Self::ProcessDies { node, durable },
                    Self::WriteFails { node, durable },
                ]);
            }
            all.extend([
                Self::DiskReplaced(node),
                Self::Freeze(node),
                Self::CutMirror(node),
                Self::Lose(node),
                Self::Delay(node),
                Self::SlowDisk(node),
                Self::OpFails(node),
                Self::OpHangs(node),
                Self::OutsideLost(node),
                Self::ArbiterCut(node),
                Self::ArbiterMute(node),
                Self::Shutdown(node),
                Self::Boot(node),
                Self::Thaw(node),
                Self::ConfirmOff(node),
            ]);
            all.extend((0..links).map(|link| Self::Cut { from: node, link }));
            all.extend((0..groups).map(|group| Self::Switchover { node, group }));
            let modes = [Device::Fails, Device::Hangs, Device::Mute];
            all.extend(modes.map(|does| Self::Device { node, does }));
        }
        all
    }
}

const fn fate(durable: bool) -> &'static str {
    if durable { "+" } else { "" }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PowerLoss { node, durable } => write!(f, "power-loss{}:{node}", fate(durable)),
            Self::ProcessDies { node, durable } => write!(f, "dies{}:{node}", fate(durable)),
            Self::DiskReplaced(node) => write!(f, "disk-replaced:{node}"),
            Self::Freeze(node) => write!(f, "freeze:{node}"),
            Self::Cut { from, link } => write!(f, "cut:{from}:{link}"),
            Self::CutLinks => f.write_str("cut-links"),
            Self::CutMirror(node) => write!(f, "cut-mirror:{node}"),
            Self::CutStream => f.write_str("cut-stream"),
            Self::Isolate => f.write_str("isolate"),
            Self::Lose(node) => write!(f, "lose:{node}"),
            Self::Delay(node) => write!(f, "delay:{node}"),
            Self::Device { node, does } => write!(f, "device-{does:?}:{node}"),
            Self::SlowDisk(node) => write!(f, "slow-disk:{node}"),
            Self::WriteFails { node, durable } => write!(f, "write-fails{}:{node}", fate(durable)),
            Self::OpFails(node) => write!(f, "op-fails:{node}"),
            Self::OpHangs(node) => write!(f, "op-hangs:{node}"),
            Self::OutsideLost(node) => write!(f, "outside-lost:{node}"),
            Self::ArbiterCut(node) => write!(f, "arbiter-cut:{node}"),
            Self::ArbiterMute(node) => write!(f, "arbiter-mute:{node}"),
            Self::ArbiterForgets => f.write_str("arbiter-forgets"),
            Self::Switchover { node, group } => write!(f, "switchover:{node}:{group}"),
            Self::Shutdown(node) => write!(f, "shutdown:{node}"),
            Self::Boot(node) => write!(f, "boot:{node}"),
            Self::Thaw(node) => write!(f, "thaw:{node}"),
            Self::Heal => f.write_str("heal"),
            Self::HealStream => f.write_str("heal-stream"),
            Self::Repair => f.write_str("repair"),
            Self::ConfirmOff(node) => write!(f, "confirm-off:{node}"),
        }
    }
}

/// Choices at instants: what leads from a family's first state to another one.
///
/// Its text is the choices in order, `+n` for `n` units of time, and perhaps `mend` at the end:
/// `+3 power-loss:0 +12 boot:0`.
///
/// ```
/// use ha_core::sim::explore::Path;
/// let path: Path = "+3 power-loss:0 +12 boot:0".parse().unwrap();
/// assert_eq!(path.to_string(), "+3 power-loss:0 +12 boot:0");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Path {
    /// How many units pass before each choice, and the choice.
    pub steps: Vec<(u32, Choice)>,
    /// How many units pass after the last.
    pub rest: u32,
    /// Whether everything is mended then, to see whether service comes back.
    pub mended: bool,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (wait, choice) in &self.steps {
            if *wait > 0 {
                words.push(format!("+{wait}"));
            }
            words.push(choice.to_string());
        }
        if self.rest > 0 {
            words.push(format!("+{}", self.rest));
        }
        if self.mended {
            words.push("mend".into());
        }
        f.write_str(&words.join(" "))
    }
}

/// A word in the text of a [`Path`] that is neither a choice nor a number of units.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither a choice, such as power-loss:0, nor a number of units, such as +12")]
pub struct UnknownWord(pub String);

impl FromStr for Path {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        // More links and groups than any family has.
        let known = Choice::all(8, 8);
        let mut path = Self::default();
        for word in text.split_whitespace() {
            if let Some(wait) = word.strip_prefix('+').and_then(|n| n.parse::<u32>().ok()) {
                path.rest = path.rest.saturating_add(wait);
            } else if let Some(choice) = known.iter().find(|c| c.to_string() == word) {
                path.steps.push((std::mem::take(&mut path.rest), *choice));
            } else if word == "mend" {
                path.mended = true;
            } else {
                return Err(UnknownWord(word.into()));
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_back_from_its_text() {
        for choice in Choice::all(3, 2) {
            let path: Path = format!("+2 {choice} +1 mend").parse().unwrap();
            assert_eq!(path, Path { steps: vec![(2, choice)], rest: 1, mended: true });
        }
        assert_eq!("+1 explode".parse::<Path>(), Err(UnknownWord("explode".into())));
    }
}

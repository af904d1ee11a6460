//! What happens to the active node in a trial.

use super::Failure;
use super::bed::Bed;
use super::software::Pair;
use ha_vip::testbed::TestbedError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long all heartbeat paths are cut.
const CUT: Duration = Duration::from_secs(2);

/// An event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Event {
    /// Links cut, then all processes killed, at one instant.
    PowerLoss,
    /// `kill -9` of the process that does the work; its supervisor lives.
    Kill,
    /// `kill -9` of all its processes. The host and its service go on.
    KillAll,
    /// As an operator moves it.
    Switchover,
    /// All processes of the host are stopped for so long.
    Freeze(Duration),
    /// No frame passes between the two nodes, on any network. Both live, and everybody else reaches both.
    HeartbeatCut,
}

const FREEZES: [u64; 3] = [300, 1000, 3000];

impl Event {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let freezes = FREEZES.map(|ms| Self::Freeze(Duration::from_millis(ms)));
        let others = [Self::PowerLoss, Self::Kill, Self::KillAll, Self::Switchover, Self::HeartbeatCut];
        [&others[..4], &freezes, &others[4..]].concat()
    }

    /// For how long what may follow is watched after the event is over. A cut of links shows its aftermath only then.
    pub(super) const fn aftermath(self) -> Duration {
        match self {
            Self::HeartbeatCut | Self::Freeze(_) => Duration::from_secs(3),
            Self::PowerLoss | Self::Kill | Self::KillAll | Self::Switchover => Duration::from_secs(2),
        }
    }

    /// Lets it happen to `active`, and returns when it is over.
    pub(super) fn happen(self, bed: &Bed, pair: &dyn Pair, active: &str) -> Result<(), Failure> {
        match self {
            Self::PowerLoss => bed.centre.power_off(active)?,
            Self::Kill => kill_all(&pair.workers(active)?)?,
            Self::KillAll => kill_all(&pair.everything(active)?)?,
            Self::Switchover => pair.switchover(active)?,
            Self::Freeze(span) => {
                let host = bed.centre.host(active)?;
                host.freeze()?;
                std::thread::sleep(span);
                match host.thaw() {
                    // It was fenced meanwhile.
                    Ok(()) | Err(TestbedError::Off { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Self::HeartbeatCut => {
                let (one, other) = bed.hosts;
                bed.centre.sever(one, other)?;
                std::thread::sleep(CUT);
                bed.centre.heal()?;
            }
        }
        Ok(())
    }
}

/// All of them at one instant: none that dies later gets to do anything about it.
fn kill_all(pids: &[u32]) -> Result<(), Failure> {
    use rustix::process::{Pid, Signal, kill_process};
    if pids.is_empty() {
        return Err("found no process to kill; expected the active node to have one".into());
    }
    let pids: Vec<Pid> = pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)).collect();
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in &pids {
            match kill_process(*pid, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerLoss => f.write_str("power-loss"),
            Self::Kill => f.write_str("kill"),
            Self::KillAll => f.write_str("kill-all"),
            Self::Switchover => f.write_str("switchover"),
            Self::Freeze(span) => write!(f, "freeze-{}", humantime::format_duration(*span)),
            Self::HeartbeatCut => f.write_str("heartbeat-cut"),
        }
    }
}

/// Some events, as the command line lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Events(pub(super) Vec<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(Event::all())
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Event::to_string).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Events {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |word: &str| {
            let known = Event::all().into_iter().find(|event| event.to_string() == word);
            known.ok_or_else(|| format!("found event {word:?}; expected some of {}", Self::default()))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_as_it_is_written() {
        let all = Events::default();
        assert_eq!(all.to_string().parse::<Events>().unwrap(), all);
        assert_eq!(all.0.len(), 8);
        assert!("power-loss,flood".parse::<Events>().unwrap_err().contains("flood"));
    }
}

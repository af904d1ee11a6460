//! The command line.

use super::fault::Fault;
use crate::chassis::FenceMode;
use crate::node::{Disk, Mode, Sabotage};
use std::path::PathBuf;
use std::time::Duration;

/// A pair of mail servers that fails over, watched while it is killed, frozen and cut off.
///
/// Starts two nodes under their guardians, each in a chassis with a power switch; delivers mail through the service address;
/// injures the pair in many ways, one after the other; and checks that nothing that was answered 250 is lost, that never two
/// served, and that mail paused no longer than predicted.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "mail-pair", version)]
pub(crate) struct Options {
    /// Where the mail is kept
    #[arg(long, value_enum, default_value = "mirror")]
    pub(crate) mode: Mode,
    /// Each node in a network namespace of its own: heartbeats, stream and service address on real interfaces, clients in a
    /// namespace on the LAN, faults on real cables. Needs root or permitted user namespaces, ip and nft
    #[arg(long)]
    pub(crate) netns: bool,
    /// Which faults: a list such as process-kill,switchover, "default" (within 90 s), "all", or "none"
    #[arg(long, default_value = "default", value_name = "LIST")]
    pub(crate) faults: String,
    /// How many clients deliver mail, besides the probe that delivers every 5 ms
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) clients: u32,
    /// Deliver for at least so many seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds, value_name = "SECONDS")]
    pub(crate) duration: f64,
    /// Bytes of a client's message
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(256..=1_048_576), value_name = "BYTES")]
    pub(crate) message_size: u32,
    /// Seed of the messages and of the waits between faults
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where everything is kept (must be missing or empty); a temporary directory otherwise
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// Keep the directory with logs, events and both stores
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// How the fence devices behave
    #[arg(long, value_enum, default_value = "ok")]
    pub(crate) fence: FenceMode,
    /// What a power loss takes from a node's journal ("volatile" is meant with --sabotage no-fsync-wait)
    #[arg(long, value_enum)]
    pub(crate) disk: Option<Disk>,
    /// Break one promise on purpose, to see the checks fail
    #[arg(long, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,
    /// Fail also when a pause was too long only because this machine stalled
    #[arg(long)]
    pub(crate) strict: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("expected seconds, 0 to 86400".into()),
    }
}

impl Options {
    /// The faults to inflict, in order.
    pub(crate) fn faults(&self) -> Result<Vec<Fault>, String> {
        let possible = |list: &[Fault]| list.iter().copied().filter(|f| f.exists_in(self.mode)).collect();
        match self.faults.as_str() {
            "none" | "" => Ok(Vec::new()),
            "default" => Ok(possible(Fault::DEFAULT)),
            "all" => Ok(possible(Fault::ALL)),
            list => list.split(',').map(|name| self.fault(name.trim())).collect(),
        }
    }

    fn fault(&self, name: &str) -> Result<Fault, String> {
        let fault = Fault::named(name)?;
        if fault.exists_in(self.mode) {
            return Ok(fault);
        }
        Err(format!(
            "found fault \"{name}\" with --mode shared, which has no replication to cut; leave it out, or use --mode mirror"
        ))
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.mode == Mode::Mirror {
            return Ok(());
        }
        let refused = |found: &str, why: &str| {
            Err(format!("found {found} with --mode shared, which {why}; leave it out, or use --mode mirror"))
        };
        match (self.sabotage, self.disk) {
            (Some(Sabotage::NoExclusion), _) => {
                refused("--sabotage no-exclusion", "has one store and no other copy to exclude")
            }
            (Some(Sabotage::NoFsyncWait), _) => {
                refused("--sabotage no-fsync-wait", "has no journal of its own on a disk that could lose it")
            }
            (_, Some(Disk::Volatile)) => {
                refused("--disk volatile", "has no journal of its own on a disk that could lose it")
            }
            _ => Ok(()),
        }
    }

    /// A missing sync shows only on a disk that loses what was not synced.
    pub(crate) fn disk(&self) -> Disk {
        let lossy = self.sabotage == Some(Sabotage::NoFsyncWait);
        self.disk.unwrap_or(if lossy { Disk::Volatile } else { Disk::Cached })
    }

    pub(crate) fn least_duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once(&"mail-pair").chain(arguments))
    }

    #[test]
    fn faults_are_named_one_by_one_or_by_set() {
        let faults = |list| parse(&["--faults", list]).unwrap().faults();
        assert_eq!(faults("process-kill, switchover"), Ok(vec![Fault::ProcessKill, Fault::Switchover]));
        assert_eq!(faults("all").unwrap().len(), Fault::ALL.len());
        assert_eq!(faults("none"), Ok(vec![]));
        assert!(faults("fire").unwrap_err().contains("process-kill"));
        assert!(!faults("all").unwrap().contains(&Fault::IsolationLying));
    }

    #[test]
    fn shared_mode_refuses_what_is_about_replication() {
        let shared = |more: &[&str]| parse(&[&["--mode", "shared"], more].concat()).unwrap();
        let all = shared(&["--faults", "all"]).faults().unwrap();
        assert!(all.contains(&Fault::Isolation) && all.len() + 2 == Fault::ALL.len(), "{all:?}");
        for name in ["replication-cut", "process-kill,cut-then-power-loss"] {
            let refused = shared(&["--faults", name]).faults().unwrap_err();
            assert!(refused.contains("use --mode mirror"), "{refused}");
        }
        for arguments in
            [["--sabotage", "no-exclusion"], ["--sabotage", "no-fsync-wait"], ["--disk", "volatile"]]
        {
            let refused = shared(&arguments).check().unwrap_err();
            assert!(refused.contains(arguments[1]), "{refused}");
            assert_eq!(parse(&arguments).unwrap().check(), Ok(()));
        }
        assert_eq!(shared(&["--sabotage", "no-fence"]).check(), Ok(()));
    }

    #[test]
    fn bad_values_are_refused() {
        assert!(parse(&["--duration", "-1"]).is_err());
        assert!(parse(&["--fence", "sometimes"]).is_err());
        assert!(parse(&["--sabotage", "no-fence"]).is_ok());
        assert!(parse(&["--message-size", "1"]).is_err());
    }
}

//! Debian's keepalived: one VRRPv3 instance with one address, otherwise its defaults.

use super::Failure;
use super::bed::Bed;
use super::options::Options;
use super::software::{Pair, Software, Supervisors, last_lines, on_both};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How it is started.
pub(super) struct Keepalived {
    program: PathBuf,
    version: String,
    advert: Duration,
}

impl Keepalived {
    pub(super) fn find(options: &Options) -> Result<Self, Failure> {
        let program = options.keepalived.clone();
        let missing = |error| {
            format!(
                "{}: {error}; expected keepalived (Debian: apt-get install keepalived)",
                program.display()
            )
        };
        let output = Command::new(&program).arg("--version").output().map_err(missing)?;
        // It writes `Keepalived v2.2.7 (01/16,2022)` to standard error.
        let said = String::from_utf8_lossy(&output.stderr);
        let version =
            said.split_whitespace().find_map(|word| word.strip_prefix('v')).unwrap_or("?").to_owned();
        Ok(Self { program, version, advert: options.advert })
    }

    /// The preferred node says so, as is usual; the other one yields to it.
    fn config(&self, bed: &Bed, node: &str) -> String {
        let (state, priority) = if node == bed.hosts.0 { ("MASTER", 150) } else { ("BACKUP", 100) };
        let mut text = String::new();
        let _ = write!(
            text,
            "global_defs {{\n  router_id {node}\n  vrrp_version 3\n}}\n\
             vrrp_instance address {{\n  state {state}\n  interface lan0\n  virtual_router_id 77\n  priority {priority}\n  \
             advert_int {:.2}\n  virtual_ipaddress {{\n    {}/24 dev lan0\n  }}\n}}\n",
            self.advert.as_secs_f64(),
            bed.address,
        );
        text
    }
}

impl Software for Keepalived {
    fn name(&self) -> String {
        format!("keepalived {}, {} adverts", self.version, humantime::format_duration(self.advert))
    }

    fn start(&self, bed: &Bed) -> Result<Box<dyn Pair>, Failure> {
        let supervisors = on_both(bed, |node| {
            let config = bed.file(&format!("{node}.conf"));
            fs::write(&config, self.config(bed, node))?;
            let mut command = Command::new(&self.program);
            command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(config);
            command.arg("--pid").arg(bed.file(&format!("{node}.pid")));
            command.arg("--vrrp_pid").arg(bed.file(&format!("{node}.vrrp.pid")));
            Ok(command)
        })?;
        Ok(Box::new(supervisors))
    }
}

impl Pair for Supervisors {
    /// Whoever hears adverts is ready: there is nothing to ask it.
    fn ready(&self, bed: &Bed) -> Result<bool, Failure> {
        self.all_run(|node| last_lines(&fs::read_to_string(bed.log(node)).unwrap_or_default()))?;
        Ok(true)
    }

    /// Its VRRP process; its parent starts it again.
    fn workers(&self, node: &str) -> Result<Vec<u32>, Failure> {
        self.descendants(node)
    }

    fn everything(&self, node: &str) -> Result<Vec<u32>, Failure> {
        let mut all = vec![self.of(node)?.id()];
        all.extend(self.descendants(node)?);
        Ok(all)
    }

    /// `systemctl stop keepalived`: it says farewell with priority 0.
    fn switchover(&self, from: &str) -> Result<(), Failure> {
        Ok(self.of(from)?.terminate()?)
    }
}

//! The chassis of a run: a process of its own for each node, or this process over the power of the bed's hosts.

use super::cluster::{DriveError, ORDER, failed};
use super::layout::{Layout, NODES};
use crate::chassis::{self, CHASSIS_READY, ChassisConfig, FenceMode, HostPower, Switch};
use crate::start::deadline;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a process gets to say that it is ready.
const READY: Duration = Duration::from_secs(20);

/// The chassis of one node. The node ends with it.
pub(super) struct Enclosure {
    control: PathBuf,
    _kind: Kind,
}

enum Kind {
    Process { _process: OwnProcess },
    Here { _power: Plugged },
}

impl Enclosure {
    /// Starts it, switched off.
    pub(super) fn open(layout: &Layout, node: usize, mode: FenceMode) -> Result<Self, DriveError> {
        let config = layout.chassis(node, mode);
        let kind = match layout.network.centre() {
            None => Kind::Process { _process: process(layout, node, &config)? },
            Some(centre) => {
                let what = format!("open the chassis of {}", NODES[node]);
                let opened = HostPower::new(centre, &config).and_then(|power| {
                    let power: Arc<dyn Switch> = Arc::new(power);
                    chassis::open(&config, &power)?;
                    Ok(Plugged { node, power })
                });
                Kind::Here { _power: opened.map_err(failed(what))? }
            }
        };
        Ok(Self { control: config.control, _kind: kind })
    }

    /// Where it takes the driver's orders.
    pub(super) fn control(&self) -> &Path {
        &self.control
    }
}

fn process(layout: &Layout, node: usize, config: &ChassisConfig) -> Result<OwnProcess, DriveError> {
    let who = format!("chassis of {}", NODES[node]);
    let log = layout.dir.join(format!("{}.chassis.log", NODES[node]));
    let (process, line) = OwnProcess::start(&who, "__chassis", config, &log)?;
    if line == CHASSIS_READY {
        return Ok(process);
    }
    Err(DriveError::Refused { who, order: "to be ready".into(), why: line })
}

/// A host that loses its power when this is dropped, as a node does when its chassis' process ends.
struct Plugged {
    node: usize,
    power: Arc<dyn Switch>,
}

impl Drop for Plugged {
    fn drop(&mut self) {
        if let Err(error) = self.power.off(deadline(ORDER)) {
            eprintln!("mail-pair: {} could not be switched off: {error}", NODES[self.node]);
        }
    }
}

/// A process of the driver's own. It ends when its standard input does.
pub(super) struct OwnProcess {
    name: String,
    child: Child,
}

impl OwnProcess {
    /// Starts it and reads its first line.
    pub(super) fn start(
        name: &str,
        word: &str,
        config: &impl Serialize,
        log: &Path,
    ) -> Result<(Self, String), DriveError> {
        let started = || {
            let log = File::create(log)?;
            Command::new(std::env::current_exe()?)
                .arg(word)
                .arg(serde_json::to_string(config)?)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
        };
        let child = started().map_err(failed(format!("start the {name}")))?;
        let mut own = Self { name: name.into(), child };
        let (told, line) = std::sync::mpsc::channel();
        if let Some(output) = own.child.stdout.take() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(output).lines();
                let _ = told.send(lines.next());
                // Read on, so that it never blocks.
                lines.for_each(drop);
            });
        }
        let waited =
            |saw: String| DriveError::Waited { what: format!("the {name} to be ready"), limit: READY, saw };
        let log_text = || std::fs::read_to_string(log).unwrap_or_default();
        match line.recv_timeout(READY) {
            Ok(Some(Ok(line))) => Ok((own, line)),
            Ok(_) => Err(waited(format!("its end: {}", log_text().trim()))),
            Err(_) => Err(waited("nothing".into())),
        }
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + ORDER;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        eprintln!("mail-pair: the {} did not end by itself and is killed", self.name);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

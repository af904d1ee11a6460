//! The power switch of a node that is a host of the test bed: "off" is a host whose cables were cut and whose processes
//! were killed at one instant, addresses and all.

use super::ChassisConfig;
use super::power::node_command;
use super::processes::descendants;
use super::switch::{Parts, PowerError, Switch};
use ha_vip::testbed::{DataCentre, Host, TestbedError};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// The power of one host. It does not keep the bed: threads that serve a switch outlive every run.
pub(crate) struct HostPower {
    centre: Weak<DataCentre>,
    name: String,
    program: PathBuf,
    command: Vec<String>,
    log: PathBuf,
    on: Mutex<bool>,
}

impl HostPower {
    /// Of the host that the chassis is of, in which nothing runs yet.
    pub(crate) fn new(centre: &Arc<DataCentre>, config: &ChassisConfig) -> io::Result<Self> {
        // Inside, `/proc/self` would be somebody else's while the node is started.
        let program = std::env::current_exe()?;
        let (name, command, log) = (config.node.clone(), config.command.clone(), config.log.clone());
        Ok(Self { centre: Arc::downgrade(centre), name, program, command, log, on: Mutex::new(false) })
    }

    fn switch(&self) -> MutexGuard<'_, bool> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn centre(&self) -> Result<Arc<DataCentre>, PowerError> {
        self.centre.upgrade().ok_or(PowerError::NoBed)
    }

    fn host(&self) -> Result<Arc<Host>, PowerError> {
        Ok(self.centre()?.host(&self.name)?)
    }

    fn is_empty(&self) -> Result<bool, PowerError> {
        let host = self.host()?;
        Ok(host.is_dead() || host.processes()?.is_empty())
    }
}

impl Switch for HostPower {
    fn is_on(&self) -> Result<bool, PowerError> {
        let on = self.switch();
        Ok(*on || !self.is_empty()?)
    }

    /// The bed says itself when nothing is left; it has no deadline.
    fn off(&self, _: Instant) -> Result<(), PowerError> {
        let mut on = self.switch();
        *on = false;
        Ok(self.centre()?.power_off(&self.name)?)
    }

    fn on(&self) -> Result<(), PowerError> {
        let mut on = self.switch();
        if *on || !self.is_empty()? {
            return Err(PowerError::On);
        }
        self.centre()?.power_on(&self.name)?;
        let command = node_command(&self.command, &self.program, &self.log).map_err(PowerError::Start)?;
        self.host()?.spawn(command)?;
        *on = true;
        Ok(())
    }

    fn parts(&self) -> io::Result<Parts> {
        let inside = self.host().and_then(|host| Ok(host.processes()?)).map_err(io::Error::other)?;
        let inside: BTreeSet<u32> = inside.into_iter().collect();
        let mut all = descendants()?;
        all.retain(|one| inside.contains(&one.pid.unsigned_abs()));
        Ok(Parts::of(all))
    }

    /// All of the host at one instant; its kernel goes on.
    fn freeze(&self) -> Result<(), PowerError> {
        Ok(self.host()?.freeze()?)
    }

    fn thaw(&self) -> Result<(), PowerError> {
        match self.host()?.thaw() {
            // It was fenced meanwhile: nobody is left.
            Ok(()) | Err(TestbedError::Off { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

//! One machine of the data centre.

use super::door::Door;
use super::plan::{HostPlan, Interface};
use super::{Process, TestbedError, sys};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A machine: a network, processes, mounts and a host name of its own. File system and users are the test's.
///
/// Get it from [`DataCentre::host`](super::DataCentre::host). Everything that runs in it ends with the data centre.
pub struct Host {
    pub(super) plan: HostPlan,
    power: Mutex<Power>,
}

struct Power {
    on: bool,
    /// After the power is off: what holds the dead host's network.
    door: Arc<Door>,
    processes: Vec<Process>,
}

impl Host {
    pub(super) fn new(plan: HostPlan, door: Door) -> Self {
        Self { plan, power: Mutex::new(Power::new(door)) }
    }

    /// Its name, which is also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// All interfaces, in the order of their networks.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.plan.interfaces
    }

    /// The interface on the network of that name.
    ///
    /// # Errors
    /// [`TestbedError::NoInterface`].
    pub fn interface(&self, name: &str) -> Result<&Interface, TestbedError> {
        self.plan.interfaces.iter().find(|interface| interface.name == name).ok_or_else(|| {
            TestbedError::NoInterface {
                host: self.plan.name.clone(),
                name: name.to_owned(),
                known: self.plan.interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", "),
            }
        })
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn door(&self) -> Result<Arc<Door>, TestbedError> {
        let power = self.power();
        if power.on {
            Ok(Arc::clone(&power.door))
        } else {
            Err(TestbedError::Off { host: self.plan.name.clone() })
        }
    }

    /// Kills everybody at one instant, and returns when nobody is left.
    pub(super) fn switch_off(&self) -> io::Result<()> {
        let mut power = self.power();
        power.on = false;
        let (door, processes) = (Arc::clone(&power.door), std::mem::take(&mut power.processes));
        // Whoever looks meanwhile finds it off, and need not wait.
        drop(power);
        kill(&door, &processes)
    }

    pub(super) fn switch_on(&self, door: Door) {
        *self.power() = Power::new(door);
    }

    /// Whether its power is on. It is not from the moment in which a power loss begins.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.power().on
    }

    /// Whether it is off and nobody is left in it. Waits for those who are just being killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let power = self.power();
        let (on, door) = (power.on, Arc::clone(&power.door));
        drop(power);
        !on && door.wait_dead().is_ok()
    }

    /// Whether its processes see a `/proc` of their own namespace. Where the kernel does not permit that (in some
    /// containers), they see the test's.
    #[must_use]
    pub fn has_own_proc(&self) -> bool {
        self.door().is_ok_and(|door| door.own_proc())
    }

    /// Starts a program in the host.
    ///
    /// # Errors
    /// [`TestbedError::Off`]; [`TestbedError::System`] if it cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Process, TestbedError> {
        // Held to the end: a power loss in between would miss the process.
        let mut power = self.power();
        if !power.on {
            return Err(TestbedError::Off { host: self.plan.name.clone() });
        }
        let started =
            power.door.run(move || command.spawn()).and_then(|started| started).and_then(Process::new);
        let process = started.map_err(TestbedError::system("start a program", &self.plan.name))?;
        power.processes.retain(|old| !matches!(old.try_wait(), Ok(Some(_))));
        power.processes.push(process.clone());
        Ok(process)
    }

    /// Runs a program in the host to its end, and returns what it wrote.
    ///
    /// # Errors
    /// As of [`spawn`](Self::spawn). A program that fails is no error here: look at the status.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<Output, TestbedError> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn(command)?.output().map_err(TestbedError::system("read from a program", &self.plan.name))
    }

    /// Calls `work` on a thread inside the host's **network**. Sockets that it opens stay there, whoever uses them. (Its
    /// processes, mounts and host name are the test's: a process that `work` starts survives a power loss.)
    ///
    /// # Errors
    /// [`TestbedError::Off`]; [`TestbedError::System`].
    ///
    /// # Panics
    /// If `work` does.
    pub fn run_in<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, TestbedError> {
        let door = self.door()?;
        door.netns().enter(work).map_err(TestbedError::system("enter the network", &self.plan.name))
    }

    /// The host's network, for `setns`. While it is open, the network outlives a power loss, without interfaces.
    ///
    /// # Errors
    /// [`TestbedError::Off`]; [`TestbedError::System`].
    pub fn netns(&self) -> Result<OwnedFd, TestbedError> {
        let door = self.door()?;
        let copy = door.netns().as_fd().try_clone_to_owned();
        copy.map_err(TestbedError::system("open the network", &self.plan.name))
    }

    /// A file name of the host's network, for programs that take one (`ip -n`-like options, `nsenter --net=`). It means
    /// something while the host is on, in the `/proc` of the test.
    ///
    /// # Errors
    /// [`TestbedError::Off`].
    pub fn netns_path(&self) -> Result<std::path::PathBuf, TestbedError> {
        Ok(format!("/proc/{}/ns/net", self.door()?.init().as_raw_nonzero()).into())
    }

    /// Everything that runs in the host, descendants too, as the test counts; without the first process, which is the
    /// bed's own. Empty when it is off.
    ///
    /// # Errors
    /// [`TestbedError::System`] if `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, TestbedError> {
        let Ok(door) = self.door() else { return Ok(Vec::new()) };
        let init = door.init().as_raw_nonzero().get().unsigned_abs();
        let inside = || -> io::Result<Vec<u32>> {
            let space = std::fs::read_link(format!("/proc/{init}/ns/pid"))?;
            let all = std::fs::read_dir("/proc")?
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let of_host =
                |pid: &u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|its| its == space);
            Ok(all.filter(|pid| *pid != init).filter(of_host).collect())
        };
        inside().map_err(TestbedError::system("list the processes", &self.plan.name))
    }

    /// Stops every process of the host in one system call (`SIGSTOP`). Its kernel goes on: it still answers ARP, completes
    /// handshakes, and lets lifetimes of addresses run out.
    ///
    /// # Errors
    /// [`TestbedError::Off`]; [`TestbedError::System`].
    pub fn freeze(&self) -> Result<(), TestbedError> {
        self.signal_everybody(libc::SIGSTOP, "freeze the processes")
    }

    /// Lets every process of the host go on (`SIGCONT`).
    ///
    /// # Errors
    /// As of [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<(), TestbedError> {
        self.signal_everybody(libc::SIGCONT, "thaw the processes")
    }

    fn signal_everybody(&self, signal: i32, what: &'static str) -> Result<(), TestbedError> {
        let sent = self.door()?.run(move || sys::signal_everybody(signal)).and_then(|sent| sent);
        sent.map_err(TestbedError::system(what, &self.plan.name))
    }
}

impl Power {
    fn new(door: Door) -> Self {
        Self { on: true, door: Arc::new(door), processes: Vec::new() }
    }
}

fn kill(door: &Door, processes: &[Process]) -> io::Result<()> {
    door.kill()?;
    // The first process waits for those that only their parent can reap, which is this process.
    for process in processes {
        process.wait()?;
    }
    door.wait_dead()
}

impl Drop for Power {
    fn drop(&mut self) {
        let _ = kill(&self.door, &self.processes);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.plan.name).field("on", &self.is_on()).finish()
    }
}

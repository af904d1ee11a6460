//! Namespaces for ordinary users: as root of a user namespace, where the kernel permits one.

use super::{TestbedError, sys};
use std::io;
use std::path::Path;
use std::process::Command;

/// `CAP_SYS_ADMIN`, which makes and enters namespaces.
const ADMIN_BIT: u32 = 21;
/// Names the file by which a repeated test says that it ran to its end.
const RAN: &str = "HA_TESTBED_RAN";

/// Lets this process build data centres: nothing for root; anybody else becomes root of a user namespace of his own, in
/// which he still is himself to the rest of the machine. Call it first in `main`, before any thread is started.
///
/// # Errors
/// [`TestbedError::Refused`].
pub fn enter() -> Result<(), TestbedError> {
    if may_make_namespaces() {
        return Ok(());
    }
    let maps = Maps::of_this_user();
    let entered = sys::new_user().and_then(|()| maps.write());
    entered.map_err(|source| TestbedError::Refused { what: "make a user namespace", source })
}

/// Runs the body of a `#[test]` where it may build data centres: here, as root; else in another process, which repeats
/// this very test as root of a user namespace.
///
/// # Panics
/// If the body does, or the kernel permits no user namespaces: a test that cannot run has not passed.
#[expect(clippy::panic, reason = "it stands for an assertion of the test that calls it")]
pub fn test<F: FnOnce()>(body: F) {
    if may_make_namespaces() {
        body();
        if let Some(ran) = std::env::var_os(RAN) {
            std::fs::write(&ran, "")
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", ran.display()));
        }
        return;
    }
    let name = name_of::<F>();
    match repeat(&name) {
        Ok(true) => {}
        Ok(false) => panic!("{name} failed in a user namespace; its output is above"),
        Err(source) => panic!("{}", TestbedError::Refused { what: "run a test in a user namespace", source }),
    }
}

/// Whether this process may make and enter namespaces as it is.
#[must_use]
pub fn may_make_namespaces() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hexadecimal| u64::from_str_radix(hexadecimal.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << ADMIN_BIT) != 0)
}

fn repeat(name: &str) -> io::Result<bool> {
    let ran =
        std::env::temp_dir().join(format!("ha-testbed-{}-{}", std::process::id(), name.replace("::", "-")));
    let _ = std::fs::remove_file(&ran);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"]).env(RAN, &ran);
    let maps = Maps::of_this_user();
    sys::before_exec(&mut command, move || sys::new_user().and_then(|()| maps.write()));
    let status = command.status()?;
    // A name that matches no test succeeds without having run anything.
    Ok(status.success() && take(&ran))
}

fn take(ran: &Path) -> bool {
    std::fs::remove_file(ran).is_ok()
}

/// `crate::module::test::{{closure}}` is `module::test` to the test harness.
fn name_of<F>() -> String {
    let whole = std::any::type_name::<F>();
    let inner = whole.split_once("::").map_or(whole, |(_, inner)| inner);
    inner.replace("::{{closure}}", "")
}

/// What makes this user root of a new user namespace. Prepared in advance, as a child between fork and exec may not
/// allocate.
struct Maps {
    users: String,
    groups: String,
}

impl Maps {
    fn of_this_user() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        Self { users: format!("0 {user} 1\n"), groups: format!("0 {group} 1\n") }
    }

    fn write(&self) -> io::Result<()> {
        use rustix::fs::{Mode, OFlags, open};
        let files = [
            (c"/proc/self/setgroups", "deny"),
            (c"/proc/self/uid_map", self.users.as_str()),
            (c"/proc/self/gid_map", self.groups.as_str()),
        ];
        for (file, text) in files {
            let file = open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<F: FnOnce()>(_body: &F) -> String {
        name_of::<F>()
    }

    #[test]
    fn a_closure_knows_the_test_that_it_is_in() {
        let found = name(&|| {});
        assert_eq!(
            Some(found.as_str()),
            std::thread::current().name().filter(|n| *n != "main").or(Some(&found))
        );
        assert!(found.ends_with("permission::tests::a_closure_knows_the_test_that_it_is_in"), "{found}");
    }
}

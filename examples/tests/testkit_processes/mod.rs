//! What the kernel says of processes, and a harness for a test program with a `main` of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The living processes whose arguments after the program's name are `arguments`; zombies live no more.
pub fn living(arguments: &[&str]) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_ours(*pid) && arguments_of(*pid).is_some_and(|found| found == arguments)).collect()
}

/// A descendant of this program, and no zombie.
fn is_ours(pid: i32) -> bool {
    let me = i32::try_from(std::process::id()).unwrap();
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") { None } else { fields.next()?.parse::<i32>().ok() }
    };
    std::iter::successors(Some(pid), |pid| parent(*pid)).skip(1).take(8).any(|ancestor| ancestor == me)
}

fn arguments_of(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.strip_suffix(&[0])?.split(|b| *b == 0).skip(1);
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Waits for something that must come.
pub fn until(what: &str, reached: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::yield_now();
    }
}

/// Names to filter by, `--list`, `--exact` and `--ignored` as the usual harness understands them.
pub fn harness(tests: &[(&str, fn())], arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|a| a == flag);
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let matches = |name: &str| {
        let fits = |f: &&String| if has("--exact") { name == f.as_str() } else { name.contains(f.as_str()) };
        filters.is_empty() || filters.iter().any(fits)
    };
    let mut failed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| matches(name) && !has("--ignored")) {
        if has("--list") {
            println!("{name}: test");
        } else if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            println!("test {name} ... ok");
        } else {
            println!("test {name} ... FAILED");
            failed += 1;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! Whether two grants ever wrote to the one store at once, judged from the store itself: by the grant in each file's name,
//! and by when the file got that name.

use super::layout::Layout;
use super::report::in_ms;
use crate::node::Mode;
use crate::start::boot_ns;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the wall clock may go another way than the boot clock before its times prove nothing.
const STEP_NS: i128 = 100_000_000;

/// A message that became visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    epoch: u64,
    /// On the wall clock, as files have it.
    at_ns: i64,
}

/// For how long two grants wrote to the one store at once since `begun`, and what is worth knowing of it.
pub(crate) fn judge(layout: &Layout, begun: WallClock) -> io::Result<(u64, Option<String>)> {
    if layout.mode == Mode::Mirror {
        return Ok((0, None));
    }
    if WallClock::now().was_stepped_since(begun) {
        return Ok((0, Some("the wall clock was set during the run: file times are not judged".into())));
    }
    let overlap = overlap_ns(&read(&layout.tree(0))?);
    let note = format!("an older grant's mail became visible {:.3} ms after a newer one's", in_ms(overlap));
    Ok((overlap, (overlap > 0).then_some(note)))
}

/// The longest time for which an older grant's messages still became visible after the first one of a newer grant.
pub(crate) fn overlap_ns(writes: &[Write]) -> u64 {
    let mut by_epoch: Vec<Write> = writes.to_vec();
    by_epoch.sort_by_key(|w| std::cmp::Reverse(w.epoch));
    let (mut newer, mut first, mut longest) = (i64::MAX, i64::MAX, 0);
    let mut epoch = u64::MAX;
    for write in by_epoch {
        if write.epoch < epoch {
            (epoch, newer) = (write.epoch, newer.min(first));
        }
        first = first.min(write.at_ns);
        longest = longest.max(write.at_ns.saturating_sub(newer));
    }
    u64::try_from(longest).unwrap_or(0)
}

/// Every message that readers of the Maildir at `root` see.
pub(crate) fn read(root: &Path) -> io::Result<Vec<Write>> {
    let mut writes = Vec::new();
    for entry in fs::read_dir(root.join("new"))? {
        let entry = entry?;
        if let Some(epoch) = epoch_of(&entry.file_name().to_string_lossy()) {
            let of = entry.metadata()?;
            // A rename changes the inode, and nothing does after it.
            let at_ns = of.ctime().saturating_mul(1_000_000_000).saturating_add(of.ctime_nsec());
            writes.push(Write { epoch, at_ns });
        }
    }
    Ok(writes)
}

/// The grant in a name such as `1770000000.E3I00…Q17.n1`.
fn epoch_of(name: &str) -> Option<u64> {
    let (_, rest) = name.split_once(".E")?;
    rest.split_once('I')?.0.parse().ok()
}

/// The wall clock against the boot clock. A step between two of these means that file times cannot be compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock(i128);

impl WallClock {
    pub(crate) fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self(i128::try_from(wall).unwrap_or(0) - i128::from(boot_ns()))
    }

    pub(crate) const fn was_stepped_since(self, earlier: Self) -> bool {
        (self.0 - earlier.0).abs() > STEP_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(writes: &[(u64, i64)]) -> u64 {
        let list: Vec<_> =
            writes.iter().map(|(epoch, at_ns)| Write { epoch: *epoch, at_ns: *at_ns }).collect();
        overlap_ns(&list)
    }

    #[test]
    fn grants_that_follow_each_other_do_not_overlap() {
        assert_eq!(overlap(&[]), 0);
        assert_eq!(overlap(&[(1, 10), (2, 30), (1, 20), (3, 50), (2, 40)]), 0);
        assert_eq!(overlap(&[(1, 10), (2, 10)]), 0, "within one tick of the file system's clock");
    }

    #[test]
    fn an_older_grants_message_after_a_newer_ones_first_counts() {
        assert_eq!(overlap(&[(1, 10), (2, 30), (1, 75), (2, 90)]), 45);
        assert_eq!(overlap(&[(1, 75), (2, 80), (3, 30)]), 50, "against the first of all newer ones");
        assert_eq!(overlap(&[(1, 75), (2, 30), (3, 60)]), 45);
    }

    #[test]
    fn the_grant_stands_in_the_name_and_the_time_in_the_inode() {
        assert_eq!(epoch_of("1770000000.E3I00ffQ17.n1"), Some(3));
        assert_eq!(epoch_of("1770000000.M3P5.host"), None);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("new")).unwrap();
        for name in ["1.E1I0Q0.n1", "2.E2I0Q0.n2", "elsewhere"] {
            fs::write(dir.path().join("new").join(name), name).unwrap();
        }
        let writes = read(dir.path()).unwrap();
        assert_eq!((writes.len(), overlap_ns(&writes)), (2, 0));
    }

    #[test]
    fn a_stepped_wall_clock_is_noticed() {
        let now = WallClock::now();
        assert!(!WallClock::now().was_stepped_since(now));
        assert!(WallClock(now.0 - STEP_NS * 2).was_stepped_since(now));
    }
}

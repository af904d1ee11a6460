//! Where a group's objects lie, and what the names found there mean.

use super::super::stored::segment;
use object_store::path::Path;

/// The names below one prefix.
#[derive(Clone, Debug)]
pub(super) struct Places {
    prefix: String,
}

/// What the name of an object says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    /// `record.<revision>`
    Record(u64),
    /// `lease.<revision>`
    Lease(u64),
    /// A record by its beginning, but not by its number.
    Damaged,
    /// Nothing of ours.
    Other,
}

impl Places {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_matches('/').to_owned() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn under(&self, rest: &str) -> Path {
        if self.prefix.is_empty() { Path::from(rest) } else { Path::from(format!("{}/{rest}", self.prefix)) }
    }

    pub(super) fn group(&self, group: &str) -> Path {
        self.under(&segment(group))
    }

    pub(super) fn record(&self, group: &str, revision: u64) -> Path {
        self.under(&format!("{}/record.{revision:020}", segment(group)))
    }

    pub(super) fn lease(&self, group: &str, revision: u64) -> Path {
        self.under(&format!("{}/lease.{revision:020}", segment(group)))
    }

    /// No group's folder has a dot in its name.
    pub(super) fn trial(&self) -> Path {
        self.under("conditional.put")
    }

    /// What lies at `path` below the group's folder.
    pub(super) fn name(&self, group: &str, path: &Path) -> Name {
        let folder = self.group(group);
        let Some(mut below) = path.prefix_match(&folder) else { return Name::Other };
        let (Some(name), None) = (below.next(), below.next()) else { return Name::Other };
        match name.as_ref().split_once('.') {
            Some(("record", digits)) => number(digits).map_or(Name::Damaged, Name::Record),
            Some(("lease", digits)) => number(digits).map_or(Name::Other, Name::Lease),
            _ => Name::Other,
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_they_are_made() {
        for prefix in ["", "a", "/a/b c/"] {
            let places = Places::new(prefix);
            for group in ["mail", "a/b", "Ä", "", ".."] {
                assert_eq!(places.name(group, &places.record(group, 7)), Name::Record(7));
                assert_eq!(places.name(group, &places.lease(group, u64::MAX)), Name::Lease(u64::MAX));
                assert_eq!(places.name(group, &places.trial()), Name::Other);
                assert_eq!(places.name("another", &places.record(group, 7)), Name::Other);
            }
        }
    }

    #[test]
    fn numbers_that_we_never_write_are_no_records() {
        let places = Places::new("p");
        for (name, is) in [
            ("record.7", Name::Damaged),
            ("record.+0000000000000000007", Name::Damaged),
            ("record.00000000000000000000", Name::Damaged),
            ("record.99999999999999999999", Name::Damaged),
            ("records", Name::Other),
            ("x/record.00000000000000000007", Name::Other),
        ] {
            assert_eq!(places.name("g", &Path::from(format!("p/g/{name}"))), is, "{name}");
        }
    }
}

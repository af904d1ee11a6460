//! The keys of a group, and what its lease key says.

use super::super::stored::segment;

/// Far below any limit of etcd; ours are shorter.
const MOST_BYTES: usize = 128;

/// The keys below one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_matches('/').to_owned() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn owner(&self, group: &str) -> String {
        format!("{}/{}/owner", self.prefix, segment(group))
    }

    pub(super) fn lease(&self, group: &str) -> String {
        format!("{}/{}/lease", self.prefix, segment(group))
    }
}

/// What a lease key says, and of which write of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LeaseText {
    pub held: bool,
    pub record: u128,
}

impl LeaseText {
    pub(super) fn held(record: u128) -> String {
        format!("ha-lease 1 held {record:032x}")
    }

    pub(super) fn free(record: u128) -> String {
        format!("ha-lease 1 free {record:032x}")
    }

    /// What `bytes` say, if they are ours.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MOST_BYTES {
            return None;
        }
        let rest = std::str::from_utf8(bytes).ok()?.strip_prefix("ha-lease 1 ")?;
        let (state, record) = rest.split_once(' ')?;
        let held = match state {
            "held" => true,
            "free" => false,
            _ => return None,
        };
        let record = u128::from_str_radix(record, 16).ok().filter(|r| format!("{r:032x}") == record)?;
        Some(Self { held, record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_texts_read_back_and_others_do_not() {
        assert_eq!(LeaseText::held(7), "ha-lease 1 held 00000000000000000000000000000007", "golden");
        let read = |text: &str| LeaseText::read(text.as_bytes());
        assert_eq!(read(&LeaseText::held(7)), Some(LeaseText { held: true, record: 7 }));
        assert_eq!(read(&LeaseText::free(u128::MAX)), Some(LeaseText { held: false, record: u128::MAX }));
        for foreign in
            ["", "ha-lease 1 held", "ha-lease 1 held 7", "ha-lease 2 held 00000000000000000000000000000007"]
        {
            assert_eq!(read(foreign), None, "{foreign}");
        }
        assert_eq!(LeaseText::read(&[0xff; 40]), None);
    }

    #[test]
    fn the_two_keys_of_a_group_lie_together() {
        let keys = Keys::new("/pair-a/");
        assert_eq!(keys.owner("mail"), "pair-a/mail/owner");
        assert_eq!(keys.lease("a/b"), "pair-a/a_2fb/lease");
    }
}

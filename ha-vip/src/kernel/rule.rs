//! Routing rules: which table a packet is looked up in.

use super::message::{AF_INET, AF_INET6, Request, attributes, family, ip, octets, u8_at, u32_at};
use super::{KernelError, Rtnetlink};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use std::fmt;
use std::net::IpAddr;

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

/// `struct fib_rule_hdr` (`fib_rules.h`).
const HEADER: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;

/// A rule that sends packets from or to a network to a table.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Rule {
    /// IPv6 rather than IPv4; both networks are of this family.
    pub is_v6: bool,
    /// The packets' source network and the length of its prefix.
    pub from: Option<(IpAddr, u8)>,
    /// The packets' destination network and the length of its prefix.
    pub to: Option<(IpAddr, u8)>,
    /// Its rank; the lowest is asked first.
    pub priority: u32,
    /// The table.
    pub table: u32,
}

impl Rule {
    fn request(&self, kind: u16, flags: u16, origin: u8) -> Request {
        let family = if self.is_v6 { AF_INET6 } else { AF_INET };
        let length = |network: Option<(IpAddr, u8)>| network.map_or(0, |(_, prefix)| prefix);
        let bytes = |network: Option<(IpAddr, u8)>| network.map(|(address, _)| octets(address));
        let table = u8::try_from(self.table).unwrap_or(0);
        let header = [family, length(self.to), length(self.from), 0, table, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
        Request::new(kind, flags, &header)
            .optional(FRA_DST, bytes(self.to).as_deref())
            .optional(FRA_SRC, bytes(self.from).as_deref())
            .attribute(FRA_PRIORITY, &self.priority.to_ne_bytes())
            .attribute(FRA_TABLE, &self.table.to_ne_bytes())
            .attribute(FRA_PROTOCOL, &[origin])
    }

    /// Whether its networks are of its family and their prefixes in range.
    pub(crate) fn is_sound(&self) -> bool {
        let family = if self.is_v6 { AF_INET6 } else { AF_INET };
        let longest = if self.is_v6 { 128 } else { 32 };
        [self.from, self.to].into_iter().flatten().all(|(a, p)| self::family(a) == family && p <= longest)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule {}", self.priority)?;
        for (word, network) in [("from", self.from), ("to", self.to)] {
            if let Some((address, prefix)) = network {
                write!(f, " {word} {address}/{prefix}")?;
            }
        }
        write!(f, " to table {}", self.table)
    }
}

impl Rtnetlink {
    /// Adds a rule; a success if it is there.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn put_rule(&mut self, rule: &Rule, origin: u8) -> Result<(), KernelError> {
        // IPv4 rules of the same content may be added twice unless asked for exclusively.
        let request = rule.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, origin);
        match self.acknowledged(&format!("add {rule}"), request) {
            Err(KernelError::Exists { .. }) => Ok(()),
            other => other,
        }
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// [`KernelError::Absent`] if it is not there (any more).
    pub fn delete_rule(&mut self, rule: &Rule, origin: u8) -> Result<(), KernelError> {
        self.acknowledged(&format!("delete {rule}"), rule.request(RTM_DELRULE, 0, origin))
    }

    /// All rules that send to a table, each with who made it (`FRA_PROTOCOL`).
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn rules(&mut self) -> Result<Vec<(Rule, u8)>, KernelError> {
        let mut rules = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let request = Request::new(RTM_GETRULE, 0, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let replies = self.socket.dump("list the rules", &request)?;
            rules.extend(replies.iter().filter_map(|reply| parse(&reply.body)));
        }
        Ok(rules)
    }
}

fn parse(body: &[u8]) -> Option<(Rule, u8)> {
    let (to_prefix, from_prefix) = (u8_at(body, 1)?, u8_at(body, 2)?);
    let table = u32::from(u8_at(body, 4)?);
    let mut rule = Rule { is_v6: u8_at(body, 0)? == AF_INET6, from: None, to: None, priority: 0, table };
    let mut origin = 0;
    for (attribute, value) in attributes(body, HEADER) {
        match attribute {
            FRA_DST => rule.to = ip(value).map(|address| (address, to_prefix)),
            FRA_SRC => rule.from = ip(value).map(|address| (address, from_prefix)),
            FRA_PRIORITY => rule.priority = u32_at(value, 0)?,
            FRA_TABLE => rule.table = u32_at(value, 0)?,
            FRA_PROTOCOL => origin = u8_at(value, 0)?,
            _ => {}
        }
    }
    (u8_at(body, 7)? == FR_ACT_TO_TBL).then_some((rule, origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_for_reads_back_as_it_was() {
        let from = Some(([10, 77, 0, 100].into(), 32));
        let rule = Rule { is_v6: false, from, to: None, priority: 100, table: 1000 };
        assert_eq!(parse(&rule.request(RTM_NEWRULE, 0, 72).body), Some((rule, 72)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}

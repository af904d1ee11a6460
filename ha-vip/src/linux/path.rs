//! Routes and rules that move with an address, as they are written.

use crate::kernel::{MAIN_TABLE, Route, Rule};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A route that is there while the address is: `DESTINATION/PREFIX|default|default6 [via GATEWAY] [dev INTERFACE]
/// [src ADDRESS] [metric N] [table N]`. Without an interface it leads through the one of the first address of its family.
///
/// ```
/// use ha_vip::linux::RouteSpec;
/// let route: RouteSpec = "default via 10.77.0.1 table 100".parse()?;
/// assert_eq!(route.to_string(), "default via 10.77.0.1 table 100");
/// # Ok::<(), ha_vip::linux::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    pub(crate) destination: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) nic: Option<String>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) metric: Option<u32>,
    pub(crate) table: u32,
}

/// A routing rule that is there while the address is: `[from NETWORK/PREFIX] [to NETWORK/PREFIX] table N priority N`.
///
/// ```
/// use ha_vip::linux::RuleSpec;
/// let rule: RuleSpec = "from 10.77.0.100/32 table 100 priority 1000".parse()?;
/// assert_eq!(rule.to_string(), "from 10.77.0.100/32 table 100 priority 1000");
/// # Ok::<(), ha_vip::linux::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleSpec(pub(crate) Rule);

/// A route or a rule is written wrongly.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A word that does not belong there, or lacks its value.
    #[error("\"{text}\" is no {kind}: {found}; expected {expected}")]
    Word {
        /// The whole text.
        text: String,
        /// Route or rule.
        kind: &'static str,
        /// The word.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Two families in one.
    #[error("\"{text}\" mixes IPv4 and IPv6; expected one family")]
    WrongFamily {
        /// The whole text.
        text: String,
    },
}

const ROUTE: &str =
    "DESTINATION/PREFIX|default|default6 [via GATEWAY] [dev INTERFACE] [src ADDRESS] [metric N] [table N]";
const RULE: &str = "[from NETWORK/PREFIX] [to NETWORK/PREFIX] table N priority N";

/// The words of a text, two by two.
struct Words<'a> {
    text: &'a str,
    kind: &'static str,
    expected: &'static str,
    words: std::str::SplitAsciiWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn wrong(&self, found: impl fmt::Display) -> PathError {
        let (text, kind, expected) = (self.text.into(), self.kind, self.expected);
        PathError::Word { text, kind, found: found.to_string(), expected }
    }

    fn value<T: FromStr>(&mut self, word: &str) -> Result<T, PathError> {
        let value = self.words.next().ok_or_else(|| self.wrong(format!("{word} without a value")))?;
        value.parse().map_err(|_| self.wrong(format!("{word} {value}")))
    }

    fn network(&self, word: &str) -> Result<(IpAddr, u8), PathError> {
        let wrong = || self.wrong(word);
        let (address, prefix) = word.split_once('/').ok_or_else(wrong)?;
        let (address, prefix): (IpAddr, u8) =
            (address.parse().map_err(|_| wrong())?, prefix.parse().map_err(|_| wrong())?);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix <= longest { Ok((address, prefix)) } else { Err(wrong()) }
    }

    fn next_network(&mut self, word: &str) -> Result<Option<(IpAddr, u8)>, PathError> {
        let value: String = self.value(word)?;
        self.network(&value).map(Some)
    }
}

impl FromStr for RouteSpec {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut words = Words { text, kind: "route", expected: ROUTE, words: text.split_ascii_whitespace() };
        let (destination, prefix) = match words.words.next() {
            Some("default") => (IpAddr::from([0; 4]), 0),
            Some("default6") => (IpAddr::from([0; 16]), 0),
            Some(network) => words.network(network)?,
            None => return Err(words.wrong("nothing")),
        };
        let mut route = Self {
            destination,
            prefix,
            gateway: None,
            nic: None,
            source: None,
            metric: None,
            table: MAIN_TABLE,
        };
        while let Some(word) = words.words.next() {
            match word {
                "via" => route.gateway = Some(words.value(word)?),
                "dev" => {
                    let nic: String = words.value(word)?;
                    if !super::spec::is_nic_name(&nic) {
                        return Err(words.wrong(format!("dev {nic}")));
                    }
                    route.nic = Some(nic);
                }
                "src" => route.source = Some(words.value(word)?),
                "metric" => route.metric = Some(words.value(word)?),
                "table" => route.table = words.value(word)?,
                other => return Err(words.wrong(other)),
            }
        }
        let same = |a: &IpAddr| a.is_ipv4() == destination.is_ipv4();
        if route.gateway.iter().chain(&route.source).all(same) {
            Ok(route)
        } else {
            Err(PathError::WrongFamily { text: text.into() })
        }
    }
}

impl RouteSpec {
    /// A host route to `address` through `nic`, in a table.
    pub(crate) fn host(address: IpAddr, nic: &str, table: u32) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let (nic, source) = (Some(nic.into()), Some(address));
        Self { destination: address, prefix, gateway: None, nic, source, metric: None, table }
    }

    pub(crate) fn on(&self, index: u32, origin: u8, expires: Option<u32>) -> Route {
        let mut route = Route::new(self.destination, self.prefix);
        route.gateway = self.gateway;
        route.index = Some(index);
        route.source = self.source;
        route.metric = self.metric;
        route.table = self.table;
        route.origin = origin;
        route.expires = expires.filter(|_| self.destination.is_ipv6());
        route
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.destination, self.prefix) {
            (IpAddr::V4(v4), 0) if v4.is_unspecified() => f.write_str("default")?,
            (IpAddr::V6(v6), 0) if v6.is_unspecified() => f.write_str("default6")?,
            (address, prefix) => write!(f, "{address}/{prefix}")?,
        }
        let mut word = |word: &str, value: Option<&dyn fmt::Display>| match value {
            Some(value) => write!(f, " {word} {value}"),
            None => Ok(()),
        };
        word("via", self.gateway.as_ref().map(|v| v as _))?;
        word("dev", self.nic.as_ref().map(|v| v as _))?;
        word("src", self.source.as_ref().map(|v| v as _))?;
        word("metric", self.metric.as_ref().map(|v| v as _))?;
        word("table", (self.table != MAIN_TABLE).then_some(&self.table as _))
    }
}

impl FromStr for RuleSpec {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut words = Words { text, kind: "rule", expected: RULE, words: text.split_ascii_whitespace() };
        let (mut from, mut to, mut table, mut priority) = (None, None, None, None);
        while let Some(word) = words.words.next() {
            match word {
                "from" => from = words.next_network(word)?,
                "to" => to = words.next_network(word)?,
                "table" => table = Some(words.value(word)?),
                "priority" => priority = Some(words.value(word)?),
                other => return Err(words.wrong(other)),
            }
        }
        let Some((any, _)) = from.or(to) else { return Err(words.wrong("neither from nor to")) };
        let (Some(table), Some(priority)) = (table, priority) else {
            return Err(words.wrong("table or priority is missing"));
        };
        let rule = Rule { is_v6: any.is_ipv6(), from, to, priority, table };
        if rule.is_sound() { Ok(Self(rule)) } else { Err(PathError::WrongFamily { text: text.into() }) }
    }
}

impl fmt::Display for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, network) in [("from", self.0.from), ("to", self.0.to)] {
            if let Some((address, prefix)) = network {
                write!(f, "{word} {address}/{prefix} ")?;
            }
        }
        write!(f, "table {} priority {}", self.0.table, self.0.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn routes_and_rules_print_as_they_are_read() {
        for text in [
            "default via 10.77.0.1",
            "default6 via fe80::1 dev lan0",
            "10.99.0.0/16 via 10.77.0.1 dev lan0 src 10.77.0.100 metric 5 table 100",
            "fd99::/64 dev lan0 table 4000000000",
        ] {
            assert_eq!(text.parse::<RouteSpec>().unwrap().to_string(), text);
        }
        for text in
            ["from 10.77.0.100/32 table 100 priority 7", "from fd00::64/128 to fd99::/64 table 9 priority 0"]
        {
            assert_eq!(text.parse::<RuleSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "default via",
            "default via x",
            "default mtu 9000",
            "default dev a/b",
            "default metric -1",
        ] {
            assert!(matches!(text.parse::<RouteSpec>(), Err(PathError::Word { .. })), "{text}");
        }
        for text in
            ["", "from 10.0.0.0/8 table 1", "table 1 priority 1", "from 10.0.0.0/40 table 1 priority 1"]
        {
            assert!(matches!(text.parse::<RuleSpec>(), Err(PathError::Word { .. })), "{text}");
        }
        assert!(matches!("default via fd00::1".parse::<RouteSpec>(), Err(PathError::WrongFamily { .. })));
        let mixed = "from 10.0.0.0/8 to fd00::/64 table 1 priority 1";
        assert!(matches!(mixed.parse::<RuleSpec>(), Err(PathError::WrongFamily { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(default|10.0.0.0/8|fd00::/64|from|to|via|dev|table|priority|[0-9a-z./:]{0,9}| ){0,9}") {
            if let Ok(route) = text.parse::<RouteSpec>() {
                prop_assert_eq!(route.to_string().parse(), Ok(route));
            }
            if let Ok(rule) = text.parse::<RuleSpec>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }
    }
}

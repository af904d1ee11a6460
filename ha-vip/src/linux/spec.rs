//! How an address is written: `10.77.0.100/24@lan0`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Interface names and labels have at most 15 bytes (`IFNAMSIZ`).
const LONGEST_NAME: usize = 15;

/// How far an IPv4 address is valid (`ip-address(8)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On its link only.
    Link,
    /// On this host only.
    Host,
}

impl Scope {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Global => 0,
            Self::Link => 253,
            Self::Host => 254,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Link => "link",
            Self::Host => "host",
        }
    }
}

/// An address to be served, and where.
///
/// Written `ADDRESS/PREFIX[@INTERFACE][,OPTION …]`. Without an interface it goes to the one whose directly connected
/// network the address is in, and is refused if that is not exactly one. Options: `label=lan0:mail` and
/// `scope=global|link|host` (IPv4), `noprefixroute` (no route to its network). With `/32` and `/128` there is no such
/// route anyway.
///
/// ```
/// use ha_vip::linux::AddressSpec;
/// let spec: AddressSpec = "10.77.0.100/24@lan0,label=lan0:mail".parse()?;
/// assert_eq!((spec.prefix(), spec.nic()), (24, Some("lan0")));
/// assert_eq!(spec.to_string(), "10.77.0.100/24@lan0,label=lan0:mail");
/// assert!("10.77.0.100/33".parse::<AddressSpec>().is_err());
/// # Ok::<(), ha_vip::linux::SpecError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressSpec {
    address: IpAddr,
    prefix: u8,
    nic: Option<String>,
    label: Option<String>,
    scope: Scope,
    prefix_route: bool,
}

/// An address is written wrongly.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is no address.
    #[error(
        "\"{found}\" is no address; expected ADDRESS/PREFIX[@INTERFACE], as in 10.77.0.100/24@lan0 or fd00::64/64"
    )]
    NoAddress {
        /// The text.
        found: String,
    },
    /// The prefix is missing.
    #[error("{address} has no prefix length; expected the one of its network, as in {address}/{longest}")]
    NoPrefix {
        /// The address.
        address: IpAddr,
        /// The longest that it may have.
        longest: u8,
    },
    /// The prefix is no number, or too long.
    #[error("{address} has the prefix length \"{found}\"; expected 1 to {longest}")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// What was found.
        found: String,
        /// The longest that it may have.
        longest: u8,
    },
    /// No host can have such an address.
    #[error("{address} is {kind}; expected an address that one host can have")]
    NotAHosts {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// It is no interface name.
    #[error(
        "\"{found}\" is no interface name; expected 1 to 15 bytes without blanks, slash, colon, comma and @"
    )]
    Nic {
        /// The text.
        found: String,
    },
    /// It is no label.
    #[error(
        "the label \"{found}\" of {address} cannot be; expected at most 15 bytes that begin with the interface's name, as in lan0:mail"
    )]
    Label {
        /// The address.
        address: IpAddr,
        /// The text.
        found: String,
    },
    /// An option of the other family.
    #[error("{address} is IPv6, and {option} is for IPv4 only; leave it out")]
    WrongFamily {
        /// The address.
        address: IpAddr,
        /// The option.
        option: &'static str,
    },
    /// An unknown option.
    #[error(
        "\"{found}\" is no option of an address; expected label=…, scope=global|link|host or noprefixroute"
    )]
    Option {
        /// The text.
        found: String,
    },
}

impl AddressSpec {
    /// An address in a network with a prefix of this length.
    ///
    /// # Errors
    /// [`SpecError::Prefix`], [`SpecError::NotAHosts`].
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, SpecError> {
        let longest = longest(address);
        if prefix == 0 || prefix > longest {
            return Err(SpecError::Prefix { address, found: prefix.to_string(), longest });
        }
        if let Some(kind) = not_a_hosts(address) {
            return Err(SpecError::NotAHosts { address, kind });
        }
        Ok(Self { address, prefix, nic: None, label: None, scope: Scope::Global, prefix_route: true })
    }

    /// On the interface of this name.
    ///
    /// # Errors
    /// [`SpecError::Nic`], [`SpecError::Label`] if the label is of another interface.
    pub fn on(mut self, nic: &str) -> Result<Self, SpecError> {
        if !is_nic_name(nic) {
            return Err(SpecError::Nic { found: nic.into() });
        }
        self.nic = Some(nic.into());
        match self.label.take() {
            Some(label) => self.labelled(&label),
            None => Ok(self),
        }
    }

    /// With this label.
    ///
    /// # Errors
    /// [`SpecError::WrongFamily`], [`SpecError::Label`].
    pub fn labelled(mut self, label: &str) -> Result<Self, SpecError> {
        if self.address.is_ipv6() {
            return Err(SpecError::WrongFamily { address: self.address, option: "label" });
        }
        let whose = label.split(':').next().unwrap_or_default();
        let is_of_nic = self.nic.as_deref().is_none_or(|nic| nic == whose);
        let is_text = label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !is_of_nic || !is_text || !is_nic_name(whose) || label.len() > LONGEST_NAME {
            return Err(SpecError::Label { address: self.address, found: label.into() });
        }
        self.label = Some(label.into());
        Ok(self)
    }

    /// With this scope.
    ///
    /// # Errors
    /// [`SpecError::WrongFamily`]: an IPv6 address has the scope that it shows.
    pub fn scoped(mut self, scope: Scope) -> Result<Self, SpecError> {
        if self.address.is_ipv6() {
            return Err(SpecError::WrongFamily { address: self.address, option: "scope" });
        }
        self.scope = scope;
        Ok(self)
    }

    /// Without a route to its network.
    #[must_use]
    pub const fn without_prefix_route(mut self) -> Self {
        self.prefix_route = false;
        self
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of its network's prefix.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The interface's name; none if it is found by route.
    #[must_use]
    pub fn nic(&self) -> Option<&str> {
        self.nic.as_deref()
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Its scope.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it comes with a route to its network.
    #[must_use]
    pub const fn has_prefix_route(&self) -> bool {
        self.prefix_route
    }

    fn with_option(self, option: &str) -> Result<Self, SpecError> {
        match option.split_once('=') {
            Some(("label", label)) => self.labelled(label),
            Some(("scope", name)) => {
                let known = [Scope::Global, Scope::Link, Scope::Host];
                let scope = known.into_iter().find(|scope| scope.name() == name);
                self.scoped(scope.ok_or_else(|| SpecError::Option { found: option.into() })?)
            }
            None if option == "noprefixroute" => Ok(self.without_prefix_route()),
            Some(_) | None => Err(SpecError::Option { found: option.into() }),
        }
    }
}

const fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn not_a_hosts(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Some("an IPv4 address in IPv6 form (write it as IPv4)")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What the kernel takes for a name (`dev_valid_name`), without the signs that this notation uses itself.
pub(crate) fn is_nic_name(name: &str) -> bool {
    let free = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b',' | b'@');
    (1..=LONGEST_NAME).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(free)
}

impl FromStr for AddressSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let no_address = || SpecError::NoAddress { found: text.into() };
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let (network, nic) = place.split_once('@').map_or((place, None), |(a, nic)| (a, Some(nic)));
        let (address, prefix) = network.split_once('/').map_or((network, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| no_address())?;
        let longest = longest(address);
        let prefix = prefix.ok_or(SpecError::NoPrefix { address, longest })?;
        let number = prefix.parse().ok().filter(|_| prefix.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.ok_or_else(|| SpecError::Prefix { address, found: prefix.into(), longest })?;
        let spec = Self::new(address, number)?;
        let spec = match nic {
            Some(nic) => spec.on(nic)?,
            None => spec,
        };
        parts.try_fold(spec, Self::with_option)
    }
}

impl fmt::Display for AddressSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        if let Some(nic) = &self.nic {
            write!(f, "@{nic}")?;
        }
        if let Some(label) = &self.label {
            write!(f, ",label={label}")?;
        }
        if self.scope != Scope::Global {
            write!(f, ",scope={}", self.scope.name())?;
        }
        if !self.prefix_route {
            f.write_str(",noprefixroute")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for AddressSpec {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<AddressSpec> for String {
    fn from(spec: AddressSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> SpecError {
        text.parse::<AddressSpec>().unwrap_err()
    }

    #[test]
    fn each_mistake_has_its_name() {
        let v4 = IpAddr::from([10, 77, 0, 100]);
        for text in ["", "lan0", "10.77.0/24", "10.77.0.100 /24", "@lan0", "10.77.0.256/24"] {
            assert_eq!(error(text), SpecError::NoAddress { found: text.into() }, "{text}");
        }
        assert_eq!(error("10.77.0.100@lan0"), SpecError::NoPrefix { address: v4, longest: 32 });
        for prefix in ["33", "0", "-1", "", "+8", "24 ", "4294967320"] {
            let found = error(&format!("10.77.0.100/{prefix}"));
            assert_eq!(found, SpecError::Prefix { address: v4, found: prefix.into(), longest: 32 });
        }
        assert!(matches!(error("fd00::64/129"), SpecError::Prefix { longest: 128, .. }));
        for text in
            ["0.0.0.0/8", "224.0.0.1/4", "255.255.255.255/32", "::/64", "ff02::1/64", "::ffff:10.0.0.1/96"]
        {
            assert!(matches!(error(text), SpecError::NotAHosts { .. }), "{text}");
        }
        for nic in ["", "a b", "a/b", "a:b", "..", "sixteen-letters-", "a@b"] {
            assert_eq!(error(&format!("10.77.0.100/24@{nic}")), SpecError::Nic { found: nic.into() });
        }
        assert!(matches!(
            error("fd00::64/64@lan0,label=lan0:a"),
            SpecError::WrongFamily { option: "label", .. }
        ));
        assert!(matches!(error("fd00::64/64,scope=link"), SpecError::WrongFamily { option: "scope", .. }));
        for label in ["wan0:a", "", "lan0:longer-than-it", "lan0:\u{e4}"] {
            assert!(
                matches!(error(&format!("10.77.0.100/24@lan0,label={label}")), SpecError::Label { .. }),
                "{label}"
            );
        }
        for option in ["", "mtu=9000", "scope=site", "noprefixroutes"] {
            assert_eq!(
                error(&format!("10.77.0.100/24@lan0,{option}")),
                SpecError::Option { found: option.into() }
            );
        }
    }

    #[test]
    fn host_routes_and_options_are_understood() {
        let spec: AddressSpec = "192.0.2.1/32,scope=host,noprefixroute".parse().unwrap();
        assert_eq!((spec.prefix(), spec.nic(), spec.scope()), (32, None, Scope::Host));
        assert!(!spec.has_prefix_route());
        assert_eq!("fd00::64/128@lan0".parse::<AddressSpec>().unwrap().prefix(), 128);
    }

    fn specs() -> impl Strategy<Value = AddressSpec> {
        let address =
            prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
        let nic = proptest::option::of("[a-z][a-z0-9.-]{0,6}");
        let scope = prop_oneof![Just(Scope::Global), Just(Scope::Link), Just(Scope::Host)];
        (address, 1_u8..=128, nic, any::<bool>(), scope, any::<bool>()).prop_filter_map(
            "addresses that a host can have",
            |(address, prefix, nic, label, scope, bare)| {
                let mut spec = AddressSpec::new(address, prefix).ok()?;
                if let Some(nic) = &nic {
                    spec = spec.on(nic).ok()?;
                    if label && address.is_ipv4() {
                        spec = spec.labelled(&format!("{nic}:a")).ok()?;
                    }
                }
                if address.is_ipv4() {
                    spec = spec.scoped(scope).ok()?;
                }
                Some(if bare { spec.without_prefix_route() } else { spec })
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_it_was(spec in specs()) {
            prop_assert_eq!(spec.to_string().parse::<AddressSpec>(), Ok(spec));
        }

        #[test]
        fn no_text_makes_reading_panic_and_what_is_taken_prints_itself(text in "[0-9a-f.:/@,=a-z ]{0,40}|.{0,40}") {
            if let Ok(spec) = text.parse::<AddressSpec>() {
                prop_assert_eq!(spec.to_string().parse::<AddressSpec>(), Ok(spec));
            }
        }
    }
}

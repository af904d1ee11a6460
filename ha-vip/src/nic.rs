//! A network interface as an address sees it: plain data, read once.

use std::fmt;
use std::str::FromStr;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Nic {
    /// The kernel's number of it; a new one each time it is created.
    pub index: u32,
    /// Its name, as in `lan0`.
    pub name: String,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// The longest packet it carries, in bytes without the link-layer header.
    pub mtu: u32,
}

/// A 48-bit link-layer address, shown and read as `02:00:5e:10:00:ff`.
///
/// ```
/// use ha_vip::MacAddress;
/// let mac: MacAddress = "00:00:5e:00:01:33".parse()?;
/// assert_eq!(mac, MacAddress([0, 0, 0x5e, 0, 1, 0x33]));
/// assert_eq!(mac.to_string(), "00:00:5e:00:01:33");
/// # Ok::<(), ha_vip::MacAddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MacAddress(pub [u8; 6]);

/// A text is not a link-layer address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{found}\" is no MAC address; expected six pairs of hexadecimal digits, as in 02:00:5e:10:00:ff")]
pub struct MacAddressError {
    /// The text.
    pub found: String,
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let wrong = || MacAddressError { found: text.into() };
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair =
                pairs.next().filter(|pair| pair.len() == 2 && !pair.starts_with('+')).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        if pairs.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_pairs_of_digits_are_an_address_and_nothing_else_is() {
        assert_eq!("02:00:5E:10:00:ff".parse(), Ok(MacAddress([2, 0, 0x5e, 0x10, 0, 0xff])));
        for wrong in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:00",
            "2:0:5e:10:0:ff",
            "+2:00:5e:10:00:ff",
            "02-00-5e-10-00-ff",
        ] {
            assert_eq!(wrong.parse::<MacAddress>(), Err(MacAddressError { found: wrong.into() }));
        }
    }
}

//! A link-layer address that moves with the address, so that no neighbour has to learn another one.

use super::LinuxError;
use super::settings::Settings;
use crate::kernel::{KernelError, Link, MacvlanMode, Rtnetlink};
use crate::{MacAddress, Nic};

/// A macvlan with a link-layer address of its own, on the interface of the addresses.
///
/// It is made when the resource is built and stays down until the address is taken, so that a takeover only raises it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtualMac {
    pub(crate) name: String,
    pub(crate) mac: MacAddress,
    pub(crate) mode: MacvlanMode,
}

impl VirtualMac {
    /// The address 00:00:5e:00:01:VRID of a virtual router (RFC 9568, 7.3), on the interface `vmac.VRID`.
    #[must_use]
    pub fn vrrp(vrid: u8) -> Self {
        Self::new(&format!("vmac.{vrid}"), MacAddress([0, 0, 0x5e, 0, 1, vrid]))
    }

    /// This address, on an interface of this name.
    #[must_use]
    pub fn new(name: &str, mac: MacAddress) -> Self {
        Self { name: name.into(), mac, mode: MacvlanMode::Private }
    }

    /// How it hears other macvlans on the same interface. Default: not at all.
    #[must_use]
    pub const fn mode(mut self, mode: MacvlanMode) -> Self {
        self.mode = mode;
        self
    }

    /// Makes it, down, or takes over the one of an earlier life; with the settings that it needs.
    pub(super) fn prepare(
        &self,
        kernel: &mut Rtnetlink,
        lower: &Nic,
        settings: &mut Settings,
    ) -> Result<(), LinuxError> {
        match kernel.create_macvlan(&self.name, lower, self.mac, self.mode) {
            Ok(_) => {}
            Err(KernelError::Exists { .. }) => {
                let found = kernel.link_named(&self.name)?;
                self.is_it(&found, lower)?;
                kernel.set_up(&found.nic, false)?;
            }
            Err(error) => return Err(error.into()),
        }
        for (name, value) in OWN {
            settings.set(&name.replace("NIC", &self.name), value)?;
        }
        for (name, value) in LOWER {
            settings.set(&name.replace("NIC", &lower.name), value)?;
        }
        Ok(())
    }

    fn is_it(&self, found: &Link, lower: &Nic) -> Result<(), LinuxError> {
        let is_ours = found.kind.as_deref() == Some("macvlan")
            && found.nic.mac == self.mac
            && found.lower == Some(lower.index);
        if is_ours {
            return Ok(());
        }
        let kind = found.kind.as_deref().unwrap_or("a device");
        let found = format!("{kind} with address {} on interface {:?}", found.nic.mac, found.lower);
        Err(LinuxError::NotOurNic { name: self.name.clone(), found })
    }

    /// Removes it. A success if it is not there; what is not this macvlan is left alone.
    pub(super) fn remove(&self, kernel: &mut Rtnetlink) -> Result<(), KernelError> {
        match kernel.link_named(&self.name) {
            Ok(link) if link.kind.as_deref() == Some("macvlan") && link.nic.mac == self.mac => {
                let removed = kernel.delete_link(&link.nic);
                if removed.as_ref().is_err_and(KernelError::is_absent) { Ok(()) } else { removed }
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_absent() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the macvlan needs: it answers for its own addresses only and takes packets whose way back leads through the
/// interface below; IPv6 makes it no address of its own. They end with it.
const OWN: [(&str, &str); 4] = [
    ("ipv4/conf/NIC/arp_ignore", "1"),
    ("ipv4/conf/NIC/accept_local", "1"),
    ("ipv4/conf/NIC/rp_filter", "0"),
    ("ipv6/conf/NIC/addr_gen_mode", "1"),
];

/// What the interface below needs: it must not answer with its own link-layer address for what is on the macvlan.
const LOWER: [(&str, &str); 1] = [("ipv4/conf/NIC/arp_ignore", "1")];

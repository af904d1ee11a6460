//! What takes everything away after the process that put it there is dead: run by the guardian, without a runtime.

use super::LinuxError;
use super::gate::{Gate, table_name};
use super::plan::{ORIGIN, Plan};
use super::settings::put_back;
use super::virtual_mac::VirtualMac;
use crate::MacAddress;
use crate::kernel::{Address, KernelError, NetNamespace, Route, Rtnetlink, Rule};
use ha_core::Undo;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The kind of the undo steps of [`VirtualIp::linux`](crate::VirtualIp::linux).
pub const UNDO_KIND: &str = "ha-vip/address";
const VERSION: u16 = 1;

/// Everything that a resource may have put into the kernel. Written with postcard; its bytes are kept by a guardian that
/// may be older than the program that reads them, so they never change within a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Effect {
    namespace: Option<String>,
    addresses: Vec<IpAddr>,
    /// Destination, prefix, table.
    routes: Vec<(IpAddr, u8, u32)>,
    rules: Vec<Rule>,
    gate: Option<String>,
    virtual_mac: Option<(String, [u8; 6])>,
    settings: Vec<(String, String)>,
}

impl Effect {
    pub(crate) fn of(plan: &Plan, settings: Vec<(String, String)>) -> Self {
        Self {
            namespace: plan.namespace.path().map(|path| path.to_string_lossy().into_owned()),
            addresses: plan.addresses(),
            routes: plan.routes.iter().map(|route| (route.destination, route.prefix, route.table)).collect(),
            rules: plan.rules.iter().map(|rule| rule.0.clone()).collect(),
            gate: plan.gate.map(|_| table_name(&plan.name)),
            virtual_mac: plan.virtual_mac.as_ref().map(|v| (v.name.clone(), v.mac.0)),
            settings,
        }
    }

    pub(crate) fn into_undo(self) -> Undo {
        // Writing plain data into memory cannot fail; without bytes the guardian would say so.
        let bytes = postcard::to_stdvec(&self).unwrap_or_default();
        Undo { kind: UNDO_KIND.into(), version: VERSION, bytes }
    }

    fn read(version: u16, bytes: &[u8]) -> Result<Self, String> {
        if version != VERSION {
            return Err(format!("version {version} of {UNDO_KIND} is not known; expected {VERSION}"));
        }
        postcard::from_bytes(bytes).map_err(|e| format!("the bytes of {UNDO_KIND} are not understood: {e}"))
    }

    fn space(&self) -> NetNamespace {
        self.namespace.as_deref().map_or_else(NetNamespace::own, NetNamespace::named)
    }

    fn ours(&self, kernel: &mut Rtnetlink) -> Result<Vec<Address>, KernelError> {
        let mut found = kernel.addresses()?;
        found.retain(|address| address.origin == ORIGIN && self.addresses.contains(&address.address));
        Ok(found)
    }

    fn our_routes(&self, kernel: &mut Rtnetlink) -> Result<Vec<Route>, KernelError> {
        if self.routes.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = kernel.routes()?;
        found.retain(|r| r.origin == ORIGIN && self.routes.contains(&(r.destination, r.prefix, r.table)));
        Ok(found)
    }

    fn our_rules(&self, kernel: &mut Rtnetlink) -> Result<Vec<Rule>, KernelError> {
        if self.rules.is_empty() {
            return Ok(Vec::new());
        }
        let found = kernel.rules()?.into_iter();
        Ok(found
            .filter(|(rule, origin)| *origin == ORIGIN && self.rules.contains(rule))
            .map(|(r, _)| r)
            .collect())
    }

    fn take_back(&self) -> Result<(), LinuxError> {
        let space = self.space();
        let mut kernel = Rtnetlink::open(&space)?;
        let addresses = self.ours(&mut kernel)?;
        // Everything is tried; what is still there then is for the verification to say.
        let mut outcomes = kernel.delete_addresses(&addresses);
        for rule in self.our_rules(&mut kernel)? {
            outcomes.push(kernel.delete_rule(&rule, ORIGIN));
        }
        for route in self.our_routes(&mut kernel)? {
            outcomes.push(kernel.delete_route(&route));
        }
        if let Some((name, mac)) = &self.virtual_mac {
            outcomes.push(VirtualMac::new(name, MacAddress(*mac)).remove(&mut kernel));
        }
        for (name, value) in self.settings.iter().rev() {
            outcomes.push(put_back(&space, name, value));
        }
        // The gate goes last: as long as an address is there it holds back what comes for it.
        if let Some(table) = &self.gate
            && self.ours(&mut kernel)?.is_empty()
        {
            outcomes.push(Gate::named(&space, table.clone(), Vec::new()).and_then(|mut gate| gate.remove()));
        }
        let failed = outcomes.into_iter().find(|o| o.as_ref().is_err_and(|error| !error.is_absent()));
        failed.map_or(Ok(()), |error| error.map_err(LinuxError::from))
    }

    /// Whether nothing answers any more: the addresses, and what leads to them.
    fn is_gone(&self) -> Result<bool, LinuxError> {
        let mut kernel = Rtnetlink::open(&self.space())?;
        let is_gone = self.ours(&mut kernel)?.is_empty()
            && self.our_rules(&mut kernel)?.is_empty()
            && self.our_routes(&mut kernel)?.is_empty();
        Ok(is_gone)
    }
}

/// Takes an effect away, given an [`Undo`]'s version and bytes.
///
/// # Errors
/// A sentence that says what is left, and why.
pub fn undo(version: u16, bytes: &[u8]) -> Result<(), String> {
    let effect = Effect::read(version, bytes)?;
    effect.take_back().map_err(|error| error.to_string())
}

/// Whether nothing of an effect is left, asked from the kernel.
///
/// # Errors
/// A sentence that says why that cannot be told.
pub fn verify(version: u16, bytes: &[u8]) -> Result<bool, String> {
    let effect = Effect::read(version, bytes)?;
    effect.is_gone().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn effect() -> Effect {
        Effect {
            namespace: Some("/run/netns/n1".into()),
            addresses: vec![[10, 77, 0, 100].into(), "fd00::64".parse().unwrap()],
            routes: vec![([0, 0, 0, 0].into(), 0, 100)],
            rules: vec![Rule {
                is_v6: false,
                from: Some(([10, 77, 0, 100].into(), 32)),
                to: None,
                priority: 1000,
                table: 100,
            }],
            gate: Some("ha_vip_mail".into()),
            virtual_mac: Some(("vmac.51".into(), [0, 0, 0x5e, 0, 1, 51])),
            settings: vec![("ipv4/conf/lan0/arp_ignore".into(), "0".into())],
        }
    }

    /// A guardian may hold steps of an older program: these bytes are read for ever.
    #[test]
    fn the_bytes_of_version_1_are_these() {
        let undo = effect().into_undo();
        assert_eq!((undo.kind.as_str(), undo.version), ("ha-vip/address", 1));
        let golden = b"\x01\x0d/run/netns/n1\x02\x00\x0aM\x00d\x01\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00d\x01\x00\x00\x00\x00\x00\x00d\x01\x00\x01\x00\x0aM\x00d\x20\x00\xe8\x07d\x01\x0bha_vip_mail\x01\x07vmac.51\x00\x00^\x00\x013\x01\x19ipv4/conf/lan0/arp_ignore\x010";
        assert_eq!(undo.bytes, golden);
        assert_eq!(Effect::read(1, golden), Ok(effect()));
    }

    #[test]
    fn another_version_and_other_bytes_are_refused() {
        assert!(undo(2, &[]).unwrap_err().contains("version 2"));
        assert!(verify(1, &[0xff]).unwrap_err().contains("not understood"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = Effect::read(1, &bytes);
        }
    }
}

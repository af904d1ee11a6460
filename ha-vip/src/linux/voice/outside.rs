//! After each take the witnesses are asked, on a thread of its own: a takeover waits for nobody's answer.

use super::locked;
use crate::Nic;
use crate::announce::{AnnounceError, Announcer};
use crate::kernel::NetNamespace;
use crate::verify::{OutsideCheck, OutsideView};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// Where the witnesses believe each address to be that is held.
pub(super) struct Outside {
    views: Arc<Mutex<BTreeMap<IpAddr, OutsideView>>>,
    taken: Sender<(Nic, IpAddr)>,
}

impl Outside {
    pub(super) fn start(
        namespace: NetNamespace,
        witnesses: Vec<IpAddr>,
        announcer: Arc<Announcer>,
    ) -> Result<Self, AnnounceError> {
        let views: Arc<Mutex<BTreeMap<IpAddr, OutsideView>>> = Arc::default();
        let (taken, takes) = channel::<(Nic, IpAddr)>();
        let shown = Arc::clone(&views);
        // It ends when this object does, after the check that is under way.
        std::thread::Builder::new().name("verify".into()).spawn(move || {
            for (nic, address) in takes {
                let view = ask(&namespace, &witnesses, &nic, address);
                if !view.contradicted.is_empty() {
                    announcer.conflict_heard(address);
                }
                tracing::info!(%address, confirmed = view.confirmed.len(), contradicted = view.contradicted.len(),
                    unknown = view.unknown.len(), "the take was looked at from outside");
                locked(&shown).insert(address, view);
            }
        })?;
        Ok(Self { views, taken })
    }

    pub(super) fn taken(&self, nic: &Nic, address: IpAddr) {
        locked(&self.views).remove(&address);
        // Without its thread nothing is verified, and nothing is claimed to be.
        let _ended = self.taken.send((nic.clone(), address));
    }

    pub(super) fn left(&self, address: IpAddr) {
        locked(&self.views).remove(&address);
    }

    /// Who believes an address elsewhere.
    pub(super) fn contradiction(&self) -> Option<String> {
        locked(&self.views).iter().find_map(|(address, view)| {
            let (who, mac) = view.contradicted.first()?;
            Some(format!("{who} believes {address} at {mac}"))
        })
    }
}

fn ask(namespace: &NetNamespace, witnesses: &[IpAddr], nic: &Nic, address: IpAddr) -> OutsideView {
    let check = OutsideCheck::default().namespace(Arc::new(namespace.clone()));
    let family = witnesses.iter().filter(|witness| witness.is_ipv4() == address.is_ipv4());
    family.fold(check, |check, witness| check.witness(*witness, None)).run(nic, address)
}

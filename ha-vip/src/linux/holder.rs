//! The addresses in the kernel: put there, renewed, looked at and taken away, by blocking calls.

use super::LinuxError;
use super::gate::Gate;
use super::plan::{LinkLoss, ORIGIN, Placed, Plan};
use super::settings::Settings;
use crate::Holding;
use crate::kernel::{Address, AddressFlags, KernelError, Route, Rtnetlink};
use std::time::Duration;

/// The kernel's side of one resource.
pub(crate) struct Holder {
    pub(crate) kernel: Rtnetlink,
    gate: Option<Gate>,
    pub(crate) settings: Settings,
    placed: Vec<Placed>,
    routes: Vec<Route>,
    duplicates: Vec<Address>,
}

impl Holder {
    /// Connects to the kernel and makes what a takeover should not have to wait for.
    pub(crate) fn prepare(plan: &Plan) -> Result<Self, LinuxError> {
        let mut kernel = Rtnetlink::open(&plan.namespace)?;
        let connect = || Gate::connect(&plan.namespace, &plan.name, plan.addresses());
        let gate = plan.gate.map(|_| connect()).transpose()?;
        let mut settings = Settings::new(plan.namespace.clone());
        if let Some(virtual_mac) = &plan.virtual_mac {
            let lower = plan.common_link(&mut kernel)?.nic;
            virtual_mac.prepare(&mut kernel, &lower, &mut settings)?;
        }
        Ok(Self { kernel, gate, settings, placed: Vec::new(), routes: Vec::new(), duplicates: Vec::new() })
    }

    /// Adds everything, announcing each address as soon as the kernel has it. After an error nothing is left.
    pub(crate) fn put(&mut self, plan: &Plan, open_for: Option<Duration>) -> Result<(), LinuxError> {
        let done = self.put_all(plan, open_for);
        if let Err(error) = &done {
            tracing::warn!(resource = plan.name, %error, "the addresses were not added; what was begun is taken back");
            if let Err(second) = self.take(plan) {
                tracing::error!(resource = plan.name, error = %second, "something is left of a failed acquisition");
            }
        }
        done
    }

    fn put_all(&mut self, plan: &Plan, open_for: Option<Duration>) -> Result<(), LinuxError> {
        let placed = plan.place(&mut self.kernel)?;
        self.clear_for(&placed)?;
        if plan.virtual_mac.is_some()
            && let Some(first) = placed.first()
        {
            self.kernel.set_up(&first.nic, true)?;
        }
        if let (Some(gate), Some(timeout)) = (&mut self.gate, open_for) {
            gate.build(timeout)?;
        }
        self.placed = placed;
        self.duplicates.clear();
        self.add_addresses(plan, true)?;
        self.routes = plan.place_routes(&mut self.kernel, &self.placed)?;
        self.add_paths(plan)
    }

    /// Refuses what somebody else put there, and removes what an earlier life left elsewhere.
    fn clear_for(&mut self, placed: &[Placed]) -> Result<(), LinuxError> {
        let mut stale = Vec::new();
        for found in self.kernel.addresses()? {
            let Some(wanted) = placed.iter().find(|p| p.address.address == found.address) else { continue };
            if found.origin != ORIGIN {
                let nic = self.kernel.link(found.index).map_or_else(|e| e.to_string(), |link| link.nic.name);
                return Err(LinuxError::NotOurs { address: found.address, nic });
            }
            if (found.index, found.prefix) != (wanted.address.index, wanted.address.prefix) {
                tracing::warn!(address = %found, "an address of an earlier life is removed");
                stale.push(found);
            }
        }
        self.delete(&stale)
    }

    fn add_addresses(&mut self, plan: &Plan, announce: bool) -> Result<(), LinuxError> {
        let addresses: Vec<Address> = self.placed.iter().map(|p| p.address.clone()).collect();
        let mut failed = None;
        for (outcome, placed) in self.kernel.put_addresses(&addresses).into_iter().zip(&self.placed) {
            match outcome {
                Ok(()) => {
                    if let (true, Some(hook)) = (announce, &plan.announce) {
                        hook.announce(&placed.nic, placed.address.address);
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(()),
            // Acknowledgements were lost, not addresses: what counts is what is there.
            Some(error) if error.is_unclear() && self.missing()?.is_empty() => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    fn add_paths(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        for route in &self.routes {
            self.kernel.put_route(route)?;
        }
        for rule in &plan.rules {
            self.kernel.put_rule(&rule.0, ORIGIN)?;
        }
        Ok(())
    }

    /// Gives the addresses their whole lifetime again; those that somebody removed come back, and are announced.
    pub(crate) fn renew(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        self.add_addresses(plan, false)
    }

    /// Puts back what is missing, with everything that went with it.
    pub(crate) fn mend(&mut self, plan: &Plan) -> Result<Vec<Address>, LinuxError> {
        let missing = self.missing()?;
        if !missing.is_empty() {
            self.add_addresses(plan, true)?;
            self.add_paths(plan)?;
        }
        Ok(missing)
    }

    /// Keeps the gate open for `timeout` from now on.
    pub(crate) fn renew_gate(&mut self, timeout: Duration) -> Result<(), KernelError> {
        self.gate.as_mut().map_or(Ok(()), |gate| gate.renew(timeout))
    }

    /// Opens the gate again after it has closed by itself.
    pub(crate) fn open_gate(&mut self, timeout: Duration) -> Result<(), KernelError> {
        self.gate.as_mut().map_or(Ok(()), |gate| gate.open(timeout))
    }

    /// Another host has the address: it is not put back until everything is given up and taken again. The kernel deletes
    /// an address with a lifetime when its check fails, and keeps only one without as *dadfailed*.
    pub(crate) fn leave_to_another(&mut self, address: &Address) {
        self.placed.retain(|placed| placed.address.address != address.address);
        self.duplicates.push(address.clone());
    }

    /// Those of our addresses that are not there.
    pub(crate) fn missing(&mut self) -> Result<Vec<Address>, KernelError> {
        let there = self.kernel.addresses()?;
        let is_there = |a: &Address| there.iter().any(|t| (t.index, t.address) == (a.index, a.address));
        Ok(self.placed.iter().map(|p| p.address.clone()).filter(|address| !is_there(address)).collect())
    }

    /// Takes the addresses away at once, the gate first; routes and rules stay until they are back or given up.
    pub(crate) fn suspend(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        if let Some(gate) = &mut self.gate {
            gate.close()?;
        }
        for placed in &self.placed {
            if let Some(hook) = &plan.announce {
                hook.withdraw(&placed.nic, placed.address.address);
            }
        }
        let ours = self.ours(plan)?;
        self.delete(&ours)?;
        self.verify_gone(plan)
    }

    /// Takes everything away and verifies it. A success if nothing was there.
    pub(crate) fn take(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        let suspended = self.suspend(plan);
        for rule in &plan.rules {
            absent_is_fine(self.kernel.delete_rule(&rule.0, ORIGIN))?;
        }
        for route in &self.routes {
            absent_is_fine(self.kernel.delete_route(route))?;
        }
        suspended?;
        self.verify_paths_gone(plan)?;
        if let Some(gate) = &mut self.gate {
            gate.remove()?;
        }
        if let Some(virtual_mac) = &plan.virtual_mac
            && let Ok(link) = self.kernel.link_named(&virtual_mac.name)
        {
            self.kernel.set_up(&link.nic, false)?;
        }
        self.placed.clear();
        self.routes.clear();
        self.duplicates.clear();
        Ok(())
    }

    /// The end: what was made for takeovers goes as well.
    pub(crate) fn dismantle(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        self.take(plan)?;
        if let Some(virtual_mac) = &plan.virtual_mac {
            virtual_mac.remove(&mut self.kernel)?;
        }
        Ok(self.settings.restore()?)
    }

    /// All addresses of the plan that are there and were put there by us, in this life or an earlier one.
    fn ours(&mut self, plan: &Plan) -> Result<Vec<Address>, KernelError> {
        let mut found = self.kernel.addresses()?;
        found.retain(|address| address.origin == ORIGIN && plan.serves(address.address));
        Ok(found)
    }

    fn delete(&mut self, addresses: &[Address]) -> Result<(), LinuxError> {
        // Every one is tried, whatever the others say.
        self.kernel.delete_addresses(addresses).into_iter().map(absent_is_fine).fold(Ok(()), Result::and)?;
        Ok(())
    }

    fn verify_gone(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        match self.ours(plan)?.first() {
            None => Ok(()),
            Some(left) => Err(LinuxError::StillThere { what: left.to_string() }),
        }
    }

    fn verify_paths_gone(&mut self, plan: &Plan) -> Result<(), LinuxError> {
        if !self.routes.is_empty() {
            let there = self.kernel.routes()?;
            let left =
                self.routes.iter().find(|own| there.iter().any(|r| r.origin == ORIGIN && r.is_same(own)));
            if let Some(left) = left {
                return Err(LinuxError::StillThere { what: left.to_string() });
            }
        }
        if !plan.rules.is_empty() {
            let there = self.kernel.rules()?;
            let left = plan.rules.iter().find(|own| there.contains(&(own.0.clone(), ORIGIN)));
            if let Some(left) = left {
                return Err(LinuxError::StillThere { what: left.0.to_string() });
            }
        }
        Ok(())
    }

    /// What the kernel says of the addresses.
    pub(crate) fn look(&mut self, plan: &Plan) -> Result<Holding, KernelError> {
        let ours = self.ours(plan)?;
        if let Some(duplicate) = self.duplicates.first() {
            let found =
                format!("{duplicate} is not in use: another host has it (its check for duplicates failed)");
            return Ok(Holding::Broken { found });
        }
        if self.placed.is_empty() {
            return Ok(match ours.first() {
                None => Holding::NotHeld,
                Some(left) => Holding::Broken { found: format!("{left} is there; expected it gone") },
            });
        }
        if let Some(gone) = self.missing()?.first() {
            return Ok(if ours.is_empty() {
                Holding::NotHeld
            } else {
                Holding::Broken { found: format!("{gone} is missing; the others are there") }
            });
        }
        let has = |flag| ours.iter().find(|address| address.flags.has(flag));
        if let Some(duplicate) = has(AddressFlags::DADFAILED) {
            let found = format!("{duplicate} is not in use: another host has it (dadfailed)");
            return Ok(Holding::Broken { found });
        }
        if let Some(found) = self.lost_link(plan)? {
            return Ok(match plan.link_loss {
                LinkLoss::Fails => Holding::Broken { found },
                LinkLoss::Degrades => Holding::Degraded { found },
            });
        }
        // Optimistic addresses are in use while they are checked.
        let unchecked =
            |a: &&Address| a.flags.has(AddressFlags::TENTATIVE) && !a.flags.has(AddressFlags::OPTIMISTIC);
        Ok(match ours.iter().find(unchecked) {
            Some(found) => Holding::Degraded { found: format!("{found} is not in use yet (tentative)") },
            None => Holding::Held,
        })
    }

    fn lost_link(&mut self, _: &Plan) -> Result<Option<String>, KernelError> {
        let mut indices: Vec<u32> = self.placed.iter().map(|p| p.nic.index).collect();
        indices.dedup();
        for index in indices {
            let link = self.kernel.link(index)?;
            if !link.is_up {
                return Ok(Some(format!("{} is down", link.nic.name)));
            }
            if !link.has_carrier && !link.is_loopback {
                return Ok(Some(format!("{} has no carrier", link.nic.name)));
            }
        }
        Ok(None)
    }

    /// The interfaces that the addresses are on.
    pub(crate) fn is_on(&self, index: u32) -> bool {
        self.placed.iter().any(|placed| placed.nic.index == index)
    }
}

fn absent_is_fine(outcome: Result<(), KernelError>) -> Result<(), KernelError> {
    match outcome {
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}

//! What a data centre shall consist of.

use super::cable::Switchboard;
use super::door::Door;
use super::netns::NetNs;
use super::plan::{self, HostPlan, Kind, Network, Role};
use super::{DataCentre, Host, TestbedError, wiring};
use std::sync::Arc;

/// The network between the router and its clients.
const OUTSIDE: (&str, &str, &str) = ("out0", "10.78.0.128/26", "fd00:77:0:0:1::/80");
/// The name of the router, where there is one.
pub(super) const ROUTER: &str = "router";

/// Collects what [`DataCentre::builder`] shall wire. Hosts are numbered in the order of their mention, from 1, and so are
/// clients; that number is the last part of their addresses.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DataCentreBuilder {
    hosts: Vec<(String, Role)>,
    clients: Vec<String>,
    networks: Vec<(String, Kind, String, Option<String>)>,
}

impl DataCentreBuilder {
    /// A host: an interface in every LAN and every heartbeat network.
    pub fn host(mut self, name: &str) -> Self {
        self.hosts.push((name.to_owned(), Role::Host));
        self
    }

    /// A bystander: an interface in every LAN only.
    pub fn neighbour(mut self, name: &str) -> Self {
        self.hosts.push((name.to_owned(), Role::Neighbour));
        self
    }

    /// A host behind a router, which is added by the first of them. The router's one side is in the first LAN, its other
    /// one in 10.78.0.128/26 and fd00:77:0:0:1::/80 (`out0`).
    pub fn client(mut self, name: &str) -> Self {
        self.clients.push(name.to_owned());
        self
    }

    /// A network of hosts, neighbours and the router, such as `("lan0", "10.77.0.0/24")`. Its name is also the name of the
    /// interfaces in it.
    pub fn lan(mut self, name: &str, v4: &str) -> Self {
        self.networks.push((name.to_owned(), Kind::Lan, v4.to_owned(), None));
        self
    }

    /// A LAN with IPv6 as well, such as `("lan0", "10.77.0.0/24", "fd00:77::/80")`.
    pub fn dual_lan(mut self, name: &str, v4: &str, v6: &str) -> Self {
        self.networks.push((name.to_owned(), Kind::Lan, v4.to_owned(), Some(v6.to_owned())));
        self
    }

    /// A network of hosts only, such as `("hb0", "10.78.0.0/26")`.
    pub fn heartbeat(mut self, name: &str, v4: &str) -> Self {
        self.networks.push((name.to_owned(), Kind::Heartbeat, v4.to_owned(), None));
        self
    }

    /// Builds it. Everything is wired and has its addresses when this returns.
    ///
    /// # Errors
    /// [`TestbedError::Refused`] without the permission to make namespaces, [`TestbedError::Plan`],
    /// [`TestbedError::Program`], [`TestbedError::System`]. Nothing is left of a data centre that was not built.
    pub fn build(self) -> Result<DataCentre, TestbedError> {
        let (networks, plans) = self.plan()?;
        let switch = NetNs::new()?;
        wiring::wire_switch(&switch, &networks)?;
        let board =
            Switchboard::open(&switch).map_err(TestbedError::system("open the sockets", "the switch"))?;
        let centre = DataCentre::new(switch, networks, board);
        for plan in plans {
            let door = centre.plug_in(&plan)?;
            centre.add(Arc::new(Host::new(plan, door)));
        }
        Ok(centre)
    }

    fn plan(self) -> Result<(Vec<Network>, Vec<HostPlan>), TestbedError> {
        let mut networks = self
            .networks
            .iter()
            .map(|(name, kind, v4, v6)| Network::new(name, *kind, v4, v6.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut machines: Vec<(String, Role, u8)> = Vec::new();
        machines.extend((1..).zip(self.hosts).map(|(number, (name, role))| (name, role, number)));
        if !self.clients.is_empty() {
            networks.push(Network::new(OUTSIDE.0, Kind::Outside, OUTSIDE.1, Some(OUTSIDE.2))?);
            machines.push((ROUTER.to_owned(), Role::Router, 0));
        }
        machines.extend((1..).zip(self.clients).map(|(number, name)| (name, Role::Client, number)));
        let mut plans: Vec<HostPlan> = Vec::new();
        for (name, role, number) in machines {
            if plans.iter().any(|plan| plan.name == name) {
                return Err(TestbedError::Plan {
                    found: format!("two hosts {name:?}"),
                    expected: "different names",
                });
            }
            plans.push(plan::host(&name, role, number, &networks)?);
        }
        Ok((networks, plans))
    }
}

impl DataCentre {
    /// Makes a host's namespaces and lays its cables.
    pub(super) fn plug_in(&self, plan: &HostPlan) -> Result<Door, TestbedError> {
        let door = Door::open(&plan.name)?;
        wiring::wire_host(&self.switch, door.netns(), door.init(), plan)?;
        Ok(door)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_every_network_and_a_client_brings_its_router() {
        let built = DataCentre::pair().client("c1").neighbour("w1").plan().unwrap();
        let shown: Vec<String> = built
            .1
            .iter()
            .map(|plan| {
                format!(
                    "{} {}",
                    plan.name,
                    plan.interfaces.iter().map(|i| i.v4.to_string()).collect::<Vec<_>>().join(" ")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "n1 10.77.0.1 10.78.0.1 10.78.0.65",
                "n2 10.77.0.2 10.78.0.2 10.78.0.66",
                "w1 10.77.0.3",
                "router 10.77.0.254 10.78.0.190",
                "c1 10.78.0.129",
            ]
        );
        assert!(built.1.iter().all(|plan| plan.role == Role::Router || !plan.gateways.is_empty()));
    }

    #[test]
    fn two_hosts_of_one_name_are_refused() {
        let refused = DataCentre::pair().host("n1").plan().unwrap_err();
        assert_eq!(refused.to_string(), "two hosts \"n1\"; expected different names");
    }
}

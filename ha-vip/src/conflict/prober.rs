//! Asks the network whether an address is free.

use super::{Probe, ProbeAnswer, ProbePlan, ProbeStep};
use crate::frame::read;
use crate::packet::{Arrival, LinkState, Listener, Namespace, PacketError, PacketSender, Wanted};
use crate::{MacAddress, Nic};
use std::net::IpAddr;
use std::time::Instant;

/// Asks whether anybody but the `own` link-layer addresses (that of `nic` always counts) has `address` on the network of
/// `nic`. Waits as long as `plan` says: call it on a thread that may wait.
///
/// Also tells, from where it is called, at which link-layer address `address` answers: the *other* node finds out that
/// way who is seen there.
///
/// For IPv6 a host that is about to take the address is heard only if the network delivers its question, which goes to
/// a group that this node has not joined; a host that has it answers to all.
#[must_use]
pub fn probe(
    namespace: &dyn Namespace,
    nic: &Nic,
    address: IpAddr,
    plan: ProbePlan,
    own: &[MacAddress],
) -> ProbeAnswer {
    let own = [own, &[nic.mac]].concat();
    ask(namespace, nic, Probe::new(plan, address, &own), address)
        .unwrap_or_else(|error| ProbeAnswer::Unknown(error.to_string()))
}

fn ask(
    namespace: &dyn Namespace,
    nic: &Nic,
    mut probe: Probe,
    address: IpAddr,
) -> Result<ProbeAnswer, PacketError> {
    let wanted = if address.is_ipv4() { Wanted::Arp } else { Wanted::NeighbourDiscovery };
    let sender = PacketSender::open(namespace, nic)?;
    let mut listener = Listener::open(namespace, nic, &[wanted])?;
    if let Some(deaf) = deaf(&sender)? {
        return Ok(deaf);
    }
    let frame = probe.frame(nic.mac);
    let origin = Instant::now();
    loop {
        match probe.step(origin.elapsed()) {
            ProbeStep::Send => sender.send(&frame)?,
            ProbeStep::Listen(wait) => match listener.next(wait)? {
                Arrival::Frame(frame) => drop(read(frame).map(|heard| probe.heard(&heard))),
                Arrival::Quiet | Arrival::Woken => {}
                Arrival::LinkDown => return Ok(ProbeAnswer::Unknown(format!("{} went down", nic.name))),
            },
            // Silence means something only if the cable was there until the end.
            ProbeStep::Done(ProbeAnswer::Free) => return Ok(deaf(&sender)?.unwrap_or(ProbeAnswer::Free)),
            ProbeStep::Done(answer) => return Ok(answer),
        }
    }
}

fn deaf(sender: &PacketSender) -> Result<Option<ProbeAnswer>, PacketError> {
    let name = &sender.nic().name;
    Ok(match sender.state()? {
        LinkState::Running => None,
        LinkState::NoCarrier => {
            Some(ProbeAnswer::Unknown(format!("{name} has no carrier: no answer can arrive")))
        }
        LinkState::Down => Some(ProbeAnswer::Unknown(format!("{name} is down: no answer can arrive"))),
    })
}

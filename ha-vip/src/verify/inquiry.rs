//! Judges the answers of witnesses.

use super::{Evidence, OutsideView, Witness};
use crate::announce::directed_frames;
use crate::conflict::ProbePlan;
use crate::frame::{Arp, ArpOperation, BROADCAST, ClaimKind, Echo, Ethernet, Heard, Solicitation, is_host};
use crate::{MacAddress, Nic};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Other claimants that are remembered.
const CLAIMANTS: usize = 8;

/// One check of one address: which frames to send, and what the answers mean.
#[derive(Clone, Debug)]
pub struct Inquiry {
    nic: Nic,
    address: IpAddr,
    router: bool,
    own: Vec<MacAddress>,
    identifier: u16,
    attempt: u16,
    witnesses: BTreeMap<IpAddr, Standing>,
    claimants: Vec<MacAddress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    mac: Option<MacAddress>,
    evidence: Option<Evidence>,
    /// Where else it believes the address to be.
    mistaken: Option<MacAddress>,
}

impl Inquiry {
    /// Asks `witnesses` about `address` at `nic`; those of the other family are left out. `identifier` tells its echo
    /// requests from those of others.
    #[must_use]
    pub fn new(nic: &Nic, address: IpAddr, router: bool, own: &[MacAddress], identifier: u16) -> Self {
        let (nic, own) = (nic.clone(), [own, &[nic.mac]].concat());
        Self {
            nic,
            address,
            router,
            own,
            identifier,
            attempt: 0,
            witnesses: BTreeMap::new(),
            claimants: vec![],
        }
    }

    /// Asks this one as well. One of the other family is left out.
    #[must_use]
    pub fn asking(mut self, witness: Witness) -> Self {
        if witness.address.is_ipv4() == self.address.is_ipv4() && witness.address != self.address {
            let mac = witness.mac.filter(|mac| is_host(*mac) && !self.own.contains(mac));
            self.witnesses.insert(witness.address, Standing { mac, ..Standing::default() });
        }
        self
    }

    /// Whether nothing more can be learnt: every witness sends to us. Never without a witness.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.witnesses.is_empty() && self.witnesses.values().all(|of| of.evidence == Some(Evidence::Sends))
    }

    /// The frames of the next attempt. First, whether somebody else answers for the address; then, for each witness that
    /// does not send to us yet, from the second attempt on the announcement again; a question; an echo request.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut frames =
            vec![crate::conflict::Probe::new(ProbePlan::default(), self.address, &[]).frame(self.nic.mac)];
        for (&at, standing) in &self.witnesses {
            if standing.evidence == Some(Evidence::Sends) {
                continue;
            }
            if let (1.., Some(mac)) = (self.attempt, standing.mac) {
                frames.extend(directed_frames(&self.nic, self.address, self.router, (at, mac)));
            }
            frames.extend(self.question(at, standing.mac));
            frames.extend(standing.mac.and_then(|mac| self.echo(at).request(self.nic.mac, mac)));
        }
        self.attempt = self.attempt.wrapping_add(1);
        frames
    }

    fn question(&self, witness: IpAddr, mac: Option<MacAddress>) -> Option<Vec<u8>> {
        let ours = self.nic.mac;
        match (self.address, witness, mac) {
            (IpAddr::V4(address), IpAddr::V4(at), mac) => {
                Some(Arp::question(address, ours, at).to_frame(mac.unwrap_or(BROADCAST)))
            }
            (IpAddr::V6(address), IpAddr::V6(at), Some(mac)) => {
                Some(Solicitation::question(address, ours, at).to_frame(ours, mac))
            }
            (IpAddr::V6(address), IpAddr::V6(at), None) => {
                Some(Solicitation::question(address, ours, at).multicast(ours))
            }
            (IpAddr::V4(_), IpAddr::V6(_), _) | (IpAddr::V6(_), IpAddr::V4(_), _) => None,
        }
    }

    fn echo(&self, witness: IpAddr) -> Echo {
        Echo {
            source: self.address,
            destination: witness,
            identifier: self.identifier,
            sequence: self.attempt,
        }
    }

    /// Something was heard. Returns whether a witness became known by it that an echo request can be sent to now.
    pub fn heard(&mut self, heard: &Heard) -> Option<Vec<u8>> {
        self.note_claim(heard);
        if let Some((witness, believed)) = heard.belief(self.address)
            && let Some(standing) = self.witnesses.get_mut(&witness)
            && !self.own.contains(&believed)
        {
            standing.mistaken = Some(believed);
            standing.evidence = None;
            return None;
        }
        let (witness, mac, evidence) = self.answer(heard)?;
        let standing = self.witnesses.get_mut(&witness)?;
        let unknown_before = standing.mac.is_none();
        standing.mac = standing.mac.or(Some(mac).filter(|mac| is_host(*mac)));
        standing.evidence = standing.evidence.max(Some(evidence));
        standing.mistaken = None;
        let known_now = standing.mac.filter(|_| unknown_before && evidence < Evidence::Sends)?;
        self.echo(witness).request(self.nic.mac, known_now)
    }

    fn note_claim(&mut self, heard: &Heard) {
        let claim =
            heard.claim().filter(|claim| claim.address == self.address && claim.kind != ClaimKind::Probe);
        let foreign =
            claim.filter(|claim| !self.own.contains(&claim.mac) && !self.claimants.contains(&claim.mac));
        if let Some(claim) = foreign.filter(|_| self.claimants.len() < CLAIMANTS) {
            self.claimants.push(claim.mac);
        }
    }

    /// Who answered us, from where, and what that proves. Only what was sent to our link-layer address counts.
    fn answer(&self, heard: &Heard) -> Option<(IpAddr, MacAddress, Evidence)> {
        let to_us = |ethernet: &Ethernet| self.own.contains(&ethernet.destination);
        match heard {
            Heard::Arp(ethernet, arp) if to_us(ethernet) => {
                let ours = arp.operation == ArpOperation::Reply && IpAddr::from(arp.target) == self.address;
                ours.then_some((arp.sender.into(), arp.sender_mac, Evidence::Learnt))
            }
            Heard::Advertisement(ethernet, told) if to_us(ethernet) => {
                let ours = told.solicited && IpAddr::from(told.destination) == self.address;
                ours.then_some((told.target.into(), told.mac.unwrap_or(ethernet.source), Evidence::Sends))
            }
            Heard::Echo(ethernet, echo) if to_us(ethernet) => {
                let ours = echo.destination == self.address && echo.identifier == self.identifier;
                ours.then_some((echo.source, ethernet.source, Evidence::Sends))
            }
            _ => None,
        }
    }

    /// What came of it.
    #[must_use]
    pub fn view(&self) -> OutsideView {
        let mut view = OutsideView::default();
        for (witness, standing) in &self.witnesses {
            let name = witness.to_string();
            match (standing.mistaken, standing.evidence) {
                (Some(mac), _) => view.contradicted.push((name, mac)),
                (None, Some(evidence)) => view.confirmed.push((name, evidence)),
                (None, None) => view.unknown.push((name, format!("no answer to {} questions", self.attempt))),
            }
        }
        view.contradicted.extend(self.claimants.iter().map(|mac| (mac.to_string(), *mac)));
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Advertisement, read};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const GATEWAY_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    fn inquiry(mac: Option<MacAddress>) -> Inquiry {
        let nic = Nic { index: 2, name: "lan0".into(), mac: OURS, mtu: 1500 };
        let gateway = Witness { address: GATEWAY.into(), mac };
        Inquiry::new(&nic, ADDRESS.into(), false, &[], 77).asking(gateway)
    }

    fn answer(to: MacAddress) -> Heard {
        read(&Arp::answer(GATEWAY, GATEWAY_MAC, ADDRESS, to).to_frame(to)).unwrap()
    }

    fn echo(to: MacAddress, identifier: u16) -> Heard {
        let echo = Echo { source: GATEWAY.into(), destination: ADDRESS.into(), identifier, sequence: 1 };
        read(&echo.reply_frame(GATEWAY_MAC, to).unwrap()).unwrap()
    }

    #[test]
    fn silence_is_unknown_and_the_witness_is_told_again() {
        let mut inquiry = inquiry(Some(GATEWAY_MAC));
        assert_eq!(inquiry.frames().len(), 3); // a probe, a question, an echo request
        assert_eq!(inquiry.frames().len(), 5); // and the announcement to it alone, in both forms
        let view = inquiry.view();
        assert_eq!((view.confirmed.len(), view.contradicted.len(), view.unknown.len()), (0, 0, 1));
    }

    #[test]
    fn an_answer_is_weaker_than_traffic_for_the_address() {
        let mut inquiry = inquiry(Some(GATEWAY_MAC));
        inquiry.frames();
        assert_eq!(inquiry.heard(&answer(OURS)), None);
        assert!(!inquiry.is_settled());
        assert_eq!(inquiry.view().confirmed, [(GATEWAY.to_string(), Evidence::Learnt)]);
        inquiry.heard(&echo(OURS, 77));
        assert!(inquiry.is_settled());
        inquiry.heard(&answer(OURS));
        assert_eq!(inquiry.view().confirmed, [(GATEWAY.to_string(), Evidence::Sends)]);
        assert_eq!(inquiry.frames().len(), 1);
    }

    #[test]
    fn a_witness_whose_place_was_unknown_gets_its_echo_request_when_it_answered() {
        let mut inquiry = inquiry(None);
        assert_eq!(inquiry.frames().len(), 2);
        let request = inquiry.heard(&answer(OURS)).unwrap();
        assert_eq!(&request[..6], GATEWAY_MAC.0);
        assert_eq!(inquiry.heard(&answer(OURS)), None);
    }

    #[test]
    fn what_goes_to_somebody_else_or_answers_somebody_elses_question_confirms_nothing() {
        let mut inquiry = inquiry(Some(GATEWAY_MAC));
        for heard in [echo(THEIRS, 77), echo(OURS, 78)] {
            inquiry.heard(&heard);
        }
        assert!(inquiry.view().confirmed.is_empty());
    }

    #[test]
    fn a_witness_that_answers_the_old_owner_contradicts_until_it_answers_us() {
        let mut inquiry = inquiry(Some(GATEWAY_MAC));
        inquiry.heard(&answer(OURS));
        inquiry.heard(&answer(THEIRS));
        assert_eq!(inquiry.view().contradicted, [(GATEWAY.to_string(), THEIRS)]);
        inquiry.heard(&echo(OURS, 77));
        assert!(inquiry.view().contradicted.is_empty());
    }

    #[test]
    fn another_owner_contradicts_and_a_flood_of_them_is_eight() {
        let mut inquiry = inquiry(None);
        for i in 0..=255 {
            let claim = Arp::gratuitous_reply(ADDRESS, MacAddress([2, 7, 7, 7, 7, i])).broadcast();
            inquiry.heard(&read(&claim).unwrap());
        }
        inquiry.heard(&read(&Arp::gratuitous_reply(ADDRESS, OURS).broadcast()).unwrap());
        assert_eq!(inquiry.view().contradicted.len(), CLAIMANTS);
    }

    #[test]
    fn for_ipv6_a_solicited_advertisement_to_the_address_is_traffic_for_it() {
        let [six, gateway] = [0x100, 1].map(|last| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last));
        let nic = Nic { index: 2, name: "lan0".into(), mac: OURS, mtu: 1500 };
        let strange = Witness { address: GATEWAY.into(), mac: None };
        let witness = Witness { address: gateway.into(), mac: None };
        let mut inquiry = Inquiry::new(&nic, six.into(), true, &[], 77).asking(strange).asking(witness);
        assert_eq!(inquiry.frames().len(), 2);
        let told =
            Advertisement { solicited: true, ..Advertisement::directed(gateway, GATEWAY_MAC, true, six) };
        inquiry.heard(&read(&told.to_frame(GATEWAY_MAC, OURS)).unwrap());
        assert!(inquiry.is_settled());
    }
}

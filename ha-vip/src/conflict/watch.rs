//! Judges what is heard about addresses that this node holds.

use super::{Conflict, Policy, Verdict};
use crate::MacAddress;
use crate::frame::{Claim, ClaimKind, Heard, is_host};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Claimants of one address that are told one by one.
const CLAIMANTS: usize = 8;
/// The time between two events about an address whose claimants are known.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// After so long without a claim the claimants are forgotten: the next one is news again.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// The most claims that [`Policy::GiveUp`] counts.
const COUNT_LIMIT: u32 = 64;

/// What follows from something heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Reaction {
    /// This address shall be announced again.
    pub defend: Option<IpAddr>,
    /// This shall be told.
    pub event: Option<Conflict>,
}

/// The addresses that a node holds on one interface, and who claims them. Instants count from any origin, the same for
/// all calls. Memory is bounded by the addresses held, work by one look-up a frame, whatever is heard.
#[derive(Clone, Debug)]
pub struct Watch {
    own: Vec<MacAddress>,
    policy: Policy,
    held: BTreeMap<IpAddr, Dispute>,
}

#[derive(Clone, Debug, Default)]
struct Dispute {
    claimants: Vec<MacAddress>,
    last: Option<Claim>,
    last_heard: Duration,
    told: Duration,
    untold: u64,
    recent: VecDeque<Duration>,
    given_up: bool,
}

impl Watch {
    /// Holds nothing yet. Frames of the `own` link-layer addresses are ours, reflected.
    #[must_use]
    pub fn new(policy: Policy, own: &[MacAddress]) -> Self {
        Self { own: own.to_vec(), policy, held: BTreeMap::new() }
    }

    /// `address` is held from now on.
    pub fn hold(&mut self, address: IpAddr) {
        self.held.entry(address).or_default();
    }

    /// `address` is held no more.
    pub fn release(&mut self, address: IpAddr) {
        self.held.remove(&address);
    }

    /// Something was heard.
    pub fn heard(&mut self, now: Duration, heard: &Heard) -> Reaction {
        if let Some(claim) = heard.claim()
            && !self.own.contains(&claim.mac)
            && let Some(dispute) = self.held.get_mut(&claim.address)
        {
            return dispute.claimed(self.policy, now, claim);
        }
        Reaction { defend: self.mistaken(heard), event: None }
    }

    /// Claims that were counted and not told for 10 s.
    pub fn overdue(&mut self, now: Duration) -> Vec<Conflict> {
        let policy = self.policy;
        let due =
            |dispute: &&mut Dispute| dispute.untold > 0 && now.saturating_sub(dispute.told) >= TELL_EVERY;
        self.held.values_mut().filter(due).filter_map(|dispute| dispute.tell(policy, now)).collect()
    }

    /// An address that the sender believes to be at somebody else.
    fn mistaken(&self, heard: &Heard) -> Option<IpAddr> {
        let address = match heard {
            Heard::Arp(_, arp) => arp.target.into(),
            Heard::Solicitation(_, asked) => asked.target.into(),
            Heard::Advertisement(..) | Heard::Echo(..) => return None,
        };
        let defended = self.policy != Policy::Report && self.held.contains_key(&address);
        let (_, believed) = heard.belief(address).filter(|_| defended)?;
        (!self.own.contains(&believed)).then_some(address)
    }
}

impl Dispute {
    fn claimed(&mut self, policy: Policy, now: Duration, claim: Claim) -> Reaction {
        if now.saturating_sub(self.last_heard) >= FORGET_AFTER {
            self.claimants.clear();
        }
        self.last_heard = now;
        self.last = Some(claim);
        self.untold = self.untold.saturating_add(1);
        let gives_up = self.exhausted(policy, now, &claim);
        let new = self.claimants.len() < CLAIMANTS && !self.claimants.contains(&claim.mac);
        if new {
            self.claimants.push(claim.mac);
        }
        self.given_up |= gives_up;
        let due = now.saturating_sub(self.told) >= TELL_EVERY;
        let event = (gives_up || new || due).then(|| self.tell(policy, now)).flatten();
        let defend = (self.verdict(policy, &claim) == Verdict::Defended).then_some(claim.address);
        Reaction { defend, event }
    }

    /// Whether this claim is the one too many, for the first time. A question whether the address is free takes nothing,
    /// and a link-layer address that no host can have is no owner to give way to.
    fn exhausted(&mut self, policy: Policy, now: Duration, claim: &Claim) -> bool {
        let Policy::GiveUp { after, within } = policy else { return false };
        if self.given_up || claim.kind == ClaimKind::Probe || !is_host(claim.mac) {
            return false;
        }
        self.recent.retain(|heard| now.saturating_sub(*heard) < within);
        self.recent.push_back(now);
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX) >= after.clamp(1, COUNT_LIMIT)
    }

    fn verdict(&self, policy: Policy, claim: &Claim) -> Verdict {
        match policy {
            _ if self.given_up => Verdict::GivenUp,
            // The kernel answers it, as it has the address.
            _ if claim.kind == ClaimKind::Probe => Verdict::Reported,
            Policy::Defend | Policy::GiveUp { .. } => Verdict::Defended,
            Policy::Report => Verdict::Reported,
        }
    }

    fn tell(&mut self, policy: Policy, now: Duration) -> Option<Conflict> {
        let claim = self.last?;
        self.told = now;
        let Claim { address, mac, sent_by, kind } = claim;
        let verdict = self.verdict(policy, &claim);
        Some(Conflict { address, mac, sent_by, kind, count: std::mem::take(&mut self.untold), verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Advertisement, Arp, Solicitation, read};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn watch(policy: Policy) -> Watch {
        let mut watch = Watch::new(policy, &[OURS]);
        watch.hold(ADDRESS.into());
        watch
    }

    fn claim_of(mac: MacAddress) -> Heard {
        read(&Arp::gratuitous_request(ADDRESS, mac).broadcast()).unwrap()
    }

    #[test]
    fn a_foreign_claim_is_defended_each_time_and_told_once() {
        let mut watch = watch(Policy::Defend);
        let first = watch.heard(MILLIS(5), &claim_of(THEIRS));
        assert_eq!(first.defend, Some(ADDRESS.into()));
        let event = first.event.unwrap();
        assert_eq!((event.mac, event.count, event.verdict), (THEIRS, 1, Verdict::Defended));
        for at in 6..1000 {
            let more = watch.heard(MILLIS(at), &claim_of(THEIRS));
            assert_eq!((more.defend, more.event), (Some(ADDRESS.into()), None));
        }
        assert!(watch.overdue(MILLIS(9_000)).is_empty());
        assert_eq!(watch.overdue(MILLIS(10_005)).first().map(|event| event.count), Some(994));
        assert!(watch.overdue(MILLIS(30_000)).is_empty());
    }

    #[test]
    fn our_own_frames_reflected_and_other_addresses_are_nothing() {
        let mut watch = watch(Policy::Defend);
        assert_eq!(watch.heard(MILLIS(1), &claim_of(OURS)), Reaction::default());
        let other = Arp::gratuitous_request(Ipv4Addr::new(10, 77, 0, 9), THEIRS).broadcast();
        assert_eq!(watch.heard(MILLIS(1), &read(&other).unwrap()), Reaction::default());
        watch.release(ADDRESS.into());
        assert_eq!(watch.heard(MILLIS(1), &claim_of(THEIRS)), Reaction::default());
    }

    #[test]
    fn giving_up_takes_two_claims_of_a_host_in_time() {
        let within = Duration::from_secs(10);
        let mut watch = watch(Policy::GiveUp { after: 2, within });
        assert_eq!(watch.heard(MILLIS(0), &claim_of(THEIRS)).defend, Some(ADDRESS.into()));
        assert_eq!(watch.heard(MILLIS(10_000), &claim_of(THEIRS)).defend, Some(ADDRESS.into()));
        let group = watch.heard(MILLIS(10_001), &claim_of(MacAddress([0xff; 6])));
        assert_eq!(group.event.map(|event| event.verdict), Some(Verdict::Defended));
        let probe = read(&Arp::probe(ADDRESS, THEIRS).broadcast()).unwrap();
        assert_eq!(watch.heard(MILLIS(10_002), &probe).defend, None);
        let last = watch.heard(MILLIS(10_003), &claim_of(THEIRS));
        assert_eq!(last.defend, None);
        assert_eq!(last.event.map(|event| event.verdict), Some(Verdict::GivenUp));
        let after = watch.heard(MILLIS(10_004), &claim_of(THEIRS));
        assert_eq!((after.defend, after.event), (None, None));
    }

    #[test]
    fn reporting_defends_nothing() {
        let mut watch = watch(Policy::Report);
        let reaction = watch.heard(MILLIS(1), &claim_of(THEIRS));
        assert_eq!(reaction.defend, None);
        assert_eq!(reaction.event.map(|event| event.verdict), Some(Verdict::Reported));
    }

    #[test]
    fn a_neighbour_that_asks_at_the_old_place_is_told_again() {
        let mut watch = watch(Policy::Defend);
        let neighbour = Ipv4Addr::new(10, 77, 0, 1);
        let asks = |target_mac| {
            let arp = Arp { target_mac, ..Arp::question(neighbour, MacAddress([2, 0, 0, 0, 0, 9]), ADDRESS) };
            read(&arp.to_frame(target_mac)).unwrap()
        };
        assert_eq!(
            watch.heard(MILLIS(1), &asks(THEIRS)),
            Reaction { defend: Some(ADDRESS.into()), event: None }
        );
        assert_eq!(watch.heard(MILLIS(1), &asks(OURS)), Reaction::default());
    }

    #[test]
    fn ipv6_claims_by_advertisement_and_as_the_source_of_a_question() {
        let six = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
        let mut watch = Watch::new(Policy::Defend, &[OURS]);
        watch.hold(six.into());
        let told = Advertisement::unsolicited(six, THEIRS, false).multicast(THEIRS);
        assert_eq!(watch.heard(MILLIS(1), &read(&told).unwrap()).defend, Some(six.into()));
        let asked =
            Solicitation::question(six, THEIRS, Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1)).multicast(THEIRS);
        assert_eq!(watch.heard(MILLIS(1), &read(&asked).unwrap()).defend, Some(six.into()));
    }

    #[test]
    fn a_hundred_thousand_claimants_are_nine_events_and_eight_remembered() {
        let mut watch = watch(Policy::GiveUp { after: 64, within: Duration::from_secs(1) });
        let mut events = vec![];
        for i in 0..100_000_u32 {
            let [a, b, c, d] = i.to_be_bytes();
            let reaction =
                watch.heard(MILLIS(1 + u64::from(i) / 20), &claim_of(MacAddress([2, 9, a, b, c, d])));
            events.extend(reaction.event);
        }
        assert_eq!(events.len(), 9);
        assert_eq!(events.last().map(|event| event.verdict), Some(Verdict::GivenUp));
        let dispute = watch.held.values().next().unwrap();
        assert!(dispute.claimants.len() == CLAIMANTS && dispute.recent.len() <= 64);
        assert!(events.iter().map(|event| event.count).sum::<u64>() + dispute.untold == 100_000);
    }
}

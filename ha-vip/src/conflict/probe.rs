//! Asks whether an address is free, before it is taken.

use crate::MacAddress;
use crate::frame::{Arp, Heard, Solicitation};
use std::net::IpAddr;
use std::time::Duration;

/// One wait of a probe at most.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How it is asked.
///
/// RFC 5227 asks three times with 1 to 2 s between, after a random wait of up to 1 s, and waits 2 s for an answer: 7 s or so,
/// chosen for hundreds of hosts that are switched on together. Section 2.2 allows less where the network is known. The
/// default here is two questions 20 ms apart and 60 ms of patience.
///
/// ```
/// use ha_vip::conflict::ProbePlan;
/// use std::time::Duration;
/// assert_eq!(ProbePlan::default().duration(), Duration::from_millis(80));
/// assert_eq!(ProbePlan::default().count(3).duration(), Duration::from_millis(100));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbePlan {
    count: u32,
    spacing: Duration,
    patience: Duration,
}

impl Default for ProbePlan {
    fn default() -> Self {
        Self { count: 2, spacing: Duration::from_millis(20), patience: Duration::from_millis(60) }
    }
}

impl ProbePlan {
    /// How often it is asked: 1 to 10 times.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count.clamp(1, 10);
        self
    }

    /// The time between two questions, at most 10 s.
    #[must_use]
    pub fn spacing(mut self, spacing: Duration) -> Self {
        self.spacing = spacing.min(LONGEST_WAIT);
        self
    }

    /// How long after the last question an answer is waited for, at most 10 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST_WAIT);
        self
    }

    /// How long it takes if nobody answers.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.spacing.saturating_mul(self.count - 1).saturating_add(self.patience)
    }
}

/// Whether an address is free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeAnswer {
    /// Nobody answered, and frames could have arrived.
    Free,
    /// Somebody has it, or is about to take it.
    TakenBy(MacAddress),
    /// Nobody can tell.
    Unknown(String),
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeStep {
    /// Send [`Probe::frame`], then ask again.
    Send,
    /// Listen for so long, then ask again.
    Listen(Duration),
    /// It is over.
    Done(ProbeAnswer),
}

/// One address that is asked for. Instants count from any origin, the same for all calls.
#[derive(Clone, Debug)]
pub struct Probe {
    plan: ProbePlan,
    address: IpAddr,
    own: Vec<MacAddress>,
    sent: u32,
    next: Option<Duration>,
    taken_by: Option<MacAddress>,
}

impl Probe {
    /// Asks for `address`. Frames of the `own` link-layer addresses are ours, reflected.
    #[must_use]
    pub fn new(plan: ProbePlan, address: IpAddr, own: &[MacAddress]) -> Self {
        Self { plan, address, own: own.to_vec(), sent: 0, next: None, taken_by: None }
    }

    /// The question, sent from `mac`. It changes no cache: it claims nothing.
    #[must_use]
    pub fn frame(&self, mac: MacAddress) -> Vec<u8> {
        match self.address {
            IpAddr::V4(four) => Arp::probe(four, mac).broadcast(),
            IpAddr::V6(six) => Solicitation::probe(six).multicast(mac),
        }
    }

    /// What to do `now`.
    pub fn step(&mut self, now: Duration) -> ProbeStep {
        if let Some(mac) = self.taken_by {
            return ProbeStep::Done(ProbeAnswer::TakenBy(mac));
        }
        let next = self.next.unwrap_or(now);
        if now < next {
            return ProbeStep::Listen(next - now);
        }
        if self.sent == self.plan.count {
            return ProbeStep::Done(ProbeAnswer::Free);
        }
        self.sent += 1;
        let wait = if self.sent == self.plan.count { self.plan.patience } else { self.plan.spacing };
        self.next = Some(now.saturating_add(wait));
        ProbeStep::Send
    }

    /// Something was heard. Another one that probes for the same address wants to take it: that, too, is a conflict
    /// (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3).
    pub fn heard(&mut self, heard: &Heard) {
        let foreign =
            heard.claim().filter(|claim| claim.address == self.address && !self.own.contains(&claim.mac));
        if let Some(claim) = foreign {
            self.taken_by.get_or_insert(claim.mac);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Advertisement, read};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn probe(address: impl Into<IpAddr>) -> Probe {
        Probe::new(ProbePlan::default(), address.into(), &[OURS])
    }

    fn heard(frame: &[u8]) -> Heard {
        read(frame).unwrap()
    }

    #[test]
    fn silence_after_two_questions_is_free() {
        let mut probe = probe(ADDRESS);
        assert_eq!(probe.step(MILLIS(5)), ProbeStep::Send);
        assert_eq!(probe.step(MILLIS(5)), ProbeStep::Listen(MILLIS(20)));
        assert_eq!(probe.step(MILLIS(25)), ProbeStep::Send);
        assert_eq!(probe.step(MILLIS(30)), ProbeStep::Listen(MILLIS(55)));
        assert_eq!(probe.step(MILLIS(85)), ProbeStep::Done(ProbeAnswer::Free));
    }

    #[test]
    fn any_claim_and_any_other_probe_is_a_conflict() {
        let six = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
        let claims: [(IpAddr, Vec<u8>); 5] = [
            (ADDRESS.into(), Arp::gratuitous_request(ADDRESS, THEIRS).broadcast()),
            (ADDRESS.into(), Arp::answer(ADDRESS, THEIRS, Ipv4Addr::UNSPECIFIED, OURS).to_frame(OURS)),
            (ADDRESS.into(), Arp::probe(ADDRESS, THEIRS).broadcast()),
            (six.into(), Advertisement::unsolicited(six, THEIRS, false).multicast(THEIRS)),
            (six.into(), Solicitation::probe(six).multicast(THEIRS)),
        ];
        for (address, frame) in claims {
            let mut probe = probe(address);
            assert_eq!(probe.step(MILLIS(0)), ProbeStep::Send);
            probe.heard(&heard(&frame));
            assert_eq!(probe.step(MILLIS(1)), ProbeStep::Done(ProbeAnswer::TakenBy(THEIRS)));
        }
    }

    #[test]
    fn our_own_reflected_question_and_claims_of_other_addresses_are_none() {
        let other = Ipv4Addr::new(10, 77, 0, 101);
        let mut probe = probe(ADDRESS);
        assert_eq!(probe.step(MILLIS(0)), ProbeStep::Send);
        probe.heard(&heard(&probe.frame(OURS)));
        probe.heard(&heard(&Arp::gratuitous_request(other, THEIRS).broadcast()));
        probe.heard(&heard(&Arp::question(other, THEIRS, ADDRESS).broadcast()));
        assert_eq!(probe.step(MILLIS(0)), ProbeStep::Listen(MILLIS(20)));
    }
}

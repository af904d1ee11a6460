//! Asks the witnesses.

use super::{Inquiry, OutsideView, Seen};
use crate::frame::read;
use crate::packet::{Arrival, Here, LinkState, Listener, Namespace, PacketError, PacketSender, Wanted};
use crate::{MacAddress, Nic};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Tells the echo requests of this process's checks apart; the process number tells processes apart.
static CHECKS: AtomicU16 = AtomicU16::new(0);

/// A neighbour that is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Its address, of the family of the address that is checked.
    pub address: IpAddr,
    /// Where it is, if the node knows. Without, it is asked by broadcast or multicast.
    pub mac: Option<MacAddress>,
}

/// Looks from another place, such as from the other node over its link, at which link-layer address an address answers
/// (there, [`probe`](crate::conflict::probe) finds out). It must limit its own time.
pub type OutsideProbe = Arc<dyn Fn(IpAddr) -> Seen + Send + Sync>;

/// Asks other places where they believe an address to be. See the [module](super) for what an answer proves.
#[derive(Clone)]
pub struct OutsideCheck {
    namespace: Arc<dyn Namespace>,
    witnesses: Vec<Witness>,
    probes: Vec<(String, OutsideProbe)>,
    own: Vec<MacAddress>,
    attempts: u16,
    spacing: Duration,
}

impl Default for OutsideCheck {
    fn default() -> Self {
        Self {
            namespace: Arc::new(Here),
            witnesses: vec![],
            probes: vec![],
            own: vec![],
            attempts: 3,
            spacing: Duration::from_millis(100),
        }
    }
}

impl OutsideCheck {
    /// Opens sockets in this namespace. Default: the calling thread's.
    #[must_use]
    pub fn namespace(mut self, namespace: Arc<dyn Namespace>) -> Self {
        self.namespace = namespace;
        self
    }

    /// Asks this neighbour as well; the gateway first of all.
    #[must_use]
    pub fn witness(mut self, address: IpAddr, mac: Option<MacAddress>) -> Self {
        self.witnesses.push(Witness { address, mac });
        self
    }

    /// Asks this probe as well, after the neighbours.
    #[must_use]
    pub fn probe(mut self, name: &str, probe: OutsideProbe) -> Self {
        self.probes.push((name.into(), probe));
        self
    }

    /// Takes these link-layer addresses for ours, besides that of the interface.
    #[must_use]
    pub fn own(mut self, own: &[MacAddress]) -> Self {
        self.own = own.to_vec();
        self
    }

    /// How often a witness is asked that does not confirm, 1 to 20 times, and how long each answer is waited for. Default
    /// 3 times, 100 ms; at most 10 s.
    #[must_use]
    pub fn attempts(mut self, attempts: u16, spacing: Duration) -> Self {
        (self.attempts, self.spacing) = (attempts.clamp(1, 20), spacing.min(Duration::from_secs(10)));
        self
    }

    /// Asks about `address`, which this node holds at `nic`. Blocks for at most the attempts, and as long as the
    /// probes take: call it on a thread that may wait.
    ///
    /// IPv6: the address must not be tentative, as a reflected question would look like a duplicate to the kernel.
    #[must_use]
    pub fn run(&self, nic: &Nic, address: IpAddr) -> OutsideView {
        let router = address.is_ipv6() && self.namespace.forwards_ipv6(&nic.name).unwrap_or(false);
        let check = CHECKS.fetch_add(1, Ordering::Relaxed);
        let identifier = check.wrapping_add((std::process::id() & 0xffff) as u16);
        let inquiry = Inquiry::new(nic, address, router, &self.own, identifier);
        let inquiry = self.witnesses.iter().fold(inquiry, |inquiry, witness| inquiry.asking(*witness));
        let asked = self.witnesses.iter().map(|witness| witness.address);
        let mut view =
            self.ask(nic, address, inquiry).unwrap_or_else(|e| OutsideView::nobody(asked, &e.to_string()));
        let own = [self.own.as_slice(), &[nic.mac]].concat();
        for (name, probe) in &self.probes {
            view.saw(name, probe(address), &own);
        }
        if !view.contradicted.is_empty() {
            tracing::warn!(%address, contradicted = ?view.contradicted, "others believe the address elsewhere");
        }
        view
    }

    fn ask(&self, nic: &Nic, address: IpAddr, mut inquiry: Inquiry) -> Result<OutsideView, PacketError> {
        let wanted: &[Wanted] =
            if address.is_ipv4() { &[Wanted::Arp, Wanted::EchoReply] } else { &[Wanted::NeighbourDiscovery] };
        let sender = PacketSender::open(&*self.namespace, nic)?;
        let mut listener = Listener::open(&*self.namespace, nic, wanted)?;
        for _ in 0..self.attempts {
            for frame in inquiry.frames() {
                sender.send(&frame)?;
            }
            self.listen(&sender, &mut listener, &mut inquiry)?;
            if inquiry.is_settled() {
                break;
            }
        }
        match sender.state()? {
            LinkState::Running => Ok(inquiry.view()),
            state => {
                let asked = self.witnesses.iter().map(|witness| witness.address);
                Ok(OutsideView::nobody(asked, &format!("{} is {state:?}: no answer can arrive", nic.name)))
            }
        }
    }

    /// Always for the whole time: another owner may answer later than the witnesses.
    fn listen(
        &self,
        sender: &PacketSender,
        listener: &mut Listener,
        inquiry: &mut Inquiry,
    ) -> Result<(), PacketError> {
        let until = Instant::now() + self.spacing;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let Arrival::Frame(frame) = listener.next(left)? else { continue };
            if let Some(follow) = read(frame).ok().and_then(|heard| inquiry.heard(&heard)) {
                sender.send(&follow)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for OutsideCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probes: Vec<_> = self.probes.iter().map(|(name, _)| name).collect();
        f.debug_struct("OutsideCheck")
            .field("witnesses", &self.witnesses)
            .field("probes", &probes)
            .finish_non_exhaustive()
    }
}

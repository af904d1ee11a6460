//! What other places believe.

use crate::MacAddress;
use ha_core::engine::Health;
use std::net::IpAddr;

/// Why a witness confirms. In order of weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Evidence {
    /// It answered a request from which it must have learnt.
    Learnt,
    /// A probe saw the address at us.
    Saw,
    /// It sends to us what is for the address.
    Sends,
}

/// What a probe from another place saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The address answers there at this link-layer address.
    At(MacAddress),
    /// It cannot tell, for this reason.
    Unknown(String),
}

/// Where other places believe an address to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct OutsideView {
    /// Who confirms that it is here, and how.
    pub confirmed: Vec<(String, Evidence)>,
    /// Who says that it is elsewhere, and where. A claim heard during the check stands under the claimant's name.
    pub contradicted: Vec<(String, MacAddress)>,
    /// Who could not be asked, or did not answer, and why.
    pub unknown: Vec<(String, String)>,
}

impl OutsideView {
    /// What it means for the health of the resource.
    ///
    /// * Somebody contradicts: [`Health::Degraded`]. Not failed: this node has the permission and the address, and another
    ///   takeover would not end the dispute.
    /// * Somebody confirms and nobody contradicts: [`Health::Running`].
    /// * Nobody says anything: [`Health::Unknown`], which is no failure.
    #[must_use]
    pub fn health(&self) -> Health {
        match (self.contradicted.is_empty(), self.confirmed.is_empty()) {
            (false, _) => Health::Degraded,
            (true, false) => Health::Running,
            (true, true) => Health::Unknown,
        }
    }

    pub(super) fn saw(&mut self, name: &str, seen: Seen, own: &[MacAddress]) {
        match seen {
            Seen::At(mac) if own.contains(&mac) => self.confirmed.push((name.into(), Evidence::Saw)),
            Seen::At(mac) => self.contradicted.push((name.into(), mac)),
            Seen::Unknown(why) => self.unknown.push((name.into(), why)),
        }
    }

    pub(super) fn nobody(asked: impl Iterator<Item = IpAddr>, why: &str) -> Self {
        let unknown = asked.map(|witness| (witness.to_string(), why.to_owned())).collect();
        Self { unknown, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_outweighs_confirmations_and_silence_is_unknown() {
        let own = [MacAddress([2, 0, 0, 0, 0, 1])];
        let mut view = OutsideView::default();
        assert_eq!(view.health(), Health::Unknown);
        view.saw("n2", Seen::Unknown("no answer".into()), &own);
        assert_eq!(view.health(), Health::Unknown);
        view.saw("n2", Seen::At(own[0]), &own);
        assert_eq!(view.health(), Health::Running);
        view.saw("n3", Seen::At(MacAddress([2, 0, 0, 0, 0, 2])), &own);
        assert_eq!(view.health(), Health::Degraded);
    }
}

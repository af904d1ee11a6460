//! The facts of the node that the rules of every group read: a change of one of them is every group's.

use super::machine::Engine;
use super::state::Leaving;
use super::{LinkState, PeerState};
use crate::{InitId, Instant, Nonce, StoreId};

/// The facts of the node that groups' rules read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Globals {
    peer: PeerState,
    departing: bool,
    store: Option<StoreId>,
    knows_my_store: Option<bool>,
    init: Option<Option<InitId>>,
    mute: Option<Instant>,
    outside: (u8, u8),
    up: bool,
    hopeless: bool,
    timing_fits: bool,
    liar: bool,
    boot_wait_over: bool,
    application_alive: bool,
    leaving: Option<Leaving>,
    own_init: Option<InitId>,
    peer_store: Option<StoreId>,
    gives_up: bool,
    was_frozen: bool,
    detaching: Option<(Nonce, bool)>,
}

impl Engine {
    fn globals(&self) -> Globals {
        let (st, peer) = (&self.st, &self.st.peer);
        Globals {
            peer: peer.state,
            departing: peer.departing,
            store: peer.store,
            knows_my_store: peer.knows_my_store,
            init: peer.init,
            mute: peer.mute_since,
            outside: (st.outside, peer.outside),
            up: st.links.iter().any(|l| l.state == LinkState::Up),
            hopeless: self.fencing_is_hopeless(),
            timing_fits: self.timing_fits(),
            liar: st.fence.liar,
            boot_wait_over: self.boot_wait_over(),
            application_alive: st.application_alive,
            leaving: st.leaving,
            own_init: st.record.init,
            peer_store: st.record.peer_store,
            gives_up: self.gives_up_by_preference(),
            was_frozen: self.was_just_frozen(),
            detaching: st.detaching.as_ref().map(|d| (d.nonce, d.promised)),
        }
    }

    /// A fact of the node that changed is every group's. While a third party must say what a silent peer does
    /// not, time itself is one.
    pub(super) fn heed_globals(&mut self) {
        let globals = Some(self.globals());
        let silent = self.has_arbiter() && !self.st.peer.is_alive();
        if globals == self.agenda.globals && self.agenda.lives == self.st.peer.lives && !silent {
            return;
        }
        self.agenda.globals = globals;
        self.agenda.lives.clone_from(&self.st.peer.lives);
        #[cfg(feature = "sabotage")]
        if self.agenda.forgets == Some(super::Forgotten::Node) {
            return;
        }
        self.agenda.mark_all();
    }
}

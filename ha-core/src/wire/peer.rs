//! What one link knows of one life of the peer.

use super::key::MacKey;
use super::terms::Agreement;
use super::window::ReplayWindow;
use crate::{Incarnation, NodeId};

/// Who speaks on this link, and the key from which every session of it derives.
#[derive(Clone, Debug)]
pub(super) struct LinkIdentity {
    pub(super) key: MacKey,
    pub(super) me: NodeId,
    pub(super) peer: NodeId,
    pub(super) incarnation: Incarnation,
}

impl LinkIdentity {
    /// The key of frames from one life to another that gave out `nonce`. Direction is the sender's place.
    fn session_key(&self, from: NodeId, sender: Incarnation, receiver: Incarnation, nonce: u64) -> MacKey {
        self.key.derive(
            "session",
            &[&[from.0], &sender.0.to_be_bytes(), &receiver.0.to_be_bytes(), &nonce.to_be_bytes()],
        )
    }

    fn receiving(&self, peer: Incarnation, my_nonce: u64) -> MacKey {
        self.session_key(self.peer, peer, self.incarnation, my_nonce)
    }

    fn sending(&self, peer: Incarnation, peer_nonce: u64) -> MacKey {
        self.session_key(self.me, self.incarnation, peer, peer_nonce)
    }
}

/// One life of the peer: a candidate, or the present one.
#[derive(Clone, Debug)]
pub(super) struct PeerLife {
    pub(super) incarnation: Incarnation,
    /// The nonce it gave out last.
    pub(super) nonce: u64,
    /// Whether it knows a nonce that we gave out in this life, so that it is no recording of an earlier one.
    pub(super) proven: bool,
    /// Whether it waits for a greeting of ours.
    pub(super) asks: bool,
    pub(super) send: MacKey,
    pub(super) receive: MacKey,
    /// Present life only: what it uses if it learnt the nonce that we gave out since.
    pub(super) receive_next: Option<MacKey>,
    pub(super) window: ReplayWindow,
    /// What both have in common.
    pub(super) agreement: Agreement,
}

impl PeerLife {
    pub(super) fn new(
        link: &LinkIdentity,
        incarnation: Incarnation,
        nonce: u64,
        my_nonce: u64,
        agreement: Agreement,
    ) -> Self {
        Self {
            incarnation,
            nonce,
            proven: false,
            asks: true,
            send: link.sending(incarnation, nonce),
            receive: link.receiving(incarnation, my_nonce),
            receive_next: None,
            window: ReplayWindow::default(),
            agreement,
        }
    }

    pub(super) fn verifies(&self, covered: &[u8], tag: &[u8]) -> bool {
        self.receive.verifies(covered, tag)
            || self.receive_next.as_ref().is_some_and(|key| key.verifies(covered, tag))
    }

    /// Takes a nonce that the peer gave out later. Whether it is later: see [`is_later`].
    pub(super) fn renew(&mut self, link: &LinkIdentity, nonce: u64) {
        self.nonce = nonce;
        self.send = link.sending(self.incarnation, nonce);
    }

    /// This life proved to be present; `next` is the nonce given out from now on.
    pub(super) fn settle(&mut self, link: &LinkIdentity, next: u64) {
        self.proven = true;
        self.asks = false;
        self.receive_next = Some(link.receiving(self.incarnation, next));
    }

    /// Another life proved to be present: this one must learn the nonce given out from now on.
    pub(super) fn demand(&mut self, link: &LinkIdentity, next: u64) {
        self.proven = false;
        self.receive = link.receiving(self.incarnation, next);
    }
}

/// The nonce after `nonce`; zero stands for none on the wire.
pub(super) const fn next_nonce(nonce: u64) -> u64 {
    match nonce.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Whether one life gave out `candidate` after `known`: each life counts its nonces up from a random one.
pub(super) const fn is_later(candidate: u64, known: u64) -> bool {
    let ahead = candidate.wrapping_sub(known);
    ahead != 0 && ahead < 1 << 63
}

//! Scenarios over whole sessions. Unit tests are beside the code.

mod format;
mod groups;
mod handshake;
mod last_word;
mod refusal;
mod versions;

use super::*;
use crate::engine::{Beat, ClaimState, Predecessor, Statement};
use crate::{
    BootId, Epoch, Generation, GroupId, Incarnation, InitId, LinkId, Lsn, NodeId, Nonce, PolicyFlags,
    PolicyScope, SetRecord, StoreId,
};

fn pair_key() -> PairKey {
    PairKey::from_bytes(b"a key of more than 32 bytes for the tests").unwrap()
}

/// One side of a link, beating like an engine: its numbers grow, it addresses whom it heard last.
struct Side {
    session: LinkSession,
    incarnation: Incarnation,
    seq: u32,
    to: Option<Incarnation>,
    echo: Option<u32>,
    said: Vec<Statement>,
}

impl Side {
    fn new(node: u8, life: u128) -> Self {
        Self::on(&pair_key(), "mail", 0, node, life)
    }

    fn on(key: &PairKey, cluster: &str, link: u8, node: u8, life: u128) -> Self {
        let incarnation = Incarnation(life);
        let nonce = life as u64 * 1000;
        Self {
            session: LinkSession::new(key, cluster, LinkId(link), NodeId(node), incarnation, nonce),
            incarnation,
            seq: 0,
            to: None,
            echo: None,
            said: vec![Statement::Departing],
        }
    }

    fn beat(&mut self) -> Beat {
        self.seq += 1;
        let (incarnation, to, seq, echo) = (self.incarnation, self.to, self.seq, self.echo);
        Beat { incarnation, to, seq, echo, statements: self.said.clone() }
    }

    fn speak(&mut self) -> Vec<u8> {
        let beat = self.beat();
        let mut out = Vec::new();
        self.session.encode(&beat, &mut out).unwrap();
        out
    }

    fn hear(&mut self, frame: &[u8]) -> Result<Received, FrameError> {
        let received = self.session.decode(frame);
        match &received {
            Ok(Received::Greeting(beat)) if self.session.peer().is_none() => self.to = Some(beat.incarnation),
            Ok(Received::Beat(beat)) => {
                if self.to != Some(beat.incarnation) {
                    self.echo = None;
                }
                self.to = Some(beat.incarnation);
                self.echo = self.echo.max(Some(beat.seq));
            }
            _ => {}
        }
        received
    }

    fn knows(&self, other: &Self) -> bool {
        self.session.peer() == Some(other.incarnation)
    }
}

/// Exchanges frames without loss until both know each other; panics if that takes more than `rounds`.
fn acquaint(a: &mut Side, b: &mut Side, rounds: usize) {
    for _ in 0..rounds {
        let _ = b.hear(&a.speak());
        let _ = a.hear(&b.speak());
        if a.knows(b) && b.knows(a) {
            return;
        }
    }
    panic!("not acquainted after {rounds} rounds: {:?} {:?}", a.session, b.session);
}

fn acquainted() -> (Side, Side) {
    let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
    acquaint(&mut a, &mut b, 4);
    (a, b)
}

/// One of each kind, with the numbers that a long-lived pair may reach.
fn every_statement() -> Vec<Statement> {
    let (group, epoch) = (GroupId(127), Epoch((1 << 49) - 1));
    let (generation, nonce) = (Generation((1 << 35) - 1), Nonce(u32::MAX));
    let lsn = Lsn((1 << 49) - 1);
    let set = SetRecord::Alone { epoch: Epoch(0), generation };
    vec![
        Statement::Identity { boot: BootId(u128::MAX), predecessor: Predecessor::Leftovers },
        Statement::Stores { mine: StoreId(u128::MAX), knows_yours: Some(true) },
        Statement::Init { init: Some(InitId(u128::MAX)) },
        Statement::Weights { mine: u16::MAX, yours: Some(u16::MAX) },
        Statement::Health { outside: u8::MAX, stall_ms: u16::MAX },
        Statement::Safety { dead_ms: u16::MAX, slot_ms: u16::MAX, feed_ms: u16::MAX },
        Statement::Claim {
            group,
            epoch,
            state: ClaimState::Standby { viable: true },
            set,
            lsn,
            highest: epoch.next(),
        },
        Statement::Ask { group, epoch, generation, nonce },
        Statement::Consent { group, epoch, generation, nonce },
        Statement::Admit { group, epoch, generation },
        Statement::Confirm { group, epoch, nonce },
        Statement::Confirmed { group, epoch, nonce },
        Statement::Prepare { group, epoch },
        Statement::Ready { group, epoch },
        Statement::Released { group, epoch, final_lsn: Some(lsn), excluded: true, leaving: true },
        Statement::Want { group, epoch, nonce },
        Statement::Yielded { group, epoch, nonce },
        Statement::Policy {
            scope: PolicyScope::Group(group),
            flags: PolicyFlags { stamp: u32::MAX, standby: true, maintenance: true },
        },
        Statement::Serves { group, epoch },
        Statement::Lease { outlasted_ms: u32::MAX, waits_ms: u32::MAX, is_bound: true, has_watchdog: true },
        Statement::Spare { group, epoch, nonce },
        Statement::Spares { group, epoch, nonce },
        Statement::Unspare { group, epoch },
        Statement::Departing,
    ]
}

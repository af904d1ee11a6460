//! One link of one life: who is on the other side, and what was heard already.
//!
//! # How freshness is proven
//!
//! A life gives out a nonce in its greetings. A greeting teaches the other side only a *candidate*. A beat's key
//! covers the sender's life, the receiver's life and the nonce that the receiver gave out, so the first beat that
//! verifies proves that its sender is alive now and heard us: it becomes the *present* life. Then we give out the
//! next nonce, so that a later life must hear us again, and what an earlier life said can never come back, however
//! many lives there were: nothing has to be remembered about the dead.

use super::key::MacKey;
use super::layout::{self, FrameKind, Greeting, Parts};
use super::peer::{LinkIdentity, PeerLife, is_later, next_nonce};
use super::{
    Agreement, EncodeError, FrameError, LinkCounters, MAX_FRAME_BYTES, PairKey, RESERVED_SEQ, Testament,
    WireTerms, statement,
};
use crate::config::Config;
use crate::engine::{Beat, ReleasedNotice, Statement};
use crate::{Incarnation, LinkId, NodeId};
use sha2::{Digest, Sha256};

/// Lives of the peer that may be candidates at a time.
const MAX_CANDIDATES: usize = 4;

/// Beats that go out between two greetings while a present life is served, so that repeated recordings of
/// greetings cannot silence us.
const BEATS_BETWEEN_GREETINGS: u8 = 3;

/// So many lists of statements are kept.
const SPARE_MAX: usize = 4;

/// What a frame was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A fresh beat of the peer's present life for this life: evidence.
    Beat(Beat),
    /// Somebody with the key asked, now or in a recording. No evidence; `to`, `echo` and statements are empty.
    Greeting(Beat),
    /// The last word of the guardian of the peer's life, for this life.
    Released(ReleasedNotice),
}

/// One link of one life. See the [module](super) for the caller's contract.
#[derive(Clone, Debug)]
pub struct LinkSession {
    link: LinkId,
    identity: LinkIdentity,
    cluster: [u8; 4],
    greet_mine: MacKey,
    greet_peer: MacKey,
    /// Given out in greetings; the next one after each change of the present life.
    nonce: u64,
    /// The nonce under which the present life was accepted.
    settled_nonce: u64,
    present: Option<PeerLife>,
    /// Oldest first.
    candidates: Vec<PeerLife>,
    /// Somebody sends beats that no session verifies: perhaps a peer that missed our newest nonce.
    stranger: bool,
    beats_since_greeting: u8,
    last_seq: Option<u32>,
    changes: u64,
    counters: LinkCounters,
    terms: WireTerms,
    /// Lists for the statements of beats to come.
    spare: Vec<Vec<Statement>>,
}

impl LinkSession {
    /// A session that knows nobody. `nonce` must be unpredictable: from the system's random source.
    #[must_use]
    pub fn new(
        key: &PairKey,
        cluster: &str,
        link: LinkId,
        me: NodeId,
        incarnation: Incarnation,
        nonce: u64,
    ) -> Self {
        let peer = Config::peer_of(me);
        let key = MacKey::new(
            key.derive("ha heartbeat link", &[&[layout::BASE_VERSION], cluster.as_bytes(), &[link.0]]),
        );
        Self {
            link,
            cluster: cluster_tag(cluster),
            greet_mine: key.derive("greeting", &[&[me.0]]),
            greet_peer: key.derive("greeting", &[&[peer.0]]),
            identity: LinkIdentity { key, me, peer, incarnation },
            nonce: nonce.max(1),
            settled_nonce: 0,
            present: None,
            candidates: Vec::with_capacity(MAX_CANDIDATES),
            stranger: false,
            beats_since_greeting: 0,
            last_seq: None,
            changes: 0,
            counters: LinkCounters::default(),
            terms: WireTerms::default(),
            spare: Vec::with_capacity(SPARE_MAX),
        }
    }

    /// The same, telling these terms in its greetings. Until then: this program's versions and no configuration.
    #[must_use]
    pub const fn with_terms(mut self, terms: WireTerms) -> Self {
        self.terms = terms;
        self
    }

    /// What was agreed with the peer's present life, or else with the newest that greeted.
    #[must_use]
    pub fn agreement(&self) -> Option<Agreement> {
        self.present.iter().chain(self.candidates.iter().rev()).map(|life| life.agreement).next()
    }

    /// The peer's life that proved to be present on this link.
    #[must_use]
    pub fn peer(&self) -> Option<Incarnation> {
        self.present.as_ref().map(|life| life.incarnation)
    }

    /// What was sent, heard and refused.
    #[must_use]
    pub const fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// Moves whenever [`LinkSession::testament`] gives something new.
    #[must_use]
    pub const fn session_changes(&self) -> u64 {
        self.changes
    }

    /// What the guardian needs to speak for this life on this link; `None` while nobody is known to listen.
    #[must_use]
    pub fn testament(&self) -> Option<Testament> {
        let id = &self.identity;
        let life = self.addressee(None)?;
        Some(Testament::new(self.link, id.me, id.incarnation, life.send.clone()))
    }

    /// Encodes `beat` into `out` (cleared first) and says what it became: a beat if the receiver's life is known
    /// and proven, else a greeting, which carries no statements. Statements for a life other than the one that
    /// will verify the frame are left out. An echo that is not the present life's is left out too.
    ///
    /// # Errors
    /// [`EncodeError`] if the beat is not of this life, its number did not grow, or it is too long.
    pub fn encode(&mut self, beat: &Beat, out: &mut Vec<u8>) -> Result<FrameKind, EncodeError> {
        self.check(beat)?;
        out.clear();
        let asked = self.stranger || self.candidates.iter().any(|life| life.asks);
        let due = asked && self.beats_since_greeting >= BEATS_BETWEEN_GREETINGS;
        let Some(life) = self.addressee(beat.to).filter(|_| !due) else {
            self.last_seq = Some(beat.seq);
            self.greet(out);
            return Ok(FrameKind::Greeting);
        };
        let heard = self.present.as_ref().filter(|p| p.incarnation == life.incarnation);
        let newest = heard.and_then(|p| p.window.newest());
        let echo = beat.echo.filter(|echo| newest.is_some_and(|newest| *echo <= newest));
        layout::write_beat(life.agreement.version, self.identity.me, beat.seq, echo, out);
        if beat.to == Some(life.incarnation) {
            for statement in &beat.statements {
                statement::encode(statement, out);
            }
        }
        life.send.seal(out);
        if out.len() > MAX_FRAME_BYTES {
            let found = out.len();
            out.clear();
            return Err(EncodeError::TooLong { found, limit: MAX_FRAME_BYTES });
        }
        self.last_seq = Some(beat.seq);
        self.beats_since_greeting = self.beats_since_greeting.saturating_add(1);
        self.counters.beats_sent += 1;
        Ok(FrameKind::Beat)
    }

    /// Takes the list of a beat that is no longer needed, for one that will be heard: so beats that come and go
    /// take no memory.
    pub fn reuse(&mut self, mut statements: Vec<Statement>) {
        if statements.capacity() > 0 && self.spare.len() < SPARE_MAX {
            statements.clear();
            self.spare.push(statements);
        }
    }

    fn check(&self, beat: &Beat) -> Result<(), EncodeError> {
        let (found, expected) = (beat.incarnation, self.identity.incarnation);
        if found != expected {
            return Err(EncodeError::OtherLife { found, expected });
        }
        if beat.seq >= RESERVED_SEQ {
            return Err(EncodeError::SeqExhausted { seq: beat.seq, limit: RESERVED_SEQ });
        }
        match self.last_seq {
            Some(last) if beat.seq <= last => Err(EncodeError::SeqNotIncreasing { seq: beat.seq, last }),
            _ => Ok(()),
        }
    }

    /// Who can verify a beat: the life asked for if it is proven, else the present one, else the newest proven.
    fn addressee(&self, to: Option<Incarnation>) -> Option<&PeerLife> {
        let proven = || self.present.iter().chain(self.candidates.iter().rev()).filter(|life| life.proven);
        proven().find(|life| Some(life.incarnation) == to).or_else(|| proven().next())
    }

    /// Greets the candidate that waits longest, or else tells everybody our nonce.
    fn greet(&mut self, out: &mut Vec<u8>) {
        let waiting = self.candidates.iter().position(|life| life.asks);
        let echo = match waiting {
            Some(at) => {
                // Asked and answered: to the end, so that each gets its turn.
                let mut life = self.candidates.remove(at);
                life.asks = false;
                let nonce = life.nonce;
                self.candidates.push(life);
                nonce
            }
            None if !self.candidates.is_empty() => {
                self.candidates.rotate_left(1);
                self.candidates.last().map_or(0, |life| life.nonce)
            }
            None => self.present.as_ref().map_or(0, |life| life.nonce),
        };
        let (link, cluster, nonce) = (self.link, self.cluster, self.nonce);
        let incarnation = self.identity.incarnation;
        let terms = self.terms;
        Greeting { link, cluster, incarnation, nonce, echo, terms }.write(self.identity.me, out);
        self.greet_mine.seal(out);
        // Their new order may have changed the testament.
        self.changes += u64::from(self.present.is_none() && self.candidates.len() > 1);
        self.stranger = false;
        self.beats_since_greeting = 0;
        self.counters.greetings_sent += 1;
    }

    /// Verifies and reads a frame. Never panics, whatever the bytes are; bounded in time and memory.
    ///
    /// # Errors
    /// [`FrameError`] with the reason; the frame has been counted and had no other effect than perhaps to make
    /// one of the next frames a greeting.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Received, FrameError> {
        let terms = self.terms;
        let result = layout::split(frame, &terms).and_then(|parts| match parts.kind {
            FrameKind::Greeting => self.decode_greeting(&parts).map(Received::Greeting),
            _ if parts.sender == self.identity.me => Err(FrameError::Reflected),
            FrameKind::Beat => self.decode_beat(&parts).map(Received::Beat),
            FrameKind::Released => self.decode_released(&parts).map(Received::Released),
        });
        match &result {
            Ok(Received::Beat(_)) => self.counters.beats += 1,
            Ok(Received::Greeting(_)) => self.counters.greetings += 1,
            Ok(Received::Released(_)) => self.counters.released += 1,
            Err(error) => {
                self.stranger |= *error == FrameError::Unbound;
                self.counters.note(error);
            }
        }
        result
    }

    fn decode_greeting(&mut self, parts: &Parts<'_>) -> Result<Beat, FrameError> {
        let malformed = FrameError::Malformed { what: "greeting" };
        let greeting = Greeting::read(parts.body).ok_or(malformed.clone())?;
        // Diagnosis before authentication: a refusal may be named by what a stranger claims.
        if greeting.cluster != self.cluster {
            return Err(FrameError::OtherCluster);
        }
        if greeting.link != self.link {
            return Err(FrameError::OtherLink { found: greeting.link, here: self.link });
        }
        let own_name = parts.sender == self.identity.me;
        let key = if own_name { &self.greet_mine } else { &self.greet_peer };
        if !key.verifies(parts.covered, parts.tag) {
            return Err(FrameError::BadMac);
        }
        let incarnation = greeting.incarnation;
        if own_name {
            return Err(if incarnation == self.identity.incarnation {
                FrameError::Reflected
            } else {
                FrameError::SameName { node: parts.sender, incarnation }
            });
        }
        if incarnation == self.identity.incarnation || greeting.nonce == 0 {
            return Err(malformed);
        }
        self.learn(&greeting)?;
        Ok(Beat { incarnation, to: None, seq: 0, echo: None, statements: Vec::new() })
    }

    fn learn(&mut self, greeting: &Greeting) -> Result<(), FrameError> {
        let agreement = self.terms.agree(&greeting.terms)?;
        let hears_us = greeting.echo == self.nonce;
        let heard_us = hears_us || (greeting.echo == self.settled_nonce && self.settled_nonce != 0);
        let is_it = |life: &&mut PeerLife| life.incarnation == greeting.incarnation;
        if let Some(life) = self.present.as_mut().filter(is_it) {
            if is_later(greeting.nonce, life.nonce) {
                life.renew(&self.identity, greeting.nonce);
                self.changes += 1;
            } else if greeting.nonce != life.nonce {
                return Err(FrameError::Replayed { seq: 0 });
            }
            // It proved to be present, so it knew a nonce of ours; if it lost it, greet it like a stranger.
            self.stranger |= !heard_us;
            return Ok(());
        }
        let Some(life) = self.candidates.iter_mut().find(is_it) else {
            let (who, nonce) = (greeting.incarnation, greeting.nonce);
            let mut life = PeerLife::new(&self.identity, who, nonce, self.nonce, agreement);
            life.proven = hears_us;
            self.admit(life);
            return Ok(());
        };
        if is_later(greeting.nonce, life.nonce) {
            life.renew(&self.identity, greeting.nonce);
        } else if greeting.nonce != life.nonce {
            return Err(FrameError::Replayed { seq: 0 });
        }
        life.proven |= hears_us;
        life.asks = true;
        self.changes += 1;
        Ok(())
    }

    /// Adds a candidate; the oldest unproven one makes room, for it may be a recording.
    fn admit(&mut self, life: PeerLife) {
        if self.candidates.len() >= MAX_CANDIDATES {
            let unproven = self.candidates.iter().position(|life| !life.proven);
            self.candidates.remove(unproven.unwrap_or(0));
        }
        self.candidates.push(life);
        self.changes += 1;
    }

    fn decode_beat(&mut self, parts: &Parts<'_>) -> Result<Beat, FrameError> {
        let at = self.verified_by(parts)?;
        let malformed = |what| FrameError::Malformed { what };
        let (seq, echo, octets) = layout::read_beat(parts.body).ok_or(malformed("sequence number"))?;
        let statements = statement::decode_into(octets, self.spare.pop().unwrap_or_default())
            .ok_or(malformed("statement"))?;
        let life = self.life(&at)?;
        // Before it settles: after a guardian's last word no late beat makes its life present.
        if !life.window.accept(seq) {
            return Err(FrameError::Replayed { seq });
        }
        let incarnation = life.incarnation;
        if let By::Candidate(at) = at {
            self.settle(at);
        }
        Ok(Beat { incarnation, to: Some(self.identity.incarnation), seq, echo, statements })
    }

    fn life(&mut self, by: &By) -> Result<&mut PeerLife, FrameError> {
        match *by {
            By::Present => self.present.as_mut(),
            By::Candidate(at) => self.candidates.get_mut(at),
        }
        .ok_or(FrameError::Unbound)
    }

    fn decode_released(&mut self, parts: &Parts<'_>) -> Result<ReleasedNotice, FrameError> {
        // A candidate heard us in this life and ended before its first beat arrived: its word counts, but it
        // does not become present by it.
        let by = self.verified_by(parts)?;
        let life = self.life(&by)?;
        let (seq, notice) = layout::read_released(life.incarnation, parts.body)
            .ok_or(FrameError::Malformed { what: "last word" })?;
        if life.window.accept(seq) { Ok(notice) } else { Err(FrameError::Replayed { seq }) }
    }

    fn verified_by(&self, parts: &Parts<'_>) -> Result<By, FrameError> {
        let verifies = |life: &PeerLife| life.verifies(parts.covered, parts.tag);
        if self.present.as_ref().is_some_and(verifies) {
            return Ok(By::Present);
        }
        self.candidates.iter().position(verifies).map(By::Candidate).ok_or(FrameError::Unbound)
    }

    /// A candidate proved to be present. Whoever was present before is over for good.
    fn settle(&mut self, at: usize) {
        let mut life = self.candidates.remove(at);
        self.settled_nonce = self.nonce;
        self.nonce = next_nonce(self.nonce);
        life.settle(&self.identity, self.nonce);
        for other in &mut self.candidates {
            other.demand(&self.identity, self.nonce);
        }
        self.present = Some(life);
        self.changes += 1;
        self.counters.sessions += 1;
    }
}

/// Which life a frame verified under.
enum By {
    Present,
    Candidate(usize),
}

/// Tells clusters apart before anything is authenticated, for a clear error; proves nothing.
fn cluster_tag(cluster: &str) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::digest(cluster.as_bytes()).into();
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

//! What the frames of a session say.

use super::frame::Violation;
use crate::history::{EpochEntry, History};
use crate::ops::RelPath;
use crate::peering::Standing;
use crate::record::{Chain, KeyHash, RuleSeen, rule_of, rule_parts};
use crate::store::{CopyChunk, CopyFile};
use bytes::{BufMut, Bytes};
use ha_core::{Epoch, Generation, Lsn, NodeId};

/// Where a copy stands, and which question this answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    pub serial: u32,
    pub answers: u32,
    pub standing: Standing,
}

/// What the leader decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub epoch: Epoch,
    /// The serial of the follower's position.
    pub answers: u32,
    pub copy: bool,
    pub cut: bool,
    pub after: Lsn,
    /// The leader's chain at `after`; the start of the chain for a copy.
    pub chain: Chain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ack {
    pub epoch: Epoch,
    pub durable: Lsn,
    pub chain: Chain,
    pub applied: Lsn,
    pub low_space: bool,
}

/// Why one side does not go on. Its number on the wire is its place here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    LowerEpoch,
    Diverged,
    Chain,
    NoPlan,
    Failed,
}

/// What a whole-tree copy begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CopyHead {
    pub epoch: Epoch,
    /// The tree is sent as of here.
    pub start: Lsn,
    pub chain: Chain,
    pub history: History,
    pub rule: Option<RuleSeen>,
    pub keys: Vec<(KeyHash, Lsn)>,
    pub aborted: Vec<(Lsn, Lsn)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    Position(Position),
    Plan(Plan),
    Records { epoch: Epoch, commit: Lsn, bytes: Bytes },
    Ack(Ack),
    CommitLsn { epoch: Epoch, commit: Lsn },
    Keepalive { epoch: Epoch, commit: Lsn },
    Evidence(Bytes),
    CopyBegin { more: bool, part: Bytes },
    CopyFile(CopyChunk),
    CopyEnd { files: u64, bytes: u64, until: Lsn },
    CopyDone { durable: Lsn, chain: Chain },
    Refuse { why: Refusal, epoch: Epoch, fork: Lsn },
}

pub(crate) const RECORDS: u8 = 18;
pub(crate) const EVIDENCE: u8 = 22;

impl Message {
    /// The number of its type and its body.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Self::Position(p) => {
                put_position(&mut out, p);
                16
            }
            Self::Plan(p) => {
                out.put_u64_le(p.epoch.0);
                out.put_u32_le(p.answers);
                out.put_slice(&[1 + u8::from(p.copy), u8::from(p.cut)]);
                out.put_u64_le(p.after.0);
                out.put_slice(&p.chain.0);
                17
            }
            Self::Records { epoch, commit, bytes } => {
                put_pair(&mut out, *epoch, *commit);
                out.put_slice(bytes);
                RECORDS
            }
            Self::Ack(a) => {
                put_pair(&mut out, a.epoch, a.durable);
                out.put_slice(&a.chain.0);
                out.put_u64_le(a.applied.0);
                out.put_u8(u8::from(a.low_space));
                19
            }
            Self::CommitLsn { epoch, commit } => {
                put_pair(&mut out, *epoch, *commit);
                20
            }
            Self::Keepalive { epoch, commit } => {
                put_pair(&mut out, *epoch, *commit);
                21
            }
            Self::Evidence(bytes) => {
                out.put_slice(bytes);
                EVIDENCE
            }
            Self::CopyBegin { more, part } => {
                out.put_u8(u8::from(*more));
                out.put_slice(part);
                23
            }
            Self::CopyFile(piece) => {
                put_piece(&mut out, piece);
                24
            }
            Self::CopyEnd { files, bytes, until } => {
                [*files, *bytes, until.0].iter().for_each(|n| out.put_u64_le(*n));
                25
            }
            Self::CopyDone { durable, chain } => {
                out.put_u64_le(durable.0);
                out.put_slice(&chain.0);
                26
            }
            Self::Refuse { why, epoch, fork } => {
                out.put_u8(*why as u8);
                put_pair(&mut out, *epoch, *fork);
                27
            }
        };
        (kind, out)
    }

    /// Reads a body that was verified; its content is still somebody else's.
    pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Self, Violation> {
        let what = match kind {
            16 => "position",
            17 => "plan",
            RECORDS => "records",
            19 => "acknowledgement",
            20 => "commit",
            21 => "keepalive",
            EVIDENCE => "evidence",
            23 => "copy-begin",
            24 => "copy-file",
            25 => "copy-end",
            26 => "copy-done",
            27 => "refusal",
            found => return Err(Violation::Type { found }),
        };
        let mut input = Input(body);
        let message = match kind {
            23 | RECORDS | EVIDENCE => return Self::rest(kind, input).ok_or(Violation::Content { what }),
            16 => input.position().map(Self::Position),
            17 => input.plan().map(Self::Plan),
            19 => input.ack().map(Self::Ack),
            20 => input.pair().map(|(epoch, commit)| Self::CommitLsn { epoch, commit }),
            21 => input.pair().map(|(epoch, commit)| Self::Keepalive { epoch, commit }),
            24 => input.piece().map(Self::CopyFile),
            25 => input.copy_end(),
            26 => input.copy_done(),
            _ => input.refuse(),
        };
        message.filter(|_| input.0.is_empty()).ok_or(Violation::Content { what })
    }

    /// The types whose body ends with opaque bytes.
    fn rest(kind: u8, mut input: Input<'_>) -> Option<Self> {
        match kind {
            RECORDS => {
                let (epoch, commit) = input.pair()?;
                Some(Self::Records { epoch, commit, bytes: Bytes::copy_from_slice(input.0) })
            }
            23 => Some(Self::CopyBegin { more: input.flag()?, part: Bytes::copy_from_slice(input.0) }),
            _ => (input.0.len() <= super::EVIDENCE_BYTES)
                .then(|| Self::Evidence(Bytes::copy_from_slice(input.0))),
        }
    }
}

impl CopyHead {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_pair(&mut out, self.epoch, self.start);
        out.put_slice(&self.chain.0);
        put_history(&mut out, &self.history);
        put_rule(&mut out, self.rule);
        out.put_u32_le(u32::try_from(self.keys.len()).unwrap_or(0));
        for (key, lsn) in &self.keys {
            out.put_slice(&key.0);
            out.put_u64_le(lsn.0);
        }
        out.put_u32_le(u32::try_from(self.aborted.len()).unwrap_or(0));
        for (target, by) in &self.aborted {
            out.put_u64_le(target.0);
            out.put_u64_le(by.0);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Violation> {
        let mut input = Input(bytes);
        input.copy_head().filter(|_| input.0.is_empty()).ok_or(Violation::Content { what: "copy-begin" })
    }
}

fn put_pair(out: &mut Vec<u8>, epoch: Epoch, lsn: Lsn) {
    out.put_u64_le(epoch.0);
    out.put_u64_le(lsn.0);
}

fn put_position(out: &mut Vec<u8>, p: &Position) {
    let s = &p.standing;
    out.put_u32_le(p.serial);
    out.put_u32_le(p.answers);
    out.put_u64_le(s.lead.map_or(0, |e| e.0));
    for n in [s.highest.0, s.end.0, s.acked.0, s.oldest.0] {
        out.put_u64_le(n);
    }
    out.put_slice(&[u8::from(s.failed), u8::from(s.wants_copy)]);
    put_history(out, &s.history);
}

fn put_history(out: &mut Vec<u8>, history: &History) {
    out.put_u16_le(u16::try_from(history.entries().len()).unwrap_or(0));
    for e in history.entries() {
        put_pair(out, e.epoch, e.first);
    }
}

fn put_rule(out: &mut Vec<u8>, rule: Option<RuleSeen>) {
    let Some(seen) = rule else { return out.put_u8(255) };
    let (tag, generation) = rule_parts(seen.rule);
    out.put_slice(&[tag, seen.node.0]);
    out.put_u64_le(generation.0);
    out.put_u64_le(seen.at.0);
}

fn put_piece(out: &mut Vec<u8>, piece: &CopyChunk) {
    let name = match &piece.file {
        CopyFile::Tree(path) => path.as_str().as_bytes(),
        CopyFile::Pin(id) => &id[..],
    };
    out.put_slice(&[u8::from(matches!(piece.file, CopyFile::Pin(_))), u8::from(piece.hash.is_some())]);
    out.put_slice(&piece.hash.unwrap_or_default());
    out.put_u64_le(piece.offset);
    out.put_u16_le(u16::try_from(name.len()).unwrap_or(0));
    out.put_slice(name);
    out.put_u32_le(u32::try_from(piece.data.len()).unwrap_or(0));
    out.put_slice(&piece.data);
}

/// Bytes that are taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }
    fn flag(&mut self) -> Option<bool> {
        self.u8().filter(|b| *b <= 1).map(|b| b == 1)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn lsn(&mut self) -> Option<Lsn> {
        self.u64().map(Lsn)
    }
    fn chain(&mut self) -> Option<Chain> {
        self.array().map(Chain)
    }
    fn pair(&mut self) -> Option<(Epoch, Lsn)> {
        Some((Epoch(self.u64()?), self.lsn()?))
    }

    fn position(&mut self) -> Option<Position> {
        let (serial, answers) = (self.u32()?, self.u32()?);
        let lead = Some(Epoch(self.u64()?)).filter(|e| e.0 != 0);
        let highest = Epoch(self.u64()?);
        let (end, acked, oldest, failed) = (self.lsn()?, self.lsn()?, self.lsn()?, self.flag()?);
        let wants_copy = self.flag()?;
        let history = self.history()?;
        let standing = Standing { lead, highest, end, acked, oldest, history, failed, wants_copy };
        Some(Position { serial, answers, standing })
    }

    fn history(&mut self) -> Option<History> {
        let n = self.u16()?;
        let entry = |(epoch, first)| EpochEntry { epoch, first };
        let entries = (0..n).map(|_| self.pair().map(entry)).collect::<Option<Vec<_>>>()?;
        History::from_entries(entries)
    }

    fn plan(&mut self) -> Option<Plan> {
        let (epoch, answers) = (Epoch(self.u64()?), self.u32()?);
        let copy = match self.u8()? {
            1 => false,
            2 => true,
            _ => return None,
        };
        Some(Plan { epoch, answers, copy, cut: self.flag()?, after: self.lsn()?, chain: self.chain()? })
    }

    fn ack(&mut self) -> Option<Ack> {
        let (epoch, durable) = self.pair()?;
        Some(Ack { epoch, durable, chain: self.chain()?, applied: self.lsn()?, low_space: self.flag()? })
    }

    fn rule(&mut self) -> Option<Option<RuleSeen>> {
        let tag = self.u8()?;
        if tag == 255 {
            return Some(None);
        }
        let node = NodeId(self.u8()?);
        let rule = rule_of(tag, Generation(self.u64()?))?;
        Some(Some(RuleSeen { node, rule, at: self.lsn()? }))
    }

    fn copy_head(&mut self) -> Option<CopyHead> {
        let (epoch, start) = self.pair()?;
        let (chain, history, rule) = (self.chain()?, self.history()?, self.rule()?);
        let keys = self.u32()?;
        let keys = (0..keys).map(|_| Some((KeyHash(self.array()?), self.lsn()?))).collect::<Option<_>>()?;
        let aborted = self.u32()?;
        let aborted = (0..aborted).map(|_| Some((self.lsn()?, self.lsn()?))).collect::<Option<_>>()?;
        Some(CopyHead { epoch, start, chain, history, rule, keys, aborted })
    }

    fn piece(&mut self) -> Option<CopyChunk> {
        let (pin, last) = (self.flag()?, self.flag()?);
        let hash = self.array()?;
        let offset = self.u64()?;
        let name_len = self.u16()?;
        let name = self.take(name_len.into())?;
        let file = if pin {
            CopyFile::Pin(name.try_into().ok()?)
        } else {
            CopyFile::Tree(RelPath::new(std::str::from_utf8(name).ok()?).ok()?)
        };
        let len = self.u32()? as usize;
        let data = Bytes::copy_from_slice(self.take(len)?);
        Some(CopyChunk { file, offset, data, hash: last.then_some(hash) })
    }

    fn copy_end(&mut self) -> Option<Message> {
        Some(Message::CopyEnd { files: self.u64()?, bytes: self.u64()?, until: self.lsn()? })
    }

    fn copy_done(&mut self) -> Option<Message> {
        Some(Message::CopyDone { durable: self.lsn()?, chain: self.chain()? })
    }

    fn refuse(&mut self) -> Option<Message> {
        use Refusal::{Chain, Diverged, Failed, LowerEpoch, NoPlan};
        let why = *[LowerEpoch, Diverged, Chain, NoPlan, Failed].get(usize::from(self.u8()?))?;
        let (epoch, fork) = self.pair()?;
        Some(Message::Refuse { why, epoch, fork })
    }
}

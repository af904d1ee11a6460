//! Statements as octets: kind, length, value. A reader skips kinds it does not know and trailing octets of
//! kinds it does, so that a newer node can say more to an older one.

use super::octets::{Count, Reader, Sink, unzigzag, zigzag};
use crate::engine::{ClaimState, Predecessor, Statement};
use crate::{
    BootId, Epoch, Generation, GroupId, InitId, Lsn, NodeId, Nonce, PolicyFlags, PolicyScope, SetRecord,
    StoreId,
};

mod kind {
    pub(super) const IDENTITY: u8 = 1;
    pub(super) const STORES: u8 = 2;
    pub(super) const INIT: u8 = 3;
    pub(super) const WEIGHTS: u8 = 4;
    pub(super) const HEALTH: u8 = 5;
    pub(super) const SAFETY: u8 = 6;
    pub(super) const CLAIM: u8 = 7;
    pub(super) const ASK: u8 = 8;
    pub(super) const CONSENT: u8 = 9;
    pub(super) const ADMIT: u8 = 10;
    pub(super) const CONFIRM: u8 = 11;
    pub(super) const CONFIRMED: u8 = 12;
    pub(super) const PREPARE: u8 = 13;
    pub(super) const READY: u8 = 14;
    pub(super) const RELEASED: u8 = 15;
    pub(super) const WANT: u8 = 16;
    pub(super) const YIELDED: u8 = 17;
    pub(super) const DEPARTING: u8 = 18;
    pub(super) const POLICY: u8 = 19;
    pub(super) const SERVES: u8 = 20;
    pub(super) const EXTEND: u8 = 32;
    pub(super) const PROMISED: u8 = 33;
    pub(super) const LEASE: u8 = 34;
    pub(super) const SPARE: u8 = 40;
    pub(super) const SPARES: u8 = 41;
    pub(super) const UNSPARE: u8 = 42;
}

/// Octets that a statement takes in a frame, its kind and length included.
///
/// Every statement fits a serial frame alone as long as epochs and LSNs stay below 2⁴⁹ and generations below
/// 2³⁵: more than a hundred thousand amnesia jumps.
#[must_use]
pub fn statement_len(statement: &Statement) -> usize {
    2 + value_len(statement)
}

fn value_len(statement: &Statement) -> usize {
    let mut count = Count::default();
    value(statement, &mut count);
    count.0
}

pub(super) fn encode(statement: &Statement, out: &mut Vec<u8>) {
    out.byte(kind_of(statement));
    // A value has at most 46 octets (a claim with every number at its limit).
    out.byte(value_len(statement) as u8);
    value(statement, out);
}

const fn kind_of(statement: &Statement) -> u8 {
    match statement {
        Statement::Identity { .. } => kind::IDENTITY,
        Statement::Stores { .. } => kind::STORES,
        Statement::Init { .. } => kind::INIT,
        Statement::Weights { .. } => kind::WEIGHTS,
        Statement::Health { .. } => kind::HEALTH,
        Statement::Safety { .. } => kind::SAFETY,
        Statement::Claim { .. } => kind::CLAIM,
        Statement::Ask { .. } => kind::ASK,
        Statement::Consent { .. } => kind::CONSENT,
        Statement::Admit { .. } => kind::ADMIT,
        Statement::Confirm { .. } => kind::CONFIRM,
        Statement::Confirmed { .. } => kind::CONFIRMED,
        Statement::Prepare { .. } => kind::PREPARE,
        Statement::Ready { .. } => kind::READY,
        Statement::Released { .. } => kind::RELEASED,
        Statement::Want { .. } => kind::WANT,
        Statement::Yielded { .. } => kind::YIELDED,
        Statement::Departing => kind::DEPARTING,
        Statement::Policy { .. } => kind::POLICY,
        Statement::Serves { .. } => kind::SERVES,
        Statement::Extend { .. } => kind::EXTEND,
        Statement::Promised { .. } => kind::PROMISED,
        Statement::Lease { .. } => kind::LEASE,
        Statement::Spare { .. } => kind::SPARE,
        Statement::Spares { .. } => kind::SPARES,
        Statement::Unspare { .. } => kind::UNSPARE,
    }
}

fn value(statement: &Statement, out: &mut impl Sink) {
    match *statement {
        Statement::Identity { boot, predecessor } => {
            out.put(&boot.0.to_be_bytes());
            out.byte(u8::from(predecessor == Predecessor::Leftovers));
        }
        Statement::Stores { mine, knows_yours } => {
            out.put(&mine.0.to_be_bytes());
            out.byte(knows_yours.map_or(0, |knows| 1 + u8::from(knows)));
        }
        Statement::Init { init } => {
            out.byte(u8::from(init.is_some()));
            if let Some(init) = init {
                out.put(&init.0.to_be_bytes());
            }
        }
        Statement::Weights { mine, yours } => {
            out.varint(mine.into());
            out.varint(yours.map_or(0, |w| u64::from(w) + 1));
        }
        Statement::Health { outside, stall_ms } => {
            out.byte(outside);
            out.varint(stall_ms.into());
        }
        Statement::Safety { dead_ms, slot_ms, feed_ms } => {
            for ms in [dead_ms, slot_ms, feed_ms] {
                out.varint(ms.into());
            }
        }
        Statement::Lease { outlasted_ms, waits_ms, is_bound, has_watchdog } => {
            out.varint(outlasted_ms.into());
            out.varint(waits_ms.into());
            out.byte(u8::from(is_bound) | u8::from(has_watchdog) << 1);
        }
        Statement::Claim { group, epoch, state, set, lsn, highest } => {
            claim(out, group, epoch, state, set, lsn);
            // Never below the claim's own epoch, and mostly equal to it.
            out.varint(highest.0.saturating_sub(epoch.0));
        }
        Statement::Ask { group, epoch, generation, nonce }
        | Statement::Consent { group, epoch, generation, nonce } => {
            grant(out, group, epoch);
            out.varint(generation.0);
            out.varint(nonce.0.into());
        }
        Statement::Admit { group, epoch, generation } => {
            grant(out, group, epoch);
            out.varint(generation.0);
        }
        Statement::Confirm { group, epoch, nonce }
        | Statement::Confirmed { group, epoch, nonce }
        | Statement::Want { group, epoch, nonce }
        | Statement::Yielded { group, epoch, nonce }
        | Statement::Extend { group, epoch, nonce }
        | Statement::Promised { group, epoch, nonce }
        | Statement::Spare { group, epoch, nonce }
        | Statement::Spares { group, epoch, nonce } => {
            grant(out, group, epoch);
            out.varint(nonce.0.into());
        }
        Statement::Prepare { group, epoch }
        | Statement::Ready { group, epoch }
        | Statement::Serves { group, epoch }
        | Statement::Unspare { group, epoch } => grant(out, group, epoch),
        Statement::Released { group, epoch, final_lsn, excluded, leaving } => {
            grant(out, group, epoch);
            out.byte(u8::from(excluded) | u8::from(final_lsn.is_some()) << 1);
            if let Some(lsn) = final_lsn {
                out.varint(lsn.0);
            }
            // Behind what older programs know: to them it is a release as any other.
            if leaving {
                out.byte(1);
            }
        }
        Statement::Policy { scope, flags } => {
            let (about, id) = match scope {
                PolicyScope::Cluster => (0, 0),
                PolicyScope::Node(n) => (1, n.0.into()),
                PolicyScope::Group(g) => (2, g.0),
            };
            out.byte(about);
            out.varint(id.into());
            out.varint(flags.stamp.into());
            out.byte(u8::from(flags.standby) | u8::from(flags.maintenance) << 1);
        }
        Statement::Departing => {}
    }
}

fn grant(out: &mut impl Sink, group: GroupId, epoch: Epoch) {
    out.varint(group.0.into());
    out.varint(epoch.0);
}

fn claim(out: &mut impl Sink, group: GroupId, epoch: Epoch, state: ClaimState, set: SetRecord, lsn: Lsn) {
    let state = match state {
        ClaimState::Waiting => 0,
        ClaimState::Standby { viable: false } => 1,
        ClaimState::Standby { viable: true } => 2,
        ClaimState::Claiming => 3,
        ClaimState::Owner => 4,
        ClaimState::Blocked => 5,
    };
    let (tag, set_epoch, generation) = match set {
        SetRecord::Never => (0, None, None),
        SetRecord::Both { generation } => (1, None, Some(generation)),
        SetRecord::Alone { epoch, generation } => (2, Some(epoch), Some(generation)),
        SetRecord::Out { epoch, generation } => (3, Some(epoch), Some(generation)),
    };
    grant(out, group, epoch);
    out.byte(state | tag << 4);
    out.varint(lsn.0);
    if let Some(generation) = generation {
        out.varint(generation.0);
    }
    if let Some(set_epoch) = set_epoch {
        // Near the claim's own epoch, so the difference is one octet where the epoch is five.
        out.varint(zigzag(set_epoch.0.wrapping_sub(epoch.0) as i64));
    }
}

#[cfg(test)]
pub(super) fn decode_all(bytes: &[u8]) -> Option<Vec<Statement>> {
    decode_into(bytes, Vec::new())
}

/// Reads all statements into `statements`, which is empty. `None`: malformed.
pub(super) fn decode_into(bytes: &[u8], mut statements: Vec<Statement>) -> Option<Vec<Statement>> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let kind = reader.byte()?;
        let len = reader.byte()?;
        let value = reader.take(len.into())?;
        match decode(kind, &mut Reader::new(value))? {
            Said::Known(statement) => statements.push(statement),
            Said::Unknown => {}
        }
    }
    Some(statements)
}

enum Said {
    Known(Statement),
    /// Of a newer version.
    Unknown,
}

fn decode(kind: u8, r: &mut Reader<'_>) -> Option<Said> {
    Some(Said::Known(match kind {
        kind::IDENTITY => {
            let boot = BootId(r.u128()?);
            match r.byte()? {
                0 => Statement::Identity { boot, predecessor: Predecessor::Gone },
                1 => Statement::Identity { boot, predecessor: Predecessor::Leftovers },
                _ => return Some(Said::Unknown),
            }
        }
        kind::STORES => {
            let mine = StoreId(r.u128()?);
            match r.byte()? {
                0 => Statement::Stores { mine, knows_yours: None },
                1 => Statement::Stores { mine, knows_yours: Some(false) },
                2 => Statement::Stores { mine, knows_yours: Some(true) },
                _ => return Some(Said::Unknown),
            }
        }
        kind::INIT => match r.byte()? {
            0 => Statement::Init { init: None },
            1 => Statement::Init { init: Some(InitId(r.u128()?)) },
            _ => return Some(Said::Unknown),
        },
        kind::WEIGHTS => Statement::Weights {
            mine: r.varint_as()?,
            yours: match r.varint()? {
                0 => None,
                n => Some(u16::try_from(n - 1).ok()?),
            },
        },
        kind::HEALTH => Statement::Health { outside: r.byte()?, stall_ms: r.varint_as()? },
        kind::SAFETY => {
            Statement::Safety { dead_ms: r.varint_as()?, slot_ms: r.varint_as()?, feed_ms: r.varint_as()? }
        }
        kind::CLAIM => return decode_claim(r),
        kind::DEPARTING => Statement::Departing,
        kind::POLICY => return decode_policy(r),
        kind::SERVES => Statement::Serves { group: GroupId(r.varint_as()?), epoch: Epoch(r.varint()?) },
        kind::LEASE => {
            let (outlasted_ms, waits_ms, flags) = (r.varint_as()?, r.varint_as()?, r.byte()?);
            Statement::Lease {
                outlasted_ms,
                waits_ms,
                is_bound: flags & 1 != 0,
                has_watchdog: flags & 2 != 0,
            }
        }
        kind::ASK..=kind::YIELDED | kind::EXTEND | kind::PROMISED | kind::SPARE..=kind::UNSPARE => {
            return decode_about_grant(kind, r);
        }
        _ => return Some(Said::Unknown),
    }))
}

fn decode_about_grant(kind: u8, r: &mut Reader<'_>) -> Option<Said> {
    let group = GroupId(r.varint_as()?);
    let epoch = Epoch(r.varint()?);
    let mut generation = || r.varint().map(Generation);
    Some(Said::Known(match kind {
        kind::ASK => Statement::Ask { group, epoch, generation: generation()?, nonce: nonce(r)? },
        kind::CONSENT => Statement::Consent { group, epoch, generation: generation()?, nonce: nonce(r)? },
        kind::ADMIT => Statement::Admit { group, epoch, generation: generation()? },
        kind::CONFIRM => Statement::Confirm { group, epoch, nonce: nonce(r)? },
        kind::CONFIRMED => Statement::Confirmed { group, epoch, nonce: nonce(r)? },
        kind::WANT => Statement::Want { group, epoch, nonce: nonce(r)? },
        kind::YIELDED => Statement::Yielded { group, epoch, nonce: nonce(r)? },
        kind::EXTEND => Statement::Extend { group, epoch, nonce: nonce(r)? },
        kind::PROMISED => Statement::Promised { group, epoch, nonce: nonce(r)? },
        kind::SPARE => Statement::Spare { group, epoch, nonce: nonce(r)? },
        kind::SPARES => Statement::Spares { group, epoch, nonce: nonce(r)? },
        kind::UNSPARE => Statement::Unspare { group, epoch },
        kind::PREPARE => Statement::Prepare { group, epoch },
        kind::READY => Statement::Ready { group, epoch },
        kind::RELEASED => {
            let flags = r.byte()?;
            if flags > 3 {
                // A condition that this version does not know must not be read as an unconditional release.
                return Some(Said::Unknown);
            }
            let final_lsn = if flags & 2 == 0 { None } else { Some(Lsn(r.varint()?)) };
            let leaving = !r.is_empty() && r.byte()? & 1 != 0;
            Statement::Released { group, epoch, final_lsn, excluded: flags & 1 != 0, leaving }
        }
        _ => return Some(Said::Unknown),
    }))
}

fn decode_policy(r: &mut Reader<'_>) -> Option<Said> {
    let (about, id) = (r.byte()?, r.varint_as()?);
    let stamp = r.varint_as()?;
    let flags = r.byte()?;
    let scope = match (about, id) {
        (0, _) => PolicyScope::Cluster,
        (1, n) => PolicyScope::Node(NodeId(u8::try_from(n).ok()?)),
        (2, g) => PolicyScope::Group(GroupId(g)),
        _ => return Some(Said::Unknown),
    };
    if flags > 3 {
        // A word that this version does not know must not be read as one that it knows.
        return Some(Said::Unknown);
    }
    let flags = PolicyFlags { stamp, standby: flags & 1 != 0, maintenance: flags & 2 != 0 };
    Some(Said::Known(Statement::Policy { scope, flags }))
}

fn nonce(r: &mut Reader<'_>) -> Option<Nonce> {
    r.varint_as().map(Nonce)
}

fn decode_claim(r: &mut Reader<'_>) -> Option<Said> {
    let group = GroupId(r.varint_as()?);
    let epoch = Epoch(r.varint()?);
    let tags = r.byte()?;
    let lsn = Lsn(r.varint()?);
    let state = match tags & 0x0f {
        0 => ClaimState::Waiting,
        1 => ClaimState::Standby { viable: false },
        2 => ClaimState::Standby { viable: true },
        3 => ClaimState::Claiming,
        4 => ClaimState::Owner,
        5 => ClaimState::Blocked,
        _ => return Some(Said::Unknown),
    };
    let set = match tags >> 4 {
        0 => SetRecord::Never,
        1 => SetRecord::Both { generation: Generation(r.varint()?) },
        2 | 3 => {
            let generation = Generation(r.varint()?);
            let set_epoch = Epoch(epoch.0.wrapping_add(unzigzag(r.varint()?) as u64));
            if tags >> 4 == 2 {
                SetRecord::Alone { epoch: set_epoch, generation }
            } else {
                SetRecord::Out { epoch: set_epoch, generation }
            }
        }
        _ => return Some(Said::Unknown),
    };
    let highest = Epoch(epoch.0.saturating_add(r.varint()?));
    Some(Said::Known(Statement::Claim { group, epoch, state, set, lsn, highest }))
}

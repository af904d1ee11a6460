//! The body of a node record as bytes, version 1. The field table is in `docs/DURABILITY.md`.

use crate::{
    BootId, Detachment, Epoch, Generation, GroupId, GroupRecord, Incarnation, InitId, NodeId, NodeRecord,
    PolicyFlags, PolicyRecord, PolicyScope, SetRecord, StoreId,
};
use std::collections::BTreeMap;

const HAS_INIT: u8 = 1;
const HAS_PEER: u8 = 2;
/// A record of a pair without standby and maintenance has the bytes that it had before there were any.
const HAS_POLICY: u8 = 4;

const CLUSTER: u8 = 0;
const NODE: u8 = 1;
const GROUP: u8 = 2;

const STANDBY: u8 = 1;
const MAINTENANCE: u8 = 2;

const NEVER: u8 = 0;
const BOTH: u8 = 1;
const ALONE: u8 = 2;
const OUT: u8 = 3;
/// Beside the kind of set: a promise stands (rule 13).
const PROMISED: u8 = 0x80;
/// Beside the kind of set: services that run without an engine, this node's and its peer's.
const DETACHED: u8 = 0x40;
const SPARES: u8 = 0x20;
/// Beside the kind of set: a third party's newest grant.
const WITNESSED: u8 = 0x10;
/// Beside the kind of set: the other node's address is waited for.
const AWAITS: u8 = 0x08;

/// The record as bytes. Equal records give equal bytes.
pub(super) fn encode(record: &NodeRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 32 * record.groups.len());
    let flags = HAS_INIT * u8::from(record.init.is_some())
        + HAS_PEER * u8::from(record.peer_store.is_some())
        + HAS_POLICY * u8::from(!record.policy.is_silent());
    out.push(flags);
    out.extend(record.store.0.to_le_bytes());
    out.extend(record.init.iter().flat_map(|id| id.0.to_le_bytes()));
    out.extend(record.peer_store.iter().flat_map(|id| id.0.to_le_bytes()));
    put_number(&mut out, record.groups.len() as u64);
    for (id, group) in &record.groups {
        put_number(&mut out, id.0.into());
        put_number(&mut out, group.granted.0);
        put_number(&mut out, group.intent.0);
        put_number(&mut out, group.floor.0);
        let beside = PROMISED * u8::from(group.promised)
            + DETACHED * u8::from(group.detached.is_some())
            + SPARES * u8::from(group.spares.is_some())
            + WITNESSED * u8::from(group.witnessed > Epoch(0))
            + AWAITS * u8::from(group.awaits_address);
        put_set(&mut out, &group.set, beside);
        group.detached.iter().chain(&group.spares).for_each(|d| put_detachment(&mut out, d));
        if group.witnessed > Epoch(0) {
            put_number(&mut out, group.witnessed.0);
        }
    }
    if !record.policy.is_silent() {
        put_policy(&mut out, &record.policy);
    }
    out
}

fn put_policy(out: &mut Vec<u8>, policy: &PolicyRecord) {
    put_number(out, policy.said().count() as u64);
    for (scope, flags) in policy.said() {
        let (kind, id) = match scope {
            PolicyScope::Cluster => (CLUSTER, 0),
            PolicyScope::Node(n) => (NODE, n.0.into()),
            PolicyScope::Group(g) => (GROUP, g.0),
        };
        out.push(kind);
        put_number(out, u64::from(id));
        put_number(out, flags.stamp.into());
        out.push(STANDBY * u8::from(flags.standby) + MAINTENANCE * u8::from(flags.maintenance));
    }
}

fn put_detachment(out: &mut Vec<u8>, detachment: &Detachment) {
    put_number(out, detachment.epoch.0);
    out.extend(detachment.incarnation.0.to_le_bytes());
    out.extend(detachment.boot.0.to_le_bytes());
}

fn put_set(out: &mut Vec<u8>, set: &SetRecord, beside: u8) {
    let (tag, epoch, generation) = match *set {
        SetRecord::Never => (NEVER, None, None),
        SetRecord::Both { generation } => (BOTH, None, Some(generation)),
        SetRecord::Alone { epoch, generation } => (ALONE, Some(epoch), Some(generation)),
        SetRecord::Out { epoch, generation } => (OUT, Some(epoch), Some(generation)),
    };
    out.push(tag | beside);
    epoch.into_iter().for_each(|e| put_number(out, e.0));
    generation.into_iter().for_each(|g| put_number(out, g.0));
}

/// LEB128: seven bits a byte, lowest first.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The record that `bytes` stand for; otherwise what is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<NodeRecord, &'static str> {
    let mut from = Reader(bytes);
    let flags = from.byte()?;
    if flags & !(HAS_INIT | HAS_PEER | HAS_POLICY) != 0 {
        return Err("unknown flags");
    }
    let store = StoreId(from.id()?);
    let init = if flags & HAS_INIT != 0 { Some(InitId(from.id()?)) } else { None };
    let peer_store = if flags & HAS_PEER != 0 { Some(StoreId(from.id()?)) } else { None };
    let groups = from.groups()?;
    let policy = if flags & HAS_POLICY != 0 { from.policy()? } else { PolicyRecord::default() };
    if !from.0.is_empty() {
        return Err("bytes after the end");
    }
    Ok(NodeRecord { store, init, peer_store, groups, policy })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.0.split_first().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    fn id(&mut self) -> Result<u128, &'static str> {
        let (first, rest) = self.0.split_first_chunk().ok_or("it ends within an id")?;
        self.0 = rest;
        Ok(u128::from_le_bytes(*first))
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number beyond 64 bits");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err("a number in a longer form") } else { Ok(number) };
            }
        }
        Err("a number beyond 64 bits")
    }

    /// One byte for the first 128 groups, as ever.
    fn group_id(&mut self) -> Result<GroupId, &'static str> {
        u16::try_from(self.number()?).map(GroupId).map_err(|_| "a group beyond 16 bits")
    }

    fn groups(&mut self) -> Result<BTreeMap<GroupId, GroupRecord>, &'static str> {
        let mut groups = BTreeMap::new();
        for _ in 0..self.number()? {
            let id = self.group_id()?;
            if groups.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err("groups out of order");
            }
            groups.insert(id, self.group()?);
        }
        Ok(groups)
    }

    fn policy(&mut self) -> Result<PolicyRecord, &'static str> {
        let mut policy = PolicyRecord::default();
        let mut last = None;
        let count = self.number()?;
        if count == 0 {
            return Err("an empty policy");
        }
        for _ in 0..count {
            let scope = match (self.byte()?, self.group_id()?) {
                (CLUSTER, GroupId(0)) => PolicyScope::Cluster,
                (NODE, GroupId(n)) if usize::from(n) < policy.nodes.len() => {
                    PolicyScope::Node(NodeId(n as u8))
                }
                (GROUP, g) => PolicyScope::Group(g),
                _ => return Err("a policy for an unknown scope"),
            };
            if last.is_some_and(|l| l >= scope) {
                return Err("policies out of order");
            }
            last = Some(scope);
            policy.set(scope, self.policy_flags()?);
        }
        Ok(policy)
    }

    fn policy_flags(&mut self) -> Result<PolicyFlags, &'static str> {
        let stamp = u32::try_from(self.number()?).map_err(|_| "a policy's stamp beyond 32 bits")?;
        let flags = self.byte()?;
        if stamp == 0 || flags & !(STANDBY | MAINTENANCE) != 0 {
            return Err("unknown policy flags");
        }
        Ok(PolicyFlags { stamp, standby: flags & STANDBY != 0, maintenance: flags & MAINTENANCE != 0 })
    }

    fn group(&mut self) -> Result<GroupRecord, &'static str> {
        let granted = Epoch(self.number()?);
        let intent = Epoch(self.number()?);
        let floor = Epoch(self.number()?);
        let kind = self.byte()?;
        let set = self.set(kind & !(PROMISED | DETACHED | SPARES | WITNESSED | AWAITS))?;
        let detached = if kind & DETACHED != 0 { Some(self.detachment()?) } else { None };
        let spares = if kind & SPARES != 0 { Some(self.detachment()?) } else { None };
        let witnessed = if kind & WITNESSED != 0 { Epoch(self.number()?) } else { Epoch(0) };
        if kind & WITNESSED != 0 && witnessed == Epoch(0) {
            return Err("a grant of epoch 0");
        }
        let promised = kind & PROMISED != 0;
        let awaits_address = kind & AWAITS != 0;
        Ok(GroupRecord { granted, intent, floor, witnessed, set, promised, awaits_address, detached, spares })
    }

    fn detachment(&mut self) -> Result<Detachment, &'static str> {
        let epoch = Epoch(self.number()?);
        Ok(Detachment { epoch, incarnation: Incarnation(self.id()?), boot: BootId(self.id()?) })
    }

    fn set(&mut self, kind: u8) -> Result<SetRecord, &'static str> {
        Ok(match kind {
            NEVER => SetRecord::Never,
            BOTH => SetRecord::Both { generation: Generation(self.number()?) },
            ALONE => {
                let epoch = Epoch(self.number()?);
                SetRecord::Alone { epoch, generation: Generation(self.number()?) }
            }
            OUT => {
                let epoch = Epoch(self.number()?);
                SetRecord::Out { epoch, generation: Generation(self.number()?) }
            }
            _ => return Err("an unknown kind of in-sync set"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> NodeRecord {
        let group = |granted, set| GroupRecord {
            granted: Epoch(granted),
            intent: Epoch(granted + 1),
            floor: Epoch(1 << 32),
            witnessed: Epoch(0),
            set,
            promised: false,
            awaits_address: false,
            detached: None,
            spares: None,
        };
        NodeRecord {
            store: StoreId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
            init: Some(InitId(1)),
            peer_store: Some(StoreId(2)),
            groups: [
                (GroupId(0), group(5, SetRecord::Alone { epoch: Epoch(5), generation: Generation(300) })),
                (GroupId(1), group(7, SetRecord::Both { generation: Generation(9) })),
                (GroupId(9), group(0, SetRecord::Out { epoch: Epoch(6), generation: Generation(8) })),
                (GroupId(10), GroupRecord::default()),
            ]
            .into(),
            policy: PolicyRecord::default(),
        }
    }

    fn with_policy() -> NodeRecord {
        let mut record = full();
        let flags = |stamp, standby, maintenance| PolicyFlags { stamp, standby, maintenance };
        record.policy.set(PolicyScope::Cluster, flags(300, false, true));
        record.policy.set(PolicyScope::Node(NodeId(1)), flags(1, true, false));
        record.policy.set(PolicyScope::Group(GroupId(9)), flags(2, false, false));
        record
    }

    #[test]
    fn policy_follows_the_groups_and_a_record_without_any_is_unchanged() {
        let (plain, with) = (encode(&full()), encode(&with_policy()));
        let policy: String = with[plain.len()..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(policy, "030000ac02020101010102090200");
        assert_eq!(with[0], plain[0] | HAS_POLICY);
        assert_eq!(with[1..plain.len()], plain[1..]);
        assert_eq!(decode(&with), Ok(with_policy()));
        for end in 0..with.len() {
            assert!(decode(&with[..end]).is_err(), "cut to {end} bytes");
        }
    }

    #[test]
    fn version_1_has_these_bytes_for_ever() {
        let expected = "03000102030405060708090a0b0c0d0e0f\
            01000000000000000000000000000000\
            02000000000000000000000000000000\
            04\
            000506808080801002 05ac02\
            010708808080801001 09\
            090001808080801003 0608\
            0a00000000";
        let expected: String = expected.chars().filter(|c| !c.is_whitespace()).collect();
        let hex: String = encode(&full()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(decode(&encode(&full())), Ok(full()));
    }

    #[test]
    fn groups_beyond_the_first_128_take_two_bytes_and_none_is_beyond_16_bits() {
        let mut record = full();
        record.groups.insert(GroupId(9_999), GroupRecord::default());
        record
            .policy
            .set(PolicyScope::Group(GroupId(300)), PolicyFlags { stamp: 1, ..PolicyFlags::default() });
        assert_eq!(decode(&encode(&record)), Ok(record));
        let mut one = NodeRecord::blank(StoreId(0), None);
        one.groups.insert(GroupId(u16::MAX), GroupRecord::default());
        let mut bytes = encode(&one);
        assert_eq!(bytes[18..21], [0xff, 0xff, 0x03]);
        bytes[20] = 0x04;
        assert_eq!(decode(&bytes), Err("a group beyond 16 bits"));
    }

    #[test]
    fn a_promise_takes_a_bit_beside_the_set() {
        let mut record = full();
        record.groups.insert(GroupId(0), GroupRecord { promised: true, ..record.group(GroupId(0)) });
        let (plain, promised) = (encode(&full()), encode(&record));
        let differing: Vec<_> = plain.iter().zip(&promised).filter(|(a, b)| a != b).collect();
        assert_eq!((plain.len(), differing), (promised.len(), vec![(&2, &0x82)]));
        assert_eq!(decode(&promised), Ok(record));
    }

    #[test]
    fn an_awaited_address_takes_a_bit_beside_the_set() {
        let mut record = full();
        record.groups.insert(GroupId(0), GroupRecord { awaits_address: true, ..record.group(GroupId(0)) });
        let (plain, awaited) = (encode(&full()), encode(&record));
        let differing: Vec<_> = plain.iter().zip(&awaited).filter(|(a, b)| a != b).collect();
        assert_eq!((plain.len(), differing), (awaited.len(), vec![(&2, &0x0a)]));
        assert_eq!(decode(&awaited), Ok(record));
    }

    #[test]
    fn a_third_partys_grant_takes_a_bit_beside_the_set_and_a_number() {
        let mut record = full();
        let group = GroupRecord { witnessed: Epoch(300), ..record.group(GroupId(10)) };
        record.groups.insert(GroupId(10), group);
        let bytes = encode(&record);
        assert_eq!(bytes[bytes.len() - 3..], [0x10, 0xac, 0x02]);
        assert_eq!(decode(&bytes), Ok(record));
        let nothing = [&bytes[..bytes.len() - 2], &[0]].concat();
        assert_eq!(decode(&nothing), Err("a grant of epoch 0"));
    }

    #[test]
    fn what_runs_without_an_engine_follows_the_set_and_takes_two_bits_beside_it() {
        let detachment =
            |n| Detachment { epoch: Epoch(n), incarnation: Incarnation(n.into()), boot: BootId(9) };
        let plain = encode(&full());
        for (detached, spares) in [(Some(7), None), (None, Some(8)), (Some(7), Some(8))] {
            let mut record = full();
            let (detached, spares) = (detached.map(detachment), spares.map(detachment));
            record.groups.insert(GroupId(1), GroupRecord { detached, spares, ..record.group(GroupId(1)) });
            let bytes = encode(&record);
            let count = usize::from(detached.is_some()) + usize::from(spares.is_some());
            assert_eq!(bytes.len(), plain.len() + 33 * count);
            assert_eq!(decode(&bytes), Ok(record));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let golden = |n: u8| format!("{n:02x}{n:02x}{:030}{:02x}{:030}", 0, 9, 0);
            let kind = 1 + 0x40 * u8::from(detached.is_some()) + 0x20 * u8::from(spares.is_some());
            let words: String = detached.iter().chain(&spares).map(|d| golden(d.epoch.0 as u8)).collect();
            assert!(hex.contains(&format!("{kind:02x}09{words}090001")), "{hex}");
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "cut to {end} bytes");
            }
        }
    }

    #[test]
    fn every_shortened_or_lengthened_body_is_refused() {
        let bytes = encode(&full());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut to {end} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer), Err("bytes after the end"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_has_one_form(bytes: Vec<u8>) {
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn numbers_come_back(number: u64) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            prop_assert_eq!(Reader(&out).number(), Ok(number));
        }
    }
}

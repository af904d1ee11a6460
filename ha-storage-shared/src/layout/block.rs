//! The bytes of a ballot block.

use super::body::{Fields, put_record, take_record};
use crate::protocol::{Ballot, Block, HISTORY, Proposal, ProposalId};
use ha_core::InitId;

pub(crate) fn encode(block: &Block) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.extend(block.sequence.to_le_bytes());
    out.extend(block.revision.to_le_bytes());
    out.extend(block.ballot.0.to_le_bytes());
    out.extend(block.accepted.0.to_le_bytes());
    put_record(&mut out, block.record.as_ref());
    for id in block.chosen {
        put_id(&mut out, id);
    }
    put_record(&mut out, block.input.as_ref().map(|input| &input.record));
    put_id(&mut out, block.input.map_or_else(ProposalId::default, |input| input.id));
    out
}

fn put_id(out: &mut Vec<u8>, id: ProposalId) {
    out.extend(id.life.to_le_bytes());
    out.extend(id.number.to_le_bytes());
}

fn take_id(fields: &mut Fields<'_>) -> Result<ProposalId, String> {
    Ok(ProposalId { life: fields.u64()?, number: fields.u64()? })
}

/// What is whole may still contradict itself, or name another installation than its device.
pub(crate) fn decode(bytes: &[u8], node: u8, init: InitId) -> Result<Block, String> {
    let mut fields = Fields(bytes);
    let mut block = Block {
        sequence: fields.u64()?,
        revision: fields.u64()?,
        ballot: Ballot(fields.u64()?),
        accepted: Ballot(fields.u64()?),
        record: take_record(&mut fields)?,
        ..Block::default()
    };
    let mut chosen = [ProposalId::default(); HISTORY];
    for id in &mut chosen {
        *id = take_id(&mut fields)?;
    }
    block.chosen = chosen;
    let record = take_record(&mut fields)?;
    let id = take_id(&mut fields)?;
    block.input = record.map(|record| Proposal { id, record });
    fields.end()?;
    consistent(&block, node, init)?;
    Ok(block)
}

fn consistent(block: &Block, node: u8, init: InitId) -> Result<(), String> {
    if (block.revision > 0) != block.record.is_some() {
        return Err(format!("revision {} with record {:?}", block.revision, block.record));
    }
    if block.accepted > block.ballot || (block.accepted.0 > 0) != block.input.is_some() {
        return Err(format!(
            "ballot {} accepted {} input {:?}",
            block.ballot.0, block.accepted.0, block.input
        ));
    }
    if block.ballot.0 > 0 && block.ballot.0 % 2 != u64::from(node) {
        return Err(format!("ballot {} of node {node}", block.ballot.0));
    }
    let records = block.record.iter().chain(block.input.iter().map(|input| &input.record));
    if let Some(foreign) = records.into_iter().find(|record| record.init != init) {
        return Err(format!("a record of installation {}", foreign.init));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Place, Stamp, seal};
    use ha_core::api::OwnerRecord;
    use ha_core::{Epoch, Generation, Incarnation, NodeId};
    use proptest::prelude::*;

    fn full() -> Block {
        let mut record = OwnerRecord::new(InitId(7), Incarnation(0xabc));
        record.epoch = Epoch(5);
        record.owner = Some(NodeId(1));
        record.generation = Generation(3);
        record.in_sync = 3;
        let id = ProposalId { life: 0x1234, number: 2 };
        Block {
            sequence: 9,
            revision: 4,
            record: Some(record),
            chosen: [id; HISTORY],
            ballot: Ballot(7),
            accepted: Ballot(5),
            input: Some(Proposal { id, record }),
        }
    }

    #[test]
    fn a_block_comes_back_and_fits_into_the_smallest_sector() {
        let bytes = encode(&full());
        assert!(bytes.len() + 64 <= 512, "{}", bytes.len());
        assert_eq!(decode(&bytes, 1, InitId(7)).unwrap(), full());
        let blank = encode(&Block::default());
        assert_eq!(blank.len(), bytes.len(), "fixed");
        assert_eq!(decode(&blank, 0, InitId(7)).unwrap(), Block::default());
    }

    #[test]
    fn a_block_of_version_1_has_these_bytes_for_ever() {
        // Header and CRC-32C were computed by another program.
        let record = concat!(
            "01",                               // present
            "07000000000000000000000000000000", // installation
            "0500000000000000",                 // epoch
            "01",                               // owned
            "01",                               // by node 1
            "bc0a0000000000000000000000000000", // incarnation
            "0300000000000000",                 // generation
            "0300000000000000",                 // in-sync set
        );
        let call = "34120000000000000200000000000000";
        let header = concat!(
            "48412d4152424954", // magic
            "0100",             // version
            "03010000",         // block, node 1, copy 0
            "0200",             // group
            "00020000",         // sector
            "07000000000000000000000000000000",
            "22000000000000000000000000000000",
            "e6000000", // length
            "00000000", // zeros
            "86527dcb", // checksum
        );
        let numbers = "0900000000000000040000000000000007000000000000000500000000000000";
        let expected = format!("{header}{numbers}{record}{}{record}{call}", call.repeat(HISTORY));
        let stamp = Stamp { sector: 512, init: InitId(7), device: 0x22 };
        let bytes = seal(&stamp, Place::Block { group: 2, node: 1, copy: 0 }, &encode(&full()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.trim_end_matches("00"), expected.trim_end_matches("00"));
    }

    #[test]
    fn contradictions_are_named() {
        assert!(decode(&encode(&full()), 0, InitId(7)).unwrap_err().contains("of node 0"));
        assert!(decode(&encode(&full()), 1, InitId(8)).unwrap_err().contains("installation"));
        let early = Block { accepted: Ballot(9), ..full() };
        assert!(decode(&encode(&early), 1, InitId(7)).unwrap_err().contains("accepted 9"));
        for (accepted, input) in [(Ballot(0), full().input), (Ballot(5), None)] {
            let half = Block { accepted, input, ..full() };
            assert!(decode(&encode(&half), 1, InitId(7)).unwrap_err().contains("accepted"), "{half:?}");
        }
        let bare = Block { record: None, ..full() };
        assert!(decode(&encode(&bare), 1, InitId(7)).unwrap_err().contains("revision 4"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes, 1, InitId(7));
        }
    }
}

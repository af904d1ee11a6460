//! Fixed little-endian fields.

use ha_core::api::OwnerRecord;
use ha_core::{Epoch, Generation, Incarnation, InitId, NodeId};

/// A cursor over bytes; every reading says if there are too few.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(|| "it ends too early".to_owned())?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, String> {
        self.take().map(u128::from_le_bytes)
    }

    pub(super) fn flag(&mut self) -> Result<bool, String> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("a flag of {other}")),
        }
    }

    /// Everything must have been taken.
    pub(super) fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

pub(super) fn put_record(out: &mut Vec<u8>, record: Option<&OwnerRecord>) {
    out.push(u8::from(record.is_some()));
    let blank = OwnerRecord::new(InitId(0), Incarnation(0));
    let record = record.unwrap_or(&blank);
    out.extend(record.init.0.to_le_bytes());
    out.extend(record.epoch.0.to_le_bytes());
    out.push(u8::from(record.owner.is_some()));
    out.push(record.owner.map_or(0, |node| node.0));
    out.extend(record.incarnation.0.to_le_bytes());
    out.extend(record.generation.0.to_le_bytes());
    out.extend(record.in_sync.to_le_bytes());
}

pub(super) fn take_record(fields: &mut Fields<'_>) -> Result<Option<OwnerRecord>, String> {
    let present = fields.flag()?;
    let init = InitId(fields.u128()?);
    let epoch = Epoch(fields.u64()?);
    let owned = fields.flag()?;
    let node = NodeId(fields.u8()?);
    let mut record = OwnerRecord::new(init, Incarnation(fields.u128()?));
    record.epoch = epoch;
    record.owner = owned.then_some(node);
    record.generation = Generation(fields.u64()?);
    record.in_sync = fields.u64()?;
    Ok(present.then_some(record))
}

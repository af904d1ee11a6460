//! A slot that survives a torn sector: the same block twice, written one after the other.
//!
//! A write overwrites one copy, waits until it is durable, and then does the same with the other: at every instant at
//! least one copy is whole, and a completed write is in both, so that one sector that goes bad later takes nothing back.
//! A reader takes the newer copy if both are whole; if one is torn it reads again, and takes the other only when nothing
//! has changed. A node that died between the two copies begins its next write with the copy that is older or torn
//! ([`order`]), never with the only good one.

use super::Block;

/// Copies in a slot.
pub const COPIES: usize = 2;

/// The block that follows from a reading and the one just before; nothing if it must be read again (in the middle of two
/// writes, or damaged). In `now`, `None` stands for a copy that is torn or damaged.
///
/// A single reading with a torn copy proves nothing: the whole one may have been read before a write that the torn one
/// was read after, and be older than what others have already seen.
#[must_use]
pub fn settled(before: Option<&[Option<Block>; COPIES]>, now: &[Option<Block>; COPIES]) -> Option<Block> {
    let whole = now.iter().all(Option::is_some);
    if whole || before == Some(now) { newest(now) } else { None }
}

/// The newer of the whole copies, for the slot's own writer: nobody else changes them.
#[must_use]
pub fn newest(copies: &[Option<Block>; COPIES]) -> Option<Block> {
    copies.iter().flatten().max_by_key(|block| block.sequence).copied()
}

/// In which order to write the copies next, given what they hold: never the newest one first.
#[must_use]
pub fn order(copies: &[Option<Block>; COPIES]) -> [usize; COPIES] {
    let [first, second] = copies.map(|copy| copy.map(|block| block.sequence));
    if first > second { [1, 0] } else { [0, 1] }
}

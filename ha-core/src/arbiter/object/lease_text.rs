//! What a renewal or a release writes.

use super::super::stored::Stored;
use crate::api::Lease;
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: &str = "ha-lease";
const VERSION: u32 = 1;

/// The lease object's text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseText {
    format: String,
    version: u32,
    /// The write of the record that it belongs to.
    record: String,
    /// Random, of this very write.
    write: String,
    held: bool,
    renewal: u64,
}

impl LeaseText {
    pub(super) fn held(record: u128, write: u128, renewal: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            record: format!("{record:032x}"),
            write: format!("{write:032x}"),
            held: true,
            renewal,
        }
    }

    pub(super) fn free(record: u128, write: u128) -> Self {
        Self { held: false, ..Self::held(record, write, 0) }
    }

    /// The lease of the record `stored`, or nothing if these are no words about it.
    pub(super) fn read(bytes: &[u8], meta: &ObjectMeta, stored: &Stored) -> Option<Lease> {
        let text: Self = serde_json::from_slice(bytes).ok()?;
        let ours = text.format == FORMAT
            && text.version == VERSION
            && text.record == format!("{:032x}", stored.write);
        if !ours {
            return None;
        }
        if !text.held {
            return Some(Lease::Free);
        }
        let renewal = fingerprint(bytes, meta);
        Some(Lease::Held { incarnation: stored.record.incarnation, renewal })
    }
}

/// The lease of a record that was never renewed: its own creation took it.
pub(super) fn untouched(stored: &Stored) -> Lease {
    let digest = Sha256::digest(stored.write.to_le_bytes());
    Lease::Held { incarnation: stored.record.incarnation, renewal: first_eight(&digest) }
}

/// Differs for every write, also for one request that a client below us repeated: then the store's own stamps differ.
fn fingerprint(bytes: &[u8], meta: &ObjectMeta) -> u64 {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.update(meta.last_modified.timestamp_micros().to_le_bytes());
    hash.update(meta.e_tag.as_deref().unwrap_or_default());
    hash.update([0]);
    hash.update(meta.version.as_deref().unwrap_or_default());
    first_eight(&hash.finalize())
}

fn first_eight(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_version_1() {
        let golden = concat!(
            r#"{"format":"ha-lease","version":1,"record":"0000000000000000000000000000000a","#,
            r#""write":"0000000000000000000000000000000b","held":true,"renewal":7}"#
        );
        assert_eq!(serde_json::to_string(&LeaseText::held(0xa, 0xb, 7)).unwrap(), golden);
        assert_eq!(serde_json::from_str::<LeaseText>(golden).unwrap(), LeaseText::held(0xa, 0xb, 7));
    }
}

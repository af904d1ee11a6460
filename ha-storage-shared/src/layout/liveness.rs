//! The bytes of a liveness record.

use super::body::Fields;
use crate::protocol::Liveness;
use ha_core::{Epoch, Incarnation};

pub(crate) fn encode(liveness: &Liveness) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    out.extend(liveness.life.to_le_bytes());
    out.extend(liveness.incarnation.0.to_le_bytes());
    out.extend(liveness.epoch.0.to_le_bytes());
    out.extend(liveness.renewals.to_le_bytes());
    out.extend(liveness.released_at.to_le_bytes());
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Liveness, String> {
    let mut fields = Fields(bytes);
    let liveness = Liveness {
        life: fields.u64()?,
        incarnation: Incarnation(fields.u128()?),
        epoch: Epoch(fields.u64()?),
        renewals: fields.u64()?,
        released_at: fields.u64()?,
    };
    fields.end()?;
    Ok(liveness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liveness_record_comes_back() {
        let liveness =
            Liveness { life: 1, incarnation: Incarnation(2), epoch: Epoch(3), renewals: 4, released_at: 5 };
        let bytes = encode(&liveness);
        assert_eq!(decode(&bytes).unwrap(), liveness);
        assert!(decode(&bytes[1..]).is_err());
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

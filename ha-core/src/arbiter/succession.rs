//! Which record may follow which.

use crate::api::{ArbiterError, OwnerRecord};

/// Refuses a record that must not follow the standing one.
pub(super) fn check_succession(
    arbiter: &str,
    group: &str,
    standing: &OwnerRecord,
    next: &OwnerRecord,
) -> Result<(), ArbiterError> {
    let foreign = |found: String, advice: &str| ArbiterError::Foreign {
        arbiter: arbiter.to_owned(),
        group: group.to_owned(),
        found,
        advice: advice.to_owned(),
    };
    if standing.init != next.init {
        let found = format!("a record of installation {}, expected {}", standing.init, next.init);
        return Err(foreign(found, "it belongs to another pair: give each its own place"));
    }
    if next.epoch < standing.epoch {
        let found = format!("epoch {}, the swap would take it back to {}", standing.epoch, next.epoch);
        return Err(foreign(found, "an epoch never falls: read again and take a higher one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Incarnation, InitId};

    #[test]
    fn another_installation_and_a_falling_epoch_are_refused() {
        let standing = OwnerRecord { epoch: Epoch(5), ..OwnerRecord::new(InitId(1), Incarnation(2)) };
        assert!(check_succession("a", "g", &standing, &standing).is_ok());
        let foreign = OwnerRecord { init: InitId(7), ..standing };
        assert!(
            check_succession("a", "g", &standing, &foreign).unwrap_err().to_string().contains("another pair")
        );
        let older = OwnerRecord { epoch: Epoch(4), ..standing };
        assert!(
            check_succession("a", "g", &standing, &older).unwrap_err().to_string().contains("never falls")
        );
    }
}
